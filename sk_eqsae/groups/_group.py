"""Finite groups as data: elements, words, relations, irreps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, reduce
from itertools import accumulate, combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._threads import DECOMPOSITION, blas_threads_that_pay
from ._irreps import canonical_basis, irreps_inside, irreps_of_regular, tensor_product
from ._subgroups import MAX_ORDER, SubgroupSearch

Word = tuple[tuple[int, int], ...]

_KINDS = {1: "real", 2: "complex", 4: "quaternionic"}


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

    Notes
    -----
    Over the complex numbers, a "real" one stays irreducible, a "complex" one is the
    sum of two conjugates and a "quaternionic" one is twice the same (Serre, Linear
    Representations of Finite Groups, section 13.2).

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
        object.__setattr__(self, "matrices", _frozen(np.array(self.matrices, float)))

    def __repr__(self) -> str:
        return f"Irrep(name={self.name!r}, dim={self.dim}, kind={self.kind!r})"

    @property
    def dim(self) -> int:
        """Dimension of the real vector space that the matrices act on."""
        return self.matrices.shape[1]

    @cached_property
    def character(self) -> NDArray:
        """Trace of each matrix, shape (order,)."""
        return _frozen(np.trace(self.matrices, axis1=1, axis2=2))

    @property
    def commutant_dim(self) -> int:
        """Dimension of the space of matrices that commute with all of `matrices`."""
        # the mean of the squared character
        return round(float(np.mean(self.character**2)))

    @property
    def kind(self) -> str:
        """Number system of those: "real", "complex" or "quaternionic"."""
        return _KINDS[self.commutant_dim]


@dataclass(frozen=True, eq=False)
class Subgroup:  # numpydoc ignore=PR02
    """A subgroup of a finite group.

    Parameters
    ----------
    name : str
        Elements that generate it, unique in its group: ``<r^2, s>``.
    elements : ndarray of int of shape (order,)
        Numbers of its elements, ascending; the identity is 0.

    Examples
    --------
    >>> from sk_eqsae.groups import CyclicGroup
    >>> half = CyclicGroup(4).subgroups[1]
    >>> half
    Subgroup(name='<g^2>', order=2)
    >>> half.elements
    array([0, 2])
    """

    name: str
    elements: NDArray

    def __post_init__(self) -> None:
        elements = _frozen(np.array(self.elements, dtype=np.int64))
        object.__setattr__(self, "elements", elements)

    def __repr__(self) -> str:
        return f"Subgroup(name={self.name!r}, order={self.order})"

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.elements)


@dataclass(frozen=True)
class FiniteGroup(ABC):
    """A finite group with chosen generators; the base of all groups here.

    Every element is written ``g_1^p1 g_2^p2 ...`` with the generators in order; its
    powers ``(p1, p2, ...)`` name it. Products act like maps: in ``a b`` first b
    acts and then a, so the last generator acts first. Elements are numbered in the
    lexicographic order of their powers, and element 0 is the identity.

    Groups are immutable values: equal if they were made alike, hashable, and their
    repr reads back.

    Examples
    --------
    A flip undoes the direction of a rotation, s r = r^3 s:

    >>> from sk_eqsae.groups import DihedralGroup
    >>> group = DihedralGroup(4)
    >>> r, s = group.elements_of([[1, 0], [0, 1]])
    >>> group.words[group.multiplication_table[s, r]]
    ((0, 3), (1, 1))
    """

    def __getstate__(self) -> dict[str, Any]:
        # what was computed of a group is as large as it likes, and soon computed again
        return {field.name: getattr(self, field.name) for field in fields(self)}

    # What a kind of group has to say of itself: these four.

    @property
    @abstractmethod
    def generator_names(self) -> tuple[str, ...]:
        """Name of each generator."""

    @property
    @abstractmethod
    def relations(self) -> tuple[Word, ...]:
        """Words that equal the identity."""

    @property
    @abstractmethod
    def powers(self) -> NDArray:
        """Powers (order, n_generators) of each element, the first that give it."""

    @property
    @abstractmethod
    def _left_products(self) -> NDArray:
        """Element g_k e (n_generators, order) of each generator k and element e."""

    @cached_property
    def irreps(self) -> tuple[Irrep, ...]:
        """Real irreducible representations, the trivial one first."""
        with blas_threads_that_pay(DECOMPOSITION * self.order**3):
            found = irreps_of_regular(self.multiplication_table, self.inverses)
        return tuple(map(Irrep, _irrep_names(found, self), found))

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.powers)

    @property
    def n_generators(self) -> int:
        """Number of generators."""
        return len(self.generator_names)

    @cached_property
    def generator_orders(self) -> tuple[int, ...]:
        """Order of each generator."""
        return tuple(map(len, self._generator_powers))

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """Each element as a word: (generator, exponent) pairs, none of them zero."""
        return tuple(
            tuple((k, p) for k, p in enumerate(row) if p)
            for row in self.powers.tolist()
        )

    @cached_property
    def multiplication_table(self) -> NDArray:
        """Element a b at [a, b], shape (order, order)."""
        table = np.empty((self.order, self.order), dtype=np.int64)
        table[0] = np.arange(self.order)
        without = np.argsort(self._left_products, axis=1)  # g_k^-1 e
        for e in range(1, self.order):
            k = self.words[e][0][0]  # so e = g_k e' with e' < e
            table[e] = self._left_products[k][table[without[k, e]]]
        return _frozen(table)

    @cached_property
    def inverses(self) -> NDArray:
        """Inverse of each element, shape (order,)."""
        return _frozen(np.argmin(self.multiplication_table, axis=1))

    @cached_property
    def subgroups(self) -> tuple[Subgroup, ...]:
        """One subgroup of each conjugacy class, by order, the trivial one first.

        All of them, unless it takes too long to find them: of other than cyclic and
        dihedral groups, those found in 2**17 steps, no more than 1,000, and of more
        than 2,000 elements only the trivial one and the whole.
        """
        return tuple(
            Subgroup(self._generated_by(generators), elements)
            for elements, generators in self._subgroups()
        )

    def _subgroups(self) -> list[tuple[NDArray, list[int]]]:
        """Elements and generators of the subgroups."""
        if self.order > MAX_ORDER:
            whole = np.arange(self.order)
            return [(whole[:1], []), (whole, generator_elements(self))]
        search = SubgroupSearch(self.multiplication_table)
        return [(found, search.generators(found)) for found in search.classes()]

    def _generated_by(self, generators: Sequence[int]) -> str:
        names = self.generator_names
        words = [[(names[k], p) for k, p in self.words[e]] for e in generators]
        return f"<{', '.join(map(shown, words))}>" if words else "1"

    def cosets(self, subgroup: Subgroup) -> NDArray:
        """Say how the group permutes the cosets of a subgroup H.

        Parameters
        ----------
        subgroup : Subgroup
            One of `subgroups`.

        Returns
        -------
        moved : ndarray of int of shape (order, order // subgroup.order)
            Entry [g, c] is the number of the coset ``g c``. Cosets ``e H`` are
            numbered by their smallest elements, so that H is 0; column 0 says in which
            coset each element is.

        Examples
        --------
        A half-turn leaves both cosets of the half-turns where they are:

        >>> from sk_eqsae.groups import CyclicGroup
        >>> group = CyclicGroup(4)
        >>> group.cosets(group.subgroups[1])
        array([[0, 1],
               [1, 0],
               [0, 1],
               [1, 0]])
        """
        if subgroup.order == self.order:
            return np.zeros((self.order, 1), dtype=np.int64)
        smallest = self.multiplication_table[:, subgroup.elements].min(axis=1)
        first, coset_of = np.unique(smallest, return_inverse=True)
        return coset_of[self.multiplication_table[:, first]]

    @cached_property
    def character_table(self) -> NDArray:
        """Characters of `irreps`, shape (n_irreps, order)."""
        return _frozen(np.stack([irrep.character for irrep in self.irreps]))

    def elements_of(self, power: ArrayLike) -> NDArray:
        """Number of the element that each row of powers stands for.

        Parameters
        ----------
        power : array-like of shape (n_rows, n_generators)
            Integer exponents of the generators, taken modulo their orders; with
            one generator also of shape (n_rows,). Others are a ValueError.

        Returns
        -------
        elements : ndarray of shape (n_rows,)
            Elements g_1^p1 g_2^p2 ...
        """
        exponents = _checked_powers(power, self) % self.generator_orders
        elements = np.zeros(len(exponents), dtype=np.int64)
        for k in reversed(range(self.n_generators)):
            left = self._generator_powers[k][exponents[:, k]]
            # of one generator this saves the table, order^2 entries
            after = elements.any()
            elements = self.multiplication_table[left, elements] if after else left
        return elements

    def power_of(self, elements: NDArray) -> NDArray:
        """Give the powers of elements, as metadata hold them.

        Parameters
        ----------
        elements : ndarray of int of shape (n_rows,)
            Numbers of elements.

        Returns
        -------
        power : ndarray of shape (n_rows,) or (n_rows, n_generators)
            With one generator, its powers; else a column for each.
        """
        power = self.powers[elements]
        return power if self.n_generators > 1 else power[:, 0]

    @cached_property
    def _generator_powers(self) -> tuple[NDArray, ...]:
        """Elements 1, g, g^2 ... of each generator g."""
        cycles = []
        for left in self._left_products.tolist():
            elements = [0]
            while following := left[elements[-1]]:
                elements.append(following)
            cycles.append(np.array(elements))
        return tuple(cycles)


@dataclass(frozen=True)
class CyclicGroup(FiniteGroup):  # numpydoc ignore=PR02
    """The cyclic group C_n: one generator g with g^n = 1.

    Parameters
    ----------
    n : int
        Number of elements, at least 1.

    Notes
    -----
    Irreps: "trivial", g -> 1; for even n "sign", g -> -1; "rotation k", g -> the
    rotation by k/n of a full turn, for 0 < k < n/2.

    Examples
    --------
    >>> from sk_eqsae.groups import CyclicGroup
    >>> CyclicGroup(4).irreps
    (Irrep(name='trivial', dim=1, kind='real'),
     Irrep(name='sign', dim=1, kind='real'),
     Irrep(name='rotation 1', dim=2, kind='complex'))
    """

    n: int

    generator_names = ("g",)

    def __post_init__(self) -> None:
        check_count(self, self.n, 1)

    @property
    def relations(self) -> tuple[Word, ...]:
        """The words that equal the identity: g^n."""
        return (((0, self.n),),)

    @cached_property
    def powers(self) -> NDArray:
        """Power of each element."""
        return _frozen(np.arange(self.n)[:, np.newaxis])

    @cached_property
    def _left_products(self) -> NDArray:
        return np.roll(np.arange(self.n), -1)[np.newaxis]

    def _subgroups(self) -> list[tuple[NDArray, list[int]]]:
        # g^step for each divisor of n
        steps = [self.n // d for d in _divisors(self.n)]
        return [(np.arange(0, self.n, s), [s] if s < self.n else []) for s in steps]

    @cached_property
    def irreps(self) -> tuple[Irrep, ...]:
        """Real irreducible representations, the trivial one first."""
        p = np.arange(self.n)
        signs = {"trivial": p**0}
        if self.n % 2 == 0:
            signs["sign"] = (-1) ** p
        return (*_signs(signs), *_rotations(p, self.n))


@dataclass(frozen=True)
class DihedralGroup(FiniteGroup):  # numpydoc ignore=PR02
    """The dihedral group D_n: n rotations and a flip, with s r s = r^-1.

    Its 2 n elements are r^a s^b.

    Parameters
    ----------
    n : int
        Order of the rotation r, at least 1.

    Notes
    -----
    Irreps: "trivial"; "sign of s", s -> -1; for even n "sign of r" and "sign of r
    and s"; "rotation k", r -> the rotation by k/n of a full turn and s -> diag(1,
    -1), for 0 < k < n/2. In the notation of chemistry: A1, A2, B1, B2 and Ek.

    Examples
    --------
    >>> from sk_eqsae.groups import DihedralGroup
    >>> group = DihedralGroup(4)
    >>> group.order, group.generator_names, group.generator_orders
    (8, ('r', 's'), (4, 2))
    >>> group.character_table.astype(int)
    array([[ 1,  1,  1,  1,  1,  1,  1,  1],
           [ 1, -1,  1, -1,  1, -1,  1, -1],
           [ 1,  1, -1, -1,  1,  1, -1, -1],
           [ 1, -1, -1,  1,  1, -1, -1,  1],
           [ 2,  0,  0,  0, -2,  0,  0,  0]])
    """

    n: int

    generator_names = ("r", "s")

    def __post_init__(self) -> None:
        check_count(self, self.n, 1)

    @property
    def relations(self) -> tuple[Word, ...]:
        """The words that equal the identity: r^n, s^2 and s r s r."""
        r, s = (0, 1), (1, 1)
        return ((0, self.n),), ((1, 2),), (s, r, s, r)

    @cached_property
    def powers(self) -> NDArray:
        """The powers of r and s of each element."""
        return _frozen(np.indices((self.n, 2)).reshape(2, -1).T)

    @cached_property
    def _left_products(self) -> NDArray:
        a, b = self.powers.T
        by_r, by_s = ((a + 1) % self.n, b), (-a % self.n, 1 - b)
        return np.stack([2 * a + b for a, b in (by_r, by_s)])

    def _subgroups(self) -> list[tuple[NDArray, list[int]]]:
        # rotations by r^step alone, with s, and, if no rotation of them takes one to
        # the other, with r s; r^a s^b is element 2 a + b
        found = []
        for step in (self.n // d for d in _divisors(self.n)):
            turns = np.arange(0, 2 * self.n, 2 * step)
            by = [2 * step] if step < self.n else []
            found.append((turns, by))
            for flip in (1, 3)[: 1 + (step % 2 == 0)]:
                flips = (turns + flip) % (2 * self.n)
                found.append((np.sort(np.append(turns, flips)), [*by, flip]))
        return sorted(found, key=lambda each: len(each[0]))

    @cached_property
    def irreps(self) -> tuple[Irrep, ...]:
        """Real irreducible representations, the trivial one first."""
        a, b = self.powers.T
        signs = {"trivial": a**0, "sign of s": (-1) ** b}
        if self.n % 2 == 0:
            signs |= {"sign of r": (-1) ** a, "sign of r and s": (-1) ** (a + b)}
        flips = np.stack([np.eye(2), np.diag([1, -1])])[b]
        turns = [
            Irrep(turn.name, turn.matrices @ flips) for turn in _rotations(a, self.n)
        ]
        return (*_signs(signs), *turns)


@dataclass(frozen=True, init=False, repr=False)
class ProductGroup(FiniteGroup):
    """The direct product of groups, whose generators commute across factors.

    Parameters
    ----------
    *groups : FiniteGroup
        The factors, at least one. Their generators are concatenated.

    Notes
    -----
    An irrep is named after the irreps of the factors. Where their tensor product
    is not irreducible, as that of two rotations, its parts are numbered.

    Examples
    --------
    >>> from sk_eqsae.groups import CyclicGroup, ProductGroup
    >>> group = ProductGroup(CyclicGroup(4), CyclicGroup(3))
    >>> group.order, group.generator_names, group.generator_orders
    (12, ('g_1', 'g_2'), (4, 3))
    >>> [irrep.name for irrep in group.irreps[-2:]]
    ['rotation 1 x rotation 1 (1)', 'rotation 1 x rotation 1 (2)']
    """

    groups: tuple[FiniteGroup, ...]

    def __init__(self, *groups: FiniteGroup) -> None:
        if not groups:
            raise ValueError("ProductGroup needs at least one group, found none.")
        for group in groups:
            if not isinstance(group, FiniteGroup):
                raise TypeError(
                    "ProductGroup needs groups such as CyclicGroup(4), each as an "
                    f"argument of its own, found {type(group).__name__}."
                )
        object.__setattr__(self, "groups", groups)

    def __repr__(self) -> str:
        return f"ProductGroup({', '.join(map(repr, self.groups))})"

    @property
    def generator_names(self) -> tuple[str, ...]:
        """Name of each generator; numbered by factor if two would be alike."""
        names = [
            (g, i) for i, k in enumerate(self.groups, 1) for g in k.generator_names
        ]
        if len({name for name, _ in names}) == len(names):
            return tuple(name for name, _ in names)
        return tuple(f"{name}_{i}" for name, i in names)

    @cached_property
    def relations(self) -> tuple[Word, ...]:
        """The words that equal the identity: the factors', and all commutators."""
        counts = [group.n_generators for group in self.groups]
        starts = [0, *accumulate(counts[:-1])]  # first generator of each factor
        own = [
            tuple((start + k, p) for k, p in word)
            for start, group in zip(starts, self.groups, strict=True)
            for word in group.relations
        ]
        factor = np.repeat(np.arange(len(counts)), counts)
        commutators = [
            ((i, 1), (j, 1), (i, -1), (j, -1))
            for i, j in combinations(range(len(factor)), 2)
            if factor[i] != factor[j]
        ]
        return (*own, *commutators)

    @cached_property
    def powers(self) -> NDArray:
        """The powers of each element."""
        columns = [g.powers[e] for g, e in zip(self.groups, self._parts, strict=True)]
        return _frozen(np.hstack(columns))

    @cached_property
    def _left_products(self) -> NDArray:
        parts = self._parts
        return np.stack(
            [
                np.ravel_multi_index((*parts[:i], left[part], *parts[i + 1 :]), orders)
                for orders in [self._orders]
                for i, (group, part) in enumerate(zip(self.groups, parts, strict=True))
                for left in group._left_products
            ]
        )

    @cached_property
    def irreps(self) -> tuple[Irrep, ...]:
        """Real irreducible representations, the trivial one first."""
        found = [group.irreps for group in self.groups]
        first, *others = reduce(_tensor_products, found)
        return (Irrep("trivial", first.matrices), *others)

    @property
    def _orders(self) -> tuple[int, ...]:
        return tuple(group.order for group in self.groups)

    @cached_property
    def _parts(self) -> tuple[NDArray, ...]:
        """Element of each factor that each element consists of."""
        return np.unravel_index(np.arange(np.prod(self._orders)), self._orders)


