"""Small pictures of inputs, and of what the group makes of them."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches

Inputs = NDArray | torch.Tensor
Action = Callable[[Any, Any], Any]

_BATCH = 64  # inputs moved at a time
_SIDE = 64  # pixels of the longer side of a picture
_SAMPLES = 128  # of a signal
_POINTS = 150  # of a point cloud
_LARGEST = 100  # coordinates are whole numbers from 0 to this
# Orthographic view from the direction (1, 1, 1); rows are right and up.
_VIEW = np.array([[-1, 1, 0], [-1, -1, 2]]) / np.sqrt([[2], [6]])


def pictures(
    inputs: Inputs,
    ids: NDArray,
    *,
    action: Action | None,
    powers: Sequence[Any],
    max_bytes: int,
) -> dict[str, Any]:
    """Draw inputs, each with the other inputs of its orbit.

    Parameters
    ----------
    inputs : ndarray or tensor of shape (n_inputs, ...)
        Canonical inputs.
    ids : ndarray of shape (n_shown,)
        Which to draw; the important ones first.
    action : callable or None
        ``action(inputs, power)`` moves inputs. None draws canonical ones alone.
    powers : sequence
        Powers of the elements of the group, as `action` takes them.
    max_bytes : int
        Drawing stops when this many are full.

    Returns
    -------
    pictures : dict
        ``kind`` ("image", "signal" or "points"), ``aspect`` (width over height of an
        image), ``n_elements`` (places of the orbit that are drawn) and ``drawings``
        of the first inputs: a data URI of the whole orbit side by side, or for each
        element lists of coordinates from 0 to 100.

    Raises
    ------
    ValueError
        If inputs of this shape cannot be drawn, or an id has no input.
    """
    inputs = _checked(inputs)
    _check_ids(ids, len(inputs))
    kind = kind_of(tuple(inputs.shape[1:]))
    draw, scale = _DRAWERS[kind], _scale(inputs, kind)
    orbits = (orbit for part in _moved(inputs, ids, action, powers) for orbit in part)
    return {
        "kind": kind,
        "aspect": _aspect(inputs, kind),
        "n_elements": 1 if action is None else len(powers),
        "drawings": _that_fit((draw(orbit, scale) for orbit in orbits), max_bytes),
    }


def _that_fit(drawings: Iterator[Any], max_bytes: int) -> list[Any]:
    fit = []
    for drawing in drawings:
        max_bytes -= len(json.dumps(drawing, separators=(",", ":")))
        if max_bytes < 0:
            break
        fit.append(drawing)
    return fit


def kind_of(shape: tuple[int, ...]) -> str:
    """Tell images, signals and point clouds apart by the shape of one input.

    Parameters
    ----------
    shape : tuple of int
        Shape of one input.

    Returns
    -------
    kind : {"image", "signal", "points"}
        What it is drawn as.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    if len(shape) == 3 and (shape[0] in (1, 3) or shape[2] in (1, 3)):
        return "image"
    if len(shape) == 1:
        return "signal"
    if len(shape) == 2:
        if shape[1] in (2, 3):
            return "points"
        return "signal" if shape[0] <= 4 < shape[1] else "image"
    raise ValueError(
        f"inputs of shape {shape} each cannot be drawn. Give images of shape (height, "
        "width), (channels, height, width) or (height, width, channels) with 1 or 3 "
        "channels, signals (length,) or (channels, length) with up to 4 channels, or "
        "points (n_points, 2) or (n_points, 3); or leave inputs out."
    )


def _checked(inputs: Any) -> Inputs:
    """Inputs as one array or tensor of numbers."""
    array: Any = inputs if isinstance(inputs, torch.Tensor) else np.asarray(inputs)
    is_array = isinstance(array, np.ndarray)
    drawn = array.dtype.kind in "biuf" if is_array else not array.is_complex()
    if not drawn:
        raise ValueError(
            f"inputs of dtype {array.dtype} cannot be drawn. Give real numbers, or "
            "leave inputs out."
        )
    return array


def _check_ids(ids: NDArray, n_inputs: int) -> None:
    if ids.dtype.kind not in "iu":
        raise ValueError(
            "inputs are indexed by orbit id, so orbits.groups must hold integers, as "
            f"extract_orbits makes them; found dtype {ids.dtype}."
        )
    if len(ids) and not (ids.min() >= 0 and ids.max() < n_inputs):
        raise ValueError(
            f"inputs has {n_inputs} rows, for orbit ids 0 to {n_inputs - 1}, but "
            f"orbits.groups holds ids from {ids.min()} to {ids.max()}. Give the "
            "canonical inputs that went into extract_orbits, all of them."
        )


