"""Finite groups as data: elements, words, relations, irreps."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, reduce
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._irreps import (
    Irrep,
    frozen,
    irreps_inside,
    irreps_of_regular,
    rotations,
    tensor_product,
)

Word = tuple[tuple[int, int], ...]
Permutation = tuple[int, ...]

_MAX_ORDER = 2_000  # the multiplication table and the irreps must fit in memory


@dataclass(frozen=True)
class FiniteGroup(ABC):
    """A finite group with chosen generators; the base of all groups here.

    Every element is written ``g_1^p1 g_2^p2 ...`` with the generators in order; its
    powers ``(p1, p2, ...)`` name it. Products act like maps: in ``a b`` first b
    acts and then a, so the last generator acts first. Elements are numbered in the
    lexicographic order of their powers, and element 0 is the identity.

    Groups are immutable values: equal if they were made alike, hashable, and their
    repr reads back.

    Attributes
    ----------
    order : int
        Number of elements.
    n_generators : int
        Number of generators.
    generator_names : tuple of str
        Name of each generator.
    generator_orders : tuple of int
        Order of each generator.
    powers : ndarray of shape (order, n_generators)
        Powers of each element: the lexicographically first that give it.
    words : tuple of words
        Each element as a word, a tuple of (generator, exponent) pairs without zero
        exponents.
    relations : tuple of words
        Words that equal the identity.
    multiplication_table : ndarray of shape (order, order)
        Entry [a, b] is the element a b.
    inverses : ndarray of shape (order,)
        Inverse of each element.
    irreps : tuple of Irrep
        Real irreducible representations, the trivial one first.
    character_table : ndarray of shape (n_irreps, order)
        Characters of `irreps`.

    See Also
    --------
    CyclicGroup : Rotations by steps, shifts along an axis.
    DihedralGroup : Rotations and a flip.
    ProductGroup : Symmetries that do not touch each other.
    SymmetricGroup : All permutations.
    GeneratedGroup : Any group, from permutations.

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
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    @abstractmethod
    def generator_names(self) -> tuple[str, ...]:
        """Name of each generator."""

    @property
    @abstractmethod
    def relations(self) -> tuple[Word, ...]:
        """The words that equal the identity."""

    @property
    @abstractmethod
    def powers(self) -> NDArray:
        """The powers of each element."""

    @property
    @abstractmethod
    def _left_products(self) -> NDArray:
        """Element g_k e of each generator k and element e."""

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
        return tuple(len(cycle) for cycle in self._generator_powers)

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """Each element as a word."""
        return tuple(
            tuple((k, p) for k, p in enumerate(row) if p)
            for row in self.powers.tolist()
        )

    @cached_property
    def multiplication_table(self) -> NDArray:
        """Element a b of each pair of elements."""
        table = np.empty((self.order, self.order), dtype=np.int64)
        table[0] = np.arange(self.order)
        without = np.argsort(self._left_products, axis=1)  # g_k^-1 e
        for e in range(1, self.order):
            k = self.words[e][0][0]  # so e = g_k e' with e' < e
            table[e] = self._left_products[k][table[without[k, e]]]
        return frozen(table)

    @cached_property
    def inverses(self) -> NDArray:
        """Inverse of each element."""
        return frozen(np.argmin(self.multiplication_table, axis=1))

    @cached_property
    def irreps(self) -> tuple[Irrep, ...]:
        """Real irreducible representations, the trivial one first."""
        found = irreps_of_regular(self.multiplication_table, self.inverses)
        names = _irrep_names(found, self)
        return tuple(Irrep(*pair) for pair in zip(names, found, strict=True))

    @cached_property
    def character_table(self) -> NDArray:
        """The characters of `irreps`."""
        return frozen(np.stack([irrep.character for irrep in self.irreps]))

    def elements_of(self, power: ArrayLike) -> NDArray:
        """Number of the element that each row of powers stands for.

        Parameters
        ----------
        power : array-like of shape (n_rows, n_generators)
            Integer exponents of the generators, taken modulo their orders; with
            one generator also of shape (n_rows,).

        Returns
        -------
        elements : ndarray of shape (n_rows,)
            Elements g_1^p1 g_2^p2 ...

        Raises
        ------
        ValueError
            If power has another shape or holds anything but integers.

        Examples
        --------
        >>> from sk_eqsae.groups import CyclicGroup
        >>> CyclicGroup(4).elements_of([0, 1, 5, -1])
        array([0, 1, 1, 3])
        """
        exponents = self._check_powers(power) % self.generator_orders
        elements = np.zeros(len(exponents), dtype=np.int64)
        for cycle, column in zip(
            reversed(self._generator_powers), exponents.T[::-1], strict=True
        ):
            elements = self._product(cycle[column], elements)
        return elements

    def power_of(self, elements: NDArray) -> NDArray:
        """Powers of elements, as metadata hold them.

        Parameters
        ----------
        elements : ndarray of int of shape (n_rows,)
            Numbers of elements.

        Returns
        -------
        power : ndarray of shape (n_rows,) or (n_rows, n_generators)
            With one generator, its powers; else a column for each.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_eqsae.groups import DihedralGroup
        >>> DihedralGroup(3).power_of(np.array([0, 5]))
        array([[0, 0],
               [2, 1]])
        """
        power = self.powers[elements]
        return power if self.n_generators > 1 else power[:, 0]

    @cached_property
    def _generator_powers(self) -> tuple[NDArray, ...]:
        """Elements 1, g, g^2 ... of each generator g."""
        return tuple(_cycle(left) for left in self._left_products)

    def _product(self, left: NDArray, right: NDArray) -> NDArray:
        # Saves the table, order^2 entries, for one generator.
        return self.multiplication_table[left, right] if right.any() else left

    def _element_of_word(self, word: Word) -> int:
        element = 0
        for generator, exponent in reversed(word):
            for _ in range(exponent % self.generator_orders[generator]):
                element = int(self._left_products[generator, element])
        return element

    def _check_powers(self, power: ArrayLike) -> NDArray:
        power = _integers(power)
        if power.ndim == 1 and self.n_generators == 1:
            power = power[:, np.newaxis]
        if power.ndim != 2 or power.shape[1] != self.n_generators:
            shape = "(n_rows,) or " * (self.n_generators == 1)
            raise ValueError(
                f"power must have shape {shape}(n_rows, {self.n_generators}) for "
                f"{self!r}, found {power.shape}. Give one column for each generator, "
                f"{', '.join(self.generator_names)}: a row holds the exponents of "
                f"{_shown(tuple((k, 'p') for k in self.generator_names))}."
            )
        return power


