"""Activations written to a folder, block by block, and gone on with after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from .._atomic import atomic_write, read_bytes, settle
from .._estimator import as_array
from .._json import is_size, parse_json
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
            _add(found, value.float())
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
            # tensors are pickled with what differs from one process to the next
            items = map_parts(lambda p: as_array(p) if torch.is_tensor(p) else p, batch)
            found.update(_named(items).encode())
        else:
            for array in arrays_in(batch):
                _add(found, array)
    return found.hexdigest()


def _add(found: Any, array: Any) -> None:
    """Add numbers, and what they are, to a hash."""
    array = np.asarray(as_array(array), order="C")
    found.update(f"{array.dtype} {array.shape}".encode())
    found.update(array.data)


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
    """Neighbouring batches, whose rows become one file in the folder of each layer."""

    folders: list[Path]
    number: int
    batches: list[tuple[int, int]]

    def path(self, folder: Path) -> Path:
        return folder / f"{self.number:06d}.npy"

    def there(self, folder: Path) -> Path | None:
        """The file, or if it is not done what there is of it."""
        path, growing = self.path(folder), _Growing.of(folder, self.number)
        if path.exists():
            return path
        return growing.path if growing.n_batches else None

    def write(self, compute: Compute, bar: Any) -> None:
        """Compute and write what is missing."""
        files = {
            i: _Growing.of(folder, self.number)
            for i, folder in enumerate(self.folders)
            if not self.path(folder).exists()
        }
        for j, batch in enumerate(self.batches):
            missing = [i for i, file in files.items() if file.n_batches == j]
            rows = compute(*batch) if missing else []
            for i in missing:
                files[i].add(rows[i])
            bar.update()
        for i, file in files.items():
            file.done(self.path(self.folders[i]))


@dataclass
class _Growing:
    """A hidden file that rows are added to, so that a kill costs but one batch."""

    # Its name tells how many batches and rows are in it for good. It need not outlive a
    # power cut: to wait for the disk after each batch takes as long as a pass.

    folder: Path
    number: int
    n_batches: int = 0
    n_rows: int = 0

    @classmethod
    def of(cls, folder: Path, number: int) -> _Growing:
        """The one that was left behind by a kill, or a new one."""
        for path in folder.glob(f".{number:06d}-*-*.npy"):
            _, n_batches, n_rows = path.stem.split("-")
            return cls(folder, number, int(n_batches), int(n_rows))
        return cls(folder, number)

    @property
    def path(self) -> Path:
        return self.folder / f".{self.number:06d}-{self.n_batches}-{self.n_rows}.npy"

    def add(self, rows: NDArray) -> None:
        """Add a batch: first its rows, then how many there are, then that it is in."""
        before = self.path
        with open(before, "r+b" if self.n_batches else "w+b") as file:
            _write_header(file, self.n_rows, rows)
            file.seek(self.n_rows * rows[:1].nbytes, os.SEEK_CUR)
            file.truncate()  # what a kill has left behind
            file.write(rows.data)
            file.seek(0)
            _write_header(file, self.n_rows + len(rows), rows)
        self.n_batches, self.n_rows = self.n_batches + 1, self.n_rows + len(rows)
        before.replace(self.path)

    def done(self, path: Path) -> None:
        """Become a file of its own."""
        settle(self.path, path)


def _write_header(file: BinaryIO, n_rows: int, like: NDArray) -> None:
    """Head of an .npy file, which has room for a growing number of rows."""
    form = {"descr": np.lib.format.dtype_to_descr(like.dtype), "fortran_order": False}
    np.lib.format.write_array_header_1_0(
        file, form | {"shape": (n_rows, like.shape[1])}
    )


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
        there = [block.there(folder) for folder in block.folders]
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
