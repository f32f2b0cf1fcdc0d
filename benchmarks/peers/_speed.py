"""Rows per second of a whole fit, all methods in interleaved rounds."""

from functools import partial

import pandas as pd
import torch

from benchmarks.speed._rounds import interleaved

from . import _adaptors
from ._data import PROBLEMS

_SLOW = "scikit-learn"
# latents, k, rows
_SIZES = [(2048, 32, 6400), (8192, 32, 1920)]
_SLOW_SIZE = (512, 10, 256)


def speed(methods: list[str], rounds: int, threads: int) -> pd.DataFrame:
    """Time one epoch of every method, set-up included, at batch 64."""
    torch.set_num_threads(threads)
    fast = [m for m in methods if m != _SLOW]
    tables = [_compare(fast, *size, rounds) for size in _SIZES]
    if _SLOW in methods:
        tables.append(_compare([_adaptors.OURS, _SLOW], *_SLOW_SIZE, rounds))
    return pd.concat(tables, ignore_index=True)


def _compare(methods, n_components, k, n_rows, rounds):
    X, _, _ = PROBLEMS["superposition"].make(n_rows, 1, 0)
    X = X.astype("float32")
    settings = {"n_components": n_components, "k": k, "batch_size": 64}
    contenders = {
        m: partial(_adaptors.load(m), X, **settings, epochs=1, seed=0)
        for m in sorted(methods, key=lambda m: m != _adaptors.OURS)
    }
    times = interleaved(contenders, rounds)
    rows = [
        {
            "n_components": n_components,
            "k": k,
            "method": m,
            "rows_per_s": 1e3 * n_rows / times[f"{m}_ms"],
            "ours_is_faster_by": times.get(f"{m}_ratio", 1.0),
        }
        for m in contenders
    ]
    return pd.DataFrame(rows)
