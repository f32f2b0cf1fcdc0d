"""The autoencoders that are compared, and what is measured of each."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from sk_eqsae import ActivationTransformFitter, GroupTiedSAE, OrbitSAE, TopKSAE
from sk_eqsae.activations import Orbits
from sk_eqsae.inspection import code_equivariance

from ._tables import grown, store

METHODS: dict[str, Callable[..., Any]] = {
    "regular": TopKSAE,
    "tied, full orbits": GroupTiedSAE,
    "tied": GroupTiedSAE,
    "orbit": OrbitSAE,
}
SHARES = (0.90, 0.95, 0.99)  # of what is explained


@dataclass(frozen=True)
class Cell:
    """One autoencoder on one layer."""

    network: str
    layer: str
    symmetry: str
    method: str
    n_latents: int
    k: int
    seed: int
    n_steps: int


def compare(
    args: Any,
    name: str,
    network: str,
    cases: dict[tuple[str, str], Callable[[], Orbits]],
    shape: tuple[int, int],
) -> None:
    """Fit what is missing on each layer and symmetry; store and print the tables.

    `shape` is the number of latents, and k.
    """
    n_steps = 60 if args.quick else 4_000
    cells = [
        Cell(network, *case, method, *shape, seed, n_steps)
        for case in cases
        for seed in range(args.seeds)
        for method in METHODS
    ]

    @cache
    def halves(*case):
        return cases[case]().split(random_state=0)

    def fit(cell):
        return measures(cell, *halves(cell.layer, cell.symmetry))

    table = grown(fit, cells, args.out / f"{name}.csv")
    matrices = [
        {"layer": layer, "symmetry": symmetry, **of_matrix(*halves(layer, symmetry))}
        for layer, symmetry in cases
    ]
    store(pd.DataFrame(matrices), args.out / f"{name}_matrix.csv")
    print(summary(table, ["layer", "symmetry"]).to_string())


def fitted(cell: Any, train: Orbits) -> Any:
    """Fit the autoencoder of a cell."""
    sae = METHODS[cell.method](cell.n_latents, **_settings(cell, train))
    return sae.fit(train.X, **train.metadata)


def measures(
    cell: Cell,
    train: Orbits,
    test: Orbits,
    more: Callable[[Any], dict] | None = None,
) -> dict:
    """Fit an autoencoder; what it explains of held-out groups, and how it moves.

    `more` is asked for what else is to be known of it.
    """
    clock, cpu = time.perf_counter(), time.process_time()
    sae = fitted(cell, train)
    result = {
        **asdict(cell),
        "seconds": time.perf_counter() - clock,
        "cpu_seconds": time.process_time() - cpu,
        "n_rows": len(train.X),
        "fvu": 1 - sae.score(test.X),
        "dead": 1 - (sae.transform(train.X[:20_000]) > 0).any(axis=0).mean(),
        "n_things": getattr(sae, "n_orbits_", cell.n_latents),
    }
    result |= _things_to_look_at(sae, test)
    if hasattr(sae, "latent_orbits_"):
        whole = code_equivariance(sae, test.X, **test.metadata).iloc[-1]
        result |= {
            "code_equivariance": whole.code_equivariance,
            "cross_fvu": whole.cross_fvu,
            "orbit_lengths": str(sae.orbit_lengths_),
            "equivariance": getattr(sae, "equivariance_", 1.0),
        }
    return result | (more(sae) if more else {})


def _settings(cell: Any, train: Orbits) -> dict:
    settings: dict[str, Any] = {
        "k": cell.k,
        "batch_size": 256,
        "max_epochs": max(1, round(cell.n_steps * 256 / len(train.X))),
        "random_state": cell.seed,
    }
    if cell.method != "regular":
        settings["symmetry"] = train.symmetry
    if cell.method == "tied, full orbits":
        order = train.symmetry.order
        settings["orbit_lengths"] = {order: cell.n_latents // order}
    return settings


def _things_to_look_at(sae: Any, test: Orbits) -> dict:
    """How many latents, or latent orbits, hold the shares of what is explained.

    A latent's part is the mean of z_i d_i' (x - mean) over held-out rows, which add up
    to the product of reconstructions and rows.
    """
    X = test.X[:20_000]
    codes = sae.transform(X)
    centred = X - X.mean(axis=0)
    parts = np.einsum("ri,ri->i", codes, centred @ sae.components_.T)
    if hasattr(sae, "latent_orbits_"):
        parts = np.bincount(sae.latent_orbits_.orbit, weights=parts)
    share = np.cumsum(np.sort(np.maximum(parts, 0))[::-1])
    share /= share[-1]
    return {f"things_{s:.0%}": int(np.searchsorted(share, s) + 1) for s in SHARES}


def of_matrix(train: Orbits, test: Orbits) -> dict[str, float]:
    """How well M explains held-out orbits, and the moves along them."""
    fitter = ActivationTransformFitter(train.symmetry).fit(train.X, **train.metadata)
    r2 = fitter.score(test.X, **test.metadata)
    whole = test.X.reshape(-1, train.symmetry.order, test.X.shape[1])
    canonical = np.repeat(whole[:, 0], train.symmetry.order, axis=0)
    left = np.square(test.X - fitter.act(canonical, test.power)).sum()
    return {"r2": r2, "unexplained_moves": left / np.square(test.X - canonical).sum()}


def summary(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """FVU of each method over that of a regular one, paired by seed, and the rest."""
    keys = [*by, "n_latents", "k", "seed"]
    regular = table[table.method == "regular"].set_index(keys).fvu
    table = table.join(regular.rename("regular_fvu"), on=keys)
    table["ratio"] = table.fvu / table.regular_fvu
    columns = ["fvu", "ratio", "code_equivariance", "cross_fvu", "dead", "n_things"]
    columns += [f"things_{s:.0%}" for s in SHARES]
    found = table.groupby([*by, "n_latents", "k", "method"], sort=False)[columns].mean()
    return found.round(3)
