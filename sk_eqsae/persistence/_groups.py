"""Groups as data, and how large a group may be."""

from math import factorial, lcm, prod
from typing import Any

from .._container import is_size, shown
from ..groups import (
    CyclicGroup,
    DihedralGroup,
    FiniteGroup,
    GeneratedGroup,
    ProductGroup,
    SymmetricGroup,
)

_MAX_ORDER = 10_000  # its multiplication table has 800 MB
_MAX_GENERATORS = 64
_MAX_STEPS = 50_000_000  # of finding the elements of a generated group, some seconds
_COUNTED: dict[str, Any] = {
    "CyclicGroup": CyclicGroup,
    "DihedralGroup": DihedralGroup,
    "SymmetricGroup": SymmetricGroup,
}


def describe_group(group: FiniteGroup) -> list[Any]:
    """Write a group as JSON values.

    Parameters
    ----------
    group : FiniteGroup
        One of this package's.

    Returns
    -------
    description : list
        The name of its class, and what it was made of.

    Raises
    ------
    ValueError
        If it is of another class, or too large to be read again.
    """
    description = _described(group)
    build_group(description)
    return description


def _described(group: FiniteGroup) -> list[Any]:
    name = type(group).__name__
    if type(group) is _COUNTED.get(name):
        return [name, group.n]  # type: ignore[attr-defined]
    if type(group) is ProductGroup:
        return [name, *map(_described, group.groups)]
    if type(group) is GeneratedGroup:
        words = [[list(pair) for pair in word] for word in group.relations]
        return [name, [list(g) for g in group.generators], words]
    raise ValueError(
        f"{name} is no group of sk_eqsae. Use a GeneratedGroup with the same generators"
    )


def build_group(description: Any) -> FiniteGroup:
    """Make the group that a description stands for.

    Parameters
    ----------
    description : object
        Any JSON value; it is checked before anything is computed from it.

    Returns
    -------
    group : FiniteGroup
        The group.

    Raises
    ------
    ValueError
        If it describes no group, or one too large.
    """
    if not isinstance(description, list) or not description:
        raise ValueError("a group has to be a list, its class first")
    name, *parts = description
    if name == "ProductGroup" and 0 < len(parts) <= _MAX_GENERATORS:
        return _checked_product([build_group(part) for part in parts])
    if name == "GeneratedGroup" and len(parts) == 2:
        return _built_from_permutations(*parts)
    if isinstance(name, str) and name in _COUNTED and len(parts) == 1:
        return _counted(name, parts[0])
    raise ValueError(f"{shown(name)} with {len(parts)} part(s) is no group of sk_eqsae")


def _counted(name: str, n: Any) -> FiniteGroup:
    if not is_size(n):
        raise ValueError(f"n of {name} has to be a whole number, found {shown(n)}")
    if n > _MAX_ORDER:
        raise ValueError(f"{name}({n}) has more than {_MAX_ORDER} elements")
    return _COUNTED[name](n)


def _order(group: FiniteGroup) -> int:
    """Order of a group, without listing the elements of large ones."""
    if isinstance(group, ProductGroup):
        return prod(map(_order, group.groups))
    if isinstance(group, SymmetricGroup):
        return factorial(group.n)
    if isinstance(group, CyclicGroup):
        return group.n
    return 2 * group.n if isinstance(group, DihedralGroup) else group.order


def _n_generators(group: FiniteGroup) -> int:
    if isinstance(group, ProductGroup):
        return sum(map(_n_generators, group.groups))
    return group.n_generators


def _checked_product(groups: list[FiniteGroup]) -> FiniteGroup:
    product = ProductGroup(*groups)
    if _order(product) > _MAX_ORDER or _n_generators(product) > _MAX_GENERATORS:
        raise ValueError(
            f"a product of groups has more than {_MAX_ORDER} elements or "
            f"{_MAX_GENERATORS} generators"
        )
    return product


def _built_from_permutations(generators: Any, relations: Any) -> GeneratedGroup:
    if not _are_permutations(generators):
        raise ValueError("the generators of a GeneratedGroup have to be permutations")
    if not _are_words(relations, len(generators)):
        raise ValueError("the relations of a GeneratedGroup have to be words")
    orders = list(map(_order_of_permutation, generators))
    n_letters = sum(len(word) for word in relations)
    steps = (prod(orders) + n_letters * max(orders)) * len(generators[0])
    if steps > _MAX_STEPS:
        raise ValueError("a GeneratedGroup has too many elements, points or relations")
    return GeneratedGroup(
        tuple(map(tuple, generators)),
        tuple(tuple(map(tuple, word)) for word in relations),
    )


def _are_permutations(generators: Any) -> bool:
    return (
        isinstance(generators, list)
        and 0 < len(generators) <= _MAX_GENERATORS
        and all(isinstance(g, list) and all(map(is_size, g)) for g in generators)
        and all(sorted(g) == list(range(len(g))) for g in generators)
        and len({len(g) for g in generators}) == 1
        and len(generators[0]) > 0
    )


def _are_words(relations: Any, n_generators: int) -> bool:
    if not isinstance(relations, list):
        return False
    if not all(isinstance(word, list) for word in relations):
        return False
    return all(_is_letter(pair, n_generators) for word in relations for pair in word)


def _is_letter(pair: Any, n_generators: int) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and is_size(pair[0])
        and pair[0] < n_generators
        and type(pair[1]) is int
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
