"""The eight shapes and their 28 tiles, one for each shape and orientation."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

TILE_SIZE = 32
SHAPE_NAMES = (
    "rectangle",
    "diagonal",
    "triangle",
    "arrow",
    "corner",
    "tee",
    "cup",
    "semicircle",
)
N_ORIENTATIONS = np.array([2, 2, 4, 4, 4, 4, 4, 4])
N_TILES = int(N_ORIENTATIONS.sum())

_FIRST_TILE = np.cumsum(N_ORIENTATIONS) - N_ORIENTATIONS

# Corners as (column, row) of a tile; a tile's middle is at (15.5, 15.5).
_OUTLINES = {
    "rectangle": [(3, 11), (28, 11), (28, 20), (3, 20)],
    "diagonal": [(4, 23), (23, 4), (27, 8), (8, 27)],
    "triangle": [(15, 5), (16, 5), (28, 26), (3, 26)],
    "arrow": [
        (15, 3),
        (16, 3),
        (26, 14),
        (19, 14),
        (19, 28),
        (12, 28),
        (12, 14),
        (5, 14),
    ],
    "corner": [(5, 5), (11, 5), (11, 20), (26, 20), (26, 26), (5, 26)],
    "tee": [
        (4, 5),
        (27, 5),
        (27, 11),
        (19, 11),
        (19, 27),
        (12, 27),
        (12, 11),
        (4, 11),
    ],
    "cup": [
        (5, 5),
        (10, 5),
        (10, 21),
        (21, 21),
        (21, 5),
        (26, 5),
        (26, 26),
        (5, 26),
    ],
}


def tile_index(
    shape: NDArray[np.int64], orientation: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number of the tile that shows a shape in an orientation.

    Parameters
    ----------
    shape : ndarray of int
        Shape ids.
    orientation : ndarray of int
        Orientation of each shape, below its number of orientations.

    Returns
    -------
    index : ndarray of int
        Row of :func:`draw_tiles`, of the same shape as the inputs.
    """
    return _FIRST_TILE[shape] + orientation


def turned(
    shape: NDArray[np.int64], orientation: NDArray[np.int64], power: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Shape and orientation per quadrant after ``power`` quarter-turns of the image.

    Parameters
    ----------
    shape, orientation : ndarray of shape (n, 4)
        Labels per quadrant; quadrants are numbered counter-clockwise.
    power : int or array-like of shape (n,)
        Counter-clockwise quarter-turns.

    Returns
    -------
    shape, orientation : ndarray of shape (n, 4)
        Labels of the turned images.
    """
    power = np.broadcast_to(power, len(shape))[:, np.newaxis]
    source = (np.arange(4) - power) % 4
    shape = np.take_along_axis(shape, source, axis=1)
    orientation = np.take_along_axis(orientation, source, axis=1)
    return shape, (orientation + power) % N_ORIENTATIONS[shape]


@cache
def draw_tiles() -> NDArray[np.float32]:
    """Draw every shape in each of its orientations.

    A shape is drawn once and then turned pixel by pixel, so that a rotated image
    equals the image of the rotated labels to the bit.

    Returns
    -------
    tiles : ndarray of shape (28, 32, 32), dtype float32
        Brightness from 0 to 1, read-only.
    """
    tiles = np.stack(
        [
            np.rot90(base, power)
            for base, n_orientations in zip(_draw_bases(), N_ORIENTATIONS, strict=True)
            for power in range(n_orientations)
        ]
    )
    tiles.flags.writeable = False
    return tiles


def _draw_bases() -> list[NDArray[np.float32]]:
    bases = [_draw_polygon(_outline(name)) for name in SHAPE_NAMES]
    return [
        # Antialiasing is not exactly symmetric; two orientations must be.
        np.maximum(base, np.rot90(base, 2)) if n_orientations == 2 else base
        for base, n_orientations in zip(bases, N_ORIENTATIONS, strict=True)
    ]


def _outline(name: str) -> NDArray[np.int32]:
    import cv2  # noqa: PLC0415 - slow to import, and only drawing needs it

    if name == "semicircle":
        return np.array(cv2.ellipse2Poly((16, 22), (13, 13), 0, 180, 360, 5), np.int32)
    return np.array(_OUTLINES[name], dtype=np.int32)


def _draw_polygon(corners: NDArray[np.int32]) -> NDArray[np.float32]:
    import cv2  # noqa: PLC0415

    canvas = np.zeros((TILE_SIZE, TILE_SIZE), dtype=np.uint8)
    cv2.fillPoly(canvas, [corners], color=255, lineType=cv2.LINE_AA)
    return canvas.astype(np.float32) / np.float32(255)
