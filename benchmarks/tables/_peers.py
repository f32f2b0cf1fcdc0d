"""Tables of benchmarks.peers."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, significant, written
from ..peers._figure import DATA, NAMES

_RESULTS = Path(__file__).parents[1] / "peers" / "results"
_METHODS = NAMES | {"ours": f"**{NAMES['ours']}**"}
_N_COMPONENTS = (2_048, 8_192)


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
    """Rows per second of each library's own trainer."""
    results = pd.read_csv(_RESULTS / "speed.csv").set_index(["n_components", "method"])
    first = results.loc[_N_COMPONENTS[0]].rows_per_s
    order = sorted(_METHODS, key=lambda method: -first[method])

    def cells(method, n):
        case = results.loc[n, method]
        slower = "" if method == "ours" else f"{case.ours_is_faster_by:.1f}"
        return [significant(case.rows_per_s), slower]

    rows = [
        [_METHODS[method], *(c for n in _N_COMPONENTS for c in cells(method, n))]
        for method in order
    ]
    return markdown(["", "2,048 latents", "", "8,192 latents", ""], rows)
