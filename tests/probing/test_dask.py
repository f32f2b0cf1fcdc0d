"""Sweeps on a cluster of dask.distributed, with workers that die."""

import os
import signal
from contextlib import suppress
from itertools import chain

import joblib
import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from sk_eqsae import TopKSAE
from sk_eqsae.probing import evaluate_probes

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

N_TASKS, N_WORKERS = 12, 2
SPLIT = {"train": np.arange(120), "test": np.arange(120, 200)}


class WatchedProbe(ClassifierMixin, BaseEstimator):
    """Notes in a folder when it is unpickled and fitted; its n-th fit kills."""

    def __init__(self, folder, kill_at=None):
        self.folder = folder
        self.kill_at = kill_at

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.note("unpickled")

    def note(self, what):
        with open(os.path.join(self.folder, what), "a", encoding="utf-8") as log:
            log.write(f"{os.getpid()}\n")

    def die_once(self):
        with suppress(FileExistsError):
            open(os.path.join(self.folder, "killed"), "x").close()
            os.kill(os.getpid(), signal.SIGKILL)

    def fit(self, X, y):
        if self.kill_at and len(noted(self.folder, "fit")) + 1 >= self.kill_at:
            self.die_once()
        self.note("fit")
        self.classes_ = np.unique(y)
        self.ridge_ = RidgeClassifier().fit(X, y)
        return self

    def predict(self, X):
        return self.ridge_.predict(X)


def noted(folder, what):
    path = os.path.join(folder, what)
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as log:
        return log.read().split()


@pytest.fixture(scope="module")
def local_cluster():
    # a worker that a busy machine starts slowly is not given up
    patience = {"distributed.deploy.lost-worker-timeout": "5 minutes"}
    settings = {"threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        dask.config.set(patience),
        distributed.LocalCluster(n_workers=N_WORKERS, **settings) as cluster,
        distributed.Client(cluster.scheduler_address) as client,
    ):
        yield client


@pytest.fixture
def cluster(local_cluster):
    """A cluster in which the worker that the last test killed is back."""
    local_cluster.wait_for_workers(N_WORKERS, timeout=120)
    return local_cluster


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 20)).astype(np.float32)
    Y = (X[:, :N_TASKS] + rng.normal(size=(200, N_TASKS)) > 0).astype(int)
    return X, Y


def test_the_rows_go_to_each_worker_once_and_not_with_each_task(
    cluster, data, tmp_path
):
    X, Y = data
    probes = {"watched": WatchedProbe(str(tmp_path))}
    with joblib.parallel_config("dask"):
        table = evaluate_probes(X, Y, **SPLIT, probes=probes)
    by_workers = set(noted(tmp_path, "unpickled")) - {str(os.getpid())}
    assert len(by_workers) == N_WORKERS
    # whatever N_TASKS is; on the way from worker to worker, more than once
    n_unpickled = sum(pid in by_workers for pid in noted(tmp_path, "unpickled"))
    assert n_unpickled <= 2 * N_WORKERS < N_TASKS
    assert_frame_equal(table, evaluate_probes(X, Y, **SPLIT, probes=probes))


def test_a_sweep_whose_worker_is_killed_computes_every_task_once(
    cluster, data, tmp_path
):
    X, Y = data
    probes = {"watched": WatchedProbe(str(tmp_path), kill_at=5)}
    with joblib.parallel_config("dask"):
        table = evaluate_probes(X, Y, **SPLIT, probes=probes, memory=tmp_path / "store")
    assert (tmp_path / "killed").exists()
    assert len(noted(tmp_path, "fit")) == N_TASKS
    assert_frame_equal(table, evaluate_probes(X, Y, **SPLIT, probes=probes))


def test_a_search_whose_worker_is_killed_finds_the_same(
    cluster, turning_orbits, tmp_path
):
    X, groups, _, _ = turning_orbits
    y = (X[:, 1] > 0.3).astype(int)
    splits = list(GroupKFold(2).split(X, y, groups))
    pipe = Pipeline(
        [
            ("sae", TopKSAE(16, max_epochs=2, random_state=0)),
            ("probe", WatchedProbe(str(tmp_path), kill_at=3)),
        ]
    )
    search = GridSearchCV(pipe, {"sae__k": [1, 2, 4]}, cv=splits)
    # a copy on each worker: what only the killed one has would be lost
    cluster.amm.stop()
    with joblib.parallel_config("dask", scatter=[X, y, *chain(*splits)]):
        search.fit(X, y)
    assert (tmp_path / "killed").exists()
    alone = GridSearchCV(pipe, {"sae__k": [1, 2, 4]}, cv=splits).fit(X, y)
    expected = alone.cv_results_["mean_test_score"]
    assert search.cv_results_["mean_test_score"].tolist() == expected.tolist()
