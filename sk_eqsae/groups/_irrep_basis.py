"""Coordinates of the activations in which a group acts on few of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, eigh
from sklearn.base import BaseEstimator

from ._element_matrices import ElementMatrices, matrices_of
from ._group import FiniteGroup, generator_elements, multiplicities

_LAW = 1e-5  # distance from the group's law at which a basis is refused
_WHOLE = 0.1  # distance of multiplicities from whole numbers, likewise
_CHUNK_ENTRIES = 2**22  # 32 MiB in float64


class IrrepBasis(NamedTuple):
    """Coordinates ``y = to_irreps @ x`` in which M_g is orthogonal and in blocks."""

    # In them M_g is block-diagonal, one block ``kron(rho_g, I_m)`` for each irrep rho
    # that occurs m times.

    to_irreps: NDArray  # (n_features, n_features)
    from_irreps: NDArray  # its inverse
    multiplicities: NDArray  # (n_irreps,)


def irrep_basis(activation_transform: BaseEstimator) -> IrrepBasis:
    """Find the coordinates in which a fitted M, of an exact law, is in blocks."""
    # Lengths in them are those of the metric that the group keeps, ``S = mean over g of
    # M_g' M_g``, so that all copies M_g d of a vector are equally long; to_irreps is
    # orthogonal where the matrices are. Matrices that do not obey the group's law are a
    # ValueError.
    return basis_of_matrices(matrices_of(activation_transform))


def basis_of_matrices(matrices: ElementMatrices) -> IrrepBasis:
    """Find the same from the matrices themselves."""
    group = matrices.group
    metric, counts = _metric_and_multiplicities(matrices)
    dims = np.array([irrep.dim for irrep in group.irreps])
    whole = np.rint(counts).astype(np.int64)
    if np.abs(counts - whole).max() > _WHOLE or whole @ dims != len(metric):
        _raise_no_law(group)
    root, inverse_root = _roots(metric)
    frames = _frames(matrices, whole, root, inverse_root)
    rotation = np.vstack(frames)
    basis = IrrepBasis(rotation @ root, inverse_root @ rotation.T, whole)
    if _error(basis, matrices) > _LAW:
        _raise_no_law(group)
    return basis


def irrep_block(group: FiniteGroup, counts: NDArray, element: int) -> NDArray:
    """Matrix of an element in the coordinates of a basis with such multiplicities."""
    pairs = zip(group.irreps, counts, strict=True)
    return block_diag(
        *(np.kron(irrep.matrices[element], np.eye(m)) for irrep, m in pairs if m)
    )


def _raise_no_law(group: FiniteGroup) -> NoReturn:
    raise ValueError(
        f"the matrices do not obey the law of {group}: fit them with "
        "ActivationTransformFitter(group_law='exact')."
    )


def _metric_and_multiplicities(matrices: ElementMatrices) -> tuple[NDArray, NDArray]:
    group = matrices.group
    metric = np.zeros(matrices.generators.shape[1:])
    character = np.empty(group.order)
    for element, matrix in matrices.each():
        metric += matrix.T @ matrix
        character[element] = np.trace(matrix)
    return metric / group.order, multiplicities(group, character)


def _roots(metric: NDArray) -> tuple[NDArray, NDArray]:
    values, vectors = eigh(metric)
    roots = np.sqrt(values)
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T


def _frames(
    matrices: ElementMatrices, counts: NDArray, root: NDArray, inverse_root: NDArray
) -> list[NDArray]:
    """Orthonormal directions (dim * n_copies, n) of each irrep, in root coordinates."""
    # For any v, the vectors ``T_c v`` with ``T_c = dim / order sum_g rho_c0(g) Q_g``
    # are moved among themselves as rho says, and are orthogonal and equally long. What
    # Gram and Schmidt make of those of several v are so, too: the copies of rho. As the
    # v are always the same, only M decides the directions.
    starts = np.random.default_rng(0).standard_normal((counts.max(), len(root)))
    present = [(i, m) for i, m in zip(matrices.group.irreps, counts, strict=True) if m]
    sums = [np.zeros((irrep.dim, m, len(root))) for irrep, m in present]
    for elements, moved in _chunks(matrices, starts @ inverse_root):
        for i, (irrep, m) in enumerate(present):
            rho = irrep.matrices[elements, :, 0]
            sums[i] += np.tensordot(rho, moved[:, :m], axes=(0, 0))
    return [_orthonormal_copies(total @ root) for total in sums]


def _chunks(
    matrices: ElementMatrices, X: NDArray
) -> Iterator[tuple[list[int], NDArray]]:
    """Some elements at a time, and X moved by them, (n_elements, n_rows, n)."""
    size = max(1, _CHUNK_ENTRIES // X.size)
    moved = matrices.moved(X)
    while some := list(islice(moved, size)):
        elements, rows = zip(*some, strict=True)
        yield list(elements), np.array(rows)


def _orthonormal_copies(directions: NDArray) -> NDArray:
    """Make the copies (dim, n_copies, n) of an irrep orthonormal, one after another."""
    dim, _, n = directions.shape
    columns = directions.transpose(2, 1, 0).reshape(n, -1)  # copy by copy
    orthonormal, triangle = np.linalg.qr(columns)
    orthonormal *= np.sign(np.diag(triangle))
    return orthonormal.reshape(n, -1, dim).transpose(2, 1, 0).reshape(-1, n)


def _error(basis: IrrepBasis, matrices: ElementMatrices) -> float:
    """Largest distance of a generator from its block, over the root of n_features."""
    group, counts = matrices.group, basis.multiplicities
    distances = [
        np.linalg.norm(
            basis.to_irreps @ matrix @ basis.from_irreps
            - irrep_block(group, counts, element)
        )
        for matrix, element in zip(
            matrices.generators, generator_elements(group), strict=True
        )
    ]
    return float(max(distances)) / len(basis.to_irreps) ** 0.5
