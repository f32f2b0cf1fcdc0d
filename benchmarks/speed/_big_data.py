"""Fits of rows on the disk, beside the same rows in memory."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sk_eqsae import TopKSAE
from sk_eqsae.activations import Shards

from ._memory import resident, watched
from ._rounds import interleaved

SHARD_ROWS = 61_440
SAMPLE_SECONDS = 0.05


def streamed_fit(
    rounds: int,
    n_rows: int = 2 * SHARD_ROWS,
    n_features: int = 512,
    n_components: int = 1024,
) -> dict:
    """Compare an epoch over rows on the disk with one over the same rows in memory.

    The buffer holds a sixteenth of the rows. "array" is in memory, "memmap" one file,
    "shards" several, "half" several of float16.
    """
    sae = _sae(n_components, buffer_size=n_rows * n_features * 4 / 16e6)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for part, dtype in [("shards", np.float32), ("half", np.float16)]:
            (path / part).mkdir()
            write_shards(path / part, n_rows, n_features, dtype, n_rows // 4)
        data = {part: Shards(path / part) for part in ("shards", "half")}
        array = data["shards"][:]
        np.save(path / "all.npy", array)
        data |= {"memmap": np.load(path / "all.npy", mmap_mode="r")}
        contenders = {"array": lambda: sae.fit(array)} | {
            name: lambda rows=rows: sae.fit(rows) for name, rows in data.items()
        }
        return interleaved(contenders, rounds)


def _sae(n_components: int, buffer_size: float) -> TopKSAE:
    return TopKSAE(
        n_components,
        k=32,
        batch_size=1024,
        max_epochs=1,
        random_state=0,
        buffer_size=buffer_size,
    )


def write_shards(
    folder: Path, n_rows: int, n_features: int, dtype=np.float32, shard_rows=SHARD_ROWS
) -> None:
    """Write rows that are sums of a few of some directions, shard by shard."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(2 * n_features, n_features)).astype(np.float32)
    for start in range(0, n_rows, shard_rows):
        shape = (min(shard_rows, n_rows - start), 8)
        chosen = rng.integers(len(directions), size=shape)
        rows = np.zeros((shape[0], n_features), dtype=np.float32)
        for which in chosen.T:
            rows += directions[which]
        np.save(folder / f"{start // shard_rows}.npy", rows.astype(dtype))


def shuffling(n_seeds: int = 2, n_rows: int = 8_000, n_features: int = 32) -> dict:
    """FVU after ten epochs over a file whose rows are sorted, by size of the buffer.

    Neighbours are made of the same few directions, which change along the file, so
    that batches of neighbours would teach one thing after another. "full" is a full
    shuffle in memory, "buffer_16" a buffer of a sixteenth of the rows.
    """
    X = _sorted_rows(n_rows, n_features)
    mb = X.nbytes / 1e6
    result = {"n_rows": n_rows, "n_seeds": n_seeds}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "rows.npy", X)
        rows = np.load(Path(folder) / "rows.npy", mmap_mode="r")
        sizes = {"full": 2 * mb} | {f"buffer_{n}": mb / n for n in (4, 16, 64)}
        for name, size in sizes.items():
            result[f"{name}_fvu"] = _fvus(rows, size, n_seeds)
    return result


def _sorted_rows(n_rows: int, n_features: int, n_kinds: int = 50):
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(n_kinds, 8, n_features))
    kinds = np.arange(n_rows) * n_kinds // n_rows
    latents = rng.exponential(size=(n_rows, 8)) * (rng.random((n_rows, 8)) < 0.4)
    return np.einsum("ni,nij->nj", latents, directions[kinds]).astype(np.float32)


def _fvus(rows, buffer_size, n_seeds):
    settings = {"k": 8, "max_epochs": 10, "buffer_size": buffer_size}
    saes = [TopKSAE(256, random_state=s, **settings) for s in range(n_seeds)]
    return [1 - sae.fit(rows).score(rows) for sae in saes]


def large_fit(gigabytes: float = 20.0, n_features: int = 2048) -> dict:
    """Fit shards larger than memory should be, in a process of its own.

    "peak_mb" is the highest resident memory of all, "anonymous_mb" and "mapped_mb"
    are those of `watched`.
    """
    n_rows = int(gigabytes * 1e9 / 4 / n_features)
    with tempfile.TemporaryDirectory() as folder:
        if shutil.disk_usage(folder).free < 1.1e9 * gigabytes:
            raise OSError(f"{folder} has no room for {gigabytes} GB")
        write_shards(Path(folder), n_rows, n_features)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.speed._big_data", folder],
            check=True,
            capture_output=True,
            text=True,
        )
    return {"gigabytes": gigabytes, "n_features": n_features} | json.loads(done.stdout)


def _fit_folder(folder: Path) -> dict:
    rows = Shards(folder)
    before = resident()
    start, cpu = time.perf_counter(), time.process_time()
    with watched() as peaks:
        sae = _sae(256, buffer_size=256).set_params(batch_size=4096).fit(rows)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "rows_per_second": len(rows) / seconds,
        "peak_mb": resident(),
        "peak_mb_before": before,
        **peaks,
        "score": sae.score(rows[:20_000]),
    }


if __name__ == "__main__":
    print(json.dumps(_fit_folder(Path(sys.argv[1]))))
