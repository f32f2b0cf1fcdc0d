"""Activations written to a folder, block by block, and gone on with after a kill."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from .._atomic import atomic_write
from ._shards import Shards

_FILE_BYTES = 2**26
_INPUTS_AT_A_TIME = 1024
_MANIFEST = "orbits.json"


class Job(NamedTuple):
    """What decides the activations.

    Attributes
    ----------
    model : torch.nn.Module
        The model.
    inputs : ndarray or tensor of shape (n_inputs, ...)
        Canonical inputs.
    layer : str
        Whose output is taken.
    action : callable
        What moves the inputs.
    order : int
        Number of elements in an orbit.
    """

    model: torch.nn.Module
    inputs: Any
    layer: str
    action: Any
    order: int

    def fingerprint(self) -> dict[str, Any]:
        """Describe the job in a few words.

        Returns
        -------
        fingerprint : dict
            JSON values by the names of the arguments of `extract_orbits`.
        """
        weights = hashlib.sha256(str(self.model).encode())
        for value in self.model.state_dict().values():
            if isinstance(value, torch.Tensor):
                weights.update(joblib.hash(value.cpu().float().numpy()).encode())
        rows = hashlib.sha256(str(tuple(self.inputs.shape)).encode())
        for start in range(0, len(self.inputs), _INPUTS_AT_A_TIME):
            part = self.inputs[start : start + _INPUTS_AT_A_TIME]
            if isinstance(part, torch.Tensor):
                part = part.detach().cpu().double().numpy()
            rows.update(joblib.hash(np.asarray(part)).encode())
        return {
            "model": weights.hexdigest(),
            "inputs": rows.hexdigest(),
            "layer": self.layer,
            "action": _named(self.action),
            "order": self.order,
        }


def _named(action: Any) -> str:
    """Name of an action; its settings count as far as they can be pickled."""
    name = getattr(action, "__qualname__", type(action).__qualname__)
    try:
        return f"{name} {joblib.hash(action)}"
    except (pickle.PicklingError, AttributeError, TypeError):
        return name


def written(
    job: Job,
    compute: Callable[[int, int], NDArray],
    batches: list[slice],
    out: str | os.PathLike[str],
) -> Shards:
    """Write the files that are not there yet.

    Parameters
    ----------
    job : Job
        What is computed.
    compute : callable
        ``compute(first, last)`` gives the activations of the orbits of some inputs.
    batches : list of slice
        Which inputs to compute at a time.
    out : path
        Folder; it is made if there is none.

    Returns
    -------
    shards : Shards
        All rows.

    Raises
    ------
    ValueError
        If the folder holds something else.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    n_together = _begun(folder, job.fingerprint(), compute, batches)
    paths = []
    for start in range(0, len(batches), n_together):
        paths.append(folder / f"{start // n_together:06d}.npy")
        if not paths[-1].exists():
            block = batches[start : start + n_together]
            rows = np.concatenate([compute(b.start, b.stop) for b in block])
            with atomic_write(paths[-1]) as part, open(part, "wb") as file:
                np.save(file, rows)
    return Shards(paths)


def _begun(
    folder: Path,
    fingerprint: dict[str, Any],
    compute: Callable[[int, int], NDArray],
    batches: list[slice],
) -> int:
    """How many batches go into a file, as told by the folder, or decided now."""
    manifest = folder / _MANIFEST
    fingerprint |= {"batch_size": batches[0].stop}
    if manifest.exists():
        found = json.loads(manifest.read_text())
        _check_same(folder, fingerprint, found)
        return int(found["batches_per_file"])
    if any(folder.glob("[!.]*.npy")):
        raise ValueError(
            f"out={os.fspath(folder)!r} holds .npy files, but not of extract_orbits. "
            "Give an empty folder, or one that does not exist."
        )
    n_bytes = compute(batches[0].start, batches[0].stop).nbytes  # once more later
    n_together = max(1, _FILE_BYTES // n_bytes)
    with atomic_write(manifest) as part:
        part.write_text(json.dumps(fingerprint | {"batches_per_file": n_together}))
    return n_together


def _check_same(
    folder: Path, fingerprint: dict[str, Any], found: dict[str, Any]
) -> None:
    other = [name for name, value in fingerprint.items() if found.get(name) != value]
    if other:
        raise ValueError(
            f"out={os.fspath(folder)!r} holds activations of another "
            f"{', '.join(other)}. Give another folder, or remove this one."
        )
