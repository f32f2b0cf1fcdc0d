"""Small pictures of inputs, of what the group makes of them, and of vectors."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from ..._estimator import as_array
from ...groups import CyclicGroup, FiniteGroup
from ...groups._group import action_powers

Inputs = NDArray | torch.Tensor | Sequence[Any]
Action = Callable[[Any, Any], Any]

_BATCH = 64  # inputs moved at a time
_SIDE = 96  # pixels of the longer side of a picture
_QUALITY = 80  # of pictures that were made smaller
_CHARACTERS = 2000  # of a text, or its tokens
_SAMPLES = 128  # of a signal
_POINTS = 150  # of a point cloud
_LARGEST = 100  # coordinates are whole numbers from 0 to this
_MISSING = (255, 0, 255)  # a pixel that is no number; no gray is like it
# Orthographic view from the direction (1, 1, 1); rows are right and up.
_VIEW = np.array([[-1, 1, 0], [-1, -1, 2]]) / np.sqrt([[2], [6]])


def pictures(
    inputs: Inputs,
    ids: NDArray,
    action: Action | None,
    group: FiniteGroup,
    max_bytes: int,
    *,
    render: Callable[[Any], Any] | None = None,
) -> dict[str, Any]:
    """Draw inputs by their ids, each under all elements, until the room is full."""
    # Drawings are data URIs of all images of an orbit side by side, or for each element
    # lists of coordinates from 0 to 100, None where a number is missing, or texts.
    if render is None and _are_texts(inputs):
        render = str
    if render is None:
        inputs = array = _checked(inputs)
        kind = kind_of(tuple(array.shape[1:]))
        scale = _scale(array, kind)
    powers, drawings = action_powers(group), []
    aspect, side = None, 0
    for orbit in _moved(inputs, ids, action, powers):
        if render is None:
            parts = orbit
        else:
            kind, parts, scale = _rendered([render(each) for each in orbit])
        if kind == "image":
            height, width = _channels_last(np.asarray(parts[0])).shape[:2]
            aspect, side = aspect or width / height, max(height, width)
        drawing = _DRAWERS[kind](parts, scale)
        max_bytes -= len(json.dumps(drawing, separators=(",", ":")))
        if max_bytes < 0:
            break
        drawings.append(drawing)
    n_elements = 1 if action is None else len(powers)
    return {
        "kind": kind if drawings else None,
        "aspect": aspect,
        "side": side,
        "n_elements": n_elements,
        "drawings": drawings,
    }


def vector_pictures(
    sae: Any, largest: NDArray, decode: Callable[[NDArray], Any], max_bytes: int
) -> dict[str, Any]:
    """What the network makes of each live vector at its largest activation."""
    # x = intercept + z d; dead vectors are not drawn
    live, found = np.flatnonzero(np.isfinite(largest)), []
    for part in gen_batches(len(live), _BATCH):
        latents = live[part]
        rows = sae.intercept_ + largest[latents, np.newaxis] * sae.components_[latents]
        found.append(_to_array(decode(rows.astype(np.float32))))
        if len(found[-1]) != len(latents):
            raise ValueError(
                f"decode made {len(found[-1])} images of {len(latents)} rows. It has "
                "to return one image, signal or point cloud for each."
            )
    decoded = np.concatenate(found)
    drawn = pictures(decoded, np.arange(len(live)), None, CyclicGroup(1), max_bytes)
    place = np.full(len(largest), -1)
    place[live[: len(drawn["drawings"])]] = np.arange(len(drawn["drawings"]))
    return drawn | {"place": place.tolist()}


def _are_texts(inputs: Any) -> bool:
    kind = getattr(getattr(inputs, "dtype", None), "kind", None)
    return kind in {"U", "T"} or (len(inputs) > 0 and isinstance(inputs[0], str))


def _rendered(parts: list[Any]) -> tuple[str, Any, tuple[float, float]]:
    """Kind, orbit and scale of what a user's function draws: texts, tokens, images."""
    if isinstance(parts[0], str | list | tuple):
        return "text", parts, (0.0, 1.0)
    images = [_channels_last(_to_array(part)) for part in parts]
    images = [image[..., :3] if image.shape[-1] == 4 else image for image in images]
    are_bytes = images[0].dtype == np.uint8
    return "image", np.stack(images), (0.0, 255.0 if are_bytes else 1.0)


def kind_of(shape: tuple[int, ...]) -> str:
    """Tell images, signals and points apart by the shape of one input."""
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


def _checked(inputs: Any) -> Any:
    """Inputs as one array or tensor of numbers."""
    if np.ma.is_masked(inputs):
        inputs = inputs.astype(np.float64).filled(np.nan)
    array: Any = inputs if isinstance(inputs, torch.Tensor) else np.asarray(inputs)
    is_array = isinstance(array, np.ndarray)
    drawn = array.dtype.kind in "biuf" if is_array else not array.is_complex()
    if not drawn:
        raise ValueError(
            f"inputs of dtype {array.dtype} cannot be drawn. Give real numbers, or "
            "leave inputs out."
        )
    return array


