"""Inputs moved by an action, which is looked at before it is believed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._estimator import as_array
from ..groups import FiniteGroup
from ..groups._actions import Action as KnownAction
from ..groups._group import action_powers, generator_elements
from ..groups._orbit_table import as_group
from ._batches import (
    Collate,
    arrays_in,
    collated,
    copied,
    is_array,
    is_items,
    n_inputs,
    taken,
)

Action = Callable[[Any, Any], Any]
_SAMPLE = 4  # inputs
_SAME, _ROUNDING = 1e-3, 1e-6  # of the norm of the sample


def resolve_symmetry(action: Action, symmetry: int | FiniteGroup | None) -> FiniteGroup:
    """The group of an action, from itself or as given."""
    own, given = as_group(getattr(action, "symmetry", None)), as_group(symmetry)
    group = given or own
    if group is None:
        raise ValueError(
            "symmetry is needed: action has no attribute symmetry. Pass symmetry=, the "
            "number of times that the generator must be applied to change nothing, or "
            "a FiniteGroup."
        )
    if own not in {None, group}:
        raise ValueError(
            f"symmetry={symmetry!r} contradicts that of the action, {own!r}. Leave "
            "symmetry out, or change the action."
        )
    return group


@dataclass(frozen=True)
class Moves:
    """Moves batches by an action, and makes them ready for a model."""

    action: Action
    collate: Collate | None = None

    def __call__(self, batch: Any, power: Any) -> Any:
        """A batch as a model takes it, moved."""
        return collated(self.moved(batch, power), self.collate)

    def taken(self, inputs: Any, which: slice | list[int]) -> Any:
        """Some inputs as the action takes them."""
        batch = taken(inputs, which)
        # Actions of this package move arrays; a user's gets the items that there are.
        if not (isinstance(self.action, KnownAction) and isinstance(batch, list)):
            return batch
        batch = collated(batch, self.collate)
        if not is_array(batch):
            raise TypeError(
                f"{type(self.action).__name__} moves arrays, and a batch of inputs is "
                f"made a {type(batch).__name__}. Make it one array, as by "
                "collate=lambda items: torch.stack([x for x, *_ in items]), or give "
                "as action a function of the list of inputs and the power."
            )
        return batch

    def moved(self, batch: Any, power: Any) -> Any:
        """A moved copy of a batch; the action may change it in place."""
        is_known = isinstance(self.action, KnownAction)
        if is_known and not is_array(batch):
            raise TypeError(_how_to_move(self.action, batch))
        found = self.action(batch if is_known else copied(batch), power)
        if not _is_alike(found, batch) or n_inputs(found) != n_inputs(batch):
            kind = "array or tensor" if is_array(batch) else type(batch).__name__
            shape = (
                tuple(found.shape) if hasattr(found, "shape") else type(found).__name__
            )
            raise ValueError(
                f"action must return {kind} with as many rows as it was given, "
                f"{n_inputs(batch)}; found {shape}."
            )
        return found

    def check_orders(self, inputs: Any, group: FiniteGroup) -> None:
        """Raise if a generator, applied as often as its order, changes inputs.

        Actions of this package do not; those of users are tried on some inputs.
        """
        if isinstance(self.action, KnownAction):
            return
        n = n_inputs(inputs)
        chosen = np.linspace(0, n - 1, min(n, _SAMPLE)).astype(int).tolist()
        sample = taken(inputs, chosen)
        powers, elements = action_powers(group), generator_elements(group)
        for element, order in zip(elements, group.generator_orders, strict=True):
            if not self._comes_back(sample, powers[element], order):
                raise ValueError(
                    f"action does not have symmetry={group!r}: power "
                    f"{powers[element]!r}, applied {order} times, does not give the "
                    "inputs back. Set symmetry to the number of times after which "
                    "nothing has changed."
                )

    def _comes_back(self, sample: Any, power: Any, order: int) -> bool:
        once = again = self.moved(sample, power)
        for _ in range(order - 1):
            again = self.moved(again, power)
        size, apart = _norm_of(self._arrays(sample)), self._apart(again, sample)
        if apart <= _SAME * size:
            return True
        # What permutes entries or turns points keeps the norm, and comes back exactly.
        is_floating = any(array.dtype.kind == "f" for array in self._arrays(sample))
        change = abs(_norm_of(self._arrays(once)) - size)
        is_exact = not is_floating or change <= _ROUNDING * size
        if is_exact or not np.isfinite(apart):
            return False
        # What interpolates blurs at each step, so it is judged by two of them.
        rest = [(order - 1) * p for p in np.atleast_1d(power).tolist()]
        last = self.moved(sample, tuple(rest) if isinstance(power, tuple) else rest[0])
        apart = self._apart(self.moved(last, power), sample)
        limit = max(self._apart(once, sample), self._apart(last, sample), size / 3)
        return apart < limit

    def _arrays(self, batch: Any) -> list[NDArray]:
        """All numbers that a model will see of a batch, NaN as 0."""
        parts = arrays_in(collated(copied(batch), self.collate))
        arrays = (np.asarray(as_array(part)) for part in parts)
        return [np.nan_to_num(a) if a.dtype.kind == "f" else a for a in arrays]

    def _apart(self, batch: Any, other: Any) -> float:
        these, those = self._arrays(batch), self._arrays(other)
        if [a.shape for a in these] != [b.shape for b in those]:
            return np.inf
        return _norm_of(
            [_wide(a) - _wide(b) for a, b in zip(these, those, strict=True)]
        )


def _how_to_move(action: Action, batch: Any) -> str:
    """What to do where an action of this package meets no array."""
    name, kind = type(action).__name__, type(batch).__name__
    change, back = "x, *rest = batch", "(action(x, power), *rest)"
    if isinstance(batch, Mapping):
        key = next((key for key, part in batch.items() if is_array(part)), 0)
        change, back = f"batch[{key!r}] = action(batch[{key!r}], power)", "batch"
    return (
        f"{name} moves arrays, and a batch is a {kind}. Say which part it moves, and "
        f"give symmetry=action.symmetry:\n\n    def move(batch, power):\n"
        f"        {change}\n        return {back}\n"
    )


def _is_alike(found: Any, batch: Any) -> bool:
    """Whether an action has given a batch of the kind that it was given."""
    if is_array(batch):
        return is_array(found) and found.ndim > 0
    kind = Mapping if isinstance(batch, Mapping) else type(batch)
    is_empty = not is_items(batch) and next(arrays_in(found), None) is None
    return isinstance(found, kind) and not is_empty


def _wide(array: NDArray) -> NDArray:
    return array.astype(np.result_type(array, np.float64))


def _norm_of(arrays: list[NDArray]) -> float:
    return float(np.sqrt(sum(np.linalg.norm(_wide(a)) ** 2 for a in arrays)))
