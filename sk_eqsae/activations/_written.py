"""Activations written to a folder, block by block, and gone on with after a kill."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from .._atomic import atomic_write, read_bytes
from .._json import is_size, parse_json
from .._rows import as_array
from .._shards import Shards

_FILE_BYTES = 2**26
_INPUTS_AT_A_TIME = 1024
_MANIFEST, _MANIFEST_BYTES = "orbits.json", 2**16
# How far a row may be from itself, in units of a typical row, when another device or
# half precision has rounded it.
_ROUNDING, _ROUNDING_OF_FLOAT64 = 1e-2, 1e-6

Compute = Callable[[int, int], NDArray]


def fingerprint(
    model: torch.nn.Module, inputs: Any, *, layer: str, action: Any, order: int
) -> dict[str, Any]:
    """Describe what decides the activations, by the arguments of `extract_orbits`."""
    weights = hashlib.sha256(str(model).encode())
    for value in model.state_dict().values():
        if isinstance(value, torch.Tensor):
            weights.update(joblib.hash(value.cpu().float().numpy()).encode())
    rows = hashlib.sha256(str(tuple(inputs.shape)).encode())
    for start in range(0, len(inputs), _INPUTS_AT_A_TIME):
        part = inputs[start : start + _INPUTS_AT_A_TIME]
        if isinstance(part, torch.Tensor):
            part = part.double()
        rows.update(joblib.hash(np.asarray(as_array(part))).encode())
    return {
        "model": weights.hexdigest(),
        "inputs": rows.hexdigest(),
        "layer": layer,
        "action": _named(action),
        "order": order,
    }


def _named(action: Any) -> str:
    """Name of an action; its settings count as far as they can be pickled."""
    name = getattr(action, "__qualname__", type(action).__qualname__)
    try:
        return f"{name} {joblib.hash(action)}"
    except (pickle.PicklingError, AttributeError, TypeError):
        return name


def written(
    job: dict[str, Any],
    compute: Compute,
    batches: list[slice],
    out: str | os.PathLike[str],
) -> Shards:
    """Write the files that a folder lacks of a job; `compute(first, last)` the rows."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    n_together = _begun(folder, job, compute, batches)
    starts = range(0, len(batches), n_together)
    blocks = {
        folder / f"{number:06d}.npy": batches[start : start + n_together]
        for number, start in enumerate(starts)
    }
    there = [path for path in blocks if path.exists()]
    if there:
        _check_recomputed(there[0], blocks[there[0]][0], compute)
    for path, block in blocks.items():
        if path not in there:
            rows = np.concatenate([compute(b.start, b.stop) for b in block])
            with atomic_write(path) as part, open(part, "wb") as file:
                np.save(file, rows)
    return Shards(blocks)


def _begun(
    folder: Path, job: dict[str, Any], compute: Compute, batches: list[slice]
) -> int:
    """How many batches go into a file, as told by the folder, or decided now."""
    manifest = folder / _MANIFEST
    job = job | {"batch_size": batches[0].stop}
    if manifest.exists():
        found = parse_json(read_bytes(manifest, _MANIFEST_BYTES), str(manifest))
        n_together = found.pop("batches_per_file", None)
        other = [name for name, value in job.items() if found.get(name) != value]
        if other or not is_size(n_together, low=1):
            raise _another(folder, ", ".join(other or [_MANIFEST]))
        return n_together
    if any(folder.glob("[!.]*.npy")):
        raise ValueError(
            f"out={os.fspath(folder)!r} holds .npy files, but not of extract_orbits. "
            "Give an empty folder, or one that does not exist."
        )
    n_bytes = compute(batches[0].start, batches[0].stop).nbytes  # once more later
    n_together = max(1, _FILE_BYTES // n_bytes)
    with atomic_write(manifest) as part:
        part.write_text(json.dumps(job | {"batches_per_file": n_together}))
    return n_together


def _check_recomputed(path: Path, batch: slice, compute: Compute) -> None:
    """Compute the first batch of a file again, and see that it is the same."""
    # A fingerprint does not see all that activations depend on, such as an attribute of
    # the model, or the code of a lambda.
    again = compute(batch.start, batch.stop)
    rows = Shards(path)[: len(again)]
    # A model that draws random numbers differs from itself, too, and cannot be told.
    if not _same(rows, again) and _same(compute(batch.start, batch.stop), again):
        raise _another(path.parent, "model or action")


def _same(rows: NDArray, again: NDArray) -> bool:
    """Whether rows differ by no more than rounding."""
    if rows.dtype != again.dtype or rows.shape != again.shape:
        return False
    wide = np.result_type(rows.dtype, np.float64)
    rounding = _ROUNDING_OF_FLOAT64 if rows.dtype == wide else _ROUNDING
    apart = np.linalg.norm(rows.astype(wide) - again.astype(wide), axis=1)
    typical = np.sqrt(np.mean(np.linalg.norm(rows.astype(wide), axis=1) ** 2))
    return bool(apart.max() <= rounding * typical)


def _another(folder: Path, names: str) -> ValueError:
    return ValueError(
        f"out={os.fspath(folder)!r} holds activations of another {names}. Give another "
        "folder, or remove this one."
    )
