"""Second moments of orbits: all that the closed forms need of the data."""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ._chunks import orbit_chunks
from ._group import FiniteGroup
from ._irreps import Irrep


class OrbitMoments:
    """Sums over orbits, which orbits can be added to at any time.

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
        self.total: NDArray | float = 0.0  # sum of all rows
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
        whole = (table >= 0).all(axis=1) & bool(self.irreps)
        for orbits, _ in orbit_chunks(X, table[whole], self.basis):
            self.total = self.total + orbits.sum(axis=(0, 1))
            for irrep in self.irreps:
                irrep.add(orbits)
        for orbits, observed in orbit_chunks(X, table[~whole], self.basis):
            pairs = pair_moments(orbits, observed, self.group)
            self.pairs = pairs if self.pairs is None else self.pairs + pairs
            self.total = self.total + orbits[observed].sum(axis=0)
        self.n_rows += int((table >= 0).sum())
        self.n_orbits += len(table)

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
        pairs = state["pairs"]
        moments.pairs = None if pairs is None else PairMoments(*pairs)
        moments.total = state["total"]
        moments.n_rows, moments.n_orbits = state["n_rows"], state["n_orbits"]
        return moments

    def all_pairs(self) -> "PairMoments":
        """Sum over rows that are a generator apart, of all orbits.

        Returns
        -------
        pairs : PairMoments
            Those of whole orbits, from their sums by irrep, and those of others.
        """
        both = [self.pairs] if self.pairs is not None else []
        if any(irrep.n_orbits for irrep in self.irreps):
            both.append(self._pairs_of_whole_orbits())
        return both[0] if len(both) == 1 else both[0] + both[1]

    def _pairs_of_whole_orbits(self) -> "PairMoments":
        elements = generator_elements(self.group)
        shares = [irrep.of_elements([0, *elements]) for irrep in self.irreps]
        gram, *cross = np.sum(shares, axis=0)
        n_pairs = np.full(len(elements), self.irreps[0].n_orbits * self.group.order)
        before = np.repeat(gram[np.newaxis], len(elements), axis=0)
        return PairMoments(before, np.array(cross), n_pairs)


class PairMoments(NamedTuple):  # numpydoc ignore=PR02
    """Sums over pairs of rows x_gh and x_h, for each generator g.

    Parameters
    ----------
    before : ndarray of shape (n_generators, n_features, n_features)
        Sum of ``outer(x_h, x_h)``.
    cross : ndarray of shape (n_generators, n_features, n_features)
        Sum of ``outer(x_gh, x_h)``.
    n_pairs : ndarray of shape (n_generators,)
        Number of pairs.
    """

    before: NDArray
    cross: NDArray
    n_pairs: NDArray

    def __add__(self, other: "PairMoments") -> "PairMoments":  # type: ignore[override]
        return PairMoments(*(a + b for a, b in zip(self, other, strict=True)))


def pair_moments(orbits: NDArray, observed: NDArray, group: FiniteGroup) -> PairMoments:
    """Sum over the pairs of some orbits.

    Parameters
    ----------
    orbits : ndarray of shape (n_orbits, order, n_features)
        Rows.
    observed : ndarray of shape (n_orbits, order), dtype bool
        False where a row is missing.
    group : FiniteGroup
        The group.

    Returns
    -------
    pairs : PairMoments
        The sums.
    """
    before, cross, n_pairs = [], [], []
    for g in generator_elements(group):
        moved = group.multiplication_table[g]
        both = observed & observed[:, moved]
        rows = orbits[both]
        before.append(rows.T @ rows)
        cross.append(orbits[:, moved][both].T @ rows)
        n_pairs.append(len(rows))
    return PairMoments(np.array(before), np.array(cross), np.array(n_pairs))


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
