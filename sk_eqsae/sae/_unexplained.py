"""How much of what a group does to activations M leaves unexplained."""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone

from ..groups._element_matrices import moved_by_all
from ..groups._orbit_table import are_held_out

_HELD_OUT = 0.25  # share of the inputs whose orbits judge M


def unexplained_moves(
    fitter: BaseEstimator,
    X: NDArray,
    table: NDArray,
    *,
    seed: int,
    **metadata: ArrayLike,
) -> float:
    """Share of the moves along orbits that M, fitted on other inputs, leaves."""
    # ``sum ||x_g - M_g x_e||^2 / sum ||x_g - x_e||^2`` with x_e the canonical row: 0
    # where M explains all or nothing moves, 1 where it is no better than M = I.
    held_out = are_held_out(table, metadata["groups"], _HELD_OUT, seed)
    if held_out.all():
        raise ValueError(
            "n_free='auto' judges M on inputs that it is not fitted on, so it needs "
            "two or more, found 1. Give more inputs or set n_free to a number."
        )
    rows = np.sort(table[~held_out][table[~held_out] >= 0])
    parts = {name: np.asarray(values)[rows] for name, values in metadata.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit on all orbits gives them
        judged = clone(fitter).fit(X[rows], None, **parts)
    unexplained, total = _moves(X, table[held_out], judged)
    return min(1.0, unexplained / total) if total > 0 else 0.0


def _moves(X: NDArray, table: NDArray, judged: BaseEstimator) -> tuple[float, float]:
    """Sums of squares of what M leaves of the moves, and of the moves."""
    unexplained = total = 0.0
    canonical = X[table[:, 0]].astype(np.float64)
    for element, moved in moved_by_all(judged, canonical):
        seen = table[:, element] >= 0
        rows = X[table[seen, element]]
        unexplained += np.square(rows - moved[seen]).sum()
        total += np.square(rows - canonical[seen]).sum()
    return float(unexplained), float(total)
