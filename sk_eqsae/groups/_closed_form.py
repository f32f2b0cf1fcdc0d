"""Closed forms of the generators' matrices: free, orthogonal and exact."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, polar, solve

from ._group import FiniteGroup
from ._moments import (
    IrrepMoments,
    Level,
    OrbitMoments,
    PairMoments,
    generator_elements,
    level,
)
from ._representation import (
    IrrepSpectrum,
    Representation,
    clear_eigenvectors,
    exact_representation,
    leading_representation,
    polished,
    spectrum,
)

_RIDGE = 1e-6  # share of the mean eigenvalue
_CUTOFF = 1e-6  # likewise: directions with less variance are left alone
_NO_VARIANCE = 1e-9  # of the sum of squares: there is none beside the mean
_MOST = 0.9  # of the rows, in whole orbits: the other orbits are left out
_ENOUGH_PAIRS = 0.5  # of the generators': an element has least squares of its own


def free_generators(moments: OrbitMoments, n_features: int) -> NDArray:
    """Least squares over all pairs that a generator maps to one another.

    Minimises ``sum || x_gh - M x_h ||^2 + ridge || M - I ||^2`` for each generator.

    Parameters
    ----------
    moments : OrbitMoments
        Of the orbits.
    n_features : int
        Features over which the mean eigenvalue is taken.

    Returns
    -------
    generators : ndarray of shape (n_generators, n, n)
        One matrix per generator.
    """
    pairs = _checked_pairs(moments)
    at = _places(moments)
    return np.array([_ridge_regression(moments, pairs, i, n_features) for i in at])


def _places(moments: OrbitMoments) -> list[int]:
    return moments.places(generator_elements(moments.group))


def _ridge_regression(
    moments: OrbitMoments, pairs: PairMoments, i: int, n_features: int
) -> NDArray:
    its_level = pairs.level(i, moments.shift)
    gram, cross = pairs.moved(i, its_level.move)
    ridge = (_RIDGE * np.trace(gram) / n_features or 1.0) * np.eye(len(gram))
    change = solve(gram + ridge, (cross - gram).T, assume_a="pos").T
    if its_level.fixed is not None:  # the least squares that leave it alone
        weights = solve(gram + ridge, its_level.fixed, assume_a="pos")
        moved = change @ its_level.fixed
        change -= np.outer(moved, weights / (its_level.fixed @ weights or 1.0))
    return np.eye(len(gram)) + change


def orthogonal_generators(moments: OrbitMoments) -> NDArray:
    """Orthogonal matrices with the least ``sum || x_gh - M x_h ||^2``.

    Parameters
    ----------
    moments : OrbitMoments
        Of the orbits.

    Returns
    -------
    generators : ndarray of shape (n_generators, n, n)
        One matrix per generator.
    """
    pairs = _checked_pairs(moments)
    move = np.zeros(pairs.total_before.shape[1]) + moments.shift
    return np.array([polar(pairs.moved(i, move)[1])[0] for i in _places(moments)])


@dataclass(frozen=True)
class Whitening:  # numpydoc ignore=PR02
    """Coordinates in which rows are white, of the directions with variance.

    Parameters
    ----------
    vectors : ndarray of shape (n_features, rank)
        Orthonormal directions.
    root : ndarray of shape (rank,)
        Standard deviation along each, times the root of the number of rows.
    """

    vectors: NDArray
    root: NDArray

    @property
    def white(self) -> NDArray:
        """Make rows white, by multiplication."""
        return self.vectors / self.root

    @property
    def colour(self) -> NDArray:
        """Undo that: white rows times this, transposed, are rows."""
        return self.vectors * self.root


@dataclass(frozen=True)
class ExactLaw:  # numpydoc ignore=PR02
    """An exact representation on the activations, M_g = S Q_g S^-1.

    Parameters
    ----------
    representation : Representation
        The orthogonal one, Q, in white coordinates.
    whitening : Whitening
        Where white coordinates come from.
    skew : ndarray of shape (rank, rank) or None
        What S has beside the whitening; None is the identity.
    r2 : float
        R2 over the pairs of rows that it was fitted on: 1 is perfect, 0 is as good
        as their mean. 1 if there is no variance.
    """

    representation: Representation
    whitening: Whitening
    skew: NDArray | None = None
    r2: float = 1.0

    @property
    def rank(self) -> int:
        """Number of directions with variance."""
        return len(self.whitening.root)

    def matrix(self, element: int) -> NDArray:
        """Matrix of an element; the identity in directions without variance.

        Parameters
        ----------
        element : int
            The element.

        Returns
        -------
        M : ndarray of shape (n_features, n_features)
            A matrix that obeys the group's law.
        """
        left, right = self.representation.factors(element)
        if self.skew is not None:
            left, right = self.skew @ left, np.linalg.solve(self.skew.T, right.T).T
        matrix = (self.whitening.colour @ left) @ (right @ self.whitening.white.T)
        matrix.flat[:: len(matrix) + 1] += 1
        return matrix

    def generators(self) -> NDArray:
        """Build the matrices of the generators.

        Returns
        -------
        generators : ndarray of shape (n_generators, n_features, n_features)
            One matrix per generator.
        """
        elements = generator_elements(self.representation.group)
        first = self.matrix(elements[0])[np.newaxis]  # no copy if it is the only one
        if len(elements) == 1:
            return first
        return np.stack([first[0], *(self.matrix(g) for g in elements[1:])])


def exact_law(
    moments: OrbitMoments, n_features: int, *, use_up: bool = False
) -> ExactLaw:
    """Find matrices of all elements that obey the group's law.

    In coordinates in which the rows are white, the moments ``sum of x_gh x_h'``
    would be an orthogonal representation if M explained everything; the exact one
    near to them is taken back to the activations. Orbits with missing rows do not
    give such moments: they are left out where they hold few of the rows. Else least
    squares over all pairs of rows, for each element, stands in for the moments.

    Parameters
    ----------
    moments : OrbitMoments
        Of the orbits.
    n_features : int
        Features over which the mean variance is taken.
    use_up : bool
        Whether sums are freed as soon as they are solved, which lowers the
        peak of memory.

    Returns
    -------
    law : ExactLaw
        The matrices. Directions without variance stay where they are.
    """
    if moments.n_rows_of_whole >= _MOST * moments.n_rows:
        return _law_of_whole_orbits(moments, n_features, use_up)
    return _law_of_all_pairs(moments, n_features)


def all_matrices(group: FiniteGroup, generators: NDArray) -> NDArray:
    """Build the matrices of all elements.

    Parameters
    ----------
    group : FiniteGroup
        The group.
    generators : ndarray of shape (n_generators, n_features, n_features)
        One matrix per generator.

    Returns
    -------
    matrices : ndarray of shape (order, n_features, n_features)
        One matrix per element.
    """
    matrices = np.eye(generators.shape[1])
    matrices = np.repeat(matrices[np.newaxis], group.order, axis=0)
    for k, column in enumerate(group.powers.T):
        power = np.eye(generators.shape[1])
        for p in range(column.max() + 1):
            matrices[column == p] = matrices[column == p] @ power
            power = power @ generators[k]
    return matrices


def _law_of_whole_orbits(
    moments: OrbitMoments, n_features: int, use_up: bool
) -> ExactLaw:
    its_level = _level_of_whole_orbits(moments)
    irreps = moments.irreps.copy()
    irreps[0] = irreps[0].moved(its_level.move, np.asarray(moments.total))
    if use_up:
        moments.irreps[0].forget()
    whitening = _whitening_of_irreps(irreps, n_features, its_level.rounding)
    spectra = []
    for irrep in irreps:
        spectra.append(_spectrum(irrep, whitening.white))
        if use_up:
            irrep.forget()
    n = len(whitening.root)
    representation = leading_representation(spectra, moments.group, n)
    mean = np.sqrt(moments.n_rows_of_whole) * its_level.mean
    r2 = _r2_of_whole_orbits(representation, whitening, mean)
    return _with_fixed_mean(ExactLaw(representation, whitening, r2=r2), its_level)


def _level_of_whole_orbits(moments: OrbitMoments) -> Level:
    n = moments.n_rows_of_whole
    mean = np.asarray(moments.total) / n
    variance = sum(i.square for i in moments.irreps) - n * float(mean @ mean)
    return level(moments.shift, moments.shift + mean, variance, n)


def _with_fixed_mean(law: ExactLaw, its_level: Level) -> ExactLaw:
    """Change S by as little as makes M leave a large mean alone."""
    if its_level.fixed is None:
        return law
    group = law.representation.group
    white = law.whitening.white.T @ its_level.fixed
    still = white.copy()  # the mean over all elements
    for element in range(1, group.order):
        left, right = law.representation.factors(element)
        still += left @ (right @ white) / group.order
    if 2 * still @ still <= white @ white:  # M turns it: S would be too far from I
        return law
    change = np.outer(white - still, still) / (still @ still)
    return replace(law, skew=np.eye(len(white)) + change)


def _whitening_of_irreps(
    irreps: list[IrrepMoments], n_features: int, rounding: float
) -> Whitening:
    if irreps[0].rows:
        rows = np.vstack([irrep.share_of_rows() for irrep in irreps])
        if len(rows) < rows.shape[1]:
            return _whitening_of_rows(rows, n_features, rounding)
        return _whitening(rows.T @ rows, n_features, rounding)
    gram = irreps[0].share_of_gram()
    for irrep in irreps[1:]:
        gram += irrep.share_of_gram()
    return _whitening(gram, n_features, rounding)


def _whitening(gram: NDArray, n_features: int, rounding: float) -> Whitening:
    cutoff = _CUTOFF * np.trace(gram) / n_features
    values, vectors = eigh(gram, driver="evd", overwrite_a=True)
    kept = values > max(cutoff, rounding, np.finfo(float).tiny)
    return Whitening(vectors[:, kept], np.sqrt(values[kept]))


def _whitening_of_rows(rows: NDArray, n_features: int, rounding: float) -> Whitening:
    """Whitening from fewer rows than features."""
    small = _whitening(rows @ rows.T, n_features, rounding)
    vectors = rows.T @ small.white
    # Directions with little variance are orthogonal only to rounding over variance.
    return Whitening(polished(vectors), small.root)


def _r2_of_whole_orbits(
    representation: Representation, whitening: Whitening, mean: NDArray
) -> float:
    """R2 over all pairs of rows, from how clear the irreps are.

    The mean is that of the rows, times the root of their number.
    """
    order = representation.group.order
    square = np.square(whitening.root)
    mean = whitening.vectors.T @ mean
    centred = square.sum() - mean @ mean
    if centred <= _NO_VARIANCE * square.sum():
        return 1.0
    unclear = square.sum()
    for frame, values in zip(representation.frames, representation.values, strict=True):
        unclear -= square @ np.square(frame).sum(axis=1) @ values / order
    return float(1 - 2 * unclear / centred * order / (order - 1))


def _law_of_all_pairs(moments: OrbitMoments, n_features: int) -> ExactLaw:
    pairs = _checked_pairs(moments)
    found = _least_squares(moments, pairs, n_features)
    start = _all_elements(moments.group, found)
    every = PairMoments(*(sums.sum(axis=0, keepdims=True) for sums in pairs))
    its_level = every.level(0, moments.shift)
    gram, _ = every.moved(0, its_level.move)
    by_element = partial(_by_element, moments, pairs, its_level.move)
    missed = _missed(start, (sums for sums in by_element() if sums.element in found))
    filled = (start @ gram @ start.transpose(0, 2, 1)).sum(axis=0)
    filled += every.n_pairs[0] * len(moments.elements) * missed
    whitening = _whitening(filled, n_features, its_level.rounding)
    T = whitening.white.T @ start @ whitening.colour
    law = ExactLaw(exact_representation(T, moments.group), whitening)
    law = _with_fixed_mean(law, its_level)
    return replace(law, r2=_r2_of_pairs(law, by_element()))


def _least_squares(
    moments: OrbitMoments, pairs: PairMoments, n_features: int
) -> dict[int, NDArray]:
    """Matrices of the generators, and of elements that have about as many pairs."""
    enough = _ENOUGH_PAIRS * pairs.n_pairs[_places(moments)].min()
    return {
        element: _ridge_regression(moments, pairs, i, n_features)
        for i, element in enumerate(moments.elements)
        if pairs.n_pairs[i] >= enough
    }


def _all_elements(group: FiniteGroup, found: dict[int, NDArray]) -> NDArray:
    """Matrices of all elements: products of generators' where none was found."""
    generators = np.array([found[g] for g in generator_elements(group)])
    matrices = all_matrices(group, generators)
    for element, matrix in found.items():
        matrices[element] = matrix
    return matrices


