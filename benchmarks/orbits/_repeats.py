"""How far fits of other seeds are apart, beside `n_free="auto"`."""

from itertools import permutations
from pathlib import Path

import pandas as pd

from . import _adaptive, _networks
from ._cells import rounded
from ._store import store_table

REPEATS = 5  # seeds of the autoencoders


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Fit each network of `_adaptive` several times; store and print the results."""
    n_steps = 50 if quick else 1_000
    cells = [(share, seed, n_steps) for share in _adaptive.SHARES for seed in seeds]
    results = _networks.table_of(_fits, cells, jobs)
    store_table(results, out / "repeats.csv")
    print(rounded(table(results)), spread(results), sep="\n\n")


def _fits(augmented: float, seed: int, n_steps: int) -> list[dict]:
    network = _networks.digits(seed, augmented=augmented)
    size = (network, _adaptive.N_LATENTS)
    return [
        {"augmented": augmented, "seed": seed, "sae_seed": repeat}
        | {
            "regular": _networks.regular(*size, n_steps, repeat)["fvu"],
            "auto": _networks.tied(*size, "auto", n_steps, repeat)["fvu"],
        }
        for repeat in range(REPEATS)
    ]


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Compare the means over seeds of the autoencoders, network by network.

    "ratio" is auto over regular, with its standard error.
    """
    networks = results.groupby(["augmented", "seed"])[["regular", "auto"]]
    means = networks.mean()
    errors = (networks.sem() / means).pow(2).sum(axis=1).pow(0.5)
    return means.assign(ratio=means.auto / means.regular, error=errors).reset_index()


def spread(results: pd.DataFrame) -> str:
    """Say how often single fits are more than 5 % above a regular one's."""
    ratios = results.auto / results.regular
    networks = results.groupby(["augmented", "seed"]).regular
    pairs = pd.Series([a / b for _, fvus in networks for a, b in permutations(fvus, 2)])
    above = (f"{(each > 1.05).mean():.0%}" for each in (ratios, pairs))
    return (
        f"More than 5 % above: {next(above)} of the fits with n_free='auto' (at most "
        f"{ratios.max():.3f} times), {next(above)} of the pairs of regular ones "
        f"({pairs.max():.3f})."
    )
