"""When the exact law is not to be trusted."""

import warnings

import numpy as np
from numpy.typing import NDArray

from ._closed_form import ExactLaw
from ._moments import OrbitMoments

_ROWS_PER_DIRECTION = 2
_ROUNDED = 1e-10  # order error from which the law is not exact for all purposes


def warn_if_untrustworthy(law: ExactLaw, moments: OrbitMoments) -> None:
    """Warn of too few rows, or of activations that do not follow the group.

    With 2 rows for each direction with variance, R2 on orbits that were not fitted
    is 0.01 below its ceiling of 0.99 and 0.2 below one of 0.8; with 1.5 it is 0.03
    and 0.5 below, with 1 row any matrix fits. That holds for C2, C4 and D4 alike.

    Parameters
    ----------
    law : ExactLaw
        The fitted law.
    moments : OrbitMoments
        What it was fitted on.

    Warns
    -----
    UserWarning
        If there are fewer rows than that, or if moving rows by M is worse than
        predicting their mean.
    """
    if moments.n_rows < _ROWS_PER_DIRECTION * law.rank:
        needed = -(-_ROWS_PER_DIRECTION * law.rank // moments.group.order)
        warnings.warn(
            f"M is not to be trusted: {moments.n_orbits} orbits with {moments.n_rows} "
            f"rows are too few for the {law.rank} directions in which they vary. Give "
            f"{needed} orbits or more, or set n_components to use fewer directions.",
            stacklevel=6,
        )
    elif explained(law, moments) < 0:
        warnings.warn(
            "M is not to be trusted: it explains less of the activations than their "
            "mean does, so they do not follow the group. Look for wrong groups or "
            "power, or for a layer that does not keep the symmetry.",
            stacklevel=6,
        )


def explained(law: ExactLaw, moments: OrbitMoments) -> float:
    """R2 of M over all pairs of rows of whole orbits, from the moments.

    Parameters
    ----------
    law : ExactLaw
        The fitted law.
    moments : OrbitMoments
        What it was fitted on.

    Returns
    -------
    r2 : float
        1 is perfect; 0 is as good as the mean of all rows. 1 if there are orbits
        with missing rows or no variance.
    """
    order = moments.group.order
    variance = np.square(law.whitening.root)
    mean = law.whitening.vectors.T @ moments.total / np.sqrt(moments.n_rows)
    centred = variance.sum() - mean @ mean
    if moments.pairs is not None or centred <= 1e-9 * variance.sum():
        return 1.0
    unclear = variance.sum()
    for frame, values in zip(
        law.representation.frames, law.representation.values, strict=True
    ):
        unclear -= variance @ np.square(frame).sum(axis=1) @ values / order
    return float(1 - 2 * unclear / centred * order / (order - 1))


def warn_if_rounded(order_error: float, generators: NDArray) -> None:
    """Warn of matrices that obey the law less well than they should.

    Even the exact matrices, computed with more digits and rounded to float64, are
    about ``order * eps * norm^2`` away from the law, and products of rounded
    matrices lose some more; a Newton step in float64 adds errors of that size.

    Parameters
    ----------
    order_error : float
        Largest distance of a relation from the identity.
    generators : ndarray of shape (n_generators, n, n)
        The matrices.

    Warns
    -----
    UserWarning
        If the order error is above 1e-10.
    """
    if order_error <= _ROUNDED:
        return
    norm = np.linalg.norm(generators, 2, axis=(1, 2)).max()
    warnings.warn(
        "M is not to be trusted in all digits: the group's law holds to "
        f"{order_error:.0e}, because M has norm {norm:.0e} and float64 rounds so "
        "large entries. Directions with hardly any variance are moved into ones with "
        "much; set n_components to leave them alone, if the score allows.",
        stacklevel=5,
    )
