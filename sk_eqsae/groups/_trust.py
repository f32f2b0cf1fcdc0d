"""When M is not to be trusted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from .._warnings import warn
from ._element_matrices import moved_by_all
from ._exact_law import ExactLaw
from ._group import FiniteGroup, generator_elements
from ._moments import OrbitMoments

_ROWS_PER_DIRECTION = 2
_ROUNDED = 1e-10  # order error from which the law is not exact for all purposes
_SAMPLE = 1_000  # rows that M is judged on, and
_POSES = 256  # rows whose poses are
_WORSE = 0.01  # of the mean square of rows: more than rounding
_ALIKE = 1e-6  # of the mean square of all moves: a row that is not moved
_STILL = 1e-12  # of the mean square of rows: rounding


def warn_if_no_symmetry(estimator: BaseEstimator, groups: Any, becomes: str) -> None:
    """Warn if nothing says of which symmetry the rows are."""
    if estimator.symmetry is None and groups is None:
        warn(
            f"{type(estimator).__name__} got no groups and power, so it {becomes}. "
            "Pass both to fit, in a Pipeline as STEP__groups= and STEP__power=; "
            "symmetry=1 says that there is no symmetry."
        )


def warn_if_untrustworthy(law: ExactLaw, moments: OrbitMoments) -> None:
    """Warn of too few rows, or of activations that do not follow the group.

    With 2 rows for each direction with variance, R2 on orbits that were not fitted
    is 0.01 below its ceiling of 0.99 and 0.2 below one of 0.8; with 1.5 it is 0.03
    and 0.5 below, with 1 row any matrix fits. That holds for C2, C4 and D4 alike.
    """
    if moments.n_rows < _ROWS_PER_DIRECTION * law.rank:
        needed = -(-_ROWS_PER_DIRECTION * law.rank // moments.group.order)
        warn(
            f"M is not to be trusted: {moments.n_orbits} orbits with {moments.n_rows} "
            f"rows are too few for the {law.rank} directions in which they vary. Give "
            f"{needed} orbits or more, or set n_components to use fewer directions.",
        )
    elif law.r2 < 0:
        warn(
            "M is not to be trusted: it explains less of the activations than their "
            "mean does, so they do not follow the group. Look for wrong groups or "
            "power, or for a layer that does not keep the symmetry.",
        )


def warn_if_rounded(order_error: float, generators: NDArray) -> None:
    """Warn of matrices that obey the law less well than they should.

    Even the exact matrices, computed with more digits and rounded to float64, are
    about ``order * eps * norm^2`` away from the law, and products of rounded
    matrices lose some more; a Newton step in float64 adds errors of that size.
    """
    if order_error <= _ROUNDED:
        return
    norm = np.linalg.norm(generators, 2, axis=(1, 2)).max()
    warn(
        "M is not to be trusted in all digits: the group's law holds to "
        f"{order_error:.0e}, because M has norm {norm:.0e} and float64 rounds so "
        "large entries. Directions with hardly any variance are moved into ones with "
        "much; set n_components to leave them alone, if the score allows.",
    )


def warn_if_worse_than_identity(
    generators: NDArray, X: NDArray, table: NDArray, group: FiniteGroup
) -> None:
    """Warn if M explains less of rows that are a generator apart than M = I does.

    Least squares cannot be worse than M = I on the rows it is fitted to; gradient
    descent can. A sample of the orbits is used.
    """
    table = table[:: max(1, table.size // _SAMPLE)]
    missed = unmoved = squares = 0.0
    for matrix, element in zip(generators, generator_elements(group), strict=True):
        after = table[:, group.multiplication_table[element]]
        seen = (table >= 0) & (after >= 0)
        x, moved = (X[rows[seen]].astype(np.float64) for rows in (table, after))
        missed += np.square(moved - x @ matrix.T).sum()
        unmoved += np.square(moved - x).sum()
        squares += np.square(x).sum()
    if missed > unmoved + _WORSE * squares:
        warn(
            "M explains less of the activations than M = I does: it leaves "
            f"{missed / squares:.2g} of their mean square, where the identity leaves "
            f"{unmoved / squares:.2g}. Lower lr (the learning rate), raise max_epochs, "
            "or set solver='lstsq'.",
            ConvergenceWarning,
        )


def pose_sample(rows: NDArray) -> NDArray:
    """Take some rows, or their numbers, that tell whether poses look alike."""
    return rows[:: max(1, len(rows) // _POSES)]


def warn_if_poses_look_alike(X: NDArray, activation_transform: BaseEstimator) -> None:
    """Warn if M brings most rows back before the group does; looks at a sample."""
    order = activation_transform.symmetry_.order
    if order == 1:
        return
    X = pose_sample(X).astype(np.float64)
    X = X / (np.abs(X).max() or 1.0)  # keeps squares finite
    moves = np.array(
        [
            np.square(moved - X).sum(axis=1)
            for element, moved in moved_by_all(activation_transform, X)
            if element
        ]
    )
    least = max(_ALIKE * moves.mean(), _STILL * np.square(X).sum(axis=1).mean())
    alike = (moves <= least).any(axis=0)
    if alike.mean() > 0.5:
        warn(
            f"Poses are ambiguous: M leaves {alike.mean():.0%} of the rows as they are "
            "under an element that is not the identity, so predict_power cannot tell "
            f"all {order} poses of them apart. Give a smaller group if the "
            "activations repeat before the group does, or a layer that sees the "
            "symmetry.",
        )
