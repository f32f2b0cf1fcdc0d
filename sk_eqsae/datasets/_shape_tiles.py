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
    "tee": [(4, 5), (27, 5), (27, 11), (19, 11), (19, 27), (12, 27), (12, 11), (4, 11)],
    "cup": [(5, 5), (10, 5), (10, 21), (21, 21), (21, 5), (26, 5), (26, 26), (5, 26)],
}


def tile_index(
    shape: NDArray[np.int64], orientation: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Row of `draw_tiles` that shows a shape in an orientation; arrays of one shape."""
    return _FIRST_TILE[shape] + orientation


def turned(
    shape: NDArray[np.int64], orientation: NDArray[np.int64], power: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Shape and orientation per quadrant, of shape (n, 4), after quarter-turns."""
    power = np.broadcast_to(power, len(shape))[:, np.newaxis]
    source = (np.arange(4) - power) % 4
    shape = np.take_along_axis(shape, source, axis=1)
    orientation = np.take_along_axis(orientation, source, axis=1)
    return shape, (orientation + power) % N_ORIENTATIONS[shape]


@cache
def draw_tiles() -> NDArray[np.float32]:
    """Every shape in each of its orientations, of shape (28, 32, 32), from 0 to 1."""
    # A shape is drawn once and then turned pixel by pixel, so that a rotated image
    # equals the image of the rotated labels to the bit.
    tiles = np.stack(
        [
            np.rot90(_draw_upright(name, n_orientations), power)
            for name, n_orientations in zip(SHAPE_NAMES, N_ORIENTATIONS, strict=True)
            for power in range(n_orientations)
        ]
    )
    tiles.flags.writeable = False
    return tiles


def _draw_upright(name: str, n_orientations: int) -> NDArray[np.float32]:
    import cv2  # noqa: PLC0415 - slow to import, and only drawing needs it

    if name == "semicircle":
        outline = cv2.ellipse2Poly((16, 22), (13, 13), 0, 180, 360, 5)
    else:
        outline = _OUTLINES[name]
    canvas = np.zeros((TILE_SIZE, TILE_SIZE), dtype=np.uint8)
    corners = np.array(outline, dtype=np.int32)
    cv2.fillPoly(canvas, [corners], color=255, lineType=cv2.LINE_AA)
    tile = canvas.astype(np.float32) / np.float32(255)
    # Antialiasing is not exactly symmetric; two orientations must be.
    return np.maximum(tile, np.rot90(tile, 2)) if n_orientations == 2 else tile
