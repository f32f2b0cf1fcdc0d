"""A fit that is killed goes on from its checkpoint as if nothing had been."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE, fit_many
from sk_eqsae import _checkpoint as module
from sk_eqsae._tensors import from_bytes, to_bytes
from sk_eqsae._training import Place
from sk_eqsae.activations import Shards
from sk_eqsae.sae import Recipe

RECIPE = Recipe(dead_after=0.5)  # so that latents die and are revived meanwhile
SETTINGS = {"max_epochs": 4, "batch_size": 16, "random_state": 0, "recipe": RECIPE}
SHORT = {"max_steps": 28}  # inside of the third epoch
STREAMED = SETTINGS | {"buffer_size": 0.004}  # a third of the rows
CASES = {
    "top_k": TopKSAE(32, k=2, **SETTINGS),
    "top_k_streamed": TopKSAE(32, k=2, hidden_dim=8, **STREAMED),
    "equivariant": EquivariantSAE(32, k=2, activation="batch_topk", **STREAMED),
    "group_tied": GroupTiedSAE(orbit_lengths={4: 3, 2: 2}, k=2, n_free=3, **STREAMED),
    "lengths_found": GroupTiedSAE(20, k=2, **STREAMED),
    "top_k_short": TopKSAE(32, k=2, **STREAMED | SHORT),
}
N_BEFORE = {"lengths_found": 10}  # steps of a regular autoencoder, taken again
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
    clone(sae).set_params(checkpoint=f"{folder}/checkpoints").fit(X, **metadata)
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
    folder = killed / name / "checkpoints"
    assert len(files(folder)) == 1
    sae = clone(whole).set_params(checkpoint=folder).fit(X, **metadata)
    n_steps = sae.max_steps or N_STEPS
    assert steps.n == n_steps - KILLED + 1 + 2 * N_BEFORE.get(name, 0)
    assert len(sae.loss_curve_) == np.ceil(n_steps / 10)
    for key, value in fitted_values(whole).items():
        assert np.array_equal(fitted_values(sae)[key], value), key
    for key in ("coefs_", "intercepts_"):
        assert all(map(np.array_equal, getattr(sae, key), getattr(whole, key)))
    assert files(folder) == []


def files(folder):
    return sorted(folder.iterdir())


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """A fit that was stopped by Ctrl-C after a few steps, and its rows."""

    def interrupt():
        raise KeyboardInterrupt

    write_after_each_step(monkeypatch.setattr)
    X, _ = data("top_k", tmp_path)
    sae = clone(CASES["top_k"]).set_params(checkpoint=tmp_path / "of" / "checkpoints")
    with monkeypatch.context() as context:
        Steps(context, after=KILLED, call=interrupt)
        with pytest.warns(ConvergenceWarning, match="interrupted after 2 of 4"):
            sae.fit(X)
    assert [path.suffix for path in files(sae.checkpoint)] == [".safetensors"]
    return sae, X


def test_a_fit_that_was_interrupted_goes_on_when_it_is_called_again(
    interrupted, monkeypatch
):
    sae, X = interrupted
    expected = clone(CASES["top_k"]).fit(X)
    assert not np.array_equal(sae.components_, expected.components_)
    steps = Steps(monkeypatch)
    assert np.array_equal(sae.fit(X).components_, expected.components_)
    assert steps.n == N_STEPS - KILLED + 1
    assert files(sae.checkpoint) == []


def test_without_a_seed_a_fit_goes_on_from_where_it_was(tmp_path, monkeypatch):
    write_after_each_step(monkeypatch.setattr)
    X, _ = data("top_k", tmp_path)
    sae = clone(CASES["top_k"])
    sae.set_params(random_state=None, checkpoint=tmp_path / "checkpoints")
    with monkeypatch.context() as context:
        Steps(context, after=KILLED, call=lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sae.fit(X)
    steps = Steps(monkeypatch)
    sae.fit(X)
    assert steps.n == N_STEPS - KILLED + 1


def test_the_search_for_orbit_lengths_goes_on(tmp_path, monkeypatch):
    write_after_each_step(monkeypatch.setattr)
    X, metadata = data("lengths_found", tmp_path)
    sae = clone(CASES["lengths_found"])
    sae.set_params(random_state=None, checkpoint=tmp_path / "checkpoints")
    with monkeypatch.context() as context:
        Steps(context, after=7, call=lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sae.fit(X, **metadata)
    steps = Steps(monkeypatch)
    sae.fit(X, **metadata)
    assert steps.n == N_STEPS + N_BEFORE["lengths_found"] - 7 + 1
    assert files(sae.checkpoint) == []


OTHERS = {
    "k, lr": TopKSAE(32, k=3, lr=1e-3, **SETTINGS),
    "seed": TopKSAE(32, k=2, **SETTINGS | {"random_state": 1}),
    "recipe": TopKSAE(32, k=2, **SETTINGS | {"recipe": "default"}),
    "max_epochs": TopKSAE(32, k=2, **SETTINGS | {"max_epochs": 5}),
    "estimator": EquivariantSAE(32, symmetry=1, k=2, hidden_dim=None, **SETTINGS),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_fits_that_differ_share_a_folder(other, interrupted, monkeypatch):
    sae, X = interrupted
    [left] = files(sae.checkpoint)
    before = left.read_bytes()
    expected = clone(other).fit(X)
    steps = Steps(monkeypatch)
    found = clone(other).set_params(checkpoint=sae.checkpoint).fit(X)
    assert steps.n == 10 * other.max_epochs
    assert np.array_equal(found.components_, expected.components_)
    assert left.read_bytes() == before
    assert files(sae.checkpoint) == [left]


def test_a_file_of_other_rows_is_passed_over(interrupted):
    sae, X = interrupted
    left = files(sae.checkpoint)
    expected = clone(CASES["top_k"]).fit(X[::-1])
    found = clone(sae).fit(X[::-1])
    assert np.array_equal(found.components_, expected.components_)
    assert files(sae.checkpoint) == left


def test_what_training_does_not_depend_on_does_not_name_the_file(
    interrupted, monkeypatch
):
    sae, X = interrupted
    same = clone(sae).set_params(sparse_output=True, checkpoint=str(sae.checkpoint))
    steps = Steps(monkeypatch)
    same.fit(X)
    assert steps.n == N_STEPS - KILLED + 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_has_one_folder(n_jobs, tmp_path):
    X, _ = data("top_k", tmp_path)
    folder = tmp_path / "checkpoints"
    sae, grid = clone(CASES["top_k"]), {"k": [1, 2, 3]}
    expected = GridSearchCV(sae, grid, cv=2).fit(X)
    sae = clone(sae).set_params(checkpoint=folder)
    found = GridSearchCV(sae, grid, cv=2, n_jobs=n_jobs).fit(X)
    scores = [each.cv_results_["mean_test_score"] for each in (found, expected)]
    np.testing.assert_array_equal(*scores)
    assert files(folder) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda whole: whole[:-1], "cut short"),
        (lambda whole: b"\x80\x04" + whole, "looks like a pickle"),
        (lambda whole: (2).to_bytes(8, "little") + b"{}", "place"),
    ],
)
def test_a_spoiled_checkpoint_is_an_error_that_names_it(spoil, message, interrupted):
    sae, X = interrupted
    [left] = files(sae.checkpoint)
    left.write_bytes(spoil(left.read_bytes()))
    expected = f"{re.escape(str(left))}.*{message}.*Remove the file to start anew"
    with pytest.raises(ValueError, match=expected):
        clone(sae).fit(X)
    left.unlink()
    clone(sae).fit(X)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("totals", np.zeros(3, np.float32), "other shapes"),
        ("totals", np.zeros((), np.float32), "other shapes"),
        ("place", np.zeros(3, np.int64), "other shapes"),
        ("losses", np.zeros((1, 3)), "other shapes"),
        ("generator", np.zeros(7, np.uint8), "no state of a generator"),
        ("generator", np.zeros(5056), "no state of a generator"),
    ],
)
def test_a_checkpoint_of_other_shapes_is_an_error_that_names_it(
    name, value, message, interrupted
):
    sae, X = interrupted
    [left] = files(sae.checkpoint)
    arrays, _ = from_bytes(left.read_bytes())
    left.write_bytes(to_bytes(arrays | {name: value}, {}))
    expected = f"{re.escape(str(left))}.*{message}.*Remove the file to start anew"
    with pytest.raises(ValueError, match=expected):
        clone(sae).fit(X)


def test_a_fit_with_a_checkpoint_is_the_fit_without(tmp_path):
    X, _ = data("top_k", tmp_path)
    plain = clone(CASES["top_k"]).fit(X)
    sae = clone(plain).set_params(checkpoint=str(tmp_path / "checkpoints")).fit(X)
    assert np.array_equal(sae.components_, plain.components_)
    assert files(tmp_path / "checkpoints") == []


def test_writing_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "state_of", lambda net: {})
    written = []

    def write(*args):
        written.append(now[0])
        now[0] += 9.0  # seconds that it takes
        return b""

    monkeypatch.setattr(module, "to_bytes", write)
    checkpoint = module.Checkpoint(tmp_path, {})
    place = Place(generator=torch.zeros(1))
    while now[0] < 1000:
        now[0] += 1.0
        checkpoint.write_if_due(SimpleNamespace(loss_curves=np.zeros(0)), place)
    assert written[0] == 60
    assert np.diff(written).min() >= 9 / 0.05


def test_of_fits_at_once_one_with_a_checkpoint_comes_by_itself(tmp_path, monkeypatch):
    X = np.random.default_rng(0).normal(size=(60, 3))
    settings = {"max_epochs": 4, "batch_size": 16, "random_state": 0}
    saes = [TopKSAE(8, k=k, checkpoint=tmp_path, **settings) for k in (1, 2)]
    saes[0].set_params(checkpoint=None)
    written = []
    note = lambda *_: written.append(1)  # noqa: E731
    monkeypatch.setattr(module.Checkpoint, "write_if_due", note)
    fit_many(saes, X)
    assert len(written) == 16  # steps of one of them
    for sae in saes:
        alone = clone(sae).fit(X)
        np.testing.assert_array_equal(sae.components_, alone.components_)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    sae = TopKSAE(8, k=1, checkpoint=tmp_path / "file")
    with pytest.raises(ValueError, match=r"checkpoint=.* has to be a folder"):
        sae.fit(np.eye(4))
