"""Groups as data: by the numbers of their constructor, within bounds."""

import json
from math import lcm, prod
from typing import Any

from .._json import is_size, shown
from ..groups import (
    CyclicGroup,
    DihedralGroup,
    FiniteGroup,
    GeneratedGroup,
    ProductGroup,
    SymmetricGroup,
)

_MAX_ORDER = 10_000  # its multiplication table has 800 MB
_MAX_PARTS = 16  # factors, or generators
_MAX_GROUPS = 16  # different ones in a file
_MAX_STEPS = 200_000  # to find and check the elements of a generated group, 0.1 s
_COUNTED: dict[str, Any] = {
    kind.__name__: kind for kind in (CyclicGroup, DihedralGroup, SymmetricGroup)
}


def describe_group(group: FiniteGroup) -> list[Any]:
    """JSON values from which a group can be made again."""
    description = _described(group)
    GroupReader().build(description)
    return description


def _described(group: FiniteGroup) -> list[Any]:
    name = type(group).__name__
    if type(group) is _COUNTED.get(name):
        return [name, group.n]  # type: ignore[attr-defined]
    if type(group) is ProductGroup:
        return [name, *map(_described, group.groups)]
    if type(group) is GeneratedGroup:
        return [name, group.generators, group.relations]
    raise ValueError(
        f"{name} is no group of sk_eqsae. Use a GeneratedGroup with the same generators"
    )


class GroupReader:
    """Makes the groups of one file, equal ones once, and no more than a few."""

    def __init__(self) -> None:
        self._built: dict[str, FiniteGroup] = {}

    def build(self, description: Any) -> FiniteGroup:
        """Make a group of JSON values, which are checked before they are used."""
        key = json.dumps(description)
        if key not in self._built:
            if len(self._built) >= _MAX_GROUPS:
                raise ValueError(f"it has more than {_MAX_GROUPS} different groups")
            self._built[key] = self._new(json.loads(key))
        return self._built[key]

    def _new(self, description: Any) -> FiniteGroup:
        match description:
            case [str(name), n] if name in _COUNTED and is_size(n):
                _check_order(n)
                group: FiniteGroup = _COUNTED[name](n)
                _check_order(group.order)
                return group
            case ["ProductGroup", *parts] if 0 < len(parts) <= _MAX_PARTS:
                groups = [self.build(part) for part in parts]
                _check_order(prod(group.order for group in groups))
                return ProductGroup(*groups)
            case ["GeneratedGroup", generators, relations]:
                return _generated(generators, relations)
        raise ValueError(f"{shown(json.dumps(description))} is no group of sk_eqsae")


def _check_order(order: int) -> None:
    if order > _MAX_ORDER:
        raise ValueError(f"a group has {order:,} elements, more than {_MAX_ORDER:,}")


def _generated(generators: Any, relations: Any) -> GeneratedGroup:
    if not _are_permutations(generators):
        raise ValueError("the generators of a GeneratedGroup have to be permutations")
    if not isinstance(relations, list) or not all(map(_is_word, relations)):
        raise ValueError("the relations of a GeneratedGroup have to be words")
    orders = list(map(_order_of_permutation, generators))
    n_products = prod(orders) * (1 + len(generators)) * len(generators[0])
    n_steps = n_products + sum(map(len, relations)) * max(orders)
    if n_steps > _MAX_STEPS:
        raise ValueError(
            f"a GeneratedGroup takes {n_steps} steps to check (elements times points "
            f"and generators), more than {_MAX_STEPS}. Let it permute fewer points, or "
            "use a ProductGroup"
        )
    return GeneratedGroup(tuple(generators), tuple(relations))


def _are_permutations(generators: Any) -> bool:
    return (
        isinstance(generators, list)
        and 0 < len(generators) <= _MAX_PARTS
        and all(isinstance(g, list) and all(map(is_size, g)) for g in generators)
        and all(sorted(g) == list(range(len(g))) for g in generators)
        and len({len(g) for g in generators}) == 1
        and len(generators[0]) > 0
    )


def _is_word(word: Any) -> bool:
    return isinstance(word, list) and all(
        isinstance(pair, list) and [type(part) for part in pair] == [int, int]
        for pair in word
    )


def _order_of_permutation(permutation: list[int]) -> int:
    """Least common multiple of the lengths of its cycles."""
    order, unseen = 1, set(range(len(permutation)))
    while unseen:
        point, length = unseen.pop(), 1
        while (point := permutation[point]) in unseen:
            unseen.remove(point)
            length += 1
        order = lcm(order, length)
    return order
