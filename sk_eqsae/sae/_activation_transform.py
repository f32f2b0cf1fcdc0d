"""M, fitted for the group that an autoencoder is fitted for."""

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone

from ..groups import FiniteGroup


def fit_activation_transform(
    fitter: BaseEstimator,
    group: FiniteGroup,
    X: ArrayLike,
    *,
    groups: ArrayLike | None,
    power: ArrayLike | None,
) -> BaseEstimator:
    """Fit a clone of a fitter, and see that it is of the same group.

    Parameters
    ----------
    fitter : estimator
        How to fit M.
    group : FiniteGroup
        The group of the orbits.
    X : array-like of shape (n_rows, n_features)
        Activations.
    groups : array-like of shape (n_rows,) or None
        Orbit id of each row.
    power : array-like of shape (n_rows,) or (n_rows, n_generators) or None
        Powers of the generators of each row.

    Returns
    -------
    fitted : estimator
        The clone.

    Raises
    ------
    ValueError
        If it has been fitted for another group.
    """
    fitted = clone(fitter).fit(X, None, groups=groups, power=power)
    if fitted.group_ != group:
        raise ValueError(
            f"activation_transform was fitted for {fitted.group_}, but the orbits are "
            f"of {group}. Fit it for the same group."
        )
    return fitted
