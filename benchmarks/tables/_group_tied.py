"""Tables of benchmarks.group_tied."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, written

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


def adaptive() -> str:
    """FVU on digits by augmentation, with and without free vectors."""
    table = pd.read_csv(_RESULTS / "adaptive.csv", dtype={"method": str})
    means = table.groupby(["augmented", "method"]).agg(
        {"fvu": "mean", "r2": "mean", "seed": "nunique"}
    )
    names = {
        0.0: "no turned images in training",
        0.25: "25 % of the batches turned",
        0.5: "50 %",
        1.0: "100 %",
    }
    methods = ("regular", "0", "128", "auto")
    rows = [
        [
            name,
            written(means.r2[share, "regular"], "r2"),
            *(written(means.fvu[share, method], "fvu") for method in methods),
        ]
        for share, name in names.items()
    ]
    seeds = means.seed.min()
    header = [
        f"digits, C4, 256 latents, k = 8, {seeds} seeds",
        *("R2 of M", "regular", "no free vectors", "128 of 256 free"),
        '`n_free="auto"`',
    ]
    return markdown(header, rows)
