"""Coordinates of the activations in which a group acts on few of them at a time."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, eigh

from ._group import FiniteGroup
from ._irreps import Irrep

_LAW = 1e-5  # distance from the group's law at which a basis is refused


class IrrepBasis(NamedTuple):  # numpydoc ignore=PR02
    """Coordinates ``y = to_irreps @ x`` in which M_g is orthogonal and in blocks.

    In them M_g is block-diagonal, one block ``kron(rho_g, I_m)`` for each irrep rho
    that occurs m times.

    Parameters
    ----------
    to_irreps, from_irreps : ndarray of shape (n_features, n_features)
        The change of coordinates and its inverse.
    multiplicities : ndarray of shape (n_irreps,)
        How often each irrep of the group occurs.
    """

    to_irreps: NDArray
    from_irreps: NDArray
    multiplicities: NDArray


def irrep_basis(matrices: NDArray, group: FiniteGroup) -> IrrepBasis:
    """Find the coordinates in which an exact representation is in blocks.

    Lengths in them are those of the metric that the group keeps,
    ``S = mean over g of M_g' M_g``, so that all copies M_g d of a vector are equally
    long.

    Parameters
    ----------
    matrices : ndarray of shape (order, n_features, n_features)
        M_g, in the order of the group's elements.
    group : FiniteGroup
        The group.

    Returns
    -------
    basis : IrrepBasis
        The coordinates; ``to_irreps`` is orthogonal where the matrices are.

    Raises
    ------
    ValueError
        If the matrices do not obey the group's law.
    """
    stacked = matrices.reshape(-1, matrices.shape[2])
    root, inverse_root = _roots(stacked.T @ stacked)
    scale = group.order**0.5
    root, inverse_root = root / scale, inverse_root * scale
    moved = root @ matrices @ inverse_root
    frames = [_frames(irrep, moved, group.order) for irrep in group.irreps]
    rotation = np.vstack([f.transpose(1, 2, 0).reshape(-1, len(f)) for f in frames])
    multiplicities = np.array([frame.shape[2] for frame in frames])
    blocks = irrep_blocks(group, multiplicities)
    if len(rotation) != len(root) or _error(rotation, moved, blocks) > _LAW:
        raise ValueError(
            f"the matrices do not obey the law of {group}: fit them with "
            "ActivationTransformFitter(group_law='exact')."
        )
    return IrrepBasis(rotation @ root, inverse_root @ rotation.T, multiplicities)


def irrep_blocks(group: FiniteGroup, multiplicities: NDArray) -> list[NDArray]:
    """Matrix of each element in the coordinates of an irrep basis.

    Parameters
    ----------
    group : FiniteGroup
        The group.
    multiplicities : ndarray of shape (n_irreps,)
        How often each irrep occurs.

    Returns
    -------
    blocks : list of ndarray of shape (n_features, n_features)
        One for each element.
    """
    pairs = list(zip(group.irreps, multiplicities, strict=True))
    return [
        block_diag(*(np.kron(irrep.matrices[g], np.eye(m)) for irrep, m in pairs if m))
        for g in range(group.order)
    ]


def _roots(metric: NDArray) -> tuple[NDArray, NDArray]:
    values, vectors = eigh(metric)
    roots = np.sqrt(values)
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T


def _frames(irrep: Irrep, moved: NDArray, order: int) -> NDArray:
    """Orthonormal directions of each copy, shape (n_features, dim, n_copies).

    For any v, the vectors ``T_c v`` with ``T_c = dim / order sum_g rho_c0(g) Q_g``
    are moved among themselves as rho says, and are orthogonal and equally long.
    """
    rho = irrep.matrices[:, :, 0]
    transfers = irrep.dim / order * np.tensordot(rho, moved, axes=(0, 0))
    values, vectors = eigh((transfers[0] + transfers[0].T) / 2)
    candidates = vectors[:, values > 0.5]
    if irrep.commutant_dim > 1:
        candidates = _one_per_copy(candidates, transfers, irrep.commutant_dim)
    directions = np.einsum("cij,jm->icm", transfers, candidates)
    return directions / np.linalg.norm(directions, axis=0)


def _one_per_copy(
    candidates: NDArray, transfers: NDArray, commutant_dim: int
) -> NDArray:
    """Vectors whose copies of the irrep are orthogonal to one another's.

    Each copy takes `commutant_dim` dimensions of the candidates' span.
    """
    n_copies = candidates.shape[1] // commutant_dim
    rng = np.random.default_rng(0)  # in general position none is near the others
    starts = candidates @ rng.standard_normal((candidates.shape[1], n_copies))
    taken = np.zeros((len(candidates), 0))
    chosen = []
    for start in starts.T:
        vector = start
        for _ in range(2):
            vector = vector - taken @ (taken.T @ vector)
        vector = transfers[0] @ vector
        copy = np.einsum("cij,j->ic", transfers, vector)
        taken = np.hstack([taken, copy / np.linalg.norm(copy, axis=0)])
        chosen.append(vector)
    return np.array(chosen).reshape(n_copies, len(candidates)).T


def _error(rotation: NDArray, moved: NDArray, blocks: list[NDArray]) -> float:
    """Largest distance of a moved basis from what the blocks make of it."""
    distances = [
        np.linalg.norm(rotation @ matrix - block @ rotation)
        for matrix, block in zip(moved, blocks, strict=True)
    ]
    return float(max(distances)) / len(rotation) ** 0.5
