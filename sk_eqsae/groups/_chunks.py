"""Rows of arrays that may be larger than memory, a chunk at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, gen_batches

from .._rows import forget_pages

_CHUNK_ENTRIES = 2**23  # 64 MiB in float64


def check_finite(X: NDArray, estimator_name: str) -> None:
    """Raise if X holds NaN or infinity, without a copy of X.

    Parameters
    ----------
    X : ndarray, memmap or Shards of shape (n_rows, n_features)
        Activations.
    estimator_name : str
        Named in the error.

    Raises
    ------
    ValueError
        If an entry is not finite.
    """
    for chunk in gen_batches(len(X), max(1, _CHUNK_ENTRIES // X.shape[1])):
        assert_all_finite(X[chunk], estimator_name=estimator_name, input_name="X")
        forget_pages(X)


def orbit_chunks(
    X: NDArray, table: NDArray, basis: NDArray | None = None
) -> Iterator[tuple[NDArray, NDArray]]:
    """Iterate over orbits, some at a time.

    Parameters
    ----------
    X : ndarray, memmap or Shards of shape (n_rows, n_features)
        Activations.
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
        orbits = X[rows.ravel()].astype(np.float64).reshape(*rows.shape, -1)
        forget_pages(X)
        yield orbits if basis is None else orbits @ basis, rows >= 0
