"""How much of what a group does to activations M leaves unexplained."""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone

from ..groups._element_matrices import matrices_of, r2_of_sample
from ..groups._orbit_table import are_held_out

_HELD_OUT = 0.25  # share of the inputs whose orbits judge M


def left_by_m(
    fitter: BaseEstimator,
    X: NDArray,
    table: NDArray,
    *,
    seed: int,
    **metadata: ArrayLike,
) -> float:
    """1 - R2 of M, fitted on other inputs, on held-out orbits."""
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
    return 1 - r2_of_sample(matrices_of(judged), X, table[held_out])[0]
