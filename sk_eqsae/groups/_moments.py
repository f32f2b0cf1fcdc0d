"""Second moments of orbits: all that the closed forms need of the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm, dsyrk

from .._rows import read_rows
from .._threads import blas_threads_that_pay
from ._group import FiniteGroup, Irrep, generator_elements, smallest_parts

_CHUNK_ENTRIES = 2**21  # 16 MiB in float64, which freed memory may hold again
_SAMPLE = 1_000  # rows whose mean is taken off all rows
_LARGE = 100  # times the variance: the most of the mean's square that is left in rows
_ROUNDING = 1e-28  # of the mean's square: no variance, but rounding


class OrbitMoments:
    """Sums over orbits, which orbits can be added to at any time."""

    # Rows are summed less the mean of the first ones, so that a large mean does not
    # round their variance away. A basis (n_features, n_components) is what rows are
    # multiplied by before anything else.

    def __init__(
        self, group: FiniteGroup, *, by_irrep: bool, basis: NDArray | None = None
    ) -> None:
        self.group = group
        self.basis = basis
        irreps = group.irreps if by_irrep else ()
        parts = list(map(smallest_parts, irreps))
        self.irreps = [IrrepMoments(i, *p) for i, p in zip(irreps, parts, strict=True)]
        self.pairs: PairMoments | None = None
        self.shift: NDArray | float = 0.0  # what rows are summed less
        self.total: NDArray | float = 0.0  # sum of rows of orbits summed by irrep
        self.n_rows = 0
        self.n_rows_of_whole = 0  # of orbits summed by irrep
        self.n_orbits = 0

    def add(self, X: NDArray, table: NDArray) -> None:
        """Add the orbits of a table (n_orbits, order); X may be a memory map."""
        with blas_threads_that_pay(len(X) * X.shape[1] ** 2):
            self._add(X, table)
        self.n_rows += int((table >= 0).sum())
        self.n_orbits += len(table)

    def _add(self, X: NDArray, table: NDArray) -> None:
        if self.n_orbits == 0:
            first = table[: max(1, _SAMPLE // self.group.order)]
            orbits, observed = next(self._chunks(X, first))
            self.shift = orbits[observed].mean(axis=0)
        whole = (table >= 0).all(axis=1) & bool(self.irreps)
        for orbits, _ in self._chunks(X, table[whole]):
            self.total = self.total + orbits.sum(axis=(0, 1))
            for irrep in self.irreps:
                irrep.add(orbits)
        for irrep in self.irreps:
            irrep.mirror()
        for orbits, observed in self._chunks(X, table[~whole]):
            pairs = pair_moments(orbits, observed, self.group, self.elements)
            self.pairs = pairs if self.pairs is None else self.pairs + pairs
        self.n_rows_of_whole += int(whole.sum()) * self.group.order

    def _chunks(self, X: NDArray, table: NDArray) -> Iterator[tuple[NDArray, NDArray]]:
        """Orbits less the shift (n_chunk, order, n) in float64, and which rows exist.

        Rows that do not exist hold anything.
        """
        n_orbits = max(1, _CHUNK_ENTRIES // (table.shape[1] * X.shape[1]))
        for start in range(0, len(table), n_orbits):
            rows = table[start : start + n_orbits]
            orbits = read_rows(X, rows.ravel()).reshape(*rows.shape, -1)
            if self.basis is not None:
                orbits = orbits.astype(np.float64) @ self.basis
            yield np.subtract(orbits, self.shift, dtype=np.float64), rows >= 0

    @property
    def elements(self) -> list[int]:
        """List the elements whose pairs of rows are summed: generators, or all."""
        if self.irreps:
            return list(range(1, self.group.order))
        return generator_elements(self.group)

    @property
    def places_of_generators(self) -> list[int]:
        """Find the generators in `elements`."""
        return [self.elements.index(g) for g in generator_elements(self.group)]

    def state(self) -> dict[str, Any]:
        """Give all sums as arrays and plain values; `add` may change its arrays."""
        return {
            "basis": self.basis,
            "irreps": [irrep.state() for irrep in self.irreps],
            "pairs": None if self.pairs is None else list(self.pairs),
            "shift": self.shift,
            "total": self.total,
            "n_rows": self.n_rows,
            "n_orbits": self.n_orbits,
        }

    @classmethod
    def from_state(cls, group: FiniteGroup, state: dict[str, Any]) -> Self:
        """Moments that gave a state; adding orbits to them leaves its arrays alone."""
        by_irrep = bool(state["irreps"])
        moments = cls(group, by_irrep=by_irrep, basis=state["basis"])
        for irrep, its_state in zip(moments.irreps, state["irreps"], strict=True):
            irrep.restore(its_state)
            moments.n_rows_of_whole = irrep.n_orbits * group.order
        moments.n_rows, moments.n_orbits = state["n_rows"], state["n_orbits"]
        moments.shift, moments.total = state["shift"], state["total"]
        if state["pairs"] is not None:
            moments.pairs = PairMoments(*state["pairs"])
        return moments

    def levelled(self, *, use_up: bool) -> tuple[list[IrrepMoments], Level]:
        """Moments by irrep, of rows in which as much of the mean is left as is good.

        To use up frees the sums of the one irrep that the mean is in.
        """
        n = self.n_rows_of_whole
        mean = np.asarray(self.total) / n
        variance = sum(i.square for i in self.irreps) - n * float(mean @ mean)
        found = level(self.shift, self.shift + mean, variance, n)
        trivial, *others = self.irreps
        levelled = trivial.moved(found.move, np.asarray(self.total))
        if use_up:
            trivial.forget()
        return [levelled, *others], found


class IrrepMoments:
    """Second moments of the Fourier coefficients of orbits in one irrep."""

    # An irrep rho, made complex where it then falls into smaller ones, gives an orbit
    # the vectors ``z_b = sum over g of rho(g)[:, b] x_g`` and the moments:
    #
    #     F = sum over orbits and b of z_b z_b^H = sum over g of rho(g) (x) T_g
    #     T_g = sum over orbits and h of outer(x_gh, x_h)
    #
    # As long as there are fewer orbits than features, the vectors themselves are kept,
    # which is smaller and faster to solve.

    def __init__(self, irrep: Irrep, matrices: NDArray, embedding: NDArray) -> None:
        self.irrep = irrep
        self.matrices, self.embedding = matrices, embedding  # of `smallest_parts`
        self.rows: list[NDArray] = []  # real part, imaginary part if there is one
        self.gram: list[NDArray] = []  # real part, half the imaginary part
        self.n_orbits = 0

    def add(self, orbits: NDArray) -> None:
        """Add orbits (n_orbits, order, n_features) in float64, before `mirror`."""
        rows = self._coefficients(orbits)
        self.n_orbits += len(orbits)
        if not self.gram:
            rows = [np.vstack(p) for p in zip(self.rows, rows, strict=False)] or rows
        if not self.gram and self.n_orbits <= orbits.shape[2]:
            self.rows = rows
            return
        self.rows = []
        if not self.gram:
            d = rows[0].shape[1]
            self.gram = [np.zeros((d, d), order="F") for _ in rows]
        # into the sums: numpy's products of wide rows take twice the time, since each
        # of them writes a table of all pairs of features and copies half of it
        for part in rows:
            self.gram[0] = dsyrk(
                1.0, part.T, beta=1.0, c=self.gram[0], lower=1, overwrite_c=1
            )
        if len(rows) == 2:
            imaginary, real = rows[1].T, rows[0].T
            self.gram[1] = dgemm(
                1.0, imaginary, real, 1.0, self.gram[1], trans_b=1, overwrite_c=1
            )

    def mirror(self) -> None:
        """Write the half of a symmetric sum that was not computed."""
        for gram in self.gram[:1]:
            for i in range(len(gram) - 1):
                gram[i, i + 1 :] = gram[i + 1 :, i]

    def _coefficients(self, orbits: NDArray) -> list[NDArray]:
        order, k = self.matrices.shape[:2]
        weights = self.matrices.transpose(2, 1, 0).reshape(k * k, order)
        shape = (len(orbits) * k, k * orbits.shape[2])
        rows = [(weights.real @ orbits).reshape(shape)]
        if np.iscomplexobj(weights):
            rows.append((weights.imag @ orbits).reshape(shape))
        return rows

    def state(self) -> dict[str, Any]:
        """Give the sums as arrays and plain values."""
        return {"rows": self.rows, "gram": self.gram, "n_orbits": self.n_orbits}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the sums of a state."""
        self.rows = list(state["rows"])
        self.gram = [part.copy() for part in state["gram"]]  # `add` writes into them
        self.n_orbits = state["n_orbits"]

    def forget(self) -> None:
        """Free the memory of the sums."""
        self.rows, self.gram = [], []

    def moved(self, move: NDArray, total: NDArray) -> IrrepMoments:
        """Give the trivial irrep's moments after a move is added to all rows.

        No other irrep's moments change by it. The total is the sum of rows before.
        """
        moments = IrrepMoments(self.irrep, self.matrices, self.embedding)
        moments.n_orbits = self.n_orbits
        move = len(self.matrices) * move  # of the sum over an orbit
        moments.rows = [rows + move for rows in self.rows]
        for gram in self.gram:
            half = np.outer(total + 0.5 * self.n_orbits * move, move)
            moments.gram = [gram + half + half.T]
        return moments

    @property
    def square(self) -> float:
        """Share of this irrep in the sum of squares of all rows."""
        parts = [np.vdot(part, part) for part in self.rows]
        return self.weight * float(sum(parts) if parts else np.trace(self.gram[0]))

    @property
    def weight(self) -> float:
        """How often F counts in moments of all irreps together."""
        twice = 2 if self.irrep.kind == "complex" else 1
        return twice * self.matrices.shape[1] / len(self.matrices)

    def share_of_rows(self) -> NDArray:
        """Rows (n_vectors, n_features) whose Gram matrix is `share_of_gram`."""
        k = self.matrices.shape[1]
        parts = [part.reshape(-1, part.shape[1] // k) for part in self.rows]
        return np.sqrt(self.weight) * np.vstack(parts)

    def share_of_gram(self) -> NDArray:
        """Share (n_features, n_features) of this irrep in the Gram matrix of rows."""
        if self.rows:
            rows = self.share_of_rows()
            return rows.T @ rows
        k = self.matrices.shape[1]
        d = len(self.gram[0]) // k
        return self.weight * np.einsum("aiaj->ij", self.gram[0].reshape(k, d, k, d))


def rows_of_irreps(irreps: list[IrrepMoments]) -> NDArray | None:
    """Rows (n_vectors, n_features) of the Gram matrix of all rows, if they are few."""
    if not irreps[0].rows:
        return None
    rows = np.vstack([irrep.share_of_rows() for irrep in irreps])
    return rows if len(rows) < rows.shape[1] else None


def gram_of_irreps(irreps: list[IrrepMoments]) -> NDArray:
    """Gram matrix (n_features, n_features) of all rows."""
    gram = irreps[0].share_of_gram()
    for irrep in irreps[1:]:
        gram += irrep.share_of_gram()
    return gram


def gram_of(rows: list[NDArray]) -> list[NDArray]:
    """Real part of ``sum of z z^H``, and half its imaginary part if there is one."""
    gram = rows[0].T @ rows[0]
    if len(rows) == 1:
        return [gram]
    gram += rows[1].T @ rows[1]
    return [gram, rows[1].T @ rows[0]]


class PairMoments(NamedTuple):
    """Sums over pairs of rows x_gh and x_h, for each of some elements g."""

    before: NDArray  # (n_elements, n, n), sum of outer(x_h, x_h)
    cross: NDArray  # (n_elements, n, n), sum of outer(x_gh, x_h)
    n_pairs: NDArray  # (n_elements,)
    total_before: NDArray  # (n_elements, n), sum of x_h
    total_after: NDArray  # (n_elements, n), sum of x_gh

    def __add__(self, other: PairMoments) -> PairMoments:  # type: ignore[override]
        return PairMoments(*(a + b for a, b in zip(self, other, strict=True)))

    def level(self, i: int, shift: NDArray | float) -> Level:
        """Compare mean and variance of the rows in the pairs of one element."""
        n, before, after = self.n_pairs[i], self.total_before[i], self.total_after[i]
        variance = np.trace(self.before[i]) - before @ before / n
        return level(shift, shift + (before + after) / (2 * n), variance, n)

    def moved(self, i: int, move: NDArray) -> tuple[NDArray, NDArray]:
        """Sums before and cross of one element after a move is added to all rows."""
        half = np.outer(self.total_before[i] + 0.5 * self.n_pairs[i] * move, move)
        cross = self.cross[i] + np.outer(move, self.total_before[i])
        cross += np.outer(self.total_after[i] + self.n_pairs[i] * move, move)
        return self.before[i] + half + half.T, cross


def pair_moments(
    orbits: NDArray, observed: NDArray, group: FiniteGroup, elements: list[int]
) -> PairMoments:
    """Sum over the pairs of orbits (n_orbits, order, n_features) that were observed."""
    sums = []
    for g in elements:
        moved = group.multiplication_table[g]
        both = observed & observed[:, moved]
        x, gx = orbits[both], orbits[:, moved][both]
        sums.append((x.T @ x, gx.T @ x, len(x), x.sum(axis=0), gx.sum(axis=0)))
    return PairMoments(*map(np.array, zip(*sums, strict=True)))


class Level(NamedTuple):
    """What is done about a mean of rows that may be large beside their variance."""

    # M leaves the mean alone, so rows less a part of it say the same of M. Of a mean in
    # which variance would drown, only a part is left in.

    mean: NDArray  # as much of the mean as is left in
    move: NDArray  # what that adds to rows that were summed less a shift
    fixed: NDArray | None  # the whole mean, if M has to be told of it
    rounding: float  # sum of squares that is mere rounding


def level(shift: NDArray | float, mean: NDArray, variance: float, n_rows: int) -> Level:
    """Compare the mean of rows, shift included, with the squares of distances to it."""
    square = n_rows * float(mean @ mean)
    rounding = _ROUNDING * square
    most = _LARGE * variance if variance > rounding else 0.0
    if square <= most:
        return Level(mean, shift + np.zeros_like(mean), None, rounding)
    left = np.sqrt(most / square) if square else 0.0
    return Level(left * mean, shift - (1 - left) * mean, mean, rounding)
