"""Tables of benchmarks.peers."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, significant, written
from ..peers._figure import DATA, NAMES
from ..peers._speed import PLAIN

_RESULTS = Path(__file__).parents[1] / "peers" / "results"
_METHODS = NAMES | {"ours": f"**{NAMES['ours']}**"}
_THREADS = {1: "one thread", 2: "two"}
_SIZES = [(threads, n) for threads in _THREADS for n in (2_048, 8_192)]


def _means():
    results = pd.read_csv(_RESULTS / "results.csv")
    numbers = results.drop(columns="seed").groupby(["method", "data"])
    return numbers.mean(numeric_only=True)


def fvu() -> str:
    """FVU and dead latents of each library on each kind of data."""
    means = _means()

    def cell(method, data):
        scores = means.loc[method, data]
        text = written(scores.fvu, "fvu")
        text = (
            f"**{text}**" if scores.fvu == means.xs(data, level=1).fvu.min() else text
        )
        return f"{text} / {scores.dead:.2f}"

    rows = [
        [name, *(cell(method, data) for data in DATA)]
        for method, name in _METHODS.items()
    ]
    return markdown(["held-out FVU / share of dead latents", *DATA.values()], rows)


def recovery() -> str:
    """How well each library finds known directions."""
    means = _means().xs("superposition", level="data")
    rows = [
        [
            name,
            f"{means.loc[method].mmcs:.3f}",
            f"{means.loc[method].recall:.3f}",
            f"{means.loc[method].precision:.2f}",
        ]
        for method, name in _METHODS.items()
    ]
    return markdown(["superposition", "mean best cosine", "recall", "precision"], rows)


def speed() -> str:
    """Rows per second of each library's own trainer, and how much faster ours is."""
    results = pd.read_csv(_RESULTS / "speed.csv")
    results = results.set_index(["threads", "n_components", "method"]).sort_index()
    first = results.loc[_SIZES[0]].rows_per_s

    def cell(size, method):
        case = results.loc[(*size, method)]
        speed = significant(case.rows_per_s)
        return speed if method == "ours" else f"{speed} ({case.ours_is_faster_by:.1f})"

    names = _METHODS | {PLAIN: "this package, plain recipe"}
    rows = [
        [names[method], *(cell(size, method) for size in _SIZES)]
        for method in sorted(names, key=lambda method: -first[method])
    ]
    header = [f"{n:,} latents, {_THREADS[threads]}" for threads, n in _SIZES]
    return markdown(["", *header], rows)


def reach() -> str:
    """Processor seconds and epochs up to the FVU of a dense loop of 16 epochs."""
    results = pd.read_csv(_RESULTS / "reach.csv")
    targets = results.groupby("data", sort=False).target.first()
    results = results.set_index(["data", "method"])

    def cell(data, method):
        case = results.loc[data, method]
        if pd.isna(case.seconds):
            return f"not in 64 ({written(case.fvu, 'fvu')})"
        return f"{significant(case.seconds)} s ({case.epochs:.0f})"

    rows = [
        [name, *(cell(data, method) for data in targets.index)]
        for method, name in _METHODS.items()
    ]
    header = [f"{DATA[data]}, {written(fvu, 'fvu')}" for data, fvu in targets.items()]
    return markdown(["", *header], rows)