@dataclass(frozen=True)
class CyclicGroup(FiniteGroup):  # numpydoc ignore=PR02
    """The cyclic group C_n: one generator g with g^n = 1.

    Parameters
    ----------
    n : int
        Number of elements, at least 1.

    Raises
    ------
    ValueError
        If n is not a positive integer.

    See Also
    --------
    FiniteGroup : What every group has.

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

    def __post_init__(self) -> None:
        _check_count(self, self.n, 1)

    @property
    def generator_names(self) -> tuple[str, ...]:
        """Name of the generator."""
        return ("g",)

    @property
    def relations(self) -> tuple[Word, ...]:
        """The words that equal the identity: g^n."""
        return (((0, self.n),),)

    @cached_property
    def powers(self) -> NDArray:
        """Power of each element."""
        return frozen(np.arange(self.n)[:, np.newaxis])

    @cached_property
    def _left_products(self) -> NDArray:
        return np.roll(np.arange(self.n), -1)[np.newaxis]

    @cached_property
    def irreps(self) -> tuple[Irrep, ...]:
        """Real irreducible representations, the trivial one first."""
        p = np.arange(self.n)
        signs = [Irrep("trivial", _scalars(p**0))]
        if self.n % 2 == 0:
            signs.append(Irrep("sign", _scalars((-1) ** p)))
        turns = [
            Irrep(f"rotation {k}", rotations(2 * np.pi * (k * p % self.n) / self.n))
            for k in range(1, (self.n + 1) // 2)
        ]
        return (*signs, *turns)


@dataclass(frozen=True)
class DihedralGroup(FiniteGroup):  # numpydoc ignore=PR02
    """The dihedral group D_n: n rotations and a flip, with s r s = r^-1.

    Its 2 n elements are r^a s^b.

    Parameters
    ----------
    n : int
        Order of the rotation r, at least 1.

    Raises
    ------
    ValueError
        If n is not a positive integer.

    See Also
    --------
    FiniteGroup : What every group has.

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

    def __post_init__(self) -> None:
        _check_count(self, self.n, 1)

    @property
    def generator_names(self) -> tuple[str, ...]:
        """Name of each generator: the rotation r and the flip s."""
        return ("r", "s")

    @property
    def relations(self) -> tuple[Word, ...]:
        """The words that equal the identity: r^n, s^2 and s r s r."""
        r, s = (0, 1), (1, 1)
        return ((0, self.n),), ((1, 2),), (s, r, s, r)

    @cached_property
    def powers(self) -> NDArray:
        """The powers of r and s of each element."""
        return frozen(np.indices((self.n, 2)).reshape(2, -1).T)

    @cached_property
    def _left_products(self) -> NDArray:
        a, b = self.powers.T
        by_r, by_s = ((a + 1) % self.n, b), (-a % self.n, 1 - b)
        return np.stack([2 * a + b for a, b in (by_r, by_s)])

    @cached_property
    def irreps(self) -> tuple[Irrep, ...]:
        """Real irreducible representations, the trivial one first."""
        a, b = self.powers.T
        signs = {"trivial": a**0, "sign of s": (-1) ** b}
        if self.n % 2 == 0:
            signs |= {"sign of r": (-1) ** a, "sign of r and s": (-1) ** (a + b)}
        flips = np.stack([np.eye(2), np.diag([1, -1])])[b]
        turns = [
            Irrep(
                f"rotation {k}",
                rotations(2 * np.pi * (k * a % self.n) / self.n) @ flips,
            )
            for k in range(1, (self.n + 1) // 2)
        ]
        return (*(Irrep(name, _scalars(s)) for name, s in signs.items()), *turns)


@dataclass(frozen=True, init=False, repr=False)
class ProductGroup(FiniteGroup):
    """The direct product of groups, whose generators commute across factors.

    Parameters
    ----------
    *groups : FiniteGroup
        The factors, at least one. Their generators are concatenated.

    Raises
    ------
    ValueError
        If no group is given.
    TypeError
        If a factor is not a FiniteGroup.

    See Also
    --------
    FiniteGroup : What every group has.

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
        names = [name for group in self.groups for name in group.generator_names]
        if len(set(names)) == len(names):
            return tuple(names)
        return tuple(
            f"{name}_{i}"
            for i, group in enumerate(self.groups, start=1)
            for name in group.generator_names
        )

    @cached_property
    def relations(self) -> tuple[Word, ...]:
        """The words that equal the identity: the factors', and all commutators."""
        starts = self._starts
        own = [
            tuple((start + k, p) for k, p in word)
            for start, group in zip(starts, self.groups, strict=True)
            for word in group.relations
        ]
        factor = np.repeat(
            np.arange(len(self.groups)), [g.n_generators for g in self.groups]
        )
        commutators = [
            ((i, 1), (j, 1), (i, -1), (j, -1))
            for i in range(self.n_generators)
            for j in range(i + 1, self.n_generators)
            if factor[i] != factor[j]
        ]
        return (*own, *commutators)

    @cached_property
    def powers(self) -> NDArray:
        """The powers of each element."""
        columns = [g.powers[e] for g, e in zip(self.groups, self._parts, strict=True)]
        return frozen(np.hstack(columns))

    @cached_property
    def _left_products(self) -> NDArray:
        return np.stack(
            [
                np.ravel_multi_index(
                    (*self._parts[:i], left[self._parts[i]], *self._parts[i + 1 :]),
                    self._orders,
                )
                for i, group in enumerate(self.groups)
                for left in group._left_products
            ]
        )

    @cached_property
    def irreps(self) -> tuple[Irrep, ...]:
        """Real irreducible representations, the trivial one first."""
        found = reduce(_irreps_of_product, (group.irreps for group in self.groups))
        return (Irrep("trivial", found[0].matrices), *found[1:])

    @property
    def _orders(self) -> tuple[int, ...]:
        return tuple(group.order for group in self.groups)

    @property
    def _starts(self) -> list[int]:
        """Number of the first generator of each factor."""
        return [0, *accumulate(group.n_generators for group in self.groups[:-1])]

    @cached_property
    def _parts(self) -> tuple[NDArray, ...]:
        """Element of each factor that each element consists of."""
        return np.unravel_index(np.arange(np.prod(self._orders)), self._orders)


@dataclass(frozen=True)
class _PermutationGroup(FiniteGroup):
    """A group whose elements are found by multiplying permutations."""

    @property
    @abstractmethod
    def _generators(self) -> Sequence[Permutation]: ...

    @cached_property
    def permutations(self) -> NDArray:
        """Image of each point under each element, shape (order, n_points)."""
        return frozen(np.array(list(self._powers_of), dtype=np.int64))

    @cached_property
    def powers(self) -> NDArray:
        """The powers of each element."""
        return frozen(np.array(list(self._powers_of.values()), dtype=np.int64))

    @cached_property
    def _powers_of(self) -> dict[Permutation, tuple[int, ...]]:
        """Elements in lexicographic order of their powers."""
        identity = tuple(range(len(self._generators[0])))
        found: dict[Permutation, tuple[int, ...]] = {identity: ()}
        for generator in reversed(self._generators):
            longer: dict[Permutation, tuple[int, ...]] = {}
            for exponent, power in enumerate(_powers(generator)):
                for element, powers in found.items():
                    longer.setdefault(_composed(power, element), (exponent, *powers))
                _check_max_order(len(longer))
            found = longer
        return found

    @cached_property
    def _left_products(self) -> NDArray:
        number = {element: i for i, element in enumerate(self._powers_of)}
        products = [
            [_composed(generator, element) for element in number]
            for generator in self._generators
        ]
        missing = [p for row in products for p in row if p not in number]
        if missing:
            form = _shown(tuple((name, "p") for name in self.generator_names))
            raise ValueError(
                f"generators: the permutation {missing[0]} belongs to the group that "
                f"they generate and is no product {form} in this order. Add it as a "
                "last generator (and repeat, if another is missing then), or change "
                "the order of the generators."
            )
        return np.array([[number[p] for p in row] for row in products])


@dataclass(frozen=True)
class SymmetricGroup(_PermutationGroup):  # numpydoc ignore=PR02
    """The symmetric group S_n: all permutations of n things.

    The generators are the cycles c2 = (0 1), c3 = (0 1 2), ..., cn, where ck sends
    0 to 1, 1 to 2, ... and k - 1 to 0. Every permutation is c2^p1 c3^p2 ... for
    exactly one choice of powers.

    Parameters
    ----------
    n : int
        Number of things, 2 to 5.

    Attributes
    ----------
    permutations : ndarray of shape (order, n)
        Entry [e, i] is where element e sends i.

    Raises
    ------
    ValueError
        If n is not an integer from 2 to 5.

    See Also
    --------
    FiniteGroup : What every group has.

    Notes
    -----
    The relations are the orders of the cycles and those of the Coxeter group, with
    the swap of k - 1 and k written as ck^-1 c(k+1).

    Examples
    --------
    >>> from sk_eqsae.groups import SymmetricGroup
    >>> group = SymmetricGroup(3)
    >>> group.generator_names, group.generator_orders
    (('c2', 'c3'), (2, 3))
    >>> group.permutations.tolist()
    [[0, 1, 2], [1, 2, 0], [2, 0, 1], [1, 0, 2], [0, 2, 1], [2, 1, 0]]
    """

    n: int

    def __post_init__(self) -> None:
        _check_count(self, self.n, 2, 5)

    @property
    def generator_names(self) -> tuple[str, ...]:
        """Name of each generator: c2 to cn."""
        return tuple(f"c{k}" for k in range(2, self.n + 1))

    @property
    def relations(self) -> tuple[Word, ...]:
        """The words that equal the identity."""
        cycles = tuple(((k - 2, k),) for k in range(2, self.n + 1))
        swaps: list[Word] = [((0, 1),)]
        swaps += [((k - 1, -1), (k, 1)) for k in range(1, self.n - 1)]
        squares = tuple(swap * 2 for swap in swaps[1:])
        braids = tuple(
            (swaps[i] + swaps[j]) * (3 if j == i + 1 else 2)
            for i in range(len(swaps))
            for j in range(i + 1, len(swaps))
        )
        return cycles + squares + braids

    @property
    def _generators(self) -> Sequence[Permutation]:
        return [(*range(1, k), 0, *range(k, self.n)) for k in range(2, self.n + 1)]


@dataclass(frozen=True)
class GeneratedGroup(_PermutationGroup):  # numpydoc ignore=PR02
    """The group that given permutations generate.

    Every finite group is one of permutations, so this serves any symmetry.

    Parameters
    ----------
    generators : sequence of permutations
        Each permutation is a sequence of the images of 0, 1, ..., m - 1.
    relations : sequence of words, default=()
        Words that must equal the identity: sequences of (generator, exponent) pairs,
        generators counted from 0. ``()`` stands for the orders of the generators.

    Attributes
    ----------
    permutations : ndarray of shape (order, m)
        Entry [e, i] is where element e sends i.

    Raises
    ------
    ValueError
        If a generator is not a permutation or the generators have different
        lengths; if an element of the group is no product g1^p1 g2^p2 ... of the
        generators in order; if a relation does not hold; if the group has more than
        2,000 elements.

    See Also
    --------
    FiniteGroup : What every group has.

    Examples
    --------
    The quaternion group, generated by i and j acting on 1, i, j, k and their
    opposites:

    >>> from sk_eqsae.groups import GeneratedGroup
    >>> i, j = (1, 4, 3, 6, 5, 0, 7, 2), (2, 7, 4, 1, 6, 3, 0, 5)
    >>> group = GeneratedGroup([i, j], relations=[[(0, 2), (1, -2)]])
    >>> group.order, group.generator_names, group.generator_orders
    (8, ('g1', 'g2'), (4, 4))
    >>> group.irreps[-1]
    Irrep(name='4-d', dim=4, kind='quaternionic')
    """

    generators: tuple[Permutation, ...]
    relations: tuple[Word, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "generators", _check_permutations(self.generators))
        words = tuple(self._check_word(word) for word in self.relations)
        for word in words:
            self._check_relation(word)
        orders = tuple(((k, p),) for k, p in enumerate(self.generator_orders))
        object.__setattr__(self, "relations", words or orders)

    @property
    def generator_names(self) -> tuple[str, ...]:
        """Name of each generator: g1, g2 and so on."""
        return tuple(f"g{k}" for k in range(1, len(self.generators) + 1))

    @property
    def _generators(self) -> Sequence[Permutation]:
        return self.generators

    def _check_word(self, word: Iterable[Iterable[int]]) -> Word:
        try:
            pairs = tuple((operator.index(k), operator.index(p)) for k, p in word)
            valid = all(0 <= k < self.n_generators for k, _ in pairs)
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise ValueError(
                "relations must be words, sequences of (generator, exponent) pairs "
                f"with generators from 0 to {self.n_generators - 1}, found {word!r}."
            )
        return pairs

    def _check_relation(self, word: Word) -> None:
        element = self._element_of_word(word)
        if element:
            names = self.generator_names
            shown = _shown(tuple((names[k], p) for k, p in word))
            equal = _shown(tuple((names[k], p) for k, p in self.words[element]))
            raise ValueError(
                f"relations: {shown} = 1 does not hold, because the generators give "
                f"{shown} = {equal}. Correct the relation or the permutations."
            )


def as_group(symmetry: int | FiniteGroup | None) -> FiniteGroup | None:
    """The group that a ``symmetry`` parameter stands for; None is not known yet."""
    if symmetry is None or isinstance(symmetry, FiniteGroup):
        return symmetry
    if not isinstance(symmetry, int | np.integer) or symmetry < 1:
        raise ValueError(
            "symmetry must be the order of a cyclic group, a positive integer, or a "
            f"FiniteGroup such as DihedralGroup(4), found {symmetry!r}."
        )
    return CyclicGroup(int(symmetry))


def action_powers(group: FiniteGroup) -> list[Any]:
    """Powers of each element as actions take them: ints, or a tuple per element."""
    power = group.power_of(np.arange(group.order)).tolist()
    return [tuple(each) if isinstance(each, list) else each for each in power]


def multiplicities(group: FiniteGroup, character: ArrayLike) -> NDArray:
    """How often each irrep of a group occurs in a representation.

    Parameters
    ----------
    group : FiniteGroup
        The group.
    character : array-like of shape (order,)
        Trace of the matrix of each element of the group.

    Returns
    -------
    counts : ndarray of shape (n_irreps,)
        ``<character, chi> / <chi, chi>`` for the character chi of each irrep of
        ``group.irreps``, with <a, b> the mean of a b over the group. Whole numbers
        up to rounding, if the matrices are a representation.

    Raises
    ------
    ValueError
        If there is not one finite number for each element.

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


def _check_count(group: FiniteGroup, n: int, low: int, high: int | None = None) -> None:
    whole = isinstance(n, int | np.integer) and not isinstance(n, bool)
    if not whole or n < low or (high is not None and n > high):
        upper = "or more" if high is None else f"to {high}"
        raise ValueError(
            f"n of {type(group).__name__} must be an integer, {low} {upper}, found "
            f"{n!r}."
        )
    object.__setattr__(group, "n", int(n))


def _check_max_order(order: int) -> None:
    if order > _MAX_ORDER:
        raise ValueError(
            f"generators: the group has more than {_MAX_ORDER:,} elements. Use a "
            "subgroup of it, or ProductGroup if it is a product."
        )


def _check_permutations(
    generators: Iterable[Iterable[int]],
) -> tuple[Permutation, ...]:
    checked = tuple(_check_permutation(g, k) for k, g in enumerate(generators))
    if not checked:
        raise ValueError("generators must hold at least one permutation, found none.")
    lengths = sorted({len(generator) for generator in checked})
    if len(lengths) > 1:
        raise ValueError(
            "generators must permute the same points, found permutations of "
            f"{' and '.join(map(str, lengths))} points. Let the shorter ones map the "
            "further points to themselves."
        )
    return checked


def _check_permutation(generator: Iterable[int], number: int) -> Permutation:
    try:
        images = tuple(operator.index(image) for image in generator)
    except TypeError:
        images = ()
    if not images or sorted(images) != list(range(len(images))):
        raise ValueError(
            f"generators[{number}] must be a permutation, a sequence that holds each "
            f"of 0, 1, ..., m - 1 once, found {generator!r}."
        )
    return images


def _integers(power: ArrayLike) -> NDArray:
    try:
        given = np.asarray(power)
        with np.errstate(invalid="ignore"):
            whole = given.astype(np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            "power must be an array of integers, one row for each row of the data, "
            f"found {power!r}."
        ) from error
    if (whole != given).any():
        wrong = given[whole != given].flat[0]
        raise ValueError(f"power must hold integers, found {wrong!r}.")
    return whole


def _cycle(left: NDArray) -> NDArray:
    """Elements 1, g, g^2, ... from the products g e."""
    elements = [0]
    while (following := int(left[elements[-1]])) != 0:
        elements.append(following)
    return np.array(elements)


def _composed(after: Permutation, before: Permutation) -> Permutation:
    return tuple(after[image] for image in before)


def _powers(permutation: Permutation) -> Iterable[Permutation]:
    identity = tuple(range(len(permutation)))
    yield identity
    power = permutation
    while power != identity:
        yield power
        power = _composed(permutation, power)


def _scalars(values: NDArray) -> NDArray:
    return values[:, np.newaxis, np.newaxis]


def _irreps_of_product(
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
    names = ["trivial"]
    for i, (dim, matrices) in enumerate(zip(dims, found, strict=True)):
        if i == 0:
            continue
        if dim == 1:
            names.append(_sign_name(matrices, group, only=dims.count(1) == 2))
        elif dims.count(dim) == 1:
            names.append(f"{dim}-d")
        else:
            names.append(f"{dim}-d ({i + 1 - dims.index(dim)})")
    return names


def _sign_name(matrices: NDArray, group: FiniteGroup, only: bool) -> str:
    if only:
        return "sign"
    generators = group.elements_of(np.eye(group.n_generators, dtype=np.int64))
    flipped = [
        name
        for name, element in zip(group.generator_names, generators, strict=True)
        if matrices[element, 0, 0] < 0
    ]
    return f"sign of {' and '.join(flipped)}"


def _shown(word: Sequence[tuple[str, int | str]]) -> str:
    factors = [name if p == 1 else f"{name}^{p}" for name, p in word]
    return " ".join(factors) or "1"
