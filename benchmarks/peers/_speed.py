"""Times of whole fits, all methods in interleaved rounds."""

import time
from functools import partial

import pandas as pd
import torch
from tqdm.auto import tqdm

from benchmarks.speed._rounds import interleaved

from . import _adaptors
from ._data import PROBLEMS
from ._metrics import quality

PLAIN = "ours, plain recipe"
_SLOW = "scikit-learn"
# latents, k, rows
_SIZES = [(2048, 32, 6400), (8192, 32, 1920)]
_SLOW_SIZE = (512, 10, 256)
_REACHED_IN = ("superposition", "digits-conv", "transformer")
_N_ROWS, _TARGET_EPOCHS, _MAX_EPOCHS = 8192, 16, 64


def speed(methods: list[str], rounds: int, threads: int) -> pd.DataFrame:
    """Time one epoch of every method, set-up included, at batch 64."""
    torch.set_num_threads(threads)
    fast = [m for m in methods if m != _SLOW]
    tables = [_compare(fast, *size, rounds) for size in _SIZES]
    if _SLOW in methods:
        tables.append(_compare([_adaptors.OURS, _SLOW], *_SLOW_SIZE, rounds))
    return pd.concat(tables, ignore_index=True)


def reach(methods: list[str], rounds: int, threads: int) -> pd.DataFrame:
    """Seconds of the shortest fit that explains as much as a dense loop of 16 epochs.

    They are seconds of the processor, which other programs change less than the clock.

    Fits of 1, 2, 4, ... 64 epochs at batch 256 are tried, for learning rates may depend
    on their number; a method that none of them brings there has no seconds.
    """
    torch.set_num_threads(threads)
    fast = [m for m in methods if m != _SLOW]
    tables = [_reached(fast, data, rounds) for data in tqdm(_REACHED_IN)]
    return pd.concat(tables, ignore_index=True)


def _reached(methods, data, rounds):
    problem = PROBLEMS[data]
    train, test, directions = problem.make(_N_ROWS, _N_ROWS // 4, 0)
    train, test = train.astype("float32"), test.astype("float32")
    settings = {"n_components": problem.n_components, "k": problem.k}

    def fit(method, epochs):
        # what its library needs, imports too, was loaded by a shorter one before
        method_fit = _adaptors.load(method)
        return method_fit(train, **settings, batch_size=256, epochs=epochs, seed=0)

    def fvu(method, epochs):
        return quality(fit(method, epochs), train, test, directions)["fvu"]

    target = fvu(_adaptors.REFERENCE, _TARGET_EPOCHS)
    rows, contenders = [], {}
    for method in methods:
        epochs, found = 1, fvu(method, 1)
        while found > target and epochs < _MAX_EPOCHS:
            epochs *= 2
            found = fvu(method, epochs)
        rows.append({"data": data, "target": target, "method": method, "fvu": found})
        if found <= target:
            rows[-1]["epochs"] = epochs
            contenders[method] = partial(fit, method, epochs)
    times = interleaved(contenders, rounds, time.process_time)
    table = pd.DataFrame(rows)
    table["seconds"] = [times.get(f"{m}_ms", float("nan")) / 1e3 for m in table.method]
    return table


def _compare(methods, n_components, k, n_rows, rounds):
    X, _, _ = PROBLEMS["superposition"].make(n_rows, 1, 0)
    X = X.astype("float32")
    settings = {"n_components": n_components, "k": k, "batch_size": 64}
    contenders = {
        m: partial(_adaptors.load(m), X, **settings, epochs=1, seed=0)
        for m in sorted(methods, key=lambda m: m != _adaptors.OURS)
    }
    if _SLOW not in methods:
        plain = _adaptors.load(_adaptors.OURS)
        contenders[PLAIN] = partial(
            plain, X, **settings, epochs=1, seed=0, recipe="paper"
        )
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
