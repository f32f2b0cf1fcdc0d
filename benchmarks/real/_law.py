"""When to use what: FVU beside a regular one's, by what M leaves beside it."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import NullFormatter

from ._tables import store, store_figure

ORBITS = Path(__file__).parents[1] / "orbits" / "results"  # where small ones are, too
NETWORKS = {  # what tells networks of a part apart
    "vision": ["layer", "symmetry"],
    "small": ["network"],
    "modular": ["layer", "p"],
    "sounds": ["layer", "symmetry"],
    "atoms": ["layer", "symmetry"],
}
MEANS = ["fvu", "ratio", "regular", "code_equivariance", "n_things"]
LEAST = 0.02  # that is drawn; nothing left has no logarithm
STYLES = {  # colour, marker
    "tied, full orbits": ("#0072B2", "s"),
    "tied": ("#009E73", "o"),
    "orbit": ("#D55E00", "^"),
}


def run(args) -> None:
    """Join the tables that there are; store, draw and print the law."""
    law = joined(args.out)
    if law.empty:
        print("left out: there are no results of the parts vision and small.")
        return
    store(law, args.out / "law.csv")
    store_figure(draw(law), args.out / "law.png")
    print(law.round(3).to_string(index=False))


def joined(folder) -> pd.DataFrame:
    """A row per network, size and method: R2 of M, ratios of FVU; means over seeds."""
    parts = []
    for name, by in NETWORKS.items():
        places = [folder, ORBITS] if name == "small" else [folder]
        found = [place for place in places if (place / f"{name}.csv").exists()]
        if not found:
            continue
        path = found[0] / f"{name}.csv"
        table, shape = pd.read_csv(path), ["n_latents", "k"]
        table_seeds = set(table.seed)
        regular = table[table.method == "regular"].set_index([*by, *shape, "seed"]).fvu
        table = table.join(regular.rename("regular"), on=[*by, *shape, "seed"])
        table["ratio"] = table.fvu / table.regular
        table = table.reindex(columns=[*by, *shape, "method", "seed", *MEANS])
        seeds = table.groupby([*by, *shape, "method"], as_index=False)
        table = seeds[MEANS].mean().assign(n_seeds=seeds.seed.nunique().seed)
        matrix = pd.read_csv(path.with_stem(f"{name}_matrix"))
        if "seed" in matrix:
            matrix = matrix[matrix.seed.isin(table_seeds)]
        matrix = matrix.reindex(columns=[*by, "r2", "unexplained_moves"])
        table = table.join(matrix.groupby(by).mean(), on=by)
        table["above"] = table.ratio - 1
        table["left_by_m"] = (1 - table.r2) / table.regular
        names = table[by].astype(str).agg(", ".join, axis=1)
        parts.append(table.drop(columns=by).assign(part=name, network=names))
    return pd.concat(parts) if parts else pd.DataFrame()


def draw(law: pd.DataFrame) -> plt.Figure:
    """FVU over a regular autoencoder's, by 1 - R2 of M over the same."""
    figure, axis = plt.subplots(figsize=(5.2, 3.9), layout="constrained")
    for method, (colour, marker) in STYLES.items():
        some = law[law.method == method]
        style = {"color": colour, "alpha": 0.8}
        left = some.left_by_m.clip(lower=LEAST)
        axis.plot(left, some.ratio, marker, label=method, **style)
    axis.axhline(1, color="0.4", lw=0.8)
    axis.set(
        xlabel="(1 - R2 of M) / regular FVU",
        ylabel="FVU / regular FVU",
        xscale="log",
        yscale="log",
    )
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter("{x:g}")
    axis.set_yticks([0.5, 1, 1.5, 2, 3, 5, 8, 13])
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.legend(frameon=False)
    return figure
