"""Tables of benchmarks.group_tied."""

from pathlib import Path

import pandas as pd

from ._markdown import markdown

_RESULTS = Path(__file__).parents[1] / "paper" / "results" / "group_tied"


def factors() -> str:
    """Factor by which the tied curve lies left of the regular one."""
    table = pd.read_csv(_RESULTS / "curve_factors.csv")
    cells = table.assign(
        cell=[
            f"{m:.2f} ± {s:.2f}"
            for m, s in zip(table["mean"], table["std"], strict=True)
        ],
        network=table.base.str.upper() + ", " + table.orientation,
    ).pivot(index="network", columns="k", values="cell")
    header = [f"{table.seeds.min()} seeds", *(f"k = {k}" for k in cells)]
    return markdown(
        header,
        ([name, *row] for name, row in zip(cells.index, cells.to_numpy(), strict=True)),
    )
