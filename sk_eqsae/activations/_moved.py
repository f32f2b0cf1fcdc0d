"""Inputs moved by an action, which is looked at before it is believed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._rows import as_array
from ..groups import FiniteGroup
from ..groups._actions import Action as KnownAction
from ..groups._group import action_powers, generator_elements
from ..groups._orbit_table import as_group

Inputs = np.ndarray | torch.Tensor
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


def moved(action: Action, batch: Inputs, power: Any) -> Inputs:
    """Apply an action to a copy of a batch, which it may change in place."""
    copy = batch.clone() if isinstance(batch, torch.Tensor) else batch.copy()
    found = action(copy, power)
    if not isinstance(found, np.ndarray | torch.Tensor) or len(found) != len(batch):
        shape = tuple(found.shape) if hasattr(found, "shape") else type(found).__name__
        raise ValueError(
            "action must return an array or tensor with as many rows as it was "
            f"given, {len(batch)}; found {shape}."
        )
    return found


def check_orders(action: Action, inputs: Inputs, group: FiniteGroup) -> None:
    """Raise if a generator, applied as often as its order, does not give inputs back.

    Actions of this package do; those of users are tried on some inputs.
    """
    if isinstance(action, KnownAction):
        return
    chosen = np.linspace(0, len(inputs) - 1, min(len(inputs), _SAMPLE)).astype(int)
    powers, elements = action_powers(group), generator_elements(group)
    for element, order in zip(elements, group.generator_orders, strict=True):
        if not _comes_back(action, inputs[chosen], powers[element], order):
            raise ValueError(
                f"action does not have symmetry={group!r}: power {powers[element]!r}, "
                f"applied {order} times, does not give the inputs back. Set symmetry "
                "to the number of times after which nothing has changed."
            )


def _comes_back(action: Action, sample: Inputs, power: Any, order: int) -> bool:
    once = again = moved(action, sample, power)
    for _ in range(order - 1):
        again = moved(action, again, power)
    size, apart = _norm(sample), _apart(again, sample)
    if apart <= _SAME * size:
        return True
    # What permutes entries or turns points keeps the norm, and comes back exactly.
    is_exact = as_array(sample).dtype.kind != "f" or (
        abs(_norm(once) - size) <= _ROUNDING * size
    )
    if is_exact or not np.isfinite(apart):
        return False
    # What interpolates blurs at each step, so it is judged by two of them.
    rest = [(order - 1) * p for p in np.atleast_1d(power).tolist()]
    last = moved(action, sample, tuple(rest) if isinstance(power, tuple) else rest[0])
    apart = _apart(moved(action, last, power), sample)
    return apart < max(_apart(once, sample), _apart(last, sample), size / 3)


def _norm(inputs: Inputs) -> float:
    return float(np.linalg.norm(_flat(inputs)))


def _apart(inputs: Inputs, others: Inputs) -> float:
    if inputs.shape != others.shape:
        return np.inf
    return float(np.linalg.norm(_flat(inputs) - _flat(others)))


def _flat(inputs: Inputs) -> NDArray:
    """All entries, NaN as 0."""
    entries = np.asarray(as_array(inputs)).ravel()
    return np.nan_to_num(entries.astype(np.result_type(entries, np.float64)))
