"""Rows of arrays that may be larger than memory, a chunk at a time."""

import mmap
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, gen_batches

_CHUNK_ENTRIES = 2**23  # 64 MiB in float64


def check_finite(X: NDArray, estimator_name: str) -> None:
    """Raise if X holds NaN or infinity, without a copy of X.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Activations; a memory map will do.
    estimator_name : str
        Named in the error.

    Raises
    ------
    ValueError
        If an entry is not finite.
    """
    for chunk in gen_batches(len(X), max(1, _CHUNK_ENTRIES // X.shape[1])):
        assert_all_finite(X[chunk], estimator_name=estimator_name, input_name="X")
        _forget_pages(X)


def orbit_chunks(
    X: NDArray, table: NDArray, basis: NDArray | None = None
) -> Iterator[tuple[NDArray, NDArray]]:
    """Iterate over orbits, some at a time.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Activations; a memory map will do.
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element, -1 where there is none.
    basis : ndarray of shape (n_features, n_components) or None
        What rows are multiplied by.

    Yields
    ------
    orbits : ndarray of shape (n_chunk, order, n_features or n_components)
        Rows in float64; those that are missing hold anything.
    observed : ndarray of shape (n_chunk, order), dtype bool
        False where a row is missing.
    """
    n_orbits = max(1, _CHUNK_ENTRIES // (table.shape[1] * X.shape[1]))
    for start in range(0, len(table), n_orbits):
        rows = table[start : start + n_orbits]
        orbits = X[rows].astype(np.float64)
        _forget_pages(X)
        yield orbits if basis is None else orbits @ basis, rows >= 0


def _forget_pages(X: NDArray) -> None:
    """Let go of the pages of a file that were read.

    They would count as this process's memory until the system wants them back, so
    that a large file would seem not to fit.
    """
    mode = None
    while isinstance(X, np.ndarray):
        mode, X = getattr(X, "mode", mode), X.base
    # A private map ("c") would lose what was written to it.
    if isinstance(X, mmap.mmap) and mode in {"r", "r+"} and sys.platform != "win32":
        X.madvise(mmap.MADV_DONTNEED)