class _ElementSums(NamedTuple):
    """Sums over the pairs of rows x_gh and x_h of one element g."""

    element: int
    n_pairs: int
    before: NDArray  # of outer(x_h, x_h)
    cross: NDArray  # of outer(x_gh, x_h)
    after: NDArray  # of outer(x_gh, x_gh)
    mean: NDArray  # of x_gh


def _by_element(
    moments: OrbitMoments, pairs: PairMoments, move: NDArray
) -> Iterator[_ElementSums]:
    """Iterate over elements with pairs, after something is added to all rows."""
    for i, element in enumerate(moments.elements):
        n_pairs = pairs.n_pairs[i]
        inverse = moments.elements.index(moments.group.inverses[element])
        if n_pairs and pairs.n_pairs[inverse]:  # old files have no inverses
            sums = pairs.moved(i, move)
            after, _ = pairs.moved(inverse, move)
            mean = pairs.total_after[i] / n_pairs + move
            yield _ElementSums(element, n_pairs, *sums, after, mean)


def _missed(start: NDArray, by_element: Iterable[_ElementSums]) -> NDArray:
    """Second moments of what least squares misses of a row, mean over elements.

    Least squares shrinks what it cannot predict. Without this, directions that it
    predicts badly would seem to have less variance than they have.
    """
    missed, n_elements = np.zeros(start.shape[1:]), 0
    for sums in by_element:
        matrix = start[sums.element]
        both = sums.cross @ matrix.T
        square = sums.after - both - both.T + matrix @ sums.before @ matrix.T
        missed += square / sums.n_pairs
        n_elements += 1
    return missed / max(1, n_elements)


