"""The table of benchmarks.steps."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, written

_RESULTS = Path(__file__).parents[1] / "steps" / "results.csv"


def long() -> str:
    """FVU on held-out pictures, a row for each layer and number of rows."""
    table = pd.read_csv(_RESULTS)
    table["rows"] = table["rows"].map("{:,}".format)
    counted = table.dead_after != "epoch"
    table.loc[counted, "rows"] += ", dead after " + table.dead_after
    cells = table.pivot(index=["layer", "rows"], columns="steps", values="fvu")
    kinds = table[["layer", "rows"]].drop_duplicates()
    place = kinds.layer.map({name: i for i, name in enumerate(kinds.layer.unique())})
    kinds = kinds.loc[place.sort_values(kind="stable").index]  # layer by layer
    cells = cells.loc[pd.MultiIndex.from_frame(kinds)]
    lines = [
        [*key, *("" if pd.isna(v) else written(v, "fvu") for v in row)]
        for key, row in zip(cells.index, cells.to_numpy(), strict=True)
    ]
    return markdown(["layer", "rows", *(f"{n:,} steps" for n in cells)], lines)
