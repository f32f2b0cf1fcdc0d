"""Second moments of orbits: all that the exact law needs of the data."""

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

_CHUNK_ENTRIES = 2**22  # 32 MiB in float64


def orbit_moments(X: NDArray, table: NDArray, product: NDArray) -> NDArray:
    """Sum ``outer(x_gh, x_h)`` over orbits and elements h, for each element g.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Activations.
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element, none missing.
    product : ndarray of shape (order, order)
        Multiplication table of the group.

    Returns
    -------
    moments : ndarray of shape (order, n_features, n_features)
        One matrix per element, in float64.
    """
    inverse = np.argmin(product, axis=1)  # element 0 is the identity
    moments = np.empty((len(product), X.shape[1], X.shape[1]))
    for g in range(len(product)):
        if inverse[g] < g:
            moments[g] = moments[inverse[g]].T
            continue
        after, before = pairs_of(table, product, g)
        moments[g] = sum_of_products(X, after, before)
    return moments


def sum_of_products(X: NDArray, after: NDArray, before: NDArray) -> NDArray:
    """Sum ``outer(X[after], X[before])`` in float64, a chunk of rows at a time.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Activations; a memory map will do.
    after, before : ndarray of shape (n_pairs,)
        Rows.

    Returns
    -------
    total : ndarray of shape (n_features, n_features)
        The sum.
    """
    total = np.zeros((X.shape[1], X.shape[1]))
    for chunk in gen_batches(len(after), max(1, _CHUNK_ENTRIES // X.shape[1])):
        left, right = X[after[chunk]], X[before[chunk]]
        total += left.T.astype(np.float64) @ right.astype(np.float64)
    return total


def pairs_of(table: NDArray, product: NDArray, g: int) -> tuple[NDArray, NDArray]:
    """List the rows of an orbit that differ by g.

    Parameters
    ----------
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element, -1 where there is none.
    product : ndarray of shape (order, order)
        Multiplication table of the group.
    g : int
        Element.

    Returns
    -------
    after, before : ndarray of shape (n_pairs,)
        Rows x_gh and x_h, over all orbits and elements h with both.
    """
    before, after = table.ravel(), table[:, product[g]].ravel()
    both = (before >= 0) & (after >= 0)
    return after[both], before[both]
