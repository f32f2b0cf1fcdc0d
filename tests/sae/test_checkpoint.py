"""A fit that is killed goes on from its checkpoint as if nothing had been."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE, fit_many
from sk_eqsae import _checkpoint as module
from sk_eqsae.activations import Shards
from sk_eqsae.sae import Recipe

RECIPE = Recipe(dead_after=0.5)  # so that latents die and are revived meanwhile
SETTINGS = {"max_epochs": 4, "batch_size": 16, "random_state": 0, "recipe": RECIPE}
STREAMED = SETTINGS | {"buffer_size": 0.004}  # a third of the rows
CASES = {
    "top_k": TopKSAE(32, k=2, **SETTINGS),
    "top_k_streamed": TopKSAE(32, k=2, hidden_dim=8, **STREAMED),
    "equivariant": EquivariantSAE(32, k=2, activation="batch_topk", **STREAMED),
    "group_tied": GroupTiedSAE(19, k=2, n_free=3, **STREAMED),
}
N_STEPS = 40  # 4 epochs of 10 batches
KILLED = 27  # in the third epoch; the checkpoint is of the step before


def data(name, folder):
    """Rows, in memory for the first case and else in shards, and their orbits."""
    rng = np.random.default_rng(0)
    canonical = np.abs(rng.normal(size=(40, 3))) @ np.eye(3, 12)
    X = np.stack([np.roll(canonical, 3 * p, axis=1) for p in range(4)])
    X = X.reshape(-1, 12) + 0.01 * rng.normal(size=(160, 12))
    metadata = {"groups": np.tile(np.arange(40), 4), "power": np.repeat(range(4), 40)}
    if name != "top_k":
        for i, part in enumerate(np.array_split(X.astype(np.float32), 5)):
            np.save(f"{folder}/{i}.npy", part)
        X = Shards(folder)
    return X, {} if name.startswith("top_k") else metadata


class Steps:
    """Counts steps of Adam, and calls something after one of them."""

    def __init__(self, monkeypatch=None, after=None, call=None):
        self.n, self.after, self.call = 0, after, call
        self.step = torch.optim.Adam.step
        patch = setattr if monkeypatch is None else monkeypatch.setattr
        patch(torch.optim.Adam, "step", lambda *args: self.count(*args))  # noqa: PLW0108

    def count(self, adam, *args):
        self.step(adam, *args)
        self.n += 1
        if self.n == self.after:
            self.call()


def write_after_each_step(patch=setattr):
    patch(module, "_SECONDS", 0.0)
    patch(module, "_SHARE", 1e9)
    patch(os, "fsync", lambda descriptor: None)  # which takes most of the time


def be_killed(folder):
    """Fit each case in a process that kills itself in the middle."""
    write_after_each_step()
    for name, sae in CASES.items():
        (child := os.fork()) or fit_and_die(f"{folder}/{name}", name, sae)
        assert os.waitpid(child, 0)[1] == 9, f"{name} was not killed"


def fit_and_die(folder, name, sae):
    os.makedirs(folder)
    Steps(after=KILLED, call=lambda: os.kill(os.getpid(), 9))
    X, metadata = data(name, folder)
    clone(sae).set_params(checkpoint=f"{folder}/checkpoint").fit(X, **metadata)
    os._exit(0)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    code = f"from tests.sae.test_checkpoint import *; be_killed({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    return folder


def fitted_values(sae):
    return {k: v for k, v in vars(sae).items() if isinstance(v, np.ndarray | float)}


@pytest.mark.parametrize("name", CASES)
def test_a_killed_fit_goes_on_to_the_same_weights_to_the_bit(name, killed, monkeypatch):
    X, metadata = data(name, killed / name)
    whole = clone(CASES[name]).fit(X, **metadata)
    steps = Steps(monkeypatch)
    path = killed / name / "checkpoint"
    sae = clone(whole).set_params(checkpoint=path).fit(X, **metadata)
    assert steps.n == N_STEPS - KILLED + 1
    assert len(sae.loss_curve_) == 4
    for key, value in fitted_values(whole).items():
        assert np.array_equal(fitted_values(sae)[key], value), key
    for key in ("coefs_", "intercepts_"):
        assert all(map(np.array_equal, getattr(sae, key), getattr(whole, key)))
    assert not path.exists()


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """A fit that was stopped by Ctrl-C after a few steps, and its rows."""

    def interrupt():
        raise KeyboardInterrupt

    write_after_each_step(monkeypatch.setattr)
    X, _ = data("top_k", tmp_path)
    sae = clone(CASES["top_k"]).set_params(checkpoint=tmp_path / "checkpoint")
    with monkeypatch.context() as context:
        Steps(context, after=KILLED, call=interrupt)
        with pytest.warns(ConvergenceWarning, match="interrupted after 2 of 4"):
            sae.fit(X)
    assert sae.checkpoint.exists()
    return sae, X


def test_a_fit_that_was_interrupted_goes_on_when_it_is_called_again(interrupted):
    sae, X = interrupted
    expected = clone(CASES["top_k"]).fit(X)
    assert not np.array_equal(sae.components_, expected.components_)
    assert np.array_equal(sae.fit(X).components_, expected.components_)
    assert not sae.checkpoint.exists()


def test_without_a_seed_a_fit_goes_on_from_where_it_was(tmp_path, monkeypatch):
    write_after_each_step(monkeypatch.setattr)
    X, _ = data("top_k", tmp_path)
    sae = clone(CASES["top_k"])
    sae.set_params(random_state=None, checkpoint=tmp_path / "checkpoint")
    with monkeypatch.context() as context:
        Steps(context, after=KILLED, call=lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sae.fit(X)
    steps = Steps(monkeypatch)
    sae.fit(X)
    assert steps.n == N_STEPS - KILLED + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 3, "lr": 1e-3}, "other k, lr"),
        ({"random_state": 1}, "other starting weights"),
        ({"recipe": "default"}, "other recipe"),
    ],
)
def test_the_checkpoint_of_another_fit_is_an_error(changes, message, interrupted):
    sae, X = interrupted
    before = sae.checkpoint.read_bytes()
    with pytest.raises(ValueError, match=f"{message}.*Remove the file to start anew"):
        clone(sae).set_params(**changes).fit(X)
    assert sae.checkpoint.read_bytes() == before


def test_the_checkpoint_of_other_rows_is_an_error(interrupted):
    sae, X = interrupted
    with pytest.raises(ValueError, match="a fit with other X"):
        clone(sae).fit(X[::-1])
    estimator = EquivariantSAE(
        32, symmetry=1, k=2, hidden_dim=None, checkpoint=sae.checkpoint
    )
    with pytest.raises(ValueError, match=r"other .*estimator"):
        estimator.set_params(**SETTINGS).fit(X)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda whole: whole[:-1], "cut short"),
        (lambda whole: b"\x80\x04" + whole, "looks like a pickle"),
        (lambda whole: (2).to_bytes(8, "little") + b"{}", "a file of another kind"),
    ],
)
def test_a_spoiled_checkpoint_is_an_error(spoil, message, interrupted):
    sae, X = interrupted
    sae.checkpoint.write_bytes(spoil(sae.checkpoint.read_bytes()))
    with pytest.raises(ValueError, match=f"{message}.*Remove the file"):
        clone(sae).fit(X)


def test_a_fit_with_a_checkpoint_is_the_fit_without(tmp_path):
    X, _ = data("top_k", tmp_path)
    plain = clone(CASES["top_k"]).fit(X)
    sae = clone(plain).set_params(checkpoint=str(tmp_path / "checkpoint")).fit(X)
    assert np.array_equal(sae.components_, plain.components_)
    assert os.listdir(tmp_path) == []


def test_writing_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "_state", lambda *args: {})
    written = []

    def write(*args):
        written.append(now[0])
        now[0] += 9.0  # seconds that it takes
        return b""

    monkeypatch.setattr(module, "to_bytes", write)
    checkpoint = module.Checkpoint(tmp_path / "file", {})
    while now[0] < 1000:
        now[0] += 1.0
        checkpoint.write_if_due(None, module.Place())
    assert written[0] == 60
    assert np.diff(written).min() >= 9 / 0.05


def test_fits_at_once_refuse_a_checkpoint(tmp_path):
    saes = [TopKSAE(8, k=1), TopKSAE(8, k=2, checkpoint=tmp_path / "file")]
    with pytest.raises(ValueError, match=r"estimators\[1\] has checkpoint="):
        fit_many(saes, np.ones((9, 3)))


@pytest.mark.parametrize("place", [".", "missing/file"])
def test_a_place_for_no_file_is_an_error_at_once(place, tmp_path):
    sae = TopKSAE(8, k=1, checkpoint=tmp_path / place)
    with pytest.raises(ValueError, match=r"checkpoint=.* has to be a file"):
        sae.fit(np.eye(4))
