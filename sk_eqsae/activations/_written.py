"""Activations written to a folder, block by block, and gone on with after a kill."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from .._atomic import atomic_write, read_bytes
from .._json import is_size, parse_json
from .._rows import as_array
from .._shards import Shards
from ._batches import arrays_in, is_items, map_parts, n_inputs, taken
from ._passes import Passes

_FILE_BYTES = 2**26
_INPUTS_AT_A_TIME = 1024
_ITEMS = 64  # of a dataset, that are looked at
_MANIFEST, _MANIFEST_BYTES = "orbits.json", 2**16
# How far a row may be from itself, in units of a typical row, when another device or
# half precision has rounded it.
_ROUNDING, _ROUNDING_OF_FLOAT64 = 1e-2, 1e-6


# Rows of each layer for the inputs from one number to another.
Compute = Callable[[int, int], list[NDArray]]


def fingerprint(passes: Passes) -> dict[str, Any]:
    """Describe what decides the activations, by the arguments of `extract_orbits`."""
    readings, moves = passes.readings, passes.moves
    return {
        "model": hash_of_model(passes.model),
        "inputs": hash_of_inputs(passes.inputs),
        "layer": [reading.layer for reading in readings],
        "output": [_named(reading.output) for reading in readings],
        "call": [reading.call for reading in readings],
        "sites": _named(passes.keep),
        "action": _named(moves.action),
        "collate": _named(moves.collate),
        "forward": _named(passes.forward),
        "order": passes.group.order,
    }


def hash_of_model(model: torch.nn.Module) -> str:
    """Hash of what a model prints as, and of its weights."""
    found = hashlib.sha256(str(model).encode())
    for value in model.state_dict().values():
        if isinstance(value, torch.Tensor):
            found.update(joblib.hash(value.cpu().float().numpy()).encode())
    return found.hexdigest()


def hash_of_inputs(inputs: Any) -> str:
    """Hash of all inputs; of a dataset, which may be slow, of some."""
    n, names = n_inputs(inputs), [*inputs] if isinstance(inputs, Mapping) else ""
    found = hashlib.sha256(f"{n} {names}".encode())
    some = np.linspace(0, n - 1, _ITEMS).astype(int).tolist()
    is_dataset = is_items(inputs) and not isinstance(inputs, list)
    for part in [some] if is_dataset else gen_batches(n, _INPUTS_AT_A_TIME):
        batch = taken(inputs, part)
        if is_items(batch):
            found.update(_named(map_parts(_hashable, batch)).encode())
        else:
            arrays = [_hashable(array) for array in arrays_in(batch)]
            found.update(joblib.hash(arrays).encode())
    return found.hexdigest()


def _hashable(part: Any) -> Any:
    # tensors are pickled with what differs from one process to the next
    if isinstance(part, torch.Tensor):
        part = part.double() if part.is_floating_point() else part
        return np.asarray(as_array(part))
    return part


def _named(action: Any) -> str:
    """Name of an action; its settings count as far as they can be pickled."""
    name = getattr(action, "__qualname__", type(action).__qualname__)
    try:
        return f"{name} {joblib.hash(action)}"
    except (pickle.PicklingError, AttributeError, TypeError):
        return name


def written(
    passes: Passes,
    batches: list[tuple[int, int]],
    out: Path,
    names: list[str],
    bar: Any,
) -> list[Shards]:
    """Write the files that are missing in the folder of each layer."""
    folders = [out / name for name in names]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    compute = lru_cache(1)(passes)  # what decides the size of files is not lost
    job = fingerprint(passes) | {"batch_size": batches[0][1]}
    n_together = _begun(job, compute, batches[0], out, folders)
    blocks = [
        _Block(folders, number, batches[start : start + n_together])
        for number, start in enumerate(range(0, len(batches), n_together))
    ]
    _check_recomputed(blocks, passes, out)
    for block in blocks:
        block.write(compute, bar)
    return [Shards([block.path(folder) for block in blocks]) for folder in folders]


@dataclass(frozen=True)
class _Block:
    """Neighbouring batches, whose rows become one file in the folder of each layer.

    Until all are there each batch has a hidden file, so that a kill costs but one.
    """

    folders: list[Path]
    number: int
    batches: list[tuple[int, int]]

    def path(self, folder: Path) -> Path:
        return folder / f"{self.number:06d}.npy"

    def part(self, folder: Path, batch: tuple[int, int]) -> Path:
        if len(self.batches) == 1:
            return self.path(folder)
        return folder / f".{self.number:06d}-{batch[0]}.npy"

    def write(self, compute: Compute, bar: Any) -> None:
        """Compute and write what is missing."""
        save = _save if len(self.batches) == 1 else _save_part
        lacking = [i for i, f in enumerate(self.folders) if not self.path(f).exists()]
        parts = [[self.part(f, batch) for batch in self.batches] for f in self.folders]
        for j, batch in enumerate(self.batches):
            missing = [i for i in lacking if not parts[i][j].exists()]
            rows = compute(*batch) if missing else []
            for i in missing:
                save(parts[i][j], rows[i])
            bar.update()
        if len(self.batches) > 1:
            for i in lacking:
                _save(self.path(self.folders[i]), Shards(parts[i])[:])
            for part in chain.from_iterable(parts):
                part.unlink(missing_ok=True)


def _save(path: Path, rows: NDArray) -> None:
    with atomic_write(path) as part, open(part, "wb") as file:
        np.save(file, rows)


def _save_part(path: Path, rows: NDArray) -> None:
    # It need not outlive a power cut, and to wait for the disk takes as long as a pass.
    part = path.with_suffix(".part")
    try:
        with open(part, "wb") as file:
            np.save(file, rows)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _begun(
    job: dict[str, Any],
    compute: Compute,
    batch: tuple[int, int],
    out: Path,
    folders: list[Path],
) -> int:
    """How many batches go into a file, as told by the folder, or decided now."""
    manifest = out / _MANIFEST
    if manifest.exists():
        found = parse_json(read_bytes(manifest, _MANIFEST_BYTES), str(manifest))
        n_together = found.pop("batches_per_file", None)
        other = [name for name, value in job.items() if found.get(name) != value]
        if other or not is_size(n_together, low=1):
            raise _another(out, ", ".join(other or [_MANIFEST]))
        return n_together
    if any(path for folder in folders for path in folder.glob("[!.]*.npy")):
        raise ValueError(
            f"out={os.fspath(out)!r} holds .npy files, but not of extract_orbits. "
            "Give an empty folder, or one that does not exist."
        )
    n_bytes = max(rows.nbytes for rows in compute(*batch))
    n_together = max(1, _FILE_BYTES // n_bytes)
    with atomic_write(manifest) as part:
        part.write_text(json.dumps(job | {"batches_per_file": n_together}))
    return n_together


def _check_recomputed(blocks: list[_Block], passes: Passes, out: Path) -> None:
    """Compute the first batch of a file again, and see that it is the same."""
    # A fingerprint does not see all that activations depend on, such as an attribute of
    # the model, or the code of a lambda.
    for block in blocks:
        batch = block.batches[0]
        places = [(block.path(f), block.part(f, batch)) for f in block.folders]
        there = [next((p for p in both if p.exists()), None) for both in places]
        if any(there):
            break
    else:
        return
    again = passes(*batch)
    pairs = [
        (Shards(path)[: len(rows)], rows, i)
        for i, (path, rows) in enumerate(zip(there, again, strict=True))
        if path is not None
    ]
    # A model that draws random numbers differs from itself, too, and cannot be told.
    differ = [(rows, i) for found, rows, i in pairs if not _same(found, rows)]
    if differ:
        once_more = passes(*batch)
        if any(_same(once_more[i], rows) for rows, i in differ):
            raise _another(out, "model or action")


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
