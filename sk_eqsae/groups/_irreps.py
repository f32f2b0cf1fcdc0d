"""Real irreps of a group that is known by its multiplication table alone."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_SEED = 0


def irreps_of_regular(table: NDArray, inverses: NDArray) -> list[NDArray]:
    """Every real irrep (order, dim, dim), each once, the trivial one first."""
    # A random symmetric operator that commutes with the group has as its eigenspaces
    # irreducible subspaces of the regular representation, which holds them all. The
    # irreps are orthogonal matrices, sorted by dimension and then by character.
    quotients = table[inverses]  # a^-1 b

    def draw(rng: np.random.Generator) -> NDArray:
        weights = rng.normal(size=len(inverses))  # the same for an inverse
        return (weights + weights[inverses])[quotients]

    spaces = _eigenspaces(draw)
    return _distinct([space.T @ space[quotients] for space in spaces])


def irreps_inside(matrices: NDArray) -> list[NDArray]:
    """Every real irrep, each once, inside orthogonal matrices (order, n, n)."""

    def draw(rng: np.random.Generator) -> NDArray:
        noise = rng.normal(size=matrices.shape[1:])
        symmetric = noise + noise.T
        return (matrices @ symmetric @ matrices.transpose(0, 2, 1)).mean(axis=0)

    spaces = _eigenspaces(draw)
    return _distinct([space.T @ matrices @ space for space in spaces])


def tensor_product(first: NDArray, second: NDArray) -> NDArray:
    """Representation of G x H by Kronecker products, H's elements counting fastest."""
    product = np.einsum("gij,hkl->ghikjl", first, second)
    dim = first.shape[1] * second.shape[1]
    return product.reshape(-1, dim, dim)


def canonical_basis(space: NDArray) -> NDArray:
    """Orthonormal basis (n, dim) of the span of one, which only the span decides."""
    # Which basis of an eigenspace comes out of LAPACK depends on how it rounds. What
    # sums are kept in, from one call to the next, must not: it is what Gram and Schmidt
    # make of fixed vectors projected onto the span.
    fixed = np.random.default_rng(_SEED).normal(size=space.shape)
    turned, triangle = np.linalg.qr(space.conj().T @ fixed)
    diagonal = np.diag(triangle)
    return space @ (turned * (diagonal / np.abs(diagonal)))


def _eigenspaces(draw: Callable[[np.random.Generator], NDArray]) -> list[NDArray]:
    """Eigenspaces of a random symmetric operator, drawn again if two nearly meet."""
    # An eigenspace is off by rounding / gap, matrices cut out of it by the square of
    # that, so gaps of 1e-7 cost no digits.
    rng = np.random.default_rng(_SEED)
    while True:
        values, vectors = np.linalg.eigh(draw(rng))
        gaps = np.diff(values) / np.abs(values).max()
        if not ((gaps > 1e-12) & (gaps < 1e-7)).any():
            cuts = np.flatnonzero(gaps > 1e-7) + 1
            return [canonical_basis(s) for s in np.split(vectors, cuts, axis=1)]


def _distinct(representations: list[NDArray]) -> list[NDArray]:
    """One of each isomorphism class, by dimension and then by character."""
    kept: list[NDArray] = []
    for matrices in representations:
        character = _character(matrices)
        if all(abs(np.mean(character * _character(k))) < 0.5 for k in kept):
            kept.append(matrices)
    return [_orthogonal(matrices) for matrices in sorted(kept, key=_rank)]


def _rank(matrices: NDArray) -> tuple[float, ...]:
    return (matrices.shape[1], *(-_character(matrices)).round(6))


def _character(matrices: NDArray) -> NDArray:
    return np.trace(matrices, axis1=1, axis2=2)


def _orthogonal(matrices: NDArray) -> NDArray:
    """Polar factors: the nearest orthogonal matrices, so exactly 1 or -1 in 1-d."""
    left, _, right = np.linalg.svd(matrices)
    return left @ right
