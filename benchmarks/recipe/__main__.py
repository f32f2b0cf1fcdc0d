"""Leave out one part of the default recipe at a time: python -m benchmarks.recipe."""

import argparse
import math
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from sk_eqsae import TopKSAE
from sk_eqsae.persistence import atomic_write
from sk_eqsae.sae import Recipe

from .._markdown import markdown
from ..peers._data import PROBLEMS, load

PAPER = Recipe(
    normalize=False,
    tied_init=False,
    unit_rows=False,
    lr_decay=0.0,
    max_grad_norm=math.inf,
    aux_weight=0.0,
)
# parameters of the autoencoder; the default recipe has lr = 2e-3
VARIANTS = {
    "default": {},
    "no clipping": {"recipe": Recipe(max_grad_norm=math.inf)},
    "no auxiliary loss": {"recipe": Recipe(aux_weight=0.0)},
    "auxiliary loss of weight 1/32": {"recipe": Recipe(aux_weight=1 / 32)},
    "neither": {"recipe": Recipe(max_grad_norm=math.inf, aux_weight=0.0)},
    "lr = 1e-3": {"lr": 1e-3},
    "lr = 4e-3": {"lr": 4e-3},
    "constant lr": {"recipe": Recipe(lr_decay=0.0)},
    "rows as they are": {"recipe": Recipe(normalize=False)},
    "torch's own start": {"recipe": Recipe(tied_init=False)},
    "free norms": {"recipe": Recipe(unit_rows=False)},
    "paper": {"recipe": PAPER, "lr": 1e-3},
    # for fewer dead latents
    "aux_k = 128": {"recipe": Recipe(aux_k=128)},
    "dead after 1/4 epoch": {"recipe": Recipe(dead_after=0.25)},
    "dead after 4 epochs": {"recipe": Recipe(dead_after=4.0)},
    "lr falls over 80 %": {"recipe": Recipe(lr_decay=0.8)},
    "free norms, no auxiliary loss": {
        "recipe": Recipe(unit_rows=False, aux_weight=0.0)
    },
    "free norms, dead after 1/4 epoch": {
        "recipe": Recipe(unit_rows=False, dead_after=0.25)
    },
    "free norms, lr = 3e-3": {"recipe": Recipe(unit_rows=False), "lr": 3e-3},
}
N_TRAIN, N_TEST = 16_384, 4_096


def main() -> None:
    """Fit every variant on every kind of data, print a table, store a CSV."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe")
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS)
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("reports/peers/data"))
    parser.add_argument("--out", type=Path, default=Path("reports/recipe.csv"))
    args = parser.parse_args()
    cells = [
        (variant, data, seed, args.epochs, args.data)
        for data in PROBLEMS
        for seed in range(args.seeds)
        for variant in args.variants
    ]
    jobs = Parallel(args.jobs, return_as="generator")(delayed(_fit)(*c) for c in cells)
    results = pd.DataFrame(tqdm(jobs, total=len(cells), unit="fit"))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.out) as part:
        results.to_csv(part, index=False, float_format="%.5g")
    print(_table(results))


def _fit(variant, data, seed, epochs, folder):
    train, test, _ = load(data, seed, n_train=N_TRAIN, n_test=N_TEST, folder=folder)
    problem = PROBLEMS[data]
    sae = TopKSAE(
        problem.n_components,
        k=problem.k,
        max_epochs=epochs,
        random_state=seed,
        sparse_output=True,
        **VARIANTS[variant],
    ).fit(train)
    active = sae.transform(train).sum(axis=0) > 0
    return {
        "variant": variant,
        "data": data,
        "seed": seed,
        "fvu": 1 - sae.score(test),
        "dead": 1 - active.mean(),
    }


def _table(results):
    means = results.groupby(["variant", "data"], sort=False)[["fvu", "dead"]].mean()
    cells = means.apply(lambda row: f"{row.fvu:.4f} / {row.dead:.2f}", axis=1)
    table = cells.unstack("data")[list(PROBLEMS)]
    return markdown(["variant", *table.columns], table.itertuples())


if __name__ == "__main__":
    main()
