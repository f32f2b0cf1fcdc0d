"""Matrices of all elements of a group, and the basis in which they are in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import islice
from math import isqrt
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, eigh
from sklearn.base import BaseEstimator

from .._estimator import unfrozen
from .._rows import read_rows
from .._threads import DECOMPOSITION, blas_threads_that_pay, product
from .._warnings import warn
from ._group import FiniteGroup, generator_elements, multiplicities
from ._real_powers import frequency_sample, power_weights, warn_if_ambiguous

_MOST_KEPT = 2**26  # bytes of powers of generators
_POSES = 256  # rows whose poses are looked at
_JUDGES = 100  # orbits that M is judged on, or up to twice as many
_ALIKE = 1e-6  # of the mean square of all moves: a row that is not moved
_STILL = 1e-12  # of the mean square of rows: rounding
_LAW = 1e-5  # distance from the group's law at which a basis is refused
_WHOLE = 0.1  # distance of multiplicities from whole numbers, likewise
_CHUNK_ENTRIES = 2**22  # 32 MiB in float64
_SEEDS = (0, 1)  # another where rows were drawn with the same, in these directions


class ElementMatrices:
    """Products M_1^p1 M_2^p2 ... of powers of generators (n_generators, m, m)."""

    # They act in the coordinates of a basis V (n_features, m) and leave all else alone,
    # M = I + V (M_small - I) V'; without a basis those are the features.
    #
    # Powers are kept once they were asked for: each of them if they all fit into 64 MB,
    # else each up to a step of the root of the order and each multiple of that step,
    # whose products the others are. Where even those are too large none is kept.

    def __init__(
        self,
        group: FiniteGroup,
        generators: NDArray,
        basis: NDArray | None = None,
        most_kept: int | None = None,
    ) -> None:
        self.group, self.generators, self.basis = group, generators, basis
        most_kept = _MOST_KEPT if most_kept is None else most_kept
        size = generators[0].size * 8
        fits = size * sum(group.generator_orders) <= most_kept
        self._steps = [n if fits else isqrt(n - 1) + 1 for n in group.generator_orders]
        self.keeps_powers = fits or 2 * size * sum(self._steps) <= most_kept
        self._kept: dict[tuple[int, int], NDArray] = {}

    def on_features(self) -> ElementMatrices:
        """Give the same without a basis."""
        generators = on_features(self.generators, self.basis)
        return self if self.basis is None else ElementMatrices(self.group, generators)

    def inside(self, X: NDArray) -> NDArray:
        """Coordinates (n_rows, m) of rows (n_rows, n_features)."""
        if self.basis is None:
            return X
        return product(X, self.basis.astype(X.dtype, copy=False))

    def along(self, Y: NDArray) -> NDArray:
        """Rows (n_rows, n_features) that have coordinates (n_rows, m) and no more."""
        if self.basis is None:
            return Y
        return product(Y, self.basis.T.astype(Y.dtype, copy=False))

    def _outside(self, X: NDArray, inside: NDArray, moved: NDArray) -> NDArray:
        """Rows of which coordinates were moved."""
        return moved if self.basis is None else X + self.along(moved - inside)

    def _power(self, generator: int, p: int) -> NDArray:
        """Matrix of g^p, for p from 0 to the order of g."""
        if not self.keeps_powers:
            return np.linalg.matrix_power(self.generators[generator], p)
        steps, rest = divmod(p, self._steps[generator])
        if steps == 0 or rest == 0:
            return self._kept_power(generator, p)
        return self._kept_power(generator, p - rest) @ self._kept_power(generator, rest)

    def _kept_power(self, generator: int, p: int) -> NDArray:
        if (generator, p) not in self._kept:
            matrix = np.linalg.matrix_power(self.generators[generator], p)
            self._kept[generator, p] = matrix
        return self._kept[generator, p]

    def matrix(self, power: NDArray) -> NDArray:
        """Matrix (n_features, n_features) of powers (n_generators,), real or whole."""
        factors = [self._real_power(k, t) for k, t in enumerate(power) if t]
        if len(factors) > 1:
            return on_features(reduce(np.matmul, factors), self.basis)
        identity = np.eye(self.generators.shape[1])
        return on_features(factors[0].copy() if factors else identity, self.basis)

    def _real_power(self, generator: int, t: float) -> NDArray:
        order = self.group.generator_orders[generator]
        if t == np.rint(t):
            return self._power(generator, int(t) % order)
        self._warn_if_guessed(generator, np.eye(self.generators.shape[1]))
        (weights,) = power_weights(np.array([t]), order)
        return sum(w * self._power(generator, p) for p, w in enumerate(weights))

    def act(self, X: NDArray, power: NDArray, *, back: bool = False) -> NDArray:
        """Move each row by its own powers (n_rows, n_generators), or back by them."""
        inside = moved = self.inside(X)
        generators = range(self.group.n_generators)
        for k in generators if back else reversed(generators):
            moved = self._act_with(k, moved, -power[:, k] if back else power[:, k])
        return self._outside(X, inside, moved)

    def _act_with(self, generator: int, X: NDArray, power: NDArray) -> NDArray:
        """Move each row by its own power (n_rows,) of one generator."""
        order = self.group.generator_orders[generator]
        power = power % order
        between = power != np.rint(power)
        moved = np.empty_like(X)
        for p in np.unique(power[~between]):
            rows = np.flatnonzero(power == p)
            moved[rows] = self._moved(X[rows], generator, int(p) % order)
        if between.any():
            self._warn_if_guessed(generator, X[between])
            weights = power_weights(power[between], order).astype(X.dtype)
            moved[between] = sum(
                weights[:, [p]] * self._moved(X[between], generator, p)
                for p in range(order)
            )
        return moved

    def _warn_if_guessed(self, generator: int, X: NDArray) -> None:
        """Warn if rows turn too fast for real powers of a generator."""
        order = self.group.generator_orders[generator]
        some = frequency_sample(X, order)
        powers = range(order)
        warn_if_ambiguous(np.stack([self._moved(some, generator, p) for p in powers]))

    def _moved(self, X: NDArray, generator: int, p: int) -> NDArray:
        if p == 0:
            return X
        return product(X, self._power(generator, p).T.astype(X.dtype, copy=False))

    def moved(self, X: NDArray) -> Iterator[tuple[int, NDArray]]:
        """Each element g once, in any order, and X M_g^T (n_rows, n_features)."""
        inside = self.inside(X)
        for element, moved in self._moved_by_all(inside):
            yield element, self._outside(X, inside, moved)

    def each(self) -> Iterator[tuple[int, NDArray]]:
        """Each element g once, in any order, and M_g (m, m)."""
        identity = np.eye(self.generators.shape[1])
        return ((element, moved.T) for element, moved in self._moved_by_all(identity))

    def stacked(self) -> NDArray:
        """Matrices (order, m, m) of all elements, in their order."""
        matrices = np.empty((self.group.order, *self.generators.shape[1:]))
        for element, matrix in self.each():
            matrices[element] = matrix
        return matrices

    def _moved_by_all(self, X: NDArray) -> Iterator[tuple[int, NDArray]]:
        # The last generator acts first. So rows that it has moved are shared by all
        # elements that end alike, and an element takes little more than one product.
        last = self.group.n_generators - 1
        return self._moved_on(X, last, np.arange(self.group.order))

    def _moved_on(
        self, X: NDArray, generator: int, elements: NDArray
    ) -> Iterator[tuple[int, NDArray]]:
        """Move rows by those generators of elements that have not acted yet."""
        if generator < 0:
            yield int(elements[0]), X
            return
        column = self.group.powers[elements, generator]
        for p, moved in self._moved_by_powers(X, generator, np.unique(column)):
            yield from self._moved_on(moved, generator - 1, elements[column == p])

    def _moved_by_powers(
        self, X: NDArray, generator: int, powers: NDArray
    ) -> Iterator[tuple[int, NDArray]]:
        if self.keeps_powers:
            for p in powers.tolist():
                yield p, self._moved(X, generator, p)
            return
        last, moved = 0, X.astype(np.float64)  # many steps add up what each rounds
        for p in powers.tolist():
            moved = self._moved(moved, generator, p - last)
            last = p
            yield p, moved.astype(X.dtype, copy=False)


def on_features(matrices: NDArray, basis: NDArray | None) -> NDArray:
    """Matrices (..., n, n) of features from those (..., m, m) in a basis (n, m)."""
    if basis is None:
        return matrices
    change = matrices - np.eye(basis.shape[1])
    return np.eye(len(basis)) + basis @ change @ basis.T


# Of each fitter: nothing of it is pickled with it, and it goes when the fitter does.
_KEPT: WeakKeyDictionary[BaseEstimator, ElementMatrices] = WeakKeyDictionary()


def matrices_of(activation_transform: BaseEstimator) -> ElementMatrices:
    """Element matrices of a fitted M of any class that has a method matrix."""
    group, fitter, basis = activation_transform.symmetry_, activation_transform, None
    if factors := getattr(fitter, "_factors", None):  # of a frozen one, too
        generators, basis = factors()
    else:
        fitter = unfrozen(fitter)
        powers = group.power_of(np.array(generator_elements(group)))
        generators = np.array([fitter.matrix(power) for power in powers])
    made, kept = ElementMatrices(group, generators, basis), _KEPT.get(fitter)
    if (
        kept is not None
        and kept.basis is basis
        and kept.group == group
        and np.array_equal(kept.generators, generators)
    ):
        return kept
    if made.keeps_powers:
        made.generators = generators.copy()  # what is written into M has to be seen
        _KEPT[fitter] = made
    return made


def element_matrices(activation_transform: BaseEstimator) -> NDArray:
    """Matrices (order, n_features, n_features) of all elements under a fitted M."""
    return matrices_of(activation_transform).on_features().stacked()


def moved_by_all(
    activation_transform: BaseEstimator, X: NDArray
) -> Iterator[tuple[int, NDArray]]:
    """Each element g of the group once, in any order, and X M_g^T under a fitted M."""
    # That is what ``act`` makes of X for the powers of each element, for little more
    # than one product each, whatever the group.
    return matrices_of(activation_transform).moved(X)


def averaged(activation_transform: BaseEstimator, x: NDArray) -> NDArray:
    """Mean over all g of M_g x (n_features,): the part of x that no g moves."""
    moved = [rows[0] for _, rows in moved_by_all(activation_transform, x[np.newaxis])]
    return np.mean(moved, axis=0)


def r2_of_sample(
    matrices: ElementMatrices, X: NDArray, table: NDArray
) -> tuple[float, float]:
    """R2 of M and of M = I on some orbits, the mean over elements that have rows."""
    # A row of one element is compared with the mean of the rows of that element.
    table = table[(table >= 0).sum(axis=1) > 1]
    table = table[:: max(1, len(table) // _JUDGES)]
    unit = np.abs(X[table[:, 0]]).max() or 1.0  # keeps squares finite
    canonical = X[table[:, 0]].astype(np.float64) / unit
    found = []
    for element, moved in matrices.moved(canonical):
        seen = table[:, element] >= 0
        rows = X[table[seen, element]].astype(np.float64) / unit
        variance = np.square(rows - rows.mean(axis=0)).sum() if len(rows) > 1 else 0.0
        if element and variance > _STILL * np.square(rows).sum():
            left = [np.square(rows - x[seen]).sum() for x in (moved, canonical)]
            found.append(1 - np.array(left) / variance)
    r2, of_identity = np.mean(found, axis=0) if found else (1.0, 1.0)
    return float(r2), float(of_identity)


def warn_if_poses_look_alike(
    activation_transform: BaseEstimator, X: NDArray, rows: NDArray | None = None
) -> bool:
    """Warn if M brings most (of some) rows back before the group does; say if."""
    order = activation_transform.symmetry_.order
    if order == 1:
        return False
    rows = np.arange(len(X)) if rows is None else rows
    X = read_rows(X, rows[:: max(1, len(rows) // _POSES)]).astype(np.float64)
    X = X / (np.abs(X).max() or 1.0)  # keeps squares finite
    moves = np.array(
        [
            np.square(moved - X).sum(axis=1)
            for element, moved in moved_by_all(activation_transform, X)
            if element
        ]
    )
    least = max(_ALIKE * moves.mean(), _STILL * np.square(X).sum(axis=1).mean())
    alike = (moves <= least).any(axis=0).mean()
    if alike > 0.5:
        warn(
            f"Poses are ambiguous: M leaves {alike:.0%} of the rows as they are "
            "under an element that is not the identity, so predict_power cannot tell "
            f"all {order} poses of them apart. Give a smaller group if the "
            "activations repeat before the group does, or a layer that sees the "
            "symmetry."
        )
    return bool(alike > 0.5)


class IrrepBasis(NamedTuple):
    """Coordinates ``y = to_irreps @ x`` in which M_g is orthogonal and in blocks."""

    # In them M_g is block-diagonal, one block ``kron(rho_g, I_m)`` for each irrep rho
    # that occurs m times.

    to_irreps: NDArray  # (n_features, n_features)
    from_irreps: NDArray  # its inverse
    multiplicities: NDArray  # (n_irreps,)


def irrep_basis(activation_transform: BaseEstimator) -> IrrepBasis:
    """Find the coordinates in which a fitted M, of an exact law, is in blocks."""
    matrices = matrices_of(activation_transform).on_features()
    with blas_threads_that_pay(DECOMPOSITION * matrices.generators.shape[1] ** 3):
        return basis_of_matrices(matrices)


def basis_of_matrices(matrices: ElementMatrices) -> IrrepBasis:
    """Find the same from matrices; ones that do not obey the law are a ValueError."""
    # Lengths are those of the metric that the group keeps, ``S = mean over g of
    # M_g' M_g``, so that all copies M_g d of a vector are equally long; to_irreps is
    # orthogonal where the matrices are.
    group, n = matrices.group, matrices.generators.shape[1]
    metric, character = np.zeros((n, n)), np.empty(group.order)
    for element, matrix in matrices.each():
        metric += matrix.T @ matrix / group.order
        character[element] = np.trace(matrix)
    found = multiplicities(group, character)
    counts = np.rint(found).astype(np.int64)
    dims = np.array([irrep.dim for irrep in group.irreps])
    if np.abs(found - counts).max() <= _WHOLE and counts @ dims == n:
        values, vectors = eigh(metric)
        root = (vectors * np.sqrt(values)) @ vectors.T
        inverse_root = (vectors / np.sqrt(values)) @ vectors.T
        for seed in _SEEDS:
            starts = np.random.default_rng(seed).standard_normal((counts.max(), n))
            frames = _frames(matrices, counts, starts @ inverse_root, root)
            rotation = np.vstack(frames)
            basis = IrrepBasis(rotation @ root, inverse_root @ rotation.T, counts)
            if _error(basis, matrices) <= _LAW:
                return basis
    raise ValueError(
        f"the matrices do not obey the law of {group}: fit them with "
        "ActivationTransformFitter(group_law='exact')."
    )


def irrep_block(group: FiniteGroup, counts: NDArray, element: int) -> NDArray:
    """Matrix of an element in the coordinates of a basis with such multiplicities."""
    pairs = zip(group.irreps, counts, strict=True)
    return block_diag(
        *(np.kron(irrep.matrices[element], np.eye(m)) for irrep, m in pairs if m)
    )


def _frames(
    matrices: ElementMatrices, counts: NDArray, starts: NDArray, root: NDArray
) -> list[NDArray]:
    """Orthonormal directions (dim * n_copies, n) of each irrep, in root coordinates."""
    # For any v, the vectors ``T_c v`` with ``T_c = dim / order sum_g rho_c0(g) Q_g``
    # are moved among themselves as rho says, and are orthogonal and equally long. What
    # Gram and Schmidt make of those of several v are so, too: the copies of rho. As the
    # v are always the same, only M decides the directions.
    present = [(i, m) for i, m in zip(matrices.group.irreps, counts, strict=True) if m]
    sums = [np.zeros((irrep.dim, m, len(root))) for irrep, m in present]
    moves = matrices.moved(starts)
    while some := list(islice(moves, max(1, _CHUNK_ENTRIES // starts.size))):
        elements, rows = zip(*some, strict=True)
        moved = np.array(rows)
        for i, (irrep, m) in enumerate(present):
            rho = irrep.matrices[list(elements), :, 0]
            sums[i] += np.tensordot(rho, moved[:, :m], axes=(0, 0))
    return [_orthonormal_copies(total @ root) for total in sums]


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
    elements = generator_elements(group)
    distances = [
        np.linalg.norm(
            basis.to_irreps @ matrix @ basis.from_irreps
            - irrep_block(group, counts, element)
        )
        for matrix, element in zip(matrices.generators, elements, strict=True)
    ]
    return float(max(distances)) / len(basis.to_irreps) ** 0.5
