"""Rows that may lie on the disk, read some at a time."""

import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data

from ._shards import Shards

_FLOATS = (np.float64, np.float32)


def is_on_disk(X: Any) -> bool:
    """Say if rows are read from files when they are asked for.

    Parameters
    ----------
    X : object
        A memory map, Shards, or anything else.

    Returns
    -------
    is_on_disk : bool
        Whether X is one of the two.
    """
    return isinstance(X, np.memmap | Shards)


def checked_array(
    estimator: BaseEstimator,
    X: ArrayLike,
    *,
    reset: bool,
    ensure_all_finite: bool = True,
) -> NDArray:
    """Validate X as scikit-learn does.

    Parameters
    ----------
    estimator : estimator
        Whose X it is.
    X : array-like of shape (n_rows, n_features)
        Activations.
    reset : bool
        Whether the estimator learns the number of features.
    ensure_all_finite : bool, default=True
        False leaves NaN and infinity to be found later.

    Returns
    -------
    X : ndarray of shape (n_rows, n_features)
        The rows, as float32 or float64.

    Raises
    ------
    ValueError
        If X is no table of numbers, or of other features than before.
    """
    # sums over rows in another memory order round differently
    checks = {"dtype": _FLOATS, "order": "C", "ensure_all_finite": ensure_all_finite}
    return validate_data(estimator, X, reset=reset, **checks)


def checked_rows(
    estimator: BaseEstimator,
    X: ArrayLike,
    *,
    reset: bool,
    ensure_all_finite: bool = True,
) -> Any:
    """Validate X as scikit-learn does, but leave on the disk what is there.

    Entries of those rows are checked by `read_rows`.

    Parameters
    ----------
    estimator : estimator
        Whose X it is.
    X : array-like of shape (n_rows, n_features)
        Activations.
    reset : bool
        Whether the estimator learns the number of features.
    ensure_all_finite : bool, default=True
        False leaves NaN and infinity in an array, too, to be found later.

    Returns
    -------
    X : ndarray, memmap or Shards of shape (n_rows, n_features)
        Rows to be read by `read_rows`.

    Raises
    ------
    ValueError
        If X is no table of numbers, or of other features than before.
    """
    if not (is_on_disk(X) and _is_table(X)):
        return checked_array(
            estimator, X, reset=reset, ensure_all_finite=ensure_all_finite
        )
    return validate_data(estimator, X, reset=reset, skip_check_array=True)


def _is_table(X: Any) -> bool:
    return X.ndim == 2 and len(X) > 0 and X.dtype.kind in "fiu"


def dtype_in_memory(X: Any) -> np.dtype:
    """Type that rows have when they are read.

    Parameters
    ----------
    X : ndarray, memmap or Shards
        As returned by `checked_rows`.

    Returns
    -------
    dtype : numpy.dtype
        Float32 for floats of 16 or 32 bits, else float64.
    """
    small = X.dtype.kind == "f" and X.dtype.itemsize <= 4
    return np.dtype(np.float32 if small else np.float64)


def read_rows(X: Any, rows: slice | NDArray) -> NDArray:
    """Read some rows, and check their entries if they come from a file.

    Parameters
    ----------
    X : ndarray, memmap or Shards of shape (n_rows, n_features)
        As returned by `checked_rows`.
    rows : slice or ndarray of int
        Which.

    Returns
    -------
    chunk : ndarray of shape (n_chunk, n_features)
        The rows, as float32 or float64.

    Raises
    ------
    ValueError
        If a file holds NaN or infinity.
    """
    if not is_on_disk(X):
        return X[rows]
    chunk = np.array(X[_as_slice(rows)], dtype=dtype_in_memory(X), order="C")
    forget_pages(X)
    assert_all_finite(chunk, input_name="X")
    return chunk


def _as_slice(rows: slice | NDArray) -> slice | NDArray:
    """Neighbours as a slice, which takes less to read."""
    if isinstance(rows, slice) or len(rows) == 0 or (np.diff(rows) != 1).any():
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1)


def forget_pages(X: Any) -> None:
    """Let go of the pages of a file that were read.

    They would count as this process's memory until the system wants them back, so
    that a large file would seem not to fit.

    Parameters
    ----------
    X : object
        Only a memory map, or a view of one, has such pages.
    """
    mode = None
    while isinstance(X, np.ndarray):
        mode, X = getattr(X, "mode", mode), X.base
    # A private map ("c") would lose what was written to it.
    if isinstance(X, mmap.mmap) and mode in {"r", "r+"} and sys.platform != "win32":
        X.madvise(mmap.MADV_DONTNEED)
