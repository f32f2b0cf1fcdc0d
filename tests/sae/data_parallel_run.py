"""Fits that two processes do together, started by test_data_parallel."""

import json
import os
import signal
import warnings
from pathlib import Path

import numpy as np
import torch.distributed as dist
from sklearn.base import clone

from sk_eqsae import EquivariantSAE, GroupTiedSAE, OrbitSAE, TopKSAE, _checkpoint
from sk_eqsae.sae import Recipe, _data_parallel
from tests.sae.test_checkpoint import Steps, write_after_each_step

N_ORBITS = 61  # 244 rows are three batches of 72 and one of 28
# of 64 latents many are dead after half an epoch
RECIPE = Recipe(dead_after=0.5, aux_k=3, max_grad_norm=0.5)
SETTINGS = {"batch_size": 72, "max_epochs": 6, "random_state": 0}
COMMON = {"k": 3, "recipe": RECIPE} | SETTINGS
KILLED = ("TopKSAE", "OrbitSAE")
KILLED_IN = 13  # of 24 steps or more
ESTIMATORS = {
    "TopKSAE": TopKSAE(64, **COMMON),
    "TopKSAE, nested": TopKSAE(64, nested=[16, 64], **COMMON),
    "EquivariantSAE": EquivariantSAE(64, symmetry=4, hidden_dim=16, **COMMON),
    "GroupTiedSAE": GroupTiedSAE(72, symmetry=4, n_free=8, **COMMON),
    "OrbitSAE": OrbitSAE(64, symmetry=4, **COMMON),
    "OrbitSAE, orbits with gaps": OrbitSAE(
        64, symmetry=4, nested=[16, 64], equivariance=2, **COMMON
    ),
}


def fit(estimator):
    rng = np.random.default_rng(0)
    canonical = np.abs(rng.normal(size=(N_ORBITS, 3))) @ np.eye(3, 12)
    X = np.stack([np.roll(canonical, 3 * p, axis=1) for p in range(4)], axis=1)
    groups, power = np.indices((N_ORBITS, 4)).reshape(2, -1)
    has_gaps = isinstance(estimator, OrbitSAE) and estimator.nested is not None
    kept = (groups % 5 > 0) | (power != 2) if has_gaps else slice(None)
    metadata = {}
    if hasattr(estimator, "symmetry"):
        metadata = {"groups": groups[kept], "power": power[kept]}
    return estimator.fit(X.reshape(-1, 12)[kept], **metadata)


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


def keep(fitted, path):
    np.savez(
        path,
        loss_curve=fitted.loss_curve_,
        error_curve=fitted.error_curve_,
        components=fitted.components_,
        coefs=fitted.coefs_[-1],
    )


def fit_until_killed(folder, name):
    """Write a checkpoint after each step but the last one that is taken."""
    write_after_each_step()
    _data_parallel._STEPS = 1
    Steps(after=KILLED_IN, call=lambda: os.kill(os.getpid(), signal.SIGKILL))
    fit(clone(ESTIMATORS[name]).set_params(checkpoint=folder / "checkpoints"))


def fit_on(folder, rank, name):
    """Go on from the checkpoint, which is a file of the first process."""
    steps = Steps()
    fitted = fit(clone(ESTIMATORS[name]).set_params(checkpoint=folder / "checkpoints"))
    keep(fitted, folder / f"{name} went on {rank}.npz")
    return steps.n


def fit_all(folder):
    rank = dist.get_rank()
    results = {"n_processes": dist.get_world_size(), "errors": {}}
    for name, estimator in ESTIMATORS.items():
        keep(fit(estimator), folder / f"{name} {rank}.npz")
    other = TopKSAE(64, **COMMON | {"random_state": rank})
    for what, estimator in {
        "seed": other,
        "k": TopKSAE(64, **COMMON | {"k": 2 + rank}),
        "batch_topk": TopKSAE(64, activation="batch_topk", **COMMON),
        "checkpoint": TopKSAE(64, checkpoint=Path(__file__), **COMMON),
    }.items():
        results["errors"][what] = message(fit, estimator)
    rows = np.random.default_rng(rank).normal(size=(50, 4))
    same = TopKSAE(8, **COMMON)
    results["errors"]["X"] = message(same.fit, rows)
    # one row in the last batch: one process has none of its own
    few = TopKSAE(8, **COMMON).fit(np.random.default_rng(0).normal(size=(73, 4)))
    results["last batch of one row"] = few.loss_curve_.tolist()
    results["partial_fit"] = partial_fits().tolist()
    results["steps after the kill"] = {n: fit_on(folder, rank, n) for n in KILLED}
    (folder / f"{rank}.json").write_text(json.dumps(results), encoding="utf-8")


def as_one_of_two(rank, function, folder, *args):
    """Call a function in a process that knows the other, as torchrun starts them."""
    warnings.simplefilter("error")
    if rank > 0:
        _checkpoint.atomic_write = None  # which is for the first process
    store = dist.FileStore("-".join([f"{folder}/{function.__name__}", *args]), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    function(folder, *args)
    dist.destroy_process_group()
