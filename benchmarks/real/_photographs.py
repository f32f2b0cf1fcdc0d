"""Square crops of photographs."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
LEAST_SIDE = 256  # of a photograph, in pixels
SIDE = 130  # of a crop


def crops(
    folder: Path | None, n_crops: int, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Cut squares of random places and sizes out of photographs, as many of each.

    Without a folder the photographs are the two of scikit-learn.

    Returns
    -------
    images : ndarray of shape (n_crops, 3, 130, 130)
        Red, green and blue.
    photograph : ndarray of shape (n_crops,)
        Which one a crop is of.
    """
    photographs = [*_read(folder)] if folder else load_sample_images().images
    if not photographs:
        raise ValueError(f"no photograph of {LEAST_SIDE} pixels and more in {folder}.")
    rng = np.random.default_rng(seed)
    number = np.arange(n_crops) % len(photographs)
    images = [_crop(photographs[i], rng) for i in number]
    return np.stack(images).transpose(0, 3, 1, 2), number


def _read(folder: Path):
    """Photographs of which no other has the same small picture."""
    seen = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.is_symlink():
            continue
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None or min(image.shape[:2]) < LEAST_SIDE:
            continue
        small = cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).astype(int)
        if any(np.abs(small - other).mean() < 4 for other in seen):
            continue  # the same in another size or format
        seen.append(small)
        yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _crop(image, rng):
    side = int(min(image.shape[:2]) * rng.uniform(0.3, 1.0))
    top, left = (rng.integers(0, length - side + 1) for length in image.shape[:2])
    square = image[top : top + side, left : left + side]
    return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def centre(images: NDArray, size: int) -> NDArray:
    """Cut squares of a size out of the middle."""
    first = (images.shape[-1] - size) // 2
    return images[..., first : first + size, first : first + size]
