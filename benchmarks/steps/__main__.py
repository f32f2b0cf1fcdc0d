"""Train by numbers of steps on layers of real networks: python -m benchmarks.steps."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from sk_eqsae import TopKSAE
from sk_eqsae.persistence import atomic_write
from sk_eqsae.sae import Recipe

from .._markdown import markdown
from ._layers import LAYERS, N_CROPS, layers

SIZES = (50_000, 300_000, 2_000_000)
STEPS = (2_500, 5_000, 10_000, 20_000, 40_000)
HELD_OUT = 0.2  # share of the pictures
N_TEST = 20_000


def main() -> None:
    """Fit each layer with each number of rows and steps, and store a CSV."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps")
    parser.add_argument("--photos", type=Path, help="folder of photographs, for Lite0")
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=LAYERS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--dead-after", type=int, default=0, help="rows; 0 is an epoch")
    parser.add_argument("--crops", type=int, default=N_CROPS, help="of photographs")
    parser.add_argument("--out", type=Path, default=Path("reports/steps.csv"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    results = pd.read_csv(args.out).to_dict("records") if args.out.exists() else []
    dead_after = f"{args.dead_after:,} rows" if args.dead_after else "epoch"
    for name, maps, ids in layers(args.layers, args.photos, args.crops):
        train, test = rows_of(maps, ids, max(args.sizes))
        for n_rows in sorted({min(size, len(train)) for size in args.sizes}):
            for steps in args.steps:
                case = {"layer": name, "rows": n_rows, "steps": steps}
                case["dead_after"] = dead_after
                if any(case.items() <= row.items() for row in results):
                    continue  # of a run that was cut off
                recipe = Recipe(dead_after=(args.dead_after or n_rows) / n_rows)
                results.append(case | fitted(train[:n_rows], test, steps, recipe))
                print(results[-1], flush=True)
                with atomic_write(args.out) as part:
                    table = pd.DataFrame(results)
                    table.to_csv(part, index=False, float_format="%.5g")
    print(summary(table))


def rows_of(
    maps: np.ndarray, ids: np.ndarray, n_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sites of pictures to train on, in a random order, and of others to test on."""
    rng, pictures = np.random.default_rng(0), np.unique(ids)
    held_out = rng.permutation(pictures)[: int(HELD_OUT * len(pictures))]
    is_test = np.isin(ids, held_out)
    parts = []
    for of_part, n in ((~is_test, n_rows), (is_test, N_TEST)):
        rows = np.moveaxis(maps[of_part], 1, -1).reshape(-1, maps.shape[1])
        parts.append(rows[rng.permutation(len(rows))[:n]])
    return parts[0], parts[1]


def fitted(train: np.ndarray, test: np.ndarray, steps: int, recipe: Recipe) -> dict:
    """FVU of a fit that may take so many steps, at most 200 epochs."""
    n_components = 8 * train.shape[1]
    settings = {"k": 8, "max_steps": steps, "recipe": recipe, "random_state": 0}
    sae = TopKSAE(n_components, sparse_output=True, **settings).fit(train)
    active = (sae.transform(test) > 0).sum(axis=0) > 0
    return {
        "epochs": sae.n_iter_,
        "fvu": 1 - sae.score(test),
        "fvu_train": 1 - sae.score(train[:N_TEST]),
        "dead": 1 - active.mean(),
    }


def summary(table: pd.DataFrame) -> str:
    """FVU on held-out pictures, a row for each layer and size."""
    case = ["layer", "rows", "dead_after", "steps"]
    cells = table.set_index(case)["fvu"].unstack("steps")
    rows = [
        (*index, *(f"{fvu:.4f}" for fvu in line)) for index, *line in cells.itertuples()
    ]
    return markdown(["layer", "rows", "dead after", *cells.columns], rows)


if __name__ == "__main__":
    main()
