"""The README's table, of the full run of benchmarks.paper."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, written

_RESULTS = Path(__file__).parents[1] / "paper" / "results" / "full"
_SOLVERS = ["exact law", "least squares", "adam", "identity"]
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

    def of_equivariant(base):
        return sae.loc[base, "equivariant", "default", "true power"]

    def within(base):
        return written(of_equivariant(base).moved, "percent")

    def right(base):
        return written(of_equivariant(base).pose_accuracy, "percent")

    rows = [
        [
            "R2 of M: exact law / least squares / gradient descent / M = I",
            *(
                " / ".join(written(r2[base, s], "r2") for s in _SOLVERS)
                for base in _BASES
            ),
        ],
        ["FVU (dead latents) of `TopKSAE`", *fvu("regular", "default", "plain")],
        ['the same with `recipe="paper"`', *fvu("regular", "paper", "plain")],
        [
            "FVU of `EquivariantSAE`, true power",
            *fvu("equivariant", "default", "true power"),
        ],
        ["share of its codes' variance that is inside orbits", *map(within, _BASES)],
        [
            "share of poses that its `predict_power` gets right",
            *map(right, _BASES),
        ],
        [
            "FVU of `GroupTiedSAE`, 2,048 latents in 512 orbits",
            *fvu("group-tied", "default", "plain"),
        ],
    ]
    return markdown(["", *map(str.upper, _BASES)], rows)
