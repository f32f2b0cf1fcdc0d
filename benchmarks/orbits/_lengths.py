"""Orbit lengths of "auto", beside a grid of them from which held-out inputs choose."""

from pathlib import Path
from typing import Any

import pandas as pd

from sk_eqsae import GroupTiedSAE
from sk_eqsae.groups import FiniteGroup

from .._markdown import markdown, written
from ._small import N_LATENTS, K, network_of
from ._store import store_table

NAMES = ("digits, all turned", "signals", "shapes, CNN, random")
SHARES = (1.0, 0.75, 0.5, 0.25)  # of the latents in full orbits


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Fit what is missing; store and print the table."""
    path, n_steps = out / "lengths.csv", 60 if quick else 2_500
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    done = set() if table.empty else set(zip(table.network, table.seed, strict=True))
    for seed in seeds:
        for name in NAMES:
            if (name, seed) not in done:
                network = network_of(name, seed, out)
                rows = pd.DataFrame(_fits(network, seed, n_steps))
                rows = rows.assign(network=name, seed=seed)
                table = pd.concat([table, rows], ignore_index=True)
                store_table(table, path)
    print(shown(table))


def _fits(network: Any, seed: int, n_steps: int) -> list[dict]:
    """A row for "auto" and for each cell of the grid."""
    train, validation = network.train.split(0.25, random_state=seed)
    settings: dict[str, Any] = {"k": K, "batch_size": 256, "random_state": seed}
    settings["max_epochs"] = max(1, round(n_steps * 256 / len(train.X)))
    grid = {f"{share:.0%}": lengths_of(train.symmetry, share) for share in SHARES}
    rows = []
    for name, lengths in {"auto": "auto", **grid}.items():
        sae = GroupTiedSAE(N_LATENTS, orbit_lengths=lengths, **settings)
        sae.fit(train.X, **train.metadata)
        fvus = (1 - sae.score(part.X) for part in (validation, network.test))
        fit = dict(zip(("validation", "fvu"), fvus, strict=True))
        rows.append({"full": name, **fit, "orbit_lengths": str(sae.orbit_lengths_)})
    return rows


def lengths_of(group: FiniteGroup, share: float) -> dict[int, int]:
    """Numbers of orbits, a share of the latents in full ones, the others evenly."""
    full, *shorter = sorted({group.order // h.order for h in group.subgroups})[::-1]
    counts = {full: round(share * N_LATENTS / full)}
    for i, length in enumerate(shorter):
        left = N_LATENTS - sum(length * n for length, n in counts.items())
        counts[length] = round(left / (len(shorter) - i) / length)
    return counts


def shown(table: pd.DataFrame) -> str:
    """Means over seeds: FVU by the share in full orbits, of the best, of "auto"."""
    names, lines = [*(f"{share:.0%}" for share in SHARES), "auto"], []
    for network, rows in table.groupby("network", sort=False):
        grid = rows[rows.full != "auto"]
        best = grid.loc[grid.groupby("seed").validation.idxmin()]
        means = rows.groupby("full").fvu.mean()[names]
        fvus = [*means.iloc[:-1], best.fvu.mean(), means.auto]
        cells = [network, rows.seed.nunique(), *(written(fvu, "fvu") for fvu in fvus)]
        lines.append([*cells, f"{means.auto / best.fvu.mean() - 1:+.0%}"])
    head = ["FVU", "seeds", *(f"{name} full" for name in names[:-1])]
    head += ["best on validation groups", "auto", "auto above best"]
    return markdown(head, lines)