def check_ids(ids: NDArray, n_inputs: int) -> None:
    """Refuse ids, also of inputs that are not drawn, that index no input."""
    by_place = (
        "they index inputs, so give the canonical inputs that went into "
        "extract_orbits, all of them. Of inputs that lie in the order of their sorted "
        "ids, make orbits with inputs=np.unique(groups, return_inverse=True)[1]."
    )
    if ids.dtype.kind not in "iu":
        raise ValueError(
            f"orbits.inputs must hold integers, found dtype {ids.dtype}: {by_place}"
        )
    if len(ids) and not (ids.min() >= 0 and ids.max() < n_inputs):
        raise ValueError(
            f"inputs has {n_inputs} rows, for ids 0 to {n_inputs - 1}, but "
            f"orbits.inputs holds ids from {ids.min()} to {ids.max()}: {by_place}"
        )


def _scale(inputs: Any, kind: str) -> tuple[float, float]:
    """What is drawn darkest and brightest, or lowest and highest, in all pictures."""
    if kind == "image" and inputs.dtype in (np.uint8, torch.uint8):
        return 0.0, 255.0
    low, high = np.inf, -np.inf
    for rows in gen_batches(len(inputs), _BATCH):
        part = _to_array(inputs[rows]).astype(np.float64)
        part = part[np.isfinite(part)]
        low, high = part.min(initial=low), part.max(initial=high)
    return (float(low), float(high)) if low <= high else (0.0, 1.0)


def _to_array(inputs: Any) -> NDArray:
    return np.asarray(as_array(inputs))


def _moved(
    inputs: Any, ids: NDArray, action: Action | None, powers: Sequence[Any]
) -> Iterator[Sequence[Any]]:
    """The orbit of one input after the other, each of n_elements inputs."""
    for start in range(0, len(ids), _BATCH):
        some = ids[start : start + _BATCH]
        is_list = isinstance(inputs, list | tuple)
        batch: Any = [inputs[i] for i in some] if is_list else inputs[some]
        moved = [batch] if action is None else [action(batch, p) for p in powers]
        parts = [part if isinstance(part, list) else _to_array(part) for part in moved]
        yield from zip(*parts, strict=True)


def _draw_images(orbit: Sequence[Any], scale: tuple[float, float]) -> str:
    """One PNG or WebP file with the images of an orbit side by side."""
    import cv2  # noqa: PLC0415 - slow to import, and only drawing needs it

    strip = np.hstack([_resized(_channels_last(image)) for image in orbit])
    pixels = _to_range(strip, scale, 255).astype(np.uint8)
    missing = np.isnan(strip).any(axis=-1)
    if missing.any():
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()
        pixels[missing] = _MISSING
    options = {"png": [cv2.IMWRITE_PNG_COMPRESSION, 9]}
    if max(np.shape(_channels_last(np.asarray(orbit[0])))[:2]) > _SIDE:  # not exact
        options["webp"] = [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    files = {
        kind: cv2.imencode(f".{kind}", pixels[..., ::-1], option)[1].tobytes()
        for kind, option in options.items()
    }
    kind = min(files, key=lambda kind: len(files[kind]))
    return f"data:image/{kind};base64," + base64.b64encode(files[kind]).decode()


def _channels_last(image: NDArray) -> NDArray:
    if image.ndim == 2:
        return image[..., np.newaxis]
    return np.moveaxis(image, 0, -1) if image.shape[0] in (1, 3) else image


def _resized(image: NDArray) -> NDArray:
    import cv2  # noqa: PLC0415

    image = image.astype(np.float32)
    shrink = _SIDE / max(image.shape[:2])
    if shrink < 1:
        size = [max(1, round(side * shrink)) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image.reshape(*image.shape[:2], -1)


def _to_range(values: NDArray, scale: tuple[float, float], largest: int) -> NDArray:
    low, high = scale
    values = np.nan_to_num(values, nan=low, neginf=low, posinf=high)
    share = (values - low) / ((high - low) or 1.0)
    return np.rint(largest * np.clip(share, 0, 1))


def _draw_signals(orbit: Sequence[Any], scale: tuple[float, float]) -> list[Any]:
    """Heights of each channel of each signal of an orbit."""
    signals = np.stack(orbit)
    signals = signals.reshape(len(signals), -1, signals.shape[-1])
    return _coordinates(signals[..., _evenly(signals.shape[-1], _SAMPLES)], scale)


def _draw_points(orbit: Sequence[Any], scale: tuple[float, float]) -> list[Any]:
    """Places of the points of each cloud of an orbit, with the origin in the middle."""
    points = np.stack(orbit)
    points = points[:, _evenly(points.shape[1], _POINTS)]
    points = np.where(np.isfinite(points), points, np.nan)  # none is seen at infinity
    if points.shape[-1] == 3:
        points = points @ _VIEW.T
    farthest = float(np.abs(points[~np.isnan(points)]).max(initial=0.0))
    return _coordinates(points, (-farthest, farthest))


def _draw_texts(orbit: Sequence[Any], scale: tuple[float, float]) -> list[Any]:
    """Each text of an orbit, or its tokens, cut where it is long."""
    return [
        text[:_CHARACTERS]
        if isinstance(text, str)
        else [str(token) for token in text[:_CHARACTERS]]
        for text in orbit
    ]


def _coordinates(values: NDArray, scale: tuple[float, float]) -> list[Any]:
    """Whole numbers from 0 to 100 in nested lists, None for what is no number."""
    coordinates = _to_range(values, scale, _LARGEST).astype(int).astype(object)
    coordinates[np.isnan(values)] = None
    return coordinates.tolist()


def _evenly(n: int, most: int) -> NDArray:
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


_DRAWERS: dict[Any, Callable[[Sequence[Any], tuple[float, float]], Any]] = {
    "image": _draw_images,
    "signal": _draw_signals,
    "points": _draw_points,
    "text": _draw_texts,
}
