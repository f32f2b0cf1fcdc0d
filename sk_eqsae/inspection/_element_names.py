"""Names of the elements of a group, for readers."""

from collections.abc import Callable

from ..groups import FiniteGroup


def element_names(group: FiniteGroup, exponent: Callable[[int], str]) -> list[str]:
    """Products of generators such as "1", "r" and "r² s"."""
    return [
        " ".join(
            name + (exponent(power) if power > 1 else "")
            for name, power in zip(group.generator_names, powers, strict=True)
            if power
        )
        or "1"
        for powers in group.powers.tolist()
    ]