def action_powers(group: FiniteGroup) -> list[Any]:
    """Powers of each element as actions take them: ints, or a tuple per element."""
    power = group.power_of(np.arange(group.order)).tolist()
    return [tuple(each) if isinstance(each, list) else each for each in power]


def smallest_parts(irrep: Irrep) -> tuple[NDArray, NDArray]:
    """Irreducible part (order, k, k) over the complex numbers, its basis (dim, k).

    That is the irrep itself if it is of real kind, else one of two complex parts.
    """
    if irrep.kind == "real":
        return irrep.matrices, np.eye(irrep.dim)
    noise = np.random.default_rng(0).normal(size=(irrep.dim, irrep.dim))
    rho = irrep.matrices
    turn = (rho @ (noise - noise.T) @ rho.transpose(0, 2, 1)).mean(axis=0)
    values, vectors = np.linalg.eigh(1j * turn)
    half = vectors[:, values > 0]
    if half.shape[1] > 1:  # the phase of a single vector changes no matrix
        half = canonical_basis(half)
    return half.conj().T @ rho @ half, half


def coset_representatives(group: FiniteGroup, subgroup: Subgroup) -> NDArray:
    """Smallest element of each coset, (order // subgroup.order,)."""
    if subgroup.order == 1:
        return np.arange(group.order)
    return np.unique(group.cosets(subgroup)[:, 0], return_index=True)[1]


