"""Training in several processes gives what one process gives."""

import json
import multiprocessing

import numpy as np
import pytest
import torch.distributed as dist
from sklearn.base import clone

from sk_eqsae import TopKSAE
from sk_eqsae._training import Net
from sk_eqsae.sae import _base
from sk_eqsae.sae._data_parallel import SharedObjective
from sk_eqsae.sae._objective import Objective

from .data_parallel_run import (
    COMMON,
    ESTIMATORS,
    KILLED,
    KILLED_IN,
    as_one_of_two,
    fit,
    fit_all,
    fit_until_killed,
    partial_fits,
)
from .test_checkpoint import Steps

# one server imports the package for all processes
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([fit_all.__module__])


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Folder with the results of each of two processes."""
    folder = tmp_path_factory.mktemp("two_processes")
    for name in KILLED:
        assert 0 not in in_two_processes(fit_until_killed, folder, name)
    assert len(list((folder / "checkpoints").iterdir())) >= len(KILLED)
    assert in_two_processes(fit_all, folder) == [0, 0]
    return folder


def in_two_processes(*function):
    """Exit codes of both, which call a function with arguments."""
    processes = [
        PROCESSES.Process(target=as_one_of_two, args=(rank, *function))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


def results_of(folder, rank):
    return json.loads((folder / f"{rank}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_two_processes_have_the_curves_and_weights_of_one(name, two_processes):
    alone = fit(clone(ESTIMATORS[name]))
    curves, errors = [], []
    for rank in range(2):
        with np.load(two_processes / f"{name} {rank}.npz") as shared:
            curves.append(shared["loss_curve"])
            errors.append(shared["error_curve"])
            np.testing.assert_allclose(
                shared["components"], alone.components_, atol=1e-4
            )
            np.testing.assert_allclose(shared["coefs"], alone.coefs_[-1], atol=1e-4)
    np.testing.assert_allclose(curves[0], alone.loss_curve_, rtol=1e-4)
    np.testing.assert_array_equal(curves[1], curves[0])
    np.testing.assert_allclose(errors[0], alone.error_curve_, rtol=1e-4)
    np.testing.assert_array_equal(errors[1], errors[0])


def test_a_batch_of_fewer_rows_than_processes(two_processes):
    X = np.random.default_rng(0).normal(size=(73, 4))
    alone = TopKSAE(8, **COMMON).fit(X)
    shared = results_of(two_processes, 0)["last batch of one row"]
    np.testing.assert_allclose(shared, alone.loss_curve_, rtol=1e-4)


def test_partial_fit_goes_on_in_several_processes(two_processes):
    shared = results_of(two_processes, 1)["partial_fit"]
    np.testing.assert_allclose(shared, partial_fits(), rtol=1e-4)


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_that_do_not_train_the_same_are_told_what_differs(
    rank, two_processes
):
    errors = results_of(two_processes, rank)["errors"]
    assert "process 1 trains with other random_state than process 0" in errors["seed"]
    assert "process 1 trains with other k than process 0" in errors["k"]
    assert "process 1 trains with other values of X than" in errors["X"]
    assert "Use activation='topk'" in errors["batch_topk"]
    assert "has to be a folder" in errors["checkpoint"]


@pytest.mark.parametrize("name", KILLED)
@pytest.mark.parametrize("rank", [0, 1])
def test_killed_processes_go_on_from_the_checkpoint_of_the_first(
    rank, name, two_processes, monkeypatch
):
    steps = Steps(monkeypatch)
    fit(clone(ESTIMATORS[name]))
    n_left = steps.n - KILLED_IN + 1
    assert results_of(two_processes, rank)["steps after the kill"][name] == n_left
    with (
        np.load(two_processes / f"{name} {rank}.npz") as whole,
        np.load(two_processes / f"{name} went on {rank}.npz") as went_on,
    ):
        for key in ("loss_curve", "components", "coefs"):
            np.testing.assert_array_equal(went_on[key], whole[key])
    assert not list((two_processes / "checkpoints").iterdir())


@pytest.fixture
def alone():
    return fit(clone(ESTIMATORS["TopKSAE"]))


@pytest.fixture
def group_of_one(alone):
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("objective", [Objective, SharedObjective])
def test_a_group_of_one_process_changes_no_bit(
    objective, alone, group_of_one, monkeypatch
):
    if objective is SharedObjective:
        monkeypatch.setattr(_base, "_in_several_processes", lambda: True)
    used = []
    monkeypatch.setattr(Net, "initialize", noting_module(used))
    fitted = fit(clone(ESTIMATORS["TopKSAE"]))
    assert used == [objective]
    np.testing.assert_array_equal(fitted.components_, alone.components_)
    np.testing.assert_array_equal(fitted.loss_curve_, alone.loss_curve_)


def test_a_group_of_one_process_may_choose_over_the_batch(alone, group_of_one):
    sae = TopKSAE(8, activation="batch_topk", **COMMON)
    assert fit(sae).threshold_ >= 0


def noting_module(used):
    def initialize(net, initialize=Net.initialize):
        used.append(type(net.module))
        return initialize(net)

    return initialize
