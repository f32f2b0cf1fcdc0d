"""How long training goes on where nobody says so."""

import numpy as np
import pytest
import torch

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE, fit_many
from sk_eqsae.sae import Recipe
from sk_eqsae.sae._code import TopK
from sk_eqsae.sae._network import DenseNetwork
from sk_eqsae.sae._objective import Objective
from sk_eqsae.sae._recipe import SCHEDULES

X = np.random.default_rng(0).normal(size=(100, 6))  # 4 batches of 30 rows
SETTINGS = {"k": 2, "batch_size": 30, "random_state": 0}


def few(patch, *, max_epochs=5, max_steps=10):
    for recipe, steps in (("default", max_steps), ("paper", None)):
        patch.setitem(SCHEDULES[recipe], "max_epochs", max_epochs)
        patch.setitem(SCHEDULES[recipe], "max_steps", steps)


@pytest.mark.parametrize(
    ("given", "n_epochs"),
    [
        ({}, 3),  # of four, four and two steps
        ({"max_steps": 4}, 1),
        ({"max_steps": 14}, 4),
        ({"max_steps": 999}, 5),
        ({"max_epochs": 4}, 4),  # that were asked for, though they are 16 steps
        ({"max_epochs": 4, "max_steps": 5}, 2),
        ({"recipe": "paper"}, 5),
        ({"recipe": "paper", "max_steps": 5}, 2),
    ],
)
def test_epochs_end_where_their_steps_are_used_up(given, n_epochs, monkeypatch):
    few(monkeypatch)
    sae = TopKSAE(8, **SETTINGS | given).fit(X)
    assert sae.n_iter_ == len(sae.loss_curve_) == len(sae.error_curve_) == n_epochs


def test_few_rows_are_seen_as_often_as_without_a_budget(monkeypatch):
    free = TopKSAE(8, max_epochs=5, **SETTINGS).fit(X)
    few(monkeypatch, max_steps=20)
    assert np.array_equal(TopKSAE(8, **SETTINGS).fit(X).components_, free.components_)


def test_partial_fit_takes_all_rows_whatever_the_budget():
    free, limited = TopKSAE(8, **SETTINGS), TopKSAE(8, max_steps=1, **SETTINGS)
    arrays = [sae.partial_fit(X).components_ for sae in (free, limited)]
    assert np.array_equal(*arrays)


@pytest.mark.filterwarnings("ignore:partial_fit forgets what fit has found")  # of M
@pytest.mark.parametrize(
    "sae", [TopKSAE(8), EquivariantSAE(8, symmetry=1), GroupTiedSAE(8, symmetry=1)]
)
def test_every_autoencoder_has_a_budget(sae, monkeypatch):
    few(monkeypatch)
    assert sae.set_params(**SETTINGS).fit(X).n_iter_ == 3
    assert sae.set_params(max_steps=1).fit(X).n_iter_ == 1
    assert sae.partial_fit(X).n_iter_ == 2
    with pytest.raises(ValueError, match="'max_steps' parameter"):
        sae.set_params(max_steps=0).fit(X)


def test_networks_that_are_fitted_at_once_share_the_budget(monkeypatch):
    few(monkeypatch)
    grid = [TopKSAE(8, **SETTINGS | {"k": k}) for k in (1, 2)]
    grid += [TopKSAE(8, max_steps=3, **SETTINGS)]
    many = fit_many(grid, X)
    assert [sae.n_iter_ for sae in many] == [3, 3, 1]
    for sae in many:
        own = TopKSAE(**sae.get_params()).fit(X)
        np.testing.assert_allclose(own.components_, sae.components_, atol=1e-5)


def test_latents_die_within_the_budget_of_many_rows(monkeypatch):
    """Those that are never active are found before all rows were seen."""
    network = DenseNetwork(2, 3, None, tied_init=True, seed=0)
    settings = {"prefixes": np.array([3]), "n_rows": 10**9}
    objective = Objective(network, TopK(1), Recipe(), **settings)
    with torch.no_grad():
        network.encoder.bias[2] = -1e3
        rows = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        for _ in range(100):
            assert not objective.is_dead.any()
            objective.learn(rows, rows)
    assert objective.is_dead.tolist() == [False, False, True]


def test_the_bar_counts_steps(monkeypatch, capsys):
    few(monkeypatch)
    TopKSAE(8, verbose=1, **SETTINGS).fit(X)
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "epoch=3" in shown