def fixed_space(irrep: Irrep, subgroup: Subgroup) -> NDArray:
    """Orthonormal basis (dim, f) of what a subgroup leaves alone."""
    projection = irrep.matrices[subgroup.elements].mean(axis=0)
    values, vectors = np.linalg.eigh((projection + projection.T) / 2)
    kept = vectors[:, values > 0.5]
    if kept.shape[1] in (0, len(kept)):  # nothing, or all: in the coordinates there are
        return np.eye(len(kept))[:, : kept.shape[1]]
    return canonical_basis(kept)


def generator_elements(group: FiniteGroup) -> list[int]:
    """Element of each generator."""
    return group._left_products[:, 0].tolist()


def check_seen(group: FiniteGroup, elements: NDArray) -> None:
    """Raise if elements say nothing about a generator."""
    powers = group.powers[elements]
    for k, element in enumerate(generator_elements(group)):
        if element and not powers[:, k].any():
            name = group.generator_names[k]
            raise ValueError(
                f"power: the generator {name} is never observed: its power is 0 in "
                "every row, so nothing tells its matrix. Add rows with other powers "
                "of it, or give a group without it."
            )


def multiplicities(group: FiniteGroup, character: ArrayLike) -> NDArray:
    """How often each irrep of a group occurs in a representation.

    Parameters
    ----------
    group : FiniteGroup
        The group.
    character : array-like of shape (order,)
        Trace of the matrix of each element of the group; finite.

    Returns
    -------
    counts : ndarray of shape (n_irreps,)
        ``<character, chi> / <chi, chi>`` for the character chi of each irrep of
        ``group.irreps``, with <a, b> the mean of a b over the group. Whole numbers
        up to rounding, if the matrices are a representation.

    Examples
    --------
    Turning an image of 2 x 2 pixels by quarter-turns permutes 4 pixels in a cycle:

    >>> from sk_eqsae.groups import CyclicGroup, multiplicities
    >>> multiplicities(CyclicGroup(4), [4, 0, 0, 0])
    array([1., 1., 1.])
    """
    character = np.asarray(character, dtype=np.float64)
    if character.shape != (group.order,) or not np.isfinite(character).all():
        raise ValueError(
            f"character must hold one finite number for each of the {group.order} "
            f"elements of {group!r}, found shape {character.shape}."
        )
    norms = np.array([irrep.commutant_dim for irrep in group.irreps])
    return group.character_table @ character / group.order / norms


