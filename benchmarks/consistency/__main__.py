"""Weights of the consistency loss: python -m benchmarks.consistency."""

import argparse
import time
from itertools import product
from pathlib import Path

import pandas as pd
from joblib import Memory, Parallel, delayed
from tqdm.auto import tqdm

from sk_eqsae import EquivariantSAE
from sk_eqsae.inspection import dead_latents
from sk_eqsae.persistence import atomic_write
from sk_eqsae.sae import Recipe

from .._markdown import markdown
from ..orbits._networks import digits
from ..paper._autoencoders import share_within_orbits
from ..paper._models import base_model
from ..paper._profiles import PROFILES, Model

WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0)
KS = (8, 32)
# epochs, for about as many steps on each
DATA = {"mlp": 10, "cnn": 10, "digits": 50}
N_COMPONENTS = 2_048


def main() -> None:
    """Fit with every weight on every kind of data, print a table, store a CSV."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.consistency")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("reports/consistency"))
    parser.add_argument("--out", type=Path, default=Path("reports/consistency.csv"))
    args = parser.parse_args()
    fit = Memory(args.cache, verbose=0).cache(_fit, ignore=["cache"])
    cells = list(product(args.data, args.seeds, KS, WEIGHTS))
    jobs = Parallel(args.jobs, return_as="generator")(
        delayed(fit)(*cell, cache=args.cache) for cell in cells
    )
    results = pd.DataFrame(tqdm(jobs, total=len(cells), unit="fit"))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.out) as part:
        results.to_csv(part, index=False, float_format="%.5g")
    print(table(results))


def _fit(data, seed, k, weight, *, cache):
    train, test = Memory(cache, verbose=0).cache(_orbits)(data, seed)
    sae = EquivariantSAE(
        N_COMPONENTS,
        symmetry=4,
        k=k,
        recipe=Recipe(consistency_weight=weight),
        max_epochs=DATA[data],
        random_state=seed,
        sparse_output=True,
    )
    seconds = -time.perf_counter()
    sae.fit(train.X, groups=train.groups, power=train.power)
    seconds += time.perf_counter()
    Z = sae.transform(test.X)
    return {
        "data": data,
        "seed": seed,
        "k": k,
        "weight": weight,
        "fvu": 1 - sae.score(test.X, groups=test.groups, power=test.power),
        "within_orbits": share_within_orbits(Z, test.groups),
        "pose_accuracy": (sae.predict_power(test.X) == test.power).mean(),
        "l0": Z.nnz / len(test.X),
        "dead": dead_latents(Z),
        "seconds": seconds,
    }


def _orbits(data, seed):
    """Training and test orbits whose canonical rows are upright."""
    if data == "digits":
        network = digits(seed)
        return network.train, network.test
    profile = PROFILES["quick"]
    model = Model(data, "upright", seed)
    epochs = profile.base_epochs[data]
    settings = (profile.n_images, epochs, profile.test_size, "auto")
    return base_model(model, *settings)[1:3]


def table(results: pd.DataFrame) -> str:
    """Set FVU and the share of the codes' variance inside orbits side by side."""
    keys = ["weight", "data", "k"]
    means = results.groupby(keys, sort=False)[["fvu", "within_orbits"]].mean()
    cells = means.apply(lambda row: f"{row.fvu:.4f} / {row.within_orbits:.4f}", axis=1)
    cells = cells.unstack(["data", "k"])
    header = ["weight", *(f"{data}, k = {k}" for data, k in cells.columns)]
    return markdown(
        header, [[f"{weight:g}", *row] for weight, *row in cells.itertuples()]
    )


if __name__ == "__main__":
    main()
