"""Training on a device that computes while Python goes on, such as a GPU.

The device "meta" stands in for one: its tensors have shapes and no values, so that
reading a value, or computing with the memory of the CPU, is an error.
"""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE, fit_many
from sk_eqsae.groups import DihedralGroup
from sk_eqsae.sae import Recipe, _base, _many

REVIVING = Recipe(aux_k=4)  # some latents are made out to be dead
SETTINGS = {"k": 4, "max_epochs": 5, "random_state": 0}
BASES = np.random.default_rng(0).normal(size=(10, 12)).astype(np.float32)
ELEMENTS = [(turns, flips) for turns in range(3) for flips in range(2)]
X = np.concatenate(
    [np.roll(BASES[:, :: 1 - 2 * flips], 4 * turns, 1) for turns, flips in ELEMENTS]
)
ORBITS = {"groups": np.tile(np.arange(10), 6), "power": np.repeat(ELEMENTS, 10, axis=0)}
D3 = {"symmetry": DihedralGroup(3)} | SETTINGS

TOPK = {
    "linear": TopKSAE(64, **SETTINGS),
    "paper": TopKSAE(64, recipe="paper", **SETTINGS),
    "reviving": TopKSAE(64, recipe=REVIVING, **SETTINGS),
    "two layers": TopKSAE(64, hidden_dim=8, **SETTINGS),
    "batch_topk": TopKSAE(64, activation="batch_topk", **SETTINGS),
    "nested": TopKSAE(64, nested=[16, 32], **SETTINGS),
}
WITH_A_GROUP = {
    "equivariant": EquivariantSAE(64, **D3),
    "tied": GroupTiedSAE(96, recipe=REVIVING, **D3),
    "tied, free": GroupTiedSAE(104, n_free=8, **D3),
    "tied, two layers": GroupTiedSAE(96, hidden_dim=8, **D3),
}
SEVERAL = [TopKSAE(64, **SETTINGS).set_params(k=k) for k in (2, 2, 4)]


def fit(name, device):
    """The fitted autoencoders of a name."""
    if name == "several":
        return fit_many([clone(sae).set_params(device=device) for sae in SEVERAL], X)
    orbits = ORBITS if name in WITH_A_GROUP else {}
    sae = clone((TOPK | WITH_A_GROUP)[name]).set_params(device=device)
    return [sae.fit(X, **orbits)]


NAMES = [*TOPK, *WITH_A_GROUP, "several"]


class Begun(Exception):  # noqa: N818
    """What was to be trained, and on what."""


@pytest.fixture
def begin(monkeypatch):
    """Objective and tensors of a fit, as they are handed to training."""

    def stop(objective, dataset, **settings):
        raise Begun(objective, dataset.tensors)

    monkeypatch.setattr(_base, "train", stop)
    monkeypatch.setattr(_many, "train", stop)

    def begin(name):
        with pytest.raises(Begun) as begun:
            fit(name, "meta")
        return begun.value.args

    return begin


class OnlyOnTheDevice(TorchDispatchMode):
    """Operations that take part of the CPU's memory are errors."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                assert tensor.device.type == "meta", func
        return func(*args, **kwargs or {})


def step(objective, rows):
    objective.zero_grad()
    losses = objective.learn(*rows)
    objective.before_step()
    objective.after_step()
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_a_step_neither_waits_for_the_device_nor_copies_to_it(name, begin):
    objective, tensors = begin(name)
    n_networks = math.prod(objective.network.n_networks)
    rows = [tensors[i][:8].repeat(n_networks, 1).to("meta") for i in (0, -1)]
    objective.to("meta")
    objective.rows_until_check = np.inf  # looking for dead latents does wait
    objective.aux_weight = objective.aux_weight.to("meta")
    if objective.recipe is REVIVING:
        objective.dead = [torch.arange(16, device="meta")]
    step(objective, rows)  # the first one may bring tables to the device
    with OnlyOnTheDevice():
        losses = step(objective, rows)
    assert losses.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:.*dead.*:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_fit_on_a_gpu_gives_what_the_cpu_gives(name):
    for ours, expected in zip(fit(name, "cuda"), fit(name, "cpu"), strict=True):
        np.testing.assert_allclose(ours.loss_curve_, expected.loss_curve_, rtol=1e-4)
        codes = ours.transform(X), expected.transform(X)
        np.testing.assert_allclose(*codes, rtol=1e-3, atol=1e-3)
