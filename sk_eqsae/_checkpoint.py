"""The state of training, as arrays and as a file from which it goes on."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._atomic import atomic_write, read_bytes
from ._estimator import ADAM_PARTS
from ._tensors import from_bytes, to_bytes

_SECONDS = 60.0  # between two checkpoints
_SHARE = 0.05  # of the time that writing them may take
_CURVES = 2  # the loss and the squared error
_OPTIMIZER, _MODULE = "optimizer.", "module."
_WEIGHTS = f"{_MODULE}network."


def state_of(net: Any) -> dict[str, NDArray]:
    """All that the next step depends on but the rows: module and optimizer."""
    arrays = {
        _MODULE + name: to_numpy(value)
        for name, value in net.module_.state_dict().items()
    }
    for parameter, state in net.optimizer_.state_dict()["state"].items():
        for part, value in state.items():
            arrays[f"{_OPTIMIZER}{parameter}.{part}"] = to_numpy(value)
    return arrays


def without_weights(state: dict[str, NDArray]) -> dict[str, NDArray]:
    """The part of a state that fitted attributes do not hold."""
    return {k: v for k, v in state.items() if not k.startswith(_WEIGHTS)}


def restore(state: dict[str, NDArray], net: Any) -> None:
    """Give a net a state, or as much of one as there is."""
    try:
        module = net.module_.state_dict() | _below(state, _MODULE)
        net.module_.load_state_dict(module)
    except RuntimeError as error:
        raise ValueError(f"it is of other weights: {error}") from None
    optimizer = net.optimizer_.state_dict()
    optimizer["state"] = _by_parameter(_below(state, _OPTIMIZER), net)
    net.optimizer_.load_state_dict(optimizer)


def _by_parameter(arrays: dict[str, Tensor], net: Any) -> dict[int, dict[str, Tensor]]:
    """State of Adam: all of it or nothing, in the shapes of the parameters."""
    if not arrays:
        return {}
    parameters = [p for g in net.optimizer_.param_groups for p in g["params"]]
    shapes = {
        f"{i}.{part}": torch.Size() if part == "step" else parameter.shape
        for i, parameter in enumerate(parameters)
        for part in ADAM_PARTS
    }
    if {name: value.shape for name, value in arrays.items()} != shapes:
        raise ValueError("it is of weights of another shape")
    return {
        i: {part: arrays[f"{i}.{part}"] for part in ADAM_PARTS}
        for i in range(len(parameters))
    }


def _below(arrays: dict[str, NDArray], prefix: str) -> dict[str, Tensor]:
    return {
        name[len(prefix) :]: torch.from_numpy(value.copy())
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


def to_numpy(value: Tensor) -> NDArray:
    """Copy a tensor from wherever it is; truth values become 0 and 1, for files."""
    array = value.detach().cpu().numpy()
    return array.astype(np.uint8) if array.dtype == bool else array.copy()


def _check_epoch(state: dict[str, NDArray]) -> None:
    """Raise unless arrays can say where in an epoch a state was written."""
    one = [state[name].shape for name in ("place", "totals")]
    losses = state["losses"]
    if one != [(2,), (_CURVES,)] or (losses.size and losses.shape[1:] != (_CURVES,)):
        raise ValueError(f"its curves are of other shapes: {[*one, losses.shape]}")
    try:
        torch.Generator().set_state(torch.from_numpy(state["generator"]))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"it has no state of a generator: {error}") from None


class Checkpoint:
    """A file in a folder that holds the state of one training, until that is done.

    `fingerprint`, all that decides the result, names it, so that fits share a folder.
    """

    def __init__(self, folder: str | os.PathLike, fingerprint: dict[str, str]) -> None:
        name = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode())
        self.folder = Path(folder)
        self.path = self.folder / f"{name.hexdigest()[:32]}.safetensors"
        self.place: Any = None
        self.written = time.monotonic()
        self.pause = _SECONDS

    def write_if_due(self, net: Any, place: Any) -> None:
        """Write the state and the place in the epoch, if it is time to."""
        if not self._is_due():
            return
        start = time.monotonic()
        self._write_state(net, place)
        self.written = time.monotonic()
        self.pause = max(_SECONDS, (self.written - start) / _SHARE)

    def _write_state(self, net: Any, place: Any) -> None:
        epoch = {
            "place": np.array([place.n_batches, place.n_rows]),
            "totals": to_numpy(place.total),
            "generator": to_numpy(place.generator),
            "losses": net.loss_curves.astype(np.float64),
        }
        self._write(state_of(net) | epoch)

    def _is_due(self) -> bool:
        return time.monotonic() >= self.written + self.pause

    def _write(self, state: dict[str, NDArray]) -> None:
        with atomic_write(self.path) as part:
            part.write_bytes(to_bytes(state, {}))

    def restore(self, net: Any, place: type) -> None:
        """Put a net where it was when the file was written, if there is one."""
        state = self._found()
        if state is None:
            return
        with self._unreadable():
            restore(state, net)
            _check_epoch(state)
            n_batches, n_rows = state["place"].tolist()
            total = torch.from_numpy(state["totals"]).to(net.device)
            generator = torch.from_numpy(state["generator"])
        self.place = place(n_batches, n_rows, total, generator)
        for each in state["losses"]:
            net.history.new_epoch()
            net.history.record("losses", each)

    @contextmanager
    def _unreadable(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"cannot go on from the checkpoint {os.fspath(self.path)!r}: {error}. "
                "Remove the file to start anew."
            ) from None

    def _found(self) -> dict[str, NDArray] | None:
        """Read the file, if there is one."""
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(
                f"checkpoint={os.fspath(self.folder)!r} has to be a folder, but is a "
                "file. Name a folder, which need not be there."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return None
        with self._unreadable():
            return from_bytes(read_bytes(self.path))[0]

    def finish(self, net: Any, place: Any) -> None:
        """Remove the file, which has served."""
        self.remove()

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def remove_parts(self) -> None:
        """Remove the files of all parts."""
        for path in self.folder.glob(f"{self.path.stem}-*"):
            path.unlink(missing_ok=True)

    def of_part(self, name: str) -> "PartCheckpoint":
        """The file of a part of the training, which is kept until all are done."""
        part = PartCheckpoint(self.folder, {})
        part.path = self.path.with_stem(f"{self.path.stem}-{name}")
        return part


class PartCheckpoint(Checkpoint):
    """The state of one part of a training, with which the next one begins."""

    def finish(self, net: Any, place: Any) -> None:
        """Write the state at the end."""
        place.generator = torch.Generator().get_state()  # no epoch will begin
        place.total = torch.zeros(net.loss_curves.shape[1:])
        self._write_state(net, place)
