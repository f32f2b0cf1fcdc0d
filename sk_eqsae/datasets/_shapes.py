"""Images of four shapes that turn together, with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state, check_scalar

from .._docs import fill
from .._estimator import as_entries
from ._shape_tiles import (
    N_ORIENTATIONS,
    N_TILES,
    SHAPE_NAMES,
    draw_tiles,
    tile_index,
    turned,
)

POSITION_NAMES = ("top-left", "bottom-left", "bottom-right", "top-right")


@dataclass(frozen=True, eq=False)
class Shapes:  # numpydoc ignore=PR02
    """Images of four shapes and what they show.

    The quadrants are numbered counter-clockwise (``position_names``), so that a
    rotation of the image by ``power`` quarter-turns moves column ``i`` of the
    labels to column ``(i + power) % 4``.

    Parameters
    ----------
    images : ndarray of shape (n_samples, 1, 64, 64), dtype float32
        Brightness from 0 to 1.
    shape : ndarray of shape (n_samples, 4), dtype int64
        Shape in each quadrant, an index of ``shape_names``.
    orientation : ndarray of shape (n_samples, 4), dtype int64
        Counter-clockwise quarter-turns of each shape from its upright form: modulo
        2 for the rectangle and the diagonal, modulo 4 for the others.
    base_id : ndarray of shape (n_samples,), dtype int64
        The same for two images, also of different calls, exactly when one is a
        rotation of the other. Split by it, and no image appears on both sides.

    Attributes
    ----------
    shape_names : tuple of str
        Names of the 8 shapes.
    position_names : tuple of str
        Names of the 4 quadrants.

    Examples
    --------
    >>> from sk_eqsae import make_shapes
    >>> shapes = make_shapes(5, random_state=0)
    >>> len(shapes), shapes.images.shape
    (5, (5, 1, 64, 64))
    >>> turned = shapes.rotate(1)
    >>> bool((turned.shape[:, 1] == shapes.shape[:, 0]).all())
    True
    """

    images: NDArray[np.float32]
    shape: NDArray[np.int64]
    orientation: NDArray[np.int64]
    base_id: NDArray[np.int64]

    shape_names: ClassVar[tuple[str, ...]] = SHAPE_NAMES
    position_names: ClassVar[tuple[str, ...]] = POSITION_NAMES

    def __len__(self) -> int:
        return len(self.images)

    def rotate(self, power: ArrayLike) -> Shapes:
        """Rotate the images counter-clockwise, and their labels with them.

        Parameters
        ----------
        power : int or array-like of shape (n_samples,)
            Number of quarter-turns, for all images or for each.

        Returns
        -------
        shapes : Shapes
            The rotated images; their ``base_id`` is unchanged.
        """
        power = check_quarter_turns(power, len(self))
        images = np.empty_like(self.images)
        for turns in np.unique(power % 4):
            rows = power % 4 == turns
            images[rows] = np.rot90(self.images[rows], turns, axes=(2, 3))
        shape, orientation = turned(self.shape, self.orientation, power)
        return Shapes(images, shape, orientation, self.base_id.copy())


@fill
def make_shapes(
    n_samples: int = 100,
    *,
    orientation: Literal["upright", "random"] = "upright",
    random_state: int | np.random.RandomState | None = None,
) -> Shapes:
    """Draw images with a shape in each of four quadrants.

    The synthetic data of the paper [1]_: 64x64 images, each quadrant holds one of
    8 shapes with equal probability. No shape looks the same after a quarter-turn;
    the rectangle and the diagonal look the same after two.

    Parameters
    ----------
    n_samples : int, default=100
        Number of images.
    orientation : {"upright", "random"}, default="upright"
        How the shapes of an image are turned. "upright": not at all, so that the
        orientation of an image is the number of times that it is rotated later.
        "random": each shape by itself, every orientation with equal probability.
    random_state : int, RandomState instance or None, default=None
        Fixes the images.

    Returns
    -------
    shapes : Shapes
        ``images``, ``shape``, ``orientation`` and ``base_id``.

    Notes
    -----
    The paper does not say how the shapes of its canonical images are turned. Under
    "upright" they can be told from their rotations, but there are only 8^4 different
    ones: split by ``base_id``.

    {paper}

    Examples
    --------
    >>> from sk_eqsae.datasets import make_shapes
    >>> shapes = make_shapes(5, orientation="random", random_state=0)
    >>> shapes.images.shape
    (5, 1, 64, 64)
    >>> [shapes.shape_names[i] for i in shapes.shape[0]]
    ['corner', 'semicircle', 'tee', 'rectangle']
    """
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    if orientation not in ("upright", "random"):
        raise ValueError(
            f"orientation must be 'upright' or 'random', found {orientation!r}."
        )
    rng: np.random.RandomState = check_random_state(random_state)
    shape = rng.randint(len(SHAPE_NAMES), size=(n_samples, 4))
    turns = np.zeros_like(shape)
    if orientation == "random":
        turns = rng.randint(N_ORIENTATIONS[shape])
    top_left, bottom_left, bottom_right, top_right = (
        draw_tiles()[tile_index(shape, turns)[:, i]] for i in range(4)
    )
    images = np.block([[top_left, top_right], [bottom_left, bottom_right]])
    return Shapes(images[:, np.newaxis], shape, turns, _base_id(shape, turns))


def check_quarter_turns(power: ArrayLike, n_rows: int) -> NDArray[np.int64]:
    """Quarter-turns as an integer for each row, of shape (n_rows,)."""
    power = as_entries(power, "power")
    if power.dtype.kind not in "iu":
        raise ValueError(
            "power must be an integer or integers, the number of quarter-turns; "
            f"found dtype {power.dtype}."
        )
    if power.ndim and power.shape != (n_rows,):
        raise ValueError(
            f"power must be one integer or one for each of the {n_rows} rows, found "
            f"shape {power.shape}."
        )
    return np.broadcast_to(power, n_rows)


def _base_id(
    shape: NDArray[np.int64], orientation: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Smallest code of the four rotations; a code is four tiles in base 28."""
    place = N_TILES ** np.arange(4)
    codes = [
        tile_index(*turned(shape, orientation, power)) @ place for power in range(4)
    ]
    return np.min(codes, axis=0)