def _scale(inputs: Inputs, kind: str) -> tuple[float, float]:
    """What is drawn darkest and brightest, or lowest and highest, in all pictures."""
    if kind == "image" and inputs.dtype in (np.uint8, torch.uint8):
        return 0.0, 255.0
    parts = [(part.min(), part.max()) for part in _parts(inputs) if part.size]
    lows, highs = zip(*parts, strict=True) if parts else ([0], [1])
    return float(min(lows)), float(max(highs))


def _parts(inputs: Inputs) -> Iterator[NDArray]:
    """Numbers of the inputs, without NaN and infinity."""
    for rows in gen_batches(len(inputs), _BATCH):
        part = _to_array(inputs[rows])
        yield part[np.isfinite(part)]


def _to_array(inputs: Any) -> NDArray:
    if isinstance(inputs, torch.Tensor):
        inputs = inputs.detach().cpu()
        return (inputs.float() if inputs.dtype == torch.bfloat16 else inputs).numpy()
    return np.asarray(inputs)


def _moved(
    inputs: Inputs, ids: NDArray, action: Action | None, powers: Sequence[Any]
) -> Iterator[NDArray]:
    """Batches of shape (n, n_elements, ...)."""
    for start in range(0, len(ids), _BATCH):
        batch = inputs[ids[start : start + _BATCH]]
        if action is None:
            yield _to_array(batch)[:, np.newaxis]
        else:
            yield np.stack([_to_array(action(batch, p)) for p in powers], axis=1)


def _aspect(inputs: Inputs, kind: str) -> float | None:
    if kind != "image":
        return None
    height, width = _channels_last(_to_array(inputs[:1])[0]).shape[:2]
    return width / height


def _draw_images(orbit: NDArray, scale: tuple[float, float]) -> str:
    """One PNG with the images of an orbit side by side."""
    import cv2  # noqa: PLC0415 - slow to import, and only drawing needs it

    strip = np.hstack([_resized(_channels_last(image)) for image in orbit])
    pixels = _to_range(strip, scale, 255).astype(np.uint8)
    smallest = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    png = cv2.imencode(".png", pixels[..., ::-1], smallest)[1].tobytes()
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _channels_last(image: NDArray) -> NDArray:
    if image.ndim == 2:
        return image[..., np.newaxis]
    return np.moveaxis(image, 0, -1) if image.shape[0] in (1, 3) else image


def _resized(image: NDArray) -> NDArray:
    import cv2  # noqa: PLC0415

    height, width = image.shape[:2]
    image = image.astype(np.float32)
    shrink = _SIDE / max(height, width)
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image.reshape(*image.shape[:2], -1)


def _to_range(values: NDArray, scale: tuple[float, float], largest: int) -> NDArray:
    low, high = scale
    values = np.nan_to_num(values, nan=low, neginf=low, posinf=high)
    share = (values - low) / ((high - low) or 1.0)
    return np.rint(largest * np.clip(share, 0, 1))


def _draw_signals(orbit: NDArray, scale: tuple[float, float]) -> list[list[list[int]]]:
    """Heights of each channel of each signal of an orbit."""
    orbit = orbit.reshape(len(orbit), -1, orbit.shape[-1])
    orbit = orbit[..., _evenly(orbit.shape[-1], _SAMPLES)]
    return _to_range(orbit, scale, _LARGEST).astype(int).tolist()


def _draw_points(orbit: NDArray, scale: tuple[float, float]) -> list[list[list[int]]]:
    """Places of the points of each cloud of an orbit, with the origin in the middle."""
    orbit = orbit[:, _evenly(orbit.shape[1], _POINTS)]
    if orbit.shape[-1] == 3:
        orbit = orbit @ _VIEW.T
    farthest = float(np.abs(orbit).max())
    return _to_range(orbit, (-farthest, farthest), _LARGEST).astype(int).tolist()


def _evenly(n: int, most: int) -> NDArray:
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


_DRAWERS: dict[str, Callable[[NDArray, tuple[float, float]], Any]] = {
    "image": _draw_images,
    "signal": _draw_signals,
    "points": _draw_points,
}
