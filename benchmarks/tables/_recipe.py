"""Tables of benchmarks.recipe."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, written
from ..peers._figure import DATA

_RESULTS = Path(__file__).parents[1] / "recipe" / "results.csv"
_PARTS = (
    *("default", "no clipping", "no auxiliary loss", "auxiliary loss of weight 1/32"),
    *("neither", "lr = 1e-3", "lr = 4e-3", "constant lr", "rows as they are"),
    *("torch's own start", "free norms", "paper"),
)
# for fewer dead latents
_TRIALS = (
    *("default", "free norms", "aux_k = 128", "dead after 1/4 epoch"),
    *("dead after 4 epochs", "lr falls over 80 %", "free norms, no auxiliary loss"),
    *("free norms, dead after 1/4 epoch", "free norms, lr = 3e-3"),
)
_MAIN = ("default", "no clipping", "no auxiliary loss", "rows as they are", "paper")


def _means():
    return pd.read_csv(_RESULTS).groupby(["variant", "data"])[["fvu", "dead"]].mean()


def parts() -> str:
    """FVU and dead latents with one part of the recipe changed."""
    return _of(_PARTS)


def trials() -> str:
    """The same of what was tried for fewer dead latents."""
    return _of(_TRIALS)


def _of(variants) -> str:
    means = _means()

    def cell(scores):
        return f"{written(scores.fvu, 'fvu')} / {scores.dead:.2f}"

    rows = [[v, *(cell(means.loc[v, data]) for data in DATA)] for v in variants]
    return markdown(["", *DATA.values()], rows)


def main() -> str:
    """FVU without the parts that matter most."""
    fvu = _means().fvu
    rows = [[v, *(written(fvu[v, data], "fvu") for data in DATA)] for v in _MAIN]
    return markdown(["", *DATA.values()], rows)
