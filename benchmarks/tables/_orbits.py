"""Tables of benchmarks.orbits."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, written
from ..orbits import _free, _lengths
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
    return _free.shown(pd.read_csv(_RESULTS / "free.csv", dtype={"n_free": str}))


def lengths() -> str:
    """FVU by orbit lengths, set and found."""
    return _lengths.shown(pd.read_csv(_RESULTS / "lengths.csv"))


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


def eased() -> str:
    """A longer look at full strength, eased half-way, beside "auto" and strength 1."""
    table, lines = pd.read_csv(_RESULTS / "eased.csv"), []
    fits = pd.read_csv(_RESULTS / "small.csv").set_index(["network", "seed"])
    for network, rows in table.groupby("network", sort=False):
        auto = fits.loc[[(network, seed) for seed in rows.seed.unique()]]
        regular = auto[auto.method == "regular"].fvu.mean()
        longer, full = (
            rows[rows.variant == name] for name in ("longer look", "strength 1")
        )
        cells = (_above(each, each.regular_fvu.mean()) for each in (longer, full))
        auto = _above(auto[auto.method == "orbit"], regular)
        lines.append([network, auto, *cells, f"{longer.cost.mean():.1f}"])
    head = ["", '"auto"', "longer look, eased", "strength 1", "time of a longer look"]
    return markdown(head, lines)


def _above(rows: pd.DataFrame, regular: float) -> str:
    """Mean FVU above a regular one's, and code equivariance."""
    return f"{rows.fvu.mean() / regular - 1:+.0%} ({rows.code_equivariance.mean():.2f})"


def _cell(fvu: float, code_equivariance: float) -> str:
    moves = "" if pd.isna(code_equivariance) else f" ({code_equivariance:.2f})"
    return written(fvu, "fvu") + moves


def factors() -> str:
    """Factor by which the tied curve lies left of the regular one."""
    table = pd.read_csv(_RESULTS / "curve_factors.csv")
    cells = table.assign(
        cell=[
            f"{m:.2f}\u00a0±\u00a0{s:.2f}"
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
        {"fvu": "mean", "r2": "mean", "free_used": "mean", "seed": "nunique"}
    )
    names = {
        0.0: "no turned images in training",
        0.25: "25 % of the batches turned",
        0.5: "50 %",
        1.0: "100 %",
    }
    methods = ("regular", "0", "128")
    rows = [
        [
            name,
            written(means.r2[share, "regular"], "r2"),
            *(written(means.fvu[share, method], "fvu") for method in methods),
            written(means.free_used[share, "128"], "percent"),
        ]
        for share, name in names.items()
    ]
    seeds = means.seed.min()
    header = [
        f"digits, C4, 256 latents, k = 8, {seeds} seeds",
        *("R2 of M", "regular", "no free vectors", "128 of 256 free"),
        "of those active with 128, free",
    ]
    return markdown(header, rows)


def vectors() -> str:
    """FVU of full orbits on shapes by how many vectors are learned."""
    table = pd.read_csv(_RESULTS / "curve.csv")
    sizes = (32, 128, 512)
    rows = table[table.n_vectors.isin(sizes) & table.k.isin([8, 32])]
    rows = rows[rows.method.isin(["regular", "tied", "two-layer"])]
    means = rows.groupby(["base", "orientation", "k", "method", "n_vectors"]).fvu.mean()
    lines = []
    for base, orientation, k in means.index.droplevel([3, 4]).unique():
        of_methods = means.loc[base, orientation, k].unstack()
        cells = [
            " / ".join(written(fvu, "fvu") for fvu in of_methods.loc[method, [*sizes]])
            for method in ("regular", "two-layer", "tied")
        ]
        lines.append([f"{base.upper()}, {orientation}, k = {k}", *cells])
    head = ["32 / 128 / 512 vectors", "regular", "regular, two layers", "tied"]
    return markdown(head, lines)


def recovery() -> str:
    """How many of the true atoms, and of their orbits, are found."""
    table = pd.read_csv(_RESULTS / "recovery.csv")
    keys = ["base", "method", "n_latents"]
    means = table.groupby(keys)[["atoms_shifted", "orbits_shifted"]].mean()
    lines = [
        [f"{base.upper()}, {n_latents:,} latents"]
        + [
            " / ".join(
                written(share, "percent")
                for share in means.loc[(base, method, n_latents)]
            )
            for method in ("regular", "tied")
        ]
        for base in ("cnn", "mlp")
        for n_latents in (128, 2048)
    ]
    return markdown(["atoms found / orbits found whole", "regular", "tied"], lines)


def elsewhere() -> str:
    """Full orbits on other networks, beside what says whether they help."""
    table = pd.read_csv(_RESULTS / "other.csv", dtype={"method": str})
    found = ["r2", "between_orbits", "unexplained_moves"]
    lines = []
    for name, rows in table[table.n_base == 32].groupby("network", sort=False):
        fvu = rows.groupby("method").fvu.mean()
        r2, between, moves = rows[found].mean()
        lines.append(
            [
                str(name),
                written(r2, "r2"),
                *(written(share, "percent") for share in (between, moves)),
                *(written(fvu[m], "fvu") for m in ("regular, n", "regular, n |G|")),
                written(fvu["tied, n"], "fvu"),
            ]
        )
    head = ["n = 32", "R2 of M", "between orbits", "moves unexplained"]
    names = ["n regular", "regular, as many latents", "n tied"]
    return markdown(head + names, lines)