def _r2_of_pairs(law: ExactLaw, by_element: Iterable[_ElementSums]) -> float:
    """R2 over the pairs of rows that there are."""
    unclear = centred = total = 0.0
    for sums in by_element:
        matrix, square = law.matrix(sums.element), np.trace(sums.after)
        unclear += square + np.vdot(matrix @ sums.before - 2 * sums.cross, matrix)
        centred += square - sums.n_pairs * sums.mean @ sums.mean
        total += square
    return float(1 - unclear / centred) if centred > _NO_VARIANCE * total else 1.0


def _spectrum(moments: IrrepMoments, white: NDArray) -> IrrepSpectrum:
    """Clear directions of one irrep, in white coordinates."""
    rows = moments.whitened_rows(white)
    if rows is None or len(rows) >= rows.shape[1]:
        F = moments.whitened(white) if rows is None else rows.T @ rows.conj()
        values, vectors = clear_eigenvectors(F)
    else:
        values, weights = clear_eigenvectors(rows.conj() @ rows.T)
        vectors = rows.T @ weights / np.sqrt(values)
    return spectrum(moments.irrep, moments.embedding, values, vectors)


def _checked_pairs(moments: OrbitMoments) -> PairMoments:
    pairs, group = moments.all_pairs(), moments.group
    n_pairs_of = pairs.n_pairs[_places(moments)]
    for name, n_pairs in zip(group.generator_names, n_pairs_of, strict=True):
        if n_pairs == 0:
            raise ValueError(
                f"power: no orbit has two rows that the generator {name} takes to "
                "one another, so the closed form has nothing to learn its matrix "
                "from. Add such rows, or a group without this generator, or set "
                "solver='adam' and group_law='free', which also learns from rows "
                "that are further apart."
            )
    return pairs
