"""Tables of benchmarks.orbits."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, written
from ..orbits._free import shown
from ._real import METHODS, by_method

_RESULTS = Path(__file__).parents[1] / "orbits" / "results"


def methods() -> str:
    """FVU of every method on our own networks, and by how much it is above regular."""
    return by_method(_RESULTS, "small", ["network"])


def labels() -> str:
    """How many latents or orbits hold a share of what is explained."""
    names = ["things_90%", "things_95%", "things_99%"]
    return _several(names, "90 / 95 / 99 %", "{:.0f}")


def equal() -> str:
    """How many explain a share of what a regular autoencoder explains."""
    names = ["labels_90%", "labels_95%", "labels_99%"]
    return _several(names, "90 / 95 / 99 %", "{:.0f}")


def probes() -> str:
    """AUC of probes that see a few latents."""
    names = ["auc_1", "auc_2", "auc_4", "auc_8"]
    return _several(names, "1 / 2 / 4 / 8 latents", "{:.2f}")


def _several(names: list[str], title: str, form: str) -> str:
    """Means over seeds, of networks that have them; "-" where some seed has none."""
    table, lines = pd.read_csv(_RESULTS / "small.csv"), []
    table = table[table[names[0]].notna()]
    for network, rows in table.groupby("network", sort=False):
        cells = [str(network), str(rows.seed.nunique())]
        for method in METHODS:
            found = rows.loc[rows.method == method, names]
            means = found.mean().where(found.notna().all())
            cells.append(
                " / ".join("-" if pd.isna(m) else form.format(m) for m in means)
            )
        lines.append(cells)
    return markdown([title, "seeds", *METHODS], lines)


def costs() -> str:
    """Processor time of whole fits over that of a regular one."""
    table = pd.read_csv(_RESULTS / "small.csv")
    keys = ["network", "seed"]
    regular = table[table.method == "regular"].set_index(keys).cpu_seconds
    ratio = table.cpu_seconds / table.join(regular.rename("of"), on=keys)["of"]
    of_network = ratio.groupby([table.method, table.network]).mean()
    lines = [
        [method, *(f"{v:.1f}" for v in (found.mean(), found.min(), found.max()))]
        for method in METHODS[1:]
        for found in [of_network[method]]
    ]
    head = ["processor time of a fit / of a regular one", "mean", "least", "most"]
    return markdown(head, lines)


def free() -> str:
    """FVU and code equivariance by the number of free vectors."""
    return shown(pd.read_csv(_RESULTS / "free.csv", dtype={"n_free": str}))


def tried() -> str:
    """What was tried for learned orbits, on groups held out of training."""
    table, lines = pd.read_csv(_RESULTS / "tried.csv"), []
    columns = ["fvu", "code_equivariance"]
    means = table.groupby(["variant", "network"])[columns].mean()
    networks = table.network.unique()
    for variant in table.variant.unique():
        cells = [
            _cell(*means.loc[(variant, name)]) if (variant, name) in means.index else ""
            for name in networks
        ]
        lines.append([variant, *cells])
    return markdown(["FVU (code equivariance)", *networks], lines)


def _cell(fvu: float, code_equivariance: float) -> str:
    moves = "" if pd.isna(code_equivariance) else f" ({code_equivariance:.2f})"
    return written(fvu, "fvu") + moves


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
