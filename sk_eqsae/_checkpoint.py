"""The state of training, as arrays and as a file from which it goes on."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._atomic import atomic_write, read_bytes
from ._json import parse_json
from ._tensors import from_bytes, to_bytes

_SECONDS = 60.0  # between two checkpoints
_SHARE = 0.05  # of the time that writing them may take
_KEY = "sk_eqsae_checkpoint"
_ADAM = "adam."
_COUNTERS = "counters."
_WEIGHTS = "weights."


@dataclass
class Place:
    """Where training is in an epoch.

    Attributes
    ----------
    n_batches, n_rows : int
        Batches that are done, and their rows.
    total : torch.Tensor of shape (n_curves,) or (n_curves, n_models)
        What is recorded of these batches, each times its rows; 0 before the first.
    generator : torch.Tensor or None
        State, at the beginning of the epoch, of what draws the order of the rows.
    """

    n_batches: int = 0
    n_rows: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float32))
    generator: Tensor | None = None

    def add(self, losses: Tensor, n_rows: int) -> None:
        """Count a batch.

        Parameters
        ----------
        losses : torch.Tensor of shape (n_curves,) or (n_curves, n_models)
            Its mean loss, and what is recorded beside it.
        n_rows : int
            Its rows.
        """
        self.total = self.total + losses * n_rows
        self.n_rows += n_rows
        self.n_batches += 1

    def mean_losses(self) -> NDArray:
        """Mean over all rows so far.

        Returns
        -------
        losses : ndarray of shape (n_curves,) or (n_curves, n_models)
            The mean loss, and that of what is recorded beside it.
        """
        return self.total.cpu().numpy().astype(np.float64) / self.n_rows


def remembered(net: Any) -> dict[str, NDArray]:
    """All that the next step depends on beside the weights and the rows.

    Parameters
    ----------
    net : Net
        In training.

    Returns
    -------
    memory : dict of ndarray
        State of Adam by parameter, and what the module counts.
    """
    memory = {}
    for name, parameter in net.module_.named_parameters():
        for part, value in net.optimizer_.state.get(parameter, {}).items():
            memory[f"{_ADAM}{name}.{part}"] = _array(value)
    if hasattr(net.module_, "counters"):
        for name, value in net.module_.counters().items():
            memory[_COUNTERS + name] = _array(value)
    return memory


def restore(memory: dict[str, NDArray], net: Any) -> None:
    """Give a net back what it has remembered.

    Parameters
    ----------
    memory : dict of ndarray
        Of :func:`remembered`, with or without other arrays.
    net : Net
        Initialized, of the same module.

    Raises
    ------
    ValueError
        If the arrays are of another module.
    """
    for name, parameter in net.module_.named_parameters():
        state = {
            part: _tensor(part, value, parameter)
            for part, value in _below(memory, f"{_ADAM}{name}.").items()
        }
        if state:
            net.optimizer_.state[parameter] = state
    if counters := _below(memory, _COUNTERS):
        device = next(net.module_.parameters()).device
        tensors = {k: torch.from_numpy(v.copy()) for k, v in counters.items()}
        net.module_.restore({k: v.to(device) for k, v in tensors.items()})


def _tensor(part: str, value: NDArray, parameter: Tensor) -> Tensor:
    if part == "step":
        return torch.tensor(value.item(), device=parameter.device)
    if value.shape != parameter.shape:
        raise ValueError("it is of weights of another shape")
    return torch.from_numpy(value.copy()).to(parameter.device)


def _below(arrays: dict[str, NDArray], prefix: str) -> dict[str, NDArray]:
    return {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}


def _array(value: Tensor) -> NDArray:
    return np.atleast_1d(value.detach().cpu().numpy().copy())


class Checkpoint:
    """A file that holds the state of one training, until that is done.

    Parameters
    ----------
    path : path
        The file.
    fingerprint : dict of str
        What decides the result of training. A file with another one is an error.
    """

    def __init__(
        self, path: str | os.PathLike[str], fingerprint: dict[str, str]
    ) -> None:
        self.path = Path(path)
        self.fingerprint = fingerprint
        self.place: Place | None = None
        self.written = time.monotonic()
        self.pause = _SECONDS

    def write_if_due(self, net: Any, place: Place) -> None:
        """Write the state, if the last time was long enough ago.

        Parameters
        ----------
        net : Net
            In training.
        place : Place
            Where it is in the epoch.
        """
        if not self._is_due():
            return
        start = time.monotonic()
        self._write(_state(net, place))
        self.written = time.monotonic()
        self.pause = max(_SECONDS, (self.written - start) / _SHARE)

    def _is_due(self) -> bool:
        return time.monotonic() >= self.written + self.pause

    def _write(self, state: dict[str, NDArray]) -> None:
        content = to_bytes(state, {_KEY: json.dumps(self.fingerprint)})
        with atomic_write(self.path) as part:
            part.write_bytes(content)

    def restore(self, net: Any) -> None:
        """Put a net where it was when the file was written, if there is one.

        Parameters
        ----------
        net : Net
            Initialized.

        Raises
        ------
        ValueError
            If the file is no checkpoint, or one of another fit, or if none could be
            written there.
        """
        state = self._found()
        if state is None:
            return
        with self._explained():
            restore(state, net)
            with torch.no_grad():
                for name, parameter in net.module_.named_parameters():
                    parameter.copy_(torch.from_numpy(state[_WEIGHTS + name]))
            n_batches, n_rows = map(int, state["place"])
            total = torch.from_numpy(state["totals"]).to(net.device)
            generator = torch.from_numpy(state["generator"])
        self.place = Place(n_batches, n_rows, total, generator)
        for losses in state["losses"]:
            net.history.new_epoch()
            net.history.record("train_losses", losses)

    def _found(self) -> dict[str, NDArray] | None:
        """Read the file, if there is one."""
        self._check_place()
        if not self.path.exists():
            return None
        with self._explained():
            return self._read()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say whose error it is and what can be done."""
        try:
            yield
        except (ValueError, KeyError, RuntimeError) as error:
            raise ValueError(
                f"cannot go on from the checkpoint {os.fspath(self.path)!r}: {error}. "
                "Remove the file to start anew, or set checkpoint to another path."
            ) from None

    def _check_place(self) -> None:
        """Say at once what the first write, a minute later, would run into."""
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise ValueError(
                f"checkpoint={os.fspath(self.path)!r} has to be a file, which need not "
                "be there, in a folder that is. Make the folder, or name a file in it."
            )

    def _read(self) -> dict[str, NDArray]:
        arrays, metadata = from_bytes(read_bytes(self.path))
        if _KEY not in metadata:
            raise ValueError("it is no checkpoint, but a file of another kind")
        found = parse_json(metadata[_KEY], "its fingerprint")
        keys = sorted(found.keys() | self.fingerprint.keys())
        if other := [k for k in keys if found.get(k) != self.fingerprint.get(k)]:
            raise ValueError(f"it is of a fit with other {', '.join(other)}")
        return arrays

    def remove(self) -> None:
        """Remove the file, which has served."""
        self.path.unlink(missing_ok=True)


def _state(net: Any, place: Place) -> dict[str, NDArray]:
    """All that the rest of training depends on, but for the rows."""
    assert place.generator is not None
    weights = {
        _WEIGHTS + name: _array(parameter)
        for name, parameter in net.module_.named_parameters()
    }
    return (
        weights
        | remembered(net)
        | {
            "place": np.array([place.n_batches, place.n_rows]),
            "totals": _array(place.total),
            "generator": _array(place.generator),
            "losses": net.loss_curves.astype(np.float64),
        }
    )
