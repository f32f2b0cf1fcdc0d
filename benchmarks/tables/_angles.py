"""The table of benchmarks.angles."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, written

_RESULTS = Path(__file__).parents[1] / "angles" / "results.csv"
_KINDS = {
    "at a step of 15 degrees": "at the steps (t = 1, 2, ..., 23)",
    "between two steps": "half-way between (t = 0.5, 1.5, ...)",
}
_MAPS = ("r2", "r2_refined", "nearest_step", "identity")


def between() -> str:
    """R2 of real powers of M, at the steps and between them."""
    means = pd.read_csv(_RESULTS).groupby("kind")[[*_MAPS]].mean()
    rows = [
        [name, *(written(means.loc[kind, column], "r2") for column in _MAPS)]
        for kind, name in _KINDS.items()
    ]
    header = ["$M^t$", "$M^t$, refined", "nearest step below", "M = I"]
    return markdown(["R2 on held-out images", *header], rows)
