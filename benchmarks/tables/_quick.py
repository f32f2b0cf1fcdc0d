"""The README's table, of the quick run of benchmarks.paper."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, significant

_RESULTS = Path(__file__).parents[1] / "paper" / "results" / "quick"
_SOLVERS = ["exact law", "least squares", "adam", "identity"]
_BASES = ("mlp", "cnn")


def summary() -> str:
    """M and the autoencoders on upright images, k = 8."""
    transform = pd.read_csv(_RESULTS / "transform.csv")
    transform = transform[transform.orientation == "upright"]
    r2 = transform.set_index(["base", "solver"]).r2
    sae = pd.read_csv(_RESULTS / "sae.csv")
    sae = sae[(sae.orientation == "upright") & (sae.k == 8)]
    sae = sae.set_index(["base", "sae", "recipe", "reconstruction"])

    def fvu(*which):
        rows = [sae.loc[(base, *which)] for base in _BASES]
        return [f"{_fvu(row.fvu)} ({100 * row.dead:.0f} %)" for row in rows]

    def right(base):
        case = sae.loc[base, "equivariant", "default", "true power"]
        return f"{100 * case.pose_accuracy:.1f} %"

    rows = [
        [
            "R2 of M: exact law / least squares / gradient descent / M = I",
            *(" / ".join(_r2(r2[base, s]) for s in _SOLVERS) for base in _BASES),
        ],
        ["FVU (dead latents) of `TopKSAE`", *fvu("regular", "default", "plain")],
        [
            'the same with `recipe="paper"`, trained briefly',
            *fvu("regular", "paper", "plain"),
        ],
        [
            "FVU of `EquivariantSAE`, true power",
            *fvu("equivariant", "default", "true power"),
        ],
        [
            "FVU of `GroupTiedSAE`, 512 base vectors",
            *fvu("group-tied", "default", "plain"),
        ],
        [
            "share of poses that `EquivariantSAE.predict_power` gets right",
            *map(right, _BASES),
        ],
    ]
    return markdown(["", *map(str.upper, _BASES)], rows)


def _r2(value):
    return f"{value:.3f}" if value > 0 else f"{value:.2f}"


def _fvu(value):
    return significant(value, 2 if value >= 0.1 else 1)
