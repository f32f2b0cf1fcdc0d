"""Second moments of orbits: all that the closed forms need of the data."""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ._chunks import orbit_chunks
from ._group import FiniteGroup
from ._irreps import Irrep

_SAMPLE = 1_000  # rows whose mean is taken off all rows
_LARGE = 100  # times the variance: the most of the mean's square that is left in rows
_ROUNDING = 1e-28  # of the mean's square: no variance, but rounding


class OrbitMoments:
    """Sums over orbits, which orbits can be added to at any time.

    Rows are summed less the mean of the first ones, so that a large mean does not
    round their variance away.

    Parameters
    ----------
    group : FiniteGroup
        The group.
    by_irrep : bool
        Whether orbits without missing rows are summed by irrep, for an exact law.
    basis : ndarray of shape (n_features, n_components) or None
        What rows are multiplied by before anything else.
    """

    def __init__(
        self, group: FiniteGroup, *, by_irrep: bool, basis: NDArray | None = None
    ) -> None:
        self.group = group
        self.basis = basis
        self.irreps = [IrrepMoments(i) for i in group.irreps] if by_irrep else []
        self.pairs: PairMoments | None = None
        self.shift: NDArray | float = 0.0  # what rows are summed less
        self.total: NDArray | float = 0.0  # sum of rows of orbits summed by irrep
        self.n_rows = 0
        self.n_orbits = 0

    def add(self, X: NDArray, table: NDArray) -> None:
        """Add orbits.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            Activations; a memory map will do.
        table : ndarray of shape (n_orbits, order)
            Row of each orbit and element, -1 where there is none.
        """
        if self.n_orbits == 0:
            first = table[: max(1, _SAMPLE // self.group.order)]
            orbits, observed = next(orbit_chunks(X, first, self.basis))
            self.shift = orbits[observed].mean(axis=0)
        whole = (table >= 0).all(axis=1) & bool(self.irreps)
        for orbits, _ in orbit_chunks(X, table[whole], self.basis):
            np.subtract(orbits, self.shift, out=orbits)
            self.total = self.total + orbits.sum(axis=(0, 1))
            for irrep in self.irreps:
                irrep.add(orbits)
        for orbits, observed in orbit_chunks(X, table[~whole], self.basis):
            np.subtract(orbits, self.shift, out=orbits)
            pairs = pair_moments(orbits, observed, self.group, self.elements)
            self.pairs = pairs if self.pairs is None else self.pairs + pairs
        self.n_rows += int((table >= 0).sum())
        self.n_orbits += len(table)

    @property
    def elements(self) -> list[int]:
        """List the elements whose pairs of rows are summed: generators, or all."""
        if self.irreps:
            return list(range(1, self.group.order))
        return generator_elements(self.group)

    def places(self, elements: list[int]) -> list[int]:
        """Find elements among those whose pairs are summed.

        Parameters
        ----------
        elements : list of int
            Elements g.

        Returns
        -------
        places : list of int
            Where they are in `elements`.
        """
        return [self.elements.index(g) for g in elements]

    @property
    def n_rows_of_whole(self) -> int:
        """Number of rows of orbits that were summed by irrep."""
        return self.irreps[0].n_orbits * self.group.order if self.irreps else 0

    def state(self) -> dict[str, Any]:
        """Give all sums as arrays and plain values, which any file format can hold.

        Returns
        -------
        state : dict
            For :meth:`from_state`. Later calls of :meth:`add` may change its arrays.
        """
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
        """Build the moments that gave a state.

        Parameters
        ----------
        group : FiniteGroup
            The group.
        state : dict
            Of :meth:`state`; adding orbits leaves its arrays alone.

        Returns
        -------
        moments : OrbitMoments
            The sums.
        """
        by_irrep = bool(state["irreps"])
        moments = cls(group, by_irrep=by_irrep, basis=state["basis"])
        for irrep, its_state in zip(moments.irreps, state["irreps"], strict=True):
            irrep.restore(its_state)
        moments.n_rows, moments.n_orbits = state["n_rows"], state["n_orbits"]
        if "shift" not in state:  # from a file of before there was one
            moments._restore_without_shift(state["total"], state["pairs"])
            return moments
        moments.shift, moments.total = state["shift"], state["total"]
        if state["pairs"] is not None:
            moments.pairs = PairMoments(*state["pairs"])
        return moments

    def _restore_without_shift(
        self, total: NDArray | float, pairs: list[NDArray] | None
    ) -> None:
        """Take the total of all rows, and pairs of the generators without totals."""
        mean = total / max(1, self.n_rows)
        self.total = self.n_rows_of_whole * mean
        if pairs is None:
            return
        totals = pairs[2][:, np.newaxis] * mean
        at = self.places(generator_elements(self.group))
        padded = []
        for sums in (*pairs, totals, totals):
            shape = (len(self.elements), *sums.shape[1:])
            padded.append(np.zeros(shape, sums.dtype))
            padded[-1][at] = sums
        self.pairs = PairMoments(*padded)

    def all_pairs(self) -> "PairMoments":
        """Sum over pairs of rows that are one of `elements` apart, of all orbits.

        Returns
        -------
        pairs : PairMoments
            Those of whole orbits, from their sums by irrep, and those of others.
        """
        both = [self.pairs] if self.pairs is not None else []
        if self.n_rows_of_whole:
            both.append(self._pairs_of_whole_orbits())
        return both[0] if len(both) == 1 else both[0] + both[1]

    def _pairs_of_whole_orbits(self) -> "PairMoments":
        elements = self.elements
        shares = [irrep.of_elements([0, *elements]) for irrep in self.irreps]
        gram, *cross = np.sum(shares, axis=0)
        n_pairs = np.full(len(elements), self.n_rows_of_whole)
        before = np.repeat(gram[np.newaxis], len(elements), axis=0)
        sums = np.repeat(np.array([self.total]), len(elements), axis=0)
        return PairMoments(before, np.array(cross), n_pairs, sums, sums)


class Level(NamedTuple):  # numpydoc ignore=PR02
    """What is done about the mean of rows, for it may be large beside their variance.

    M leaves the mean alone, so rows less a part of it say the same of M. Of a mean
    in which variance would drown, only a part is left in.

    Parameters
    ----------
    mean : ndarray of shape (n_features,)
        As much of the mean as is left in.
    move : ndarray of shape (n_features,)
        What that adds to rows that were summed less a shift.
    fixed : ndarray of shape (n_features,) or None
        The whole mean, if not all of it is left in: M has to be told of it.
    rounding : float
        Sum of squares that is mere rounding.
    """

    mean: NDArray
    move: NDArray
    fixed: NDArray | None
    rounding: float


def level(shift: NDArray | float, mean: NDArray, variance: float, n_rows: int) -> Level:
    """Compare the mean of rows with their variance.

    Parameters
    ----------
    shift : ndarray of shape (n_features,) or 0.0
        What the rows were summed less.
    mean : ndarray of shape (n_features,)
        Their mean, with the shift.
    variance : float
        Sum of squares of their distances from it.
    n_rows : int
        Number of rows.

    Returns
    -------
    level : Level
        Of these rows.
    """
    square = n_rows * float(mean @ mean)
    rounding = _ROUNDING * square
    most = _LARGE * variance if variance > rounding else 0.0
    if square <= most:
        return Level(mean, shift + np.zeros_like(mean), None, rounding)
    left = np.sqrt(most / square) if square else 0.0
    return Level(left * mean, shift - (1 - left) * mean, mean, rounding)


class PairMoments(NamedTuple):  # numpydoc ignore=PR02
    """Sums over pairs of rows x_gh and x_h, for each of some elements g.

    Parameters
    ----------
    before : ndarray of shape (n_elements, n_features, n_features)
        Sum of ``outer(x_h, x_h)``.
    cross : ndarray of shape (n_elements, n_features, n_features)
        Sum of ``outer(x_gh, x_h)``.
    n_pairs : ndarray of shape (n_elements,)
        Number of pairs.
    total_before : ndarray of shape (n_elements, n_features)
        Sum of x_h.
    total_after : ndarray of shape (n_elements, n_features)
        Sum of x_gh.
    """

    before: NDArray
    cross: NDArray
    n_pairs: NDArray
    total_before: NDArray
    total_after: NDArray

    def __add__(self, other: "PairMoments") -> "PairMoments":  # type: ignore[override]
        return PairMoments(*(a + b for a, b in zip(self, other, strict=True)))

    def level(self, i: int, shift: NDArray | float) -> Level:
        """Compare mean and variance of the rows in the pairs of one element.

        Parameters
        ----------
        i : int
            Which of the elements.
        shift : ndarray of shape (n_features,) or 0.0
            What rows were summed less.

        Returns
        -------
        level : Level
            Of these rows.
        """
        n, before, after = self.n_pairs[i], self.total_before[i], self.total_after[i]
        variance = np.trace(self.before[i]) - before @ before / n
        return level(shift, shift + (before + after) / (2 * n), variance, n)

    def moved(self, i: int, move: NDArray) -> tuple[NDArray, NDArray]:
        """Give the sums of one element after something is added to all rows.

        Parameters
        ----------
        i : int
            Which of the elements.
        move : ndarray of shape (n_features,)
            What is added.

        Returns
        -------
        before, cross : ndarray of shape (n_features, n_features)
            The sums.
        """
        half = np.outer(self.total_before[i] + 0.5 * self.n_pairs[i] * move, move)
        cross = self.cross[i] + np.outer(move, self.total_before[i])
        cross += np.outer(self.total_after[i] + self.n_pairs[i] * move, move)
        return self.before[i] + half + half.T, cross


def pair_moments(
    orbits: NDArray, observed: NDArray, group: FiniteGroup, elements: list[int]
) -> PairMoments:
    """Sum over the pairs of some orbits.

    Parameters
    ----------
    orbits : ndarray of shape (n_orbits, order, n_features)
        Rows.
    observed : ndarray of shape (n_orbits, order), dtype bool
        False where a row is missing.
    group : FiniteGroup
        The group.
    elements : list of int
        What the rows of a pair are apart.

    Returns
    -------
    pairs : PairMoments
        The sums.
    """
    sums = []
    for g in elements:
        moved = group.multiplication_table[g]
        both = observed & observed[:, moved]
        x, gx = orbits[both], orbits[:, moved][both]
        sums.append((x.T @ x, gx.T @ x, len(x), x.sum(axis=0), gx.sum(axis=0)))
    return PairMoments(*map(np.array, zip(*sums, strict=True)))


class IrrepMoments:
    """Second moments of the Fourier coefficients of orbits in one irrep.

    An irrep rho, made complex where it then falls into smaller ones, gives an orbit
    the vectors ``z_b = sum over g of rho(g)[:, b] x_g`` and the moments::

        F = sum over orbits and b of z_b z_b^H = sum over g of rho(g) (x) T_g
        T_g = sum over orbits and h of outer(x_gh, x_h)

    As long as there are fewer orbits than features, the vectors themselves are kept,
    which is smaller and faster to solve.

    Parameters
    ----------
    irrep : Irrep
        The irrep.
    """

    def __init__(self, irrep: Irrep) -> None:
        self.irrep = irrep
        self.matrices, self.embedding = smallest_parts(irrep)
        self.rows: list[NDArray] = []  # real part, imaginary part if there is one
        self.gram: list[NDArray] = []  # real part, half the imaginary part
        self.n_orbits = 0

    def add(self, orbits: NDArray) -> None:
        """Add orbits.

        Parameters
        ----------
        orbits : ndarray of shape (n_orbits, order, n_features)
            Rows, in float64.
        """
        rows = self._coefficients(orbits)
        self.n_orbits += len(orbits)
        if not self.gram:
            rows = [np.vstack(p) for p in zip(self.rows, rows, strict=False)] or rows
        if not self.gram and self.n_orbits <= orbits.shape[2]:
            self.rows = rows
            return
        self.rows = []
        gram = _gram(rows)
        for total, more in zip(self.gram, gram, strict=False):
            np.add(total, more, out=total)
        self.gram = self.gram or gram

    def _coefficients(self, orbits: NDArray) -> list[NDArray]:
        order, k = self.matrices.shape[:2]
        weights = self.matrices.transpose(2, 1, 0).reshape(k * k, order)
        shape = (len(orbits) * k, k * orbits.shape[2])
        rows = [(weights.real @ orbits).reshape(shape)]
        if np.iscomplexobj(weights):
            rows.append((weights.imag @ orbits).reshape(shape))
        return rows

    def state(self) -> dict[str, Any]:
        """Give the sums as arrays and plain values.

        Returns
        -------
        state : dict
            For :meth:`restore`.
        """
        return {"rows": self.rows, "gram": self.gram, "n_orbits": self.n_orbits}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the sums of a state.

        Parameters
        ----------
        state : dict
            Of :meth:`state`.
        """
        self.rows = list(state["rows"])
        self.gram = [part.copy() for part in state["gram"]]  # `add` writes into them
        self.n_orbits = state["n_orbits"]

    def forget(self) -> None:
        """Free the memory of the sums."""
        self.rows, self.gram = [], []

    def moved(self, move: NDArray, total: NDArray) -> "IrrepMoments":
        """Give the trivial irrep's moments after something is added to all rows.

        No other irrep's moments change by it.

        Parameters
        ----------
        move : ndarray of shape (n_features,)
            What is added.
        total : ndarray of shape (n_features,)
            Sum of all rows before that.

        Returns
        -------
        moments : IrrepMoments
            New ones.
        """
        moments = IrrepMoments(self.irrep)
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
        """Return rows whose Gram matrix is this irrep's share in that of all rows.

        Returns
        -------
        rows : ndarray of shape (n_vectors, n_features)
            Kept vectors, scaled.
        """
        k = self.matrices.shape[1]
        parts = [part.reshape(-1, part.shape[1] // k) for part in self.rows]
        return np.sqrt(self.weight) * np.vstack(parts)

    def share_of_gram(self) -> NDArray:
        """Share of this irrep in the Gram matrix of all rows.

        Returns
        -------
        gram : ndarray of shape (n_features, n_features)
            A symmetric matrix.
        """
        k = self.matrices.shape[1]
        d = len(self.gram[0]) // k
        return self.weight * np.einsum("aiaj->ij", self.gram[0].reshape(k, d, k, d))

    def whitened_rows(self, white: NDArray) -> NDArray | None:
        """Kept vectors in other coordinates, None if they were summed.

        Parameters
        ----------
        white : ndarray of shape (n_features, n)
            What rows are multiplied by.

        Returns
        -------
        rows : ndarray of shape (n_vectors, k * n) or None
            The vectors.
        """
        if not self.rows:
            return None
        n_vectors = len(self.rows[0])
        rows = [
            (part.reshape(-1, len(white)) @ white).reshape(n_vectors, -1)
            for part in self.rows
        ]
        return rows[0] if len(rows) == 1 else rows[0] + 1j * rows[1]

    def whitened(self, white: NDArray) -> NDArray:
        """Take the moments to other coordinates.

        Parameters
        ----------
        white : ndarray of shape (n_features, n)
            What rows are multiplied by.

        Returns
        -------
        F : ndarray of shape (k * n, k * n)
            A symmetric or, if the irrep was made complex, a Hermitian matrix.
        """
        return _hermitian([_both_sides(part, white) for part in self.gram])

    def matrix(self) -> NDArray:
        """Build the moments F, of shape (k * n_features, k * n_features).

        Returns
        -------
        F : ndarray
            A symmetric or, if the irrep was made complex, a Hermitian matrix.
        """
        return _hermitian(self.gram or _gram(self.rows))

    def of_elements(self, elements: list[int]) -> NDArray:
        """Share of this irrep in the moments T_g.

        Parameters
        ----------
        elements : list of int
            Elements g.

        Returns
        -------
        T : ndarray of shape (n_elements, n_features, n_features)
            Moments; their sums over all irreps are those of the rows.
        """
        k = self.matrices.shape[1]
        F = self.matrix()
        F = F.reshape(k, len(F) // k, k, len(F) // k)
        rho = self.matrices[elements].conj()
        return self.weight * np.einsum("gab,aibj->gij", rho, F).real


def smallest_parts(irrep: Irrep) -> tuple[NDArray, NDArray]:
    """Irreducible part of an irrep over the complex numbers.

    Parameters
    ----------
    irrep : Irrep
        A real irrep.

    Returns
    -------
    matrices : ndarray of shape (order, k, k)
        The irrep itself if it is of real kind, else one of its two complex parts.
    embedding : ndarray of shape (dim, k)
        Orthonormal basis of that part.
    """
    if irrep.kind == "real":
        return irrep.matrices, np.eye(irrep.dim)
    noise = np.random.default_rng(0).normal(size=(irrep.dim, irrep.dim))
    rho = irrep.matrices
    turn = (rho @ (noise - noise.T) @ rho.transpose(0, 2, 1)).mean(axis=0)
    values, vectors = np.linalg.eigh(1j * turn)
    half = vectors[:, values > 0]
    return half.conj().T @ rho @ half, half


def generator_elements(group: FiniteGroup) -> list[int]:
    """Element of each generator.

    Parameters
    ----------
    group : FiniteGroup
        The group.

    Returns
    -------
    elements : list of int
        Their numbers.
    """
    powers = np.eye(group.n_generators, dtype=np.int64)
    return list(map(int, group.elements_of(powers)))


def _gram(rows: list[NDArray]) -> list[NDArray]:
    """Real part of ``sum of z z^H``, and half its imaginary part if there is one."""
    gram = rows[0].T @ rows[0]
    if len(rows) == 1:
        return [gram]
    gram += rows[1].T @ rows[1]
    return [gram, rows[1].T @ rows[0]]


def _hermitian(gram: list[NDArray]) -> NDArray:
    if len(gram) == 1:
        return gram[0]
    matrix = gram[0].astype(np.complex128)
    matrix.imag = gram[1] - gram[1].T
    return matrix


def _both_sides(matrix: NDArray, white: NDArray) -> NDArray:
    """Multiply each block of a matrix by white, from both sides."""
    d, n = white.shape
    k = len(matrix) // d
    if k == 1:
        return white.T @ matrix @ white
    blocks = matrix.reshape(k, d, k, d)
    result = np.empty((k, n, k, n))
    for a, b in np.ndindex(k, k):
        result[a, :, b] = white.T @ blocks[a, :, b] @ white
    return result.reshape(k * n, k * n)
