"""Real irreducible representations of a finite group, as orthogonal matrices."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_KINDS = {1: "real", 2: "complex", 4: "quaternionic"}
_SEED = 0


@dataclass(frozen=True, eq=False)
class Irrep:  # numpydoc ignore=PR02
    """A real irreducible representation of a finite group.

    Each element of the group is an orthogonal matrix, and no subspace but 0 and the
    whole is mapped into itself by all of them.

    Parameters
    ----------
    name : str
        Name of the representation, unique in its group.
    matrices : ndarray of shape (order, dim, dim)
        One orthogonal matrix for each element of the group, float64.

    Attributes
    ----------
    dim : int
        Dimension of the real vector space that the matrices act on.
    character : ndarray of shape (order,)
        Trace of each matrix.
    commutant_dim : int
        Dimension of the space of matrices that commute with all of `matrices`,
        which is the mean of the squared character: 1, 2 or 4.
    kind : {"real", "complex", "quaternionic"}
        The number system that those commuting matrices form.

    See Also
    --------
    sk_eqsae.groups.FiniteGroup.irreps : All of a group's.

    Notes
    -----
    Over the complex numbers, a "real" one stays irreducible, a "complex" one is the
    sum of two conjugates and a "quaternionic" one is twice the same [1]_.

    References
    ----------
    .. [1] Serre, J.-P. (1977). Linear Representations of Finite Groups. Springer,
       section 13.2.

    Examples
    --------
    >>> from sk_eqsae.groups import CyclicGroup
    >>> rotation = CyclicGroup(4).irreps[-1]
    >>> rotation
    Irrep(name='rotation 1', dim=2, kind='complex')
    >>> rotation.matrices[1].round()
    array([[ 0., -1.],
           [ 1.,  0.]])
    """

    name: str
    matrices: NDArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrices", frozen(np.array(self.matrices, float)))

    def __repr__(self) -> str:
        return f"Irrep(name={self.name!r}, dim={self.dim}, kind={self.kind!r})"

    @property
    def dim(self) -> int:
        """Dimension of the real vector space that the matrices act on."""
        return self.matrices.shape[1]

    @cached_property
    def character(self) -> NDArray:
        """Trace of each matrix."""
        return frozen(_character(self.matrices))

    @property
    def commutant_dim(self) -> int:
        """Dimension of the space of matrices that commute with all of them."""
        return round(float(np.mean(self.character**2)))

    @property
    def kind(self) -> str:
        """The number system that the commuting matrices form."""
        return _KINDS[self.commutant_dim]


def frozen(array: NDArray) -> NDArray:
    """Make an array read-only.

    Parameters
    ----------
    array : ndarray
        An array of the caller's own.

    Returns
    -------
    array : ndarray
        The same one.
    """
    array.setflags(write=False)
    return array


def rotations(angles: NDArray) -> NDArray:
    """Rotation matrices of the plane.

    Parameters
    ----------
    angles : ndarray of shape (n,)
        Angles in radians, counter-clockwise.

    Returns
    -------
    matrices : ndarray of shape (n, 2, 2)
        One matrix for each angle.
    """
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([cos, -sin, sin, cos], axis=-1).reshape(-1, 2, 2)


def irreps_of_regular(table: NDArray, inverses: NDArray) -> list[NDArray]:
    """Every real irrep of a group, each once, from its multiplication table.

    A random symmetric operator that commutes with the group has as its eigenspaces
    irreducible subspaces of the regular representation, which holds them all.

    Parameters
    ----------
    table : ndarray of shape (order, order)
        Number of the product of each pair of elements.
    inverses : ndarray of shape (order,)
        Inverse of each element.

    Returns
    -------
    irreps : list of ndarray of shape (order, dim, dim)
        Orthogonal matrices, by dimension and then by character, the trivial
        representation first.
    """
    quotients = table[inverses]  # a^-1 b
    spaces = _eigenspaces(lambda rng: _symmetric(rng, inverses)[quotients])
    return _distinct([space.T @ space[quotients] for space in spaces])


def irreps_inside(matrices: NDArray) -> list[NDArray]:
    """Every real irrep, each once, inside an orthogonal representation.

    Parameters
    ----------
    matrices : ndarray of shape (order, n, n)
        An orthogonal matrix for each element of the group.

    Returns
    -------
    irreps : list of ndarray of shape (order, dim, dim)
        Orthogonal matrices, by dimension and then by character.
    """
    spaces = _eigenspaces(lambda rng: _commuting(rng, matrices))
    return _distinct([space.T @ matrices @ space for space in spaces])


def tensor_product(first: NDArray, second: NDArray) -> NDArray:
    """Representation of G x H from one of G and one of H.

    Parameters
    ----------
    first : ndarray of shape (order of G, m, m)
        A matrix for each element of G.
    second : ndarray of shape (order of H, n, n)
        A matrix for each element of H.

    Returns
    -------
    product : ndarray of shape (order of G * order of H, m * n, m * n)
        Kronecker products, H's elements counting fastest.
    """
    product = np.einsum("gij,hkl->ghikjl", first, second)
    dim = first.shape[1] * second.shape[1]
    return product.reshape(-1, dim, dim)


def _symmetric(rng: np.random.Generator, inverses: NDArray) -> NDArray:
    """One random number for each element, the same for its inverse."""
    weights = rng.normal(size=len(inverses))
    return weights + weights[inverses]


def _commuting(rng: np.random.Generator, matrices: NDArray) -> NDArray:
    """Random symmetric matrix, averaged over the group."""
    noise = rng.normal(size=matrices.shape[1:])
    return (matrices @ (noise + noise.T) @ matrices.transpose(0, 2, 1)).mean(axis=0)


def _eigenspaces(draw: Callable[[np.random.Generator], NDArray]) -> list[NDArray]:
    """Eigenspaces of a random symmetric operator, drawn again if two nearly meet.

    An eigenspace is off by rounding / gap, matrices cut out of it by the square of
    that, so gaps of 1e-7 cost no digits.
    """
    rng = np.random.default_rng(_SEED)
    while True:
        values, vectors = np.linalg.eigh(draw(rng))
        gaps = np.diff(values) / np.abs(values).max()
        if not ((gaps > 1e-12) & (gaps < 1e-7)).any():
            return np.split(vectors, np.flatnonzero(gaps > 1e-7) + 1, axis=1)


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


def _orthogonal(matrices: NDArray) -> NDArray:
    """Polar factors: the nearest orthogonal matrices, so exactly 1 or -1 in 1-d."""
    left, _, right = np.linalg.svd(matrices)
    return left @ right


def _character(matrices: NDArray) -> NDArray:
    return np.trace(matrices, axis1=1, axis2=2)
