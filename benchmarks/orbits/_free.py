"""Vectors that stand for themselves, beside orbits of every length."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from sk_eqsae import ActivationTransformFitter, GroupTiedSAE, TopKSAE
from sk_eqsae.activations import Orbits
from sk_eqsae.inspection import code_equivariance

from .._markdown import markdown, written
from ._small import N_LATENTS, NETWORKS, K
from ._store import store_table

N_FREE = (0, 32, 64)
NAMES = ("digits, all turned", "digits, none turned", "points", "signals")
VISION = "block 1, hidden"  # of EfficientNet-Lite0


def run(
    *,
    seeds: list[int],
    jobs: int,
    out: Path,
    quick: bool,
    photographs: Path | None = None,
) -> None:
    """Fit what is missing; store and print the table.

    Judges are a quarter of the training inputs, held out. Without photographs the
    layer of a vision network is left out.
    """
    path, n_steps = out / "free.csv", 60 if quick else 2_500
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    for seed in seeds:
        for name in [*NAMES, *([VISION] if photographs else [])]:
            if (
                table.empty
                or not ((table.network == name) & (table.seed == seed)).any()
            ):
                train = _orbits(name, seed, out, photographs)
                parts = train.split(0.25, random_state=seed)
                fits = compared(*parts, seed, n_steps)
                rows = pd.DataFrame(fits).assign(network=name, seed=seed)
                table = pd.concat([table, rows], ignore_index=True)
                store_table(table, path)
    print(shown(table))


def _orbits(name: str, seed: int, out: Path, photographs: Path | None) -> Orbits:
    """Training orbits of a network."""
    if name != VISION:
        return NETWORKS[name](seed).train
    from ..real import _efficientnet, _scan, _vision  # noqa: PLC0415 - an extra

    args = SimpleNamespace(out=out, photographs=photographs, quick=False)
    layer = _efficientnet.LAYERS[1]
    size = _scan.aligned_sizes(args)[layer.name]
    return _vision.parts(layer, "C4", size, args)[0]


def compared(train: Orbits, test: Orbits, seed: int, n_steps: int) -> list[dict]:
    """A row for a regular autoencoder and for each number of free vectors."""
    settings: dict[str, Any] = {"k": K, "batch_size": 256, "random_state": seed}
    settings["max_epochs"] = max(1, round(n_steps * 256 / len(train.X)))
    regular = TopKSAE(N_LATENTS, **settings).fit(train.X)
    M = ActivationTransformFitter(symmetry=train.symmetry)
    r2 = M.fit(train.X, **train.metadata).score(test.X, **test.metadata)
    rows = [{"n_free": "regular", "fvu": 1 - regular.score(test.X), "r2": r2}]
    for n_free in (*N_FREE, "auto"):
        sae = GroupTiedSAE(
            N_LATENTS, symmetry=train.symmetry, n_free=n_free, **settings
        ).fit(train.X, **train.metadata)
        moves = code_equivariance(sae, test.X, **test.metadata).iloc[-1]
        rows.append(
            {
                "n_free": str(n_free),
                "fvu": 1 - sae.score(test.X),
                "code_equivariance": moves.code_equivariance,
                "n_free_": sae.n_free_,
                "orbit_lengths": str(sae.orbit_lengths_),
            }
        )
    return rows


def shown(table: pd.DataFrame) -> str:
    """FVU above a regular one's and code equivariance, means over seeds."""
    head = ["", "seeds", "regular FVU", "(1 - R2 of M) / FVU"]
    head += [f"{n} free" for n in N_FREE] + ["free by auto"]
    lines = []
    for name, rows in table.groupby("network", sort=False):
        means = rows.groupby("n_free")[["fvu", "code_equivariance", "n_free_"]].mean()
        regular = means.fvu["regular"]
        line = [name, rows.seed.nunique(), written(regular, "fvu")]
        ratio = (1 - rows.r2.mean()) / regular
        line += ["" if pd.isna(ratio) else f"{ratio:.1f}"]
        means = means.reindex([*map(str, N_FREE), "auto"])
        line += [
            "" if pd.isna(fvu) else f"{fvu / regular - 1:+.0%} ({moves:.2f})"
            for fvu, moves, _ in means[:-1].to_numpy()
        ]
        free = means.n_free_["auto"]
        lines.append([*line, "" if pd.isna(free) else f"{free:.0f}"])
    return markdown(head, lines)
