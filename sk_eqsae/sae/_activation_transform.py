"""M, fitted for the group that an autoencoder is fitted for."""

import warnings
from copy import copy

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator

from ..groups import FiniteGroup
from ..groups._element_matrices import element_matrices

_HELD_OUT = 0.25  # share of the orbits that judge M


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
    fitted = _for_group(clone(fitter), group)
    fitted.fit(X, None, groups=groups, power=power)
    _check_group(fitted, group)
    return fitted


def partial_fit_activation_transform(
    fitter: BaseEstimator,
    group: FiniteGroup,
    X: ArrayLike,
    *,
    groups: ArrayLike | None,
    power: ArrayLike | None,
) -> BaseEstimator:
    """Fit a copy of a fitter to more orbits.

    Parameters
    ----------
    fitter : estimator
        How to fit M, or what has been fitted so far.
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
        The copy; a FrozenEstimator stays as it is.

    Raises
    ------
    ValueError
        If it has no partial_fit, or has been fitted for another group.
    """
    if isinstance(fitter, FrozenEstimator):
        return fit_activation_transform(fitter, group, X, groups=groups, power=power)
    if not hasattr(fitter, "partial_fit"):
        raise ValueError(
            f"activation_transform={fitter!r} has no partial_fit. Take one that has, "
            "such as ActivationTransformFitter(), or fit it first and pass it in a "
            "sklearn.frozen.FrozenEstimator."
        )
    fitted = copy(fitter)  # its partial_fit sets new attributes and changes none
    fitted.partial_fit(X, groups=groups, power=power)
    _check_group(fitted, group)
    return fitted


def _for_group(fitter: BaseEstimator, group: FiniteGroup) -> BaseEstimator:
    """Tell a fitter the group, if it would read it from the powers."""
    unknown = "symmetry" in fitter.get_params() and fitter.symmetry is None
    return fitter.set_params(symmetry=group) if unknown else fitter


def _check_group(fitted: BaseEstimator, group: FiniteGroup) -> None:
    if fitted.symmetry_ != group:
        raise ValueError(
            f"activation_transform was fitted for {fitted.symmetry_}, but the orbits are "
            f"of {group}. Fit it for the same group."
        )


def unexplained_moves(
    fitter: BaseEstimator,
    group: FiniteGroup,
    X: NDArray,
    table: NDArray,
    *,
    groups: ArrayLike,
    power: ArrayLike,
    seed: int,
) -> float:
    """Share of what the group does to activations that M does not explain.

    Over orbits that M is not fitted on, with x_e the canonical row::

        sum || x_g - M_g x_e ||^2 / sum || x_g - x_e ||^2

    Parameters
    ----------
    fitter : estimator
        How to fit M.
    group : FiniteGroup
        The group of the orbits.
    X : ndarray of shape (n_rows, n_features)
        Activations.
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element, -1 where there is none.
    groups : array-like of shape (n_rows,)
        Orbit id of each row.
    power : array-like of shape (n_rows,) or (n_rows, n_generators)
        Powers of the generators of each row.
    seed : int
        Decides which orbits M is fitted on.

    Returns
    -------
    share : float
        From 0, M explains all, to 1, no better than M = I or nothing moves.

    Raises
    ------
    ValueError
        If there is only one orbit.
    """
    if len(table) < 2:
        raise ValueError(
            "n_free='auto' judges M on orbits that it is not fitted on, so it needs "
            "two or more, found 1. Give more orbits or set n_free to a number."
        )
    orbits = np.random.default_rng(seed).permutation(len(table))
    held_out, fitted = np.split(orbits, [max(1, int(_HELD_OUT * len(orbits)))])
    rows = np.sort(table[fitted][table[fitted] >= 0])
    parts = {"groups": np.asarray(groups)[rows], "power": np.asarray(power)[rows]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit on all orbits gives them
        judged = fit_activation_transform(fitter, group, X[rows], **parts)
    unexplained, total = _moves(X, table[held_out], element_matrices(judged))
    return min(1.0, unexplained / total) if total > 0 else 1.0


def _moves(X: NDArray, table: NDArray, matrices: NDArray) -> tuple[float, float]:
    """Sums of squares of what M leaves of the moves, and of the moves."""
    unexplained = total = 0.0
    for moved_rows, matrix in zip(table.T, matrices, strict=True):
        seen = moved_rows >= 0
        canonical = X[table[seen, 0]].astype(np.float64)
        moved = X[moved_rows[seen]]
        unexplained += np.square(moved - canonical @ matrix.T).sum()
        total += np.square(moved - canonical).sum()
    return float(unexplained), float(total)