def check_count(group: FiniteGroup, n: int, low: int, high: int | None = None) -> None:
    """Raise if n of a group is no integer in its range; set it as an int."""
    whole = isinstance(n, int | np.integer) and not isinstance(n, bool)
    if not whole or n < low or (high is not None and n > high):
        upper = "or more" if high is None else f"to {high}"
        raise ValueError(
            f"n of {type(group).__name__} must be an integer, {low} {upper}, found "
            f"{n!r}."
        )
    object.__setattr__(group, "n", int(n))


def shown(word: Sequence[tuple[str, int | str]]) -> str:
    """Write a word of (name, exponent) pairs for people to read."""
    factors = [name if p == 1 else f"{name}^{p}" for name, p in word]
    return " ".join(factors) or "1"


def _checked_powers(power: ArrayLike, group: FiniteGroup) -> NDArray:
    """Powers (n_rows, n_generators) as integers."""
    try:
        given = np.asarray(power)
        with np.errstate(invalid="ignore"):
            power = given.astype(np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            "power must be an array of integers, one row for each row of the data, "
            f"found {power!r}."
        ) from error
    if (power != given).any():
        wrong = given[power != given].flat[0]
        raise ValueError(f"power must hold integers, found {wrong!r}.")
    if power.ndim == 1 and group.n_generators == 1:
        power = power[:, np.newaxis]
    if power.ndim != 2 or power.shape[1] != group.n_generators:
        shape = "(n_rows,) or " * (group.n_generators == 1)
        names = group.generator_names
        raise ValueError(
            f"power must have shape {shape}(n_rows, {group.n_generators}) for "
            f"{group!r}, found {power.shape}. Give one column for each generator, "
            f"{', '.join(names)}: a row holds the exponents of "
            f"{shown([(name, 'p') for name in names])}."
        )
    return power


