"""Passes of a model over moved inputs, and the rows that are kept of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._estimator import as_array
from ..groups import FiniteGroup
from ..groups._group import action_powers
from ._batches import Forward, run, to_model
from ._layers import Reading, named_layer, outputs_of
from ._moved import Moves

_MIXED = 0.05  # how far a row may change with its neighbours, of a typical norm
_COPIES = 8  # of the first input, that are looked at

# What is kept of a layer's output in one pass: rows of shape (n_orbits, n_features), of
# the same orbits in the same order for each element, in memory of their own. It gets
# the output, the numbers of the inputs, the element of the group that moved them, and
# the layer.
Keep = Callable[[torch.Tensor, NDArray, int, str], torch.Tensor]
# Where to put the rows of a layer, by its number in the readings: an array of a shape
# (n_orbits, order, n_features) and a dtype.
Room = Callable[[int, tuple[int, int, int], np.dtype], NDArray]


@dataclass(eq=False)
class Passes:
    """Computes rows of some inputs, of all layers at once."""

    model: torch.nn.Module
    inputs: Any
    readings: Sequence[Reading]
    moves: Moves
    group: FiniteGroup
    device: torch.device
    keep: Keep
    forward: Forward | None = None
    widths: list[int] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.layers = [named_layer(self.model, each.layer) for each in self.readings]

    def __call__(
        self, first: int, last: int, room: Room = lambda _, *form: np.empty(*form)
    ) -> list[NDArray]:
        """For each layer rows of shape (n_orbits * order, n_features), by orbit."""
        numbers = np.arange(first, last)
        batch = self.moves.taken(self.inputs, slice(first, last))
        found: list[NDArray] = []
        for g in range(self.group.order):
            moved = self.rows(batch, numbers, g)
            if not self.widths:
                self._check_alone(first, len(numbers), moved)
            self._check_widths([rows.shape[1] for rows in moved])
            found = found or [
                room(i, (len(rows), self.group.order, rows.shape[1]), rows.dtype)
                for i, rows in enumerate(moved)
            ]
            for X, rows in zip(found, moved, strict=True):
                X[:, g] = rows
        found = [X.reshape(-1, X.shape[2]) for X in found]
        for reading, X in zip(self.readings, found, strict=True):
            _check_finite(X, reading.layer, self.group.order, first)
        return found

    def rows(self, batch: Any, numbers: NDArray, element: int) -> list[NDArray]:
        """For each layer the rows of inputs that an element of the group has moved."""
        moved = self.moves(batch, action_powers(self.group)[element])
        tensors = to_model(moved, self.model, self.device)

        def kept(layer: str, output: torch.Tensor) -> NDArray:
            return as_array(self.keep(output, numbers, element, layer))

        wanted = [
            (reading, layer, partial(kept, reading.layer))
            for reading, layer in zip(self.readings, self.layers, strict=True)
        ]
        forward = partial(run, self.model, tensors, self.forward)
        return outputs_of(self.model, wanted, forward, self.device)

    def _check_alone(self, first: int, n: int, found: list[NDArray]) -> None:
        """Raise if the rows of the first input change beside copies of it."""
        n = min(n, _COPIES)
        numbers = np.full(n, first)
        alone = self.moves.taken(self.inputs, numbers.tolist())
        again = self.rows(alone, numbers, 0)
        for i, reading in enumerate(self.readings):
            rows = found[i][: len(again[i]) // n]
            if _are_close(again[i], np.concatenate([rows] * n), found[i]):
                continue
            # A model that draws random numbers differs from itself, too.
            if _are_close(self.rows(alone, numbers, 0)[i], again[i], found[i]):
                raise ValueError(
                    f"layer={reading.layer!r}: what it puts out for the first input "
                    "depends on the other inputs of the batch. If its first axis does "
                    "not number the inputs, as in (sequence, batch, features), add a "
                    "module that moves that axis to the front; if the model mixes "
                    "inputs on purpose, set batch_size=1."
                )

    def _check_widths(self, widths: list[int]) -> None:
        """Raise if batches have rows of different widths."""
        self.widths = self.widths or widths
        for reading, before, now in zip(
            self.readings, self.widths, widths, strict=True
        ):
            if before != now:
                raise ValueError(
                    f"layer={reading.layer!r} puts out {before} features for some "
                    f"batches and {now} for others. Pad all inputs to one length in "
                    "collate, or pick what has a fixed size with output=, such as one "
                    "token: output=lambda out: out[:, -1]."
                )


def _are_close(rows: NDArray, others: NDArray, all_rows: NDArray) -> bool:
    if rows.shape != others.shape:  # padded to another length
        return True
    typical = np.sqrt(np.mean(np.linalg.norm(all_rows, axis=1) ** 2))
    return bool((np.linalg.norm(rows - others, axis=1) <= _MIXED * typical).all())


def _check_finite(X: NDArray, layer: str, order: int, first_input: int) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(X.sum()):  # takes no memory
            return
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if len(bad):
        index, power = divmod(int(bad[0]), order)
        raise ValueError(
            f"layer={layer!r} put out NaN or infinity in {len(bad)} of {len(X)} rows "
            f"of a batch, first for input {first_input + index} at power {power}. "
            "Check that the inputs are finite and that the model's training did not "
            "diverge."
        )
