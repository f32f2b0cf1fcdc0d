"""The README's table, of the full run of benchmarks.paper."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, written

_RESULTS = Path(__file__).parents[1] / "paper" / "results" / "full"
_BASES = ("mlp", "cnn")


def summary() -> str:
    """M and the autoencoders on upright images, k = 8."""
    transform = pd.read_csv(_RESULTS / "transform.csv")
    transform = transform[(transform.orientation == "upright") & (transform.seed == 0)]
    r2 = transform.set_index(["base", "solver"]).r2
    sae = pd.read_csv(_RESULTS / "sae.csv")
    sae = sae[(sae.orientation == "upright") & (sae.seed == 0) & (sae.k == 8)]
    sae = sae.set_index(["base", "sae", "recipe", "reconstruction"])

    def fvu(*which):
        rows = [sae.loc[(base, *which)] for base in _BASES]
        return [
            f"{written(row.fvu, 'fvu')} ({written(row.dead, 'percent')})"
            for row in rows
        ]

    def r2_of(*solvers):
        return [
            " / ".join(written(r2[base, solver], "r2") for solver in solvers)
            for base in _BASES
        ]

    rows = [
        ["R2 of M / of M = I", *r2_of("exact law", "identity")],
        ["FVU (dead latents) of `TopKSAE`", *fvu("regular", "default", "plain")],
        ['the same, `recipe="paper"`', *fvu("regular", "paper", "plain")],
        ["`EquivariantSAE`", *fvu("equivariant", "default", "inferred power")],
        ["`GroupTiedSAE`", *fvu("group-tied", "default", "plain")],
    ]
    return markdown(["", *map(str.upper, _BASES)], rows)