def _divisors(n: int) -> list[int]:
    """All divisors of a number, ascending."""
    return [d for d in range(1, n + 1) if n % d == 0]


def _frozen(array: NDArray) -> NDArray:
    array.setflags(write=False)
    return array


def _signs(values: dict[str, NDArray]) -> list[Irrep]:
    return [Irrep(name, sign[:, None, None]) for name, sign in values.items()]


def _rotations(steps: NDArray, n: int) -> list[Irrep]:
    """Rotation by k times so many n-ths of a full turn, for each k below n/2."""
    found = []
    for k in range(1, (n + 1) // 2):
        angles = 2 * np.pi * (k * steps % n) / n
        cos, sin = np.cos(angles), np.sin(angles)
        matrices = np.stack([cos, -sin, sin, cos], axis=-1).reshape(-1, 2, 2)
        found.append(Irrep(f"rotation {k}", matrices))
    return found


def _tensor_products(
    first: tuple[Irrep, ...], second: tuple[Irrep, ...]
) -> tuple[Irrep, ...]:
    return tuple(part for a in first for b in second for part in _tensor_parts(a, b))


def _tensor_parts(first: Irrep, second: Irrep) -> list[Irrep]:
    name = f"{first.name} x {second.name}"
    product = tensor_product(first.matrices, second.matrices)
    if "real" in (first.kind, second.kind):
        return [Irrep(name, product)]
    parts = irreps_inside(product)
    names = [name] if len(parts) == 1 else [f"{name} ({i + 1})" for i in range(2)]
    return [Irrep(n, part) for n, part in zip(names, parts, strict=True)]


def _irrep_names(found: list[NDArray], group: FiniteGroup) -> list[str]:
    """Name signs by the generators they flip, others by their dimension."""
    dims = [matrices.shape[1] for matrices in found]
    names, generators = ["trivial"], generator_elements(group)
    for i, dim in enumerate(dims[1:], start=1):
        alike = dims.count(dim)
        if dim == 1:
            signs = found[i][generators, 0, 0]
            flipped = [
                g for g, s in zip(group.generator_names, signs, strict=True) if s < 0
            ]
            names.append("sign" if alike == 2 else f"sign of {' and '.join(flipped)}")
        else:
            number = f" ({i + 1 - dims.index(dim)})" if alike > 1 else ""
            names.append(f"{dim}-d{number}")
    return names
