"""Tables of benchmarks.real."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, significant

_RESULTS = Path(__file__).parents[1] / "real" / "results"
METHODS = ("regular", "tied, full orbits", "tied", "orbit")


def vision() -> str:
    """FVU of every method on layers of EfficientNet-Lite0, 256 latents, k = 8."""
    return by_method(_RESULTS, "vision", ["layer", "symmetry"])


def labels() -> str:
    """How many latents, or latent orbits, hold a share of what is explained."""
    lines = []
    for key, rows in _main(_RESULTS / "vision.csv").groupby(
        ["layer", "symmetry"], sort=False
    ):
        means = rows.groupby("method")[["things_90%", "things_99%"]].mean()
        cells = [
            f"{means.loc[m, 'things_90%']:.0f} / {means.loc[m, 'things_99%']:.0f}"
            for m in METHODS
            if m in means.index
        ]
        lines.append([", ".join(key), *cells])
    return markdown(["90 % / 99 % of what is explained", *METHODS], lines)


def _main(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path)
    return table[(table.n_latents == 256) & (table.k == 8)]


def by_method(folder: Path, name: str, by: list[str]) -> str:
    """FVU of every method, and by how much it is above regular."""
    table, lines = _main(folder / f"{name}.csv"), []
    r2 = pd.read_csv(folder / f"{name}_matrix.csv").groupby(by).r2.mean()
    for key, rows in table.groupby(by, sort=False):
        fvu = rows.groupby("method").fvu.mean()
        moves = rows.groupby("method").code_equivariance.mean()
        cells = [significant(fvu["regular"])]
        for method in METHODS[1:]:
            behind = f"{fvu[method] / fvu['regular'] - 1:+.0%}"
            cells.append(f"{behind} ({moves[method]:.2f})")
        found = r2[key if len(by) > 1 else key[0]]
        n_seeds = str(rows.seed.nunique())
        lines.append([", ".join(key), n_seeds, f"{found:.2f}", *cells])
    head = ["", "seeds", "R2 of M", "regular FVU", *METHODS[1:]]
    return markdown(head, lines)


def scan() -> str:
    """R2 of M by layer and symmetry, and of M = I."""
    table = pd.read_csv(_RESULTS / "scan.csv")
    shown = table.apply(lambda r: f"{r.r2:.2f} / {r.r2_identity:.2f}", axis=1)
    keys = ["layer", "weights"]
    wide = table.assign(shown=shown).pivot(
        index=keys, columns="symmetry", values="shown"
    )
    order = pd.MultiIndex.from_frame(table[keys].drop_duplicates())
    wide = wide.loc[order, table.symmetry.unique()].fillna("")
    lines = [[*key, *row] for key, row in zip(wide.index, wide.to_numpy(), strict=True)]
    return markdown([*keys, *wide.columns], lines)


def modular() -> str:
    """What autoencoders find in transformers that add."""
    table = pd.read_csv(_RESULTS / "modular.csv")
    lines = []
    for (p, method), rows in table.groupby(["p", "method"], sort=False):
        cells = [f"{rows[c].mean():.2f}" for c in ("fvu", "one_frequency", "dead")]
        lines.append([str(p), method, str(rows.seed.nunique()), *cells])
    return markdown(["p", "", "seeds", "FVU", "in one frequency", "dead"], lines)


def additions() -> str:
    """The transformers themselves."""
    table = pd.read_csv(_RESULTS / "modular_matrix.csv")
    lines = [
        [
            *(str(row.p), str(row.seed), f"{row.accuracy:.2f}", f"{row.r2:.2f}"),
            *(f"{row.fft_error:.0e}", str(row.n_frequencies_90), row.frequencies),
        ]
        for row in table.itertuples(index=False)
    ]
    head = ["p", "seed", "accuracy", "R2 of M", "error of the spectrum"]
    return markdown([*head, "frequencies for 90 %", "strongest"], lines)


def molecules() -> str:
    """What CHGNet leaves alone, and what it permutes."""
    table = pd.read_csv(_RESULTS / "molecules.csv")
    lines = [
        [
            *(row.layer, row.symmetry, f"{row.r2:.3f}", f"{row.r2_identity:.3f}"),
            "" if pd.isna(row.error_of_swap) else f"{row.error_of_swap:.0e}",
        ]
        for row in table.itertuples(index=False)
    ]
    head = ["layer", "symmetry", "R2 of M", "R2 of M = I", "error of the swap's matrix"]
    return markdown(head, lines)


def audio() -> str:
    """What CREPE makes of transposition and of shifts in time."""
    table = pd.read_csv(_RESULTS / "audio.csv")
    lines = [
        [row.layer, row.symmetry, f"{row.r2:.2f}", f"{row.r2_identity:.2f}"]
        for row in table.itertuples(index=False)
    ]
    return markdown(["layer", "symmetry", "R2 of M", "R2 of M = I"], lines)
