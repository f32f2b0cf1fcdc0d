"""Fits that several processes do together; run by torchrun in test_data_parallel."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch.distributed as dist

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE
from sk_eqsae.sae import Recipe

N_ORBITS = 61  # 244 rows are three batches of 72 and one of 28
# of 64 latents many are dead after half an epoch
RECIPE = Recipe(dead_after=0.5, aux_k=3, max_grad_norm=0.5, batch_size=72)
COMMON = {"k": 3, "recipe": RECIPE, "max_epochs": 6, "random_state": 0}
ESTIMATORS = {
    "TopKSAE": TopKSAE(64, **COMMON),
    "TopKSAE, nested": TopKSAE(64, nested=[16, 64], **COMMON),
    "EquivariantSAE": EquivariantSAE(64, order=4, hidden_dim=16, **COMMON),
    "GroupTiedSAE": GroupTiedSAE(16, order=4, n_free=8, **COMMON),
}


def fit(estimator):
    rng = np.random.default_rng(0)
    canonical = np.abs(rng.normal(size=(N_ORBITS, 3))) @ np.eye(3, 12)
    X = np.stack([np.roll(canonical, 3 * p, axis=1) for p in range(4)], axis=1)
    metadata = {}
    if hasattr(estimator, "order"):
        metadata = {
            "groups": np.repeat(np.arange(N_ORBITS), 4),
            "power": np.tile(np.arange(4), N_ORBITS),
        }
    return estimator.fit(X.reshape(-1, 12), **metadata)


def partial_fits():
    """Loss of the second of two calls, which goes on from what the first has left."""
    rows = np.random.default_rng(0).normal(size=(2, 200, 12))
    sae = TopKSAE(64, **COMMON).partial_fit(rows[0]).partial_fit(rows[1])
    return sae.loss_curve_


def message(function, *args):
    try:
        function(*args)
    except ValueError as error:
        return str(error)
    return None


def main(folder):
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    results = {"n_processes": dist.get_world_size(), "errors": {}}
    for name, estimator in ESTIMATORS.items():
        fitted = fit(estimator)
        np.savez(
            folder / f"{name} {rank}.npz",
            loss_curve=fitted.loss_curve_,
            components=fitted.components_,
            coefs=fitted.coefs_[-1],
        )
    other = TopKSAE(64, **COMMON | {"random_state": rank})
    for what, estimator in {
        "seed": other,
        "k": TopKSAE(64, **COMMON | {"k": 2 + rank}),
        "batch_topk": TopKSAE(64, activation="batch_topk", **COMMON),
        "checkpoint": TopKSAE(64, checkpoint=folder / "checkpoint", **COMMON),
    }.items():
        results["errors"][what] = message(fit, estimator)
    rows = np.random.default_rng(rank).normal(size=(50, 4))
    same = TopKSAE(8, **COMMON)
    results["errors"]["X"] = message(same.fit, rows)
    # one row in the last batch: one process has none of its own
    few = TopKSAE(8, **COMMON).fit(np.random.default_rng(0).normal(size=(73, 4)))
    results["last batch of one row"] = few.loss_curve_.tolist()
    results["partial_fit"] = partial_fits().tolist()
    (folder / f"{rank}.json").write_text(json.dumps(results), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(Path(sys.argv[1]))
