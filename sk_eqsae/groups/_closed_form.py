"""Closed forms of the generators' matrices: free, orthogonal and exact."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, polar, solve

from ._group import FiniteGroup
from ._moments import IrrepMoments, OrbitMoments, PairMoments, generator_elements
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
    return np.array(
        [
            _ridge_regression(gram, cross, n_features)
            for gram, cross in zip(pairs.before, pairs.cross, strict=True)
        ]
    )


def _ridge_regression(gram: NDArray, cross: NDArray, n_features: int) -> NDArray:
    ridge = (_RIDGE * np.trace(gram) / n_features or 1.0) * np.eye(len(gram))
    return solve(gram + ridge, (cross + ridge).T, assume_a="pos").T


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
    return np.array([polar(cross)[0] for cross in _checked_pairs(moments).cross])


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
    """

    representation: Representation
    whitening: Whitening
    skew: NDArray | None = None

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
    give such moments: then least squares for each generator stands in for them.

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
    if moments.pairs is None:
        return _law_of_whole_orbits(moments, n_features, use_up)
    generators = free_generators(moments, n_features)
    start = all_matrices(moments.group, generators)
    gram = moments.all_pairs().before.sum(axis=0)
    gram = (start @ gram @ start.transpose(0, 2, 1)).sum(axis=0)
    whitening = _whitening(gram, n_features)
    T = whitening.white.T @ start @ whitening.colour
    return ExactLaw(exact_representation(T, moments.group), whitening)


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
    whitening = _whitening_of_irreps(moments.irreps, n_features)
    spectra = []
    for irrep in moments.irreps:
        spectra.append(_spectrum(irrep, whitening.white))
        if use_up:
            irrep.forget()
    n = len(whitening.root)
    representation = leading_representation(spectra, moments.group, n)
    return ExactLaw(representation, whitening)


def _whitening_of_irreps(irreps: list[IrrepMoments], n_features: int) -> Whitening:
    if irreps[0].rows:
        rows = np.vstack([irrep.share_of_rows() for irrep in irreps])
        if len(rows) < rows.shape[1]:
            return _whitening_of_rows(rows, n_features)
        return _whitening(rows.T @ rows, n_features)
    gram = irreps[0].share_of_gram()
    for irrep in irreps[1:]:
        gram += irrep.share_of_gram()
    return _whitening(gram, n_features)


def _whitening(gram: NDArray, n_features: int) -> Whitening:
    cutoff = _CUTOFF * np.trace(gram) / n_features
    values, vectors = eigh(gram, driver="evd", overwrite_a=True)
    kept = values > max(cutoff, np.finfo(float).tiny)
    return Whitening(vectors[:, kept], np.sqrt(values[kept]))


def _whitening_of_rows(rows: NDArray, n_features: int) -> Whitening:
    """Whitening from fewer rows than features."""
    small = _whitening(rows @ rows.T, n_features)
    vectors = rows.T @ small.white
    # Directions with little variance are orthogonal only to rounding over variance.
    return Whitening(polished(vectors), small.root)


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
    for name, n_pairs in zip(group.generator_names, pairs.n_pairs, strict=True):
        if n_pairs == 0:
            raise ValueError(
                f"power: no orbit has two rows that the generator {name} takes to "
                "one another, so the closed form has nothing to learn its matrix "
                "from. Add such rows, or a group without this generator, or set "
                "solver='adam' and group_law='free', which also learns from rows "
                "that are further apart."
            )
    return pairs
