"""Matrices by least squares over pairs of rows: free, orthogonal, or nearly exact."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import polar, solve

from ._element_matrices import ElementMatrices
from ._exact_law import (
    ExactLaw,
    exact_representation,
    hermitian,
    whitening_of_gram,
    with_fixed_mean,
)
from ._group import generator_elements
from ._moments import IrrepMoments, OrbitMoments, PairMoments, gram_of

_RIDGE = 1e-6  # share of the mean eigenvalue
_ENOUGH_PAIRS = 0.5  # of the generators': an element has least squares of its own


def free_generators(moments: OrbitMoments, n_features: int) -> NDArray:
    """Least squares (n_generators, n, n) over all pairs one generator apart."""
    # Minimises ``sum || x_gh - M x_h ||^2 + ridge || M - I ||^2`` for each generator,
    # with a ridge that is a share of the mean eigenvalue over n_features.
    pairs = _checked_pairs(moments)
    at = moments.places_of_generators
    return np.array([_ridge_regression(moments, pairs, i, n_features) for i in at])


def orthogonal_generators(moments: OrbitMoments) -> NDArray:
    """Orthogonal (n_generators, n, n) with the least ``sum || x_gh - M x_h ||^2``."""
    pairs, at = _checked_pairs(moments), moments.places_of_generators
    move = np.zeros(pairs.total_before.shape[1]) + moments.shift
    return np.array([polar(pairs.moved(i, move)[1])[0] for i in at])


def law_of_all_pairs(moments: OrbitMoments, n_features: int) -> ExactLaw:
    """Exact law near to least squares for each element, where many rows are missing.

    Least squares over all pairs of rows stand in for the moments of whole orbits.
    """
    pairs = _checked_pairs(moments)
    found = _least_squares(moments, pairs, n_features)
    # products of generators' matrices where no other was found
    generators = np.array([found[g] for g in generator_elements(moments.group)])
    start = ElementMatrices(moments.group, generators).stacked()
    start[list(found)] = list(found.values())
    every = PairMoments(*(sums.sum(axis=0, keepdims=True) for sums in pairs))
    its_level = every.level(0, moments.shift)
    gram, _ = every.moved(0, its_level.move)
    missed = _missed(moments, pairs, found, its_level.move)
    filled = (start @ gram @ start.transpose(0, 2, 1)).sum(axis=0)
    filled += every.n_pairs[0] * len(moments.elements) * missed
    whitening = whitening_of_gram(filled, n_features, its_level.rounding)
    T = whitening.white.T @ start @ whitening.colour
    law = ExactLaw(exact_representation(T, moments.group), whitening)
    return with_fixed_mean(law, its_level)


def all_pairs(moments: OrbitMoments) -> PairMoments:
    """Sum over pairs of rows that are one of `elements` apart, of all orbits."""
    both = [moments.pairs] if moments.pairs is not None else []
    if moments.n_rows_of_whole:
        both.append(_pairs_of_whole_orbits(moments))
    return both[0] if len(both) == 1 else both[0] + both[1]


def _pairs_of_whole_orbits(moments: OrbitMoments) -> PairMoments:
    elements = moments.elements
    shares = [_share_of_elements(irrep, [0, *elements]) for irrep in moments.irreps]
    gram, *cross = np.sum(shares, axis=0)
    n_pairs = np.full(len(elements), moments.n_rows_of_whole)
    before = np.repeat(gram[np.newaxis], len(elements), axis=0)
    sums = np.repeat(np.array([moments.total]), len(elements), axis=0)
    return PairMoments(before, np.array(cross), n_pairs, sums, sums)


def _share_of_elements(moments: IrrepMoments, elements: list[int]) -> NDArray:
    """Share (n_elements, n_features, n_features) of an irrep in the T_g."""
    k = moments.matrices.shape[1]
    F = hermitian(moments.gram or gram_of(moments.rows))
    F = F.reshape(k, len(F) // k, k, len(F) // k)
    rho = moments.matrices[elements].conj()
    return moments.weight * np.einsum("gab,aibj->gij", rho, F).real


def _checked_pairs(moments: OrbitMoments) -> PairMoments:
    pairs, group = all_pairs(moments), moments.group
    n_pairs_of = pairs.n_pairs[moments.places_of_generators]
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


def _least_squares(
    moments: OrbitMoments, pairs: PairMoments, n_features: int
) -> dict[int, NDArray]:
    """Matrices of the generators, and of elements that have about as many pairs."""
    enough = _ENOUGH_PAIRS * pairs.n_pairs[moments.places_of_generators].min()
    return {
        element: _ridge_regression(moments, pairs, i, n_features)
        for i, element in enumerate(moments.elements)
        if pairs.n_pairs[i] >= enough
    }


def _missed(
    moments: OrbitMoments,
    pairs: PairMoments,
    found: dict[int, NDArray],
    move: NDArray,
) -> NDArray:
    """Second moments of what least squares misses of a row, mean over elements."""
    # Least squares shrinks what it cannot predict. Without this, directions that it
    # predicts badly would seem to have less variance than they have. With sums over the
    # pairs of rows y = x_gh and x = x_h of an element, they are those of
    #
    #     sum of (y - M x) (y - M x)' = sum of y y' - y x' M' - M x y' + M x x' M'
    inverses, missed = moments.group.inverses, np.zeros_like(pairs.before[0])
    for element, matrix in found.items():
        i, back = map(moments.elements.index, (element, inverses[element]))
        before, cross = pairs.moved(i, move)
        after, _ = pairs.moved(back, move)
        both = cross @ matrix.T
        square = after - both - both.T + matrix @ before @ matrix.T
        missed += square / pairs.n_pairs[i]
    return missed / len(found)
