"""How good a reconstruction is, for every room."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from ._estimator import as_array
from ._rows import Spread, norm

_ROUNDING = 8 * np.finfo(np.float64).eps


def fvu(X: ArrayLike, reconstruction: ArrayLike) -> float:
    r"""Fraction of variance unexplained, against the per-feature mean of X.

    All squared errors over all squared deviations from the mean of the rows:

    .. math::

        \mathrm{FVU} = \frac{\sum_b \|x_b - \hat x_b\|^2}{\sum_b \|x_b - \bar x\|^2}

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Activations.
    reconstruction : array-like of shape (n_rows, n_features)
        Their reconstruction. One row, of shape (1, n_features) or (n_features,), is
        taken for all.

    Returns
    -------
    fvu : float
        0 is perfect, and predicting the mean scores exactly 1. Without variance, or
        with no more than rounding makes: 0 if rows are reproduced exactly, else 1.

    Raises
    ------
    TypeError, ValueError
        If one of them is sparse or of another shape, or X is not finite.

    Notes
    -----
    1 - FVU is scikit-learn's variance-weighted R2, except that errors in constant
    features count, too.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.inspection import fvu
    >>> X = np.array([[0.0, 1.0], [2.0, 3.0]])
    >>> fvu(X, X), fvu(X, X.mean(axis=0, keepdims=True))
    (0.0, 1.0)
    """
    X = check_array(as_array(X), dtype=np.float64, input_name="X")
    made = check_array(
        as_array(reconstruction, "reconstruction"),
        dtype=np.float64,
        ensure_2d=False,
        ensure_all_finite=False,  # one that overflows has a FVU, too
        input_name="reconstruction",
    )
    if made.shape not in (X.shape, (1, X.shape[1]), X.shape[1:]):
        raise ValueError(
            f"X has shape {X.shape}, but reconstruction {made.shape}. Give one "
            "reconstruction for each row, with as many features."
        )
    return fvu_of_chunks([(X, made)])


def fvu_of_chunks(chunks: Iterable[tuple[ArrayLike, Any]]) -> float:
    """Same as :func:`fvu`, up to rounding, of rows that come some at a time."""
    spread, missed = Spread(), 0.0
    low, high = np.inf, -np.inf
    for rows, reconstruction in chunks:
        X = np.asarray(rows, dtype=np.float64)
        spread.add(X)
        missed = np.hypot(missed, norm(X - reconstruction))
        low, high = np.minimum(low, X.min(axis=0)), np.maximum(high, X.max(axis=0))
    if spread.norm == 0 or are_constant(np.stack([low, high])).all():
        return float(missed != 0)
    with np.errstate(over="ignore"):
        return float(np.square(missed / spread.norm))


def are_constant(X: NDArray) -> NDArray[np.bool_]:
    """Which features of X (n_rows, n_features) vary by no more than rounding."""
    # the mean of equal rows is rounded, which leaves a variance of 1e-34
    low, high = X.min(axis=0), X.max(axis=0)
    return high - low <= _ROUNDING * np.maximum(-low, high)
