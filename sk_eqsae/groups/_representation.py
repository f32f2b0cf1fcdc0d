"""From almost a representation of a finite group to an exact one."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import polar

_CONVERGED = 1e-13
_MAX_ITER = 60
_STALLED = 0.9  # an error that shrinks by less than this factor will not converge
_AMBIGUOUS = 0.05  # square defect above which a direction is set apart
_LARGEST_FRAME = 4096  # rows of a matrix whose eigenvectors take some seconds
_GAP = 1e-8  # eigenvalues that are closer belong to one irrep


def homomorphism_error(Q: NDArray, product: NDArray) -> float:
    """Largest distance between Q_g Q_h and Q_gh, per direction.

    Parameters
    ----------
    Q : ndarray of shape (order, n, n)
        One matrix per group element.
    product : ndarray of shape (order, order)
        Multiplication table.

    Returns
    -------
    error : float
        Maximum over pairs of the Frobenius norm over the root of n.
    """
    root = np.sqrt(max(Q.shape[1], 1))
    return max(
        float(np.linalg.norm(Q[g] @ Q - Q[product[g]], axis=(1, 2)).max()) / root
        for g in range(len(Q))
    )


def exact_representation(T: NDArray, product: NDArray) -> NDArray:
    """Orthogonal representation of a group near to given matrices.

    Parameters
    ----------
    T : ndarray of shape (order, n, n)
        One matrix per group element, estimates of an orthogonal representation;
        element 0 is the identity.
    product : ndarray of shape (order, order)
        Multiplication table.

    Returns
    -------
    Q : ndarray of shape (order, n, n)
        An exact orthogonal representation: :func:`nearest_representation`, or where
        that would take too long :func:`averaged_representation`, which explains
        slightly less of activations that transform ambiguously.
    """
    if T.shape[0] * T.shape[1] <= _LARGEST_FRAME:
        return nearest_representation(T, product)
    return averaged_representation(T, product)


def averaged_representation(T: NDArray, product: NDArray) -> NDArray:
    """Orthogonal representation by averaging an almost homomorphism.

    Repeats ``Q_g <- polar(mean over h of Q_gh Q_h')`` as Grove, Karcher and Ruh do
    [1]_; the error falls quadratically. Directions in which it stalls, because the
    matrices contradict each other there, are set apart and get the representation of
    :func:`nearest_representation`.

    Parameters
    ----------
    T : ndarray of shape (order, n, n)
        One matrix per group element; element 0 is the identity.
    product : ndarray of shape (order, order)
        Multiplication table.

    Returns
    -------
    Q : ndarray of shape (order, n, n)
        An exact orthogonal representation.

    References
    ----------
    .. [1] Grove, Karcher, Ruh. "Group actions and curvature". Inventiones
       mathematicae 23, 1974.
    """
    clear, apart = np.eye(T.shape[1]), np.empty((T.shape[1], 0))
    result = np.zeros_like(T)
    while clear.shape[1]:
        Q, error = _average(np.array([_polar(clear.T @ t @ clear) for t in T]), product)
        if error < _CONVERGED * max(len(T), 10):
            result += clear @ Q @ clear.T
            break
        kept, dropped = _split_by_defect(Q, product)
        apart = np.hstack([apart, clear @ dropped])
        clear = clear @ kept
    if apart.shape[1]:
        result += apart @ nearest_representation(apart.T @ T @ apart, product) @ apart.T
    return result


def nearest_representation(T: NDArray, product: NDArray) -> NDArray:
    """Orthogonal representation on the leading invariant subspace.

    The matrices T_g = Y' P_g Y are seen as overlaps of a frame Y with its moved
    copies P_g Y. The copies together span a space on which the group acts exactly.
    Its n leading directions, those that the copies share, are invariant and make the
    representation. A copy of an irrep that does not fit whole into n directions is
    left out; the group leaves the directions that it would have taken alone.

    Parameters
    ----------
    T : ndarray of shape (order, n, n)
        One matrix per group element; element 0 is the identity.
    product : ndarray of shape (order, order)
        Multiplication table.

    Returns
    -------
    Q : ndarray of shape (order, n, n)
        An exact orthogonal representation.
    """
    order, n = T.shape[:2]
    inverse = np.argmin(product, axis=1)  # element 0 is the identity
    overlap = T[product[inverse]]  # [g, h] holds T of g^-1 h
    overlap = overlap.transpose(0, 2, 1, 3).reshape(order * n, order * n)
    values, vectors = np.linalg.eigh((overlap + overlap.T) / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    n_whole = _last_gap(values, n)
    leading = vectors[:, :n_whole].reshape(order, n, n_whole)
    frame = _polar(leading[0])
    moved = np.einsum("ghij,hik->gjk", leading[product], leading, optimize=True)
    return frame @ moved @ frame.T + np.eye(n) - frame @ frame.T


def _last_gap(values: NDArray, n: int) -> int:
    """Largest cut at n or before that separates no equal eigenvalues."""
    while 0 < n < len(values) and values[n - 1] - values[n] < _GAP:
        n -= 1
    return n


def _average(Q: NDArray, product: NDArray) -> tuple[NDArray, float]:
    error = homomorphism_error(Q, product)
    for _ in range(_MAX_ITER):
        averaged = np.array(
            [
                _polar(np.tensordot(Q[product[g]], Q, axes=((0, 2), (0, 2))))
                for g in range(len(Q))
            ]
        )
        previous, error = error, homomorphism_error(averaged, product)
        if error > _STALLED * previous:
            return (averaged, error) if error < previous else (Q, previous)
        Q = averaged
    return Q, error


def _split_by_defect(Q: NDArray, product: NDArray) -> tuple[NDArray, NDArray]:
    """Directions with a small and with a large defect, at least one of the latter."""
    defect = np.zeros(Q.shape[1:])
    for g in range(len(Q)):
        difference = Q[g] @ Q - Q[product[g]]
        defect += np.tensordot(difference, difference, axes=((0, 1), (0, 1)))
    values, vectors = np.linalg.eigh(defect / len(Q) ** 2)
    kept = values < min(_AMBIGUOUS, values[-1])
    return vectors[:, kept], vectors[:, ~kept]


def _polar(matrix: NDArray) -> NDArray:
    return polar(matrix)[0] if matrix.size else matrix
