"""Closed forms of the generators' matrices: free, orthogonal and exact."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import polar, solve

from ._group import FiniteGroup
from ._moments import orbit_moments, pairs_of, sum_of_products
from ._representation import exact_representation

_RIDGE = 1e-6  # share of the mean eigenvalue
_CUTOFF = 1e-6  # likewise: directions with less variance are left alone


def free_matrix(X: NDArray, table: NDArray, product: NDArray, g: int) -> NDArray:
    """Least squares over all pairs that g maps to one another.

    Minimises ``sum || x_gh - M x_h ||^2 + ridge || M - I ||^2``.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Activations.
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element.
    product : ndarray of shape (order, order)
        Multiplication table.
    g : int
        Element, a generator.

    Returns
    -------
    M : ndarray of shape (n_features, n_features)
        The matrix.
    """
    after, before = _pairs(table, product, g)
    gram = sum_of_products(X, before, before)
    ridge = (_RIDGE * np.trace(gram) / len(gram) or 1.0) * np.eye(len(gram))
    cross = sum_of_products(X, after, before)
    return solve(gram + ridge, (cross + ridge).T, assume_a="pos").T


def orthogonal_matrix(X: NDArray, table: NDArray, product: NDArray, g: int) -> NDArray:
    """Orthogonal M with the least ``sum || x_gh - M x_h ||^2``.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Activations.
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element.
    product : ndarray of shape (order, order)
        Multiplication table.
    g : int
        Element, a generator.

    Returns
    -------
    M : ndarray of shape (n_features, n_features)
        The matrix.
    """
    return polar(sum_of_products(X, *_pairs(table, product, g)))[0]


def exact_matrices(
    X: NDArray,
    table: NDArray,
    group: FiniteGroup,
    start: NDArray | None = None,
) -> tuple[int, NDArray]:
    """Find matrices of all elements that obey the group's law.

    In coordinates in which the rows are white, the matrices ``sum x_gh x_h'`` would
    be an orthogonal representation if M explained everything; the exact one near to
    them is taken back to the activations. Directions without variance stay where
    they are.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Activations.
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element.
    group : FiniteGroup
        The group.
    start : ndarray of shape (order, n_features, n_features) or None
        Matrices to make exact. None takes the moments of the rows, which needs
        orbits without missing rows.

    Returns
    -------
    rank : int
        Number of directions with variance.
    matrices : ndarray of shape (order, n_features, n_features)
        One matrix per element.
    """
    product = group.multiplication_table
    if start is None:
        moments = orbit_moments(X, table, product)
        white, colour = _whitening(moments[0])
        T = white.T @ moments @ white
    else:
        canonical = X[table[:, 0]].astype(np.float64) @ start.transpose(0, 2, 1)
        white, colour = _whitening(np.einsum("gni,gnj->ij", canonical, canonical))
        T = white.T @ start @ colour
    Q = exact_representation(T, product)
    rest = np.eye(X.shape[1]) - colour @ white.T
    return white.shape[1], colour @ Q @ white.T + rest


def _whitening(gram: NDArray) -> tuple[NDArray, NDArray]:
    """Maps to white coordinates of the directions with variance, and back."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > max(_CUTOFF * values.mean(), np.finfo(float).tiny)
    root = np.sqrt(values[kept])
    return vectors[:, kept] / root, vectors[:, kept] * root


def _pairs(table: NDArray, product: NDArray, g: int) -> tuple[NDArray, NDArray]:
    after, before = pairs_of(table, product, g)
    if len(after) == 0:
        raise ValueError(
            "power: no orbit has two rows that are one power of the generator apart, "
            "so the closed form has nothing to learn M from. Add such rows, or set "
            "solver='adam', which also learns from other powers."
        )
    return after, before
