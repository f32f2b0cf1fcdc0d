"""Groups whose elements are found by multiplying permutations."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ._group import FiniteGroup, Word, check_count, shown

Permutation = tuple[int, ...]

_MAX_ORDER = 2_000  # the multiplication table and the irreps must fit in memory


@dataclass(frozen=True)
class _PermutationGroup(FiniteGroup):
    """A group whose elements are found by multiplying permutations."""

    @property
    @abstractmethod
    def _generators(self) -> Sequence[Permutation]: ...

    @cached_property
    def permutations(self) -> NDArray:
        """Image of each point under each element, shape (order, n_points)."""
        return _as_array(self._powers_of)

    @cached_property
    def powers(self) -> NDArray:
        """The powers of each element."""
        return _as_array(self._powers_of.values())

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
                if len(longer) > _MAX_ORDER:
                    raise ValueError(
                        f"generators: the group has more than {_MAX_ORDER:,} elements. "
                        "Use a subgroup of it, or ProductGroup if it is a product."
                    )
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
            form = shown([(name, "p") for name in self.generator_names])
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
        check_count(self, self.n, 2, 5)

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
        If generators are no permutations of one length, an element of the group is no
        product g1^p1 g2^p2 ... of them in order, a relation does not hold, or the group
        has more than 2,000 elements.

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
        element = 0
        for generator, exponent in reversed(word):
            for _ in range(exponent % self.generator_orders[generator]):
                element = int(self._left_products[generator, element])
        if element:
            names = self.generator_names
            left, right = (
                shown([(names[k], p) for k, p in side])
                for side in (word, self.words[element])
            )
            raise ValueError(
                f"relations: {left} = 1 does not hold, because the generators give "
                f"{left} = {right}. Correct the relation or the permutations."
            )


def _check_permutations(generators: Iterable[Iterable[int]]) -> tuple[Permutation, ...]:
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


def _composed(after: Permutation, before: Permutation) -> Permutation:
    return tuple(after[image] for image in before)


def _powers(permutation: Permutation) -> Iterator[Permutation]:
    identity = tuple(range(len(permutation)))
    yield identity
    power = permutation
    while power != identity:
        yield power
        power = _composed(permutation, power)


def _as_array(rows: Iterable[tuple[int, ...]]) -> NDArray:
    array = np.array(list(rows), dtype=np.int64)
    array.setflags(write=False)
    return array
