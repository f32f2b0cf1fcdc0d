"""Several calls at once: from threads, and in workers that share the cores."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from threading import Barrier, Event, Thread

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import GridSearchCV
from threadpoolctl import ThreadpoolController, threadpool_limits

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    TopKSAE,
    _threads,
    evaluate_probes,
)
from sk_eqsae.groups import (
    PoseCanonicalizer,
    SymmetricGroup,
    _activation_transform,
    _element_matrices,
    _group,
    _pose,
)
from sk_eqsae.groups._moments import OrbitMoments
from tests.fitted import CASES, data, every_case, fitted, results
from tests.global_state import modes, thread_pools

N_THREADS = 8


@pytest.fixture(autouse=True)
def frequent_switches():
    """Let threads take turns often, so that what can go wrong does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def at_once(call, arguments):
    """Results of a call for each argument, made in threads that start as one."""
    barrier = Barrier(len(arguments))

    def wait_and_call(argument):
        barrier.wait(timeout=60)
        return call(argument)

    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(wait_and_call, arguments))


@every_case
def test_calls_from_threads_equal_a_single_call_to_the_bit(case):
    X, _, metadata = data()
    metadata = metadata if CASES[case][1] else {}
    calls = [np.arange(4 * i, 120 + 4 * i) for i in range(N_THREADS)]

    def call(rows):
        taken = {key: values[rows] for key, values in metadata.items()}
        return results(fitted(case), X[rows], taken)

    alone = [call(rows) for rows in calls]
    together = at_once(call, calls)
    for one, other in zip(alone, together, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_fits_in_threads_equal_fits_alone_to_the_bit():
    X, y, metadata = data()

    def fit(case):
        estimator, orbits = CASES[case]
        return clone(estimator).fit(X, y, **(metadata if orbits else {})).transform(X)

    cases = [i for i, (e, _) in enumerate(CASES) if "n_free='auto'" not in repr(e)]
    before = torch.get_rng_state()
    together = at_once(fit, cases)
    assert torch.equal(torch.get_rng_state(), before)
    for case, Z in zip(cases, together, strict=True):
        np.testing.assert_array_equal(Z, fitted(case).transform(X))


MODES = [
    nullcontext,
    torch.no_grad,
    torch.inference_mode,
    lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    lambda: torch.device("meta"),
]


def test_each_thread_may_have_torch_in_another_mode():
    """Which is then as the thread has left it, and changes no bit."""
    X, _, metadata = data()
    sae = EquivariantSAE(24, k=2, hidden_dim=8, max_epochs=5, random_state=0)
    expected = clone(sae).fit(X, **metadata).transform(X)

    def fit(mode):
        with mode():
            before = modes()
            Z = clone(sae).fit(X, **metadata).transform(X)
            assert modes() == before
        return Z

    for Z in at_once(fit, 2 * MODES):
        np.testing.assert_array_equal(Z, expected)


@contextmanager
def another_thread_drawing():
    """A thread that draws from torch's global generator all the time."""
    stop = Event()

    def draw():
        while not stop.is_set():
            torch.rand(1)

    thread = Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=60)


def test_draws_of_other_threads_do_not_change_a_fit():
    X = data()[0]
    wide = TopKSAE(500, k=2, hidden_dim=500, max_epochs=1, random_state=0)
    alone = clone(wide).fit(X).components_
    with another_thread_drawing():
        for _ in range(5):
            np.testing.assert_array_equal(clone(wide).fit(X).components_, alone)


def test_a_grid_search_in_threads_equals_one_without():
    X, _, _ = data()
    grid = {"k": [1, 2, 3], "hidden_dim": [None, 16]}
    search = GridSearchCV(TopKSAE(8, max_epochs=2, random_state=0), grid, cv=2)
    alone = search.fit(X).cv_results_["mean_test_score"]
    with joblib.parallel_config("threading", n_jobs=2):
        together = clone(search).fit(X).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(together, alone)


class ThreadCounter(TransformerMixin, BaseEstimator):
    """Raises if more than one thread may work, and on demand."""

    def __init__(self, fails=False):
        self.fails = fails

    def fit(self, X, y):
        time.sleep(0.02)  # so that workers are at work at the same time
        if self.fails:
            raise ZeroDivisionError
        counts = {*thread_pools().values(), torch.get_num_threads()}
        if counts != {1}:
            raise AssertionError(f"worker has {thread_pools()}")
        return self

    def transform(self, X):
        return X


@pytest.fixture
def two_threads():
    """Let this process use two threads, whatever the machine and its settings."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
def test_workers_have_one_thread_each_and_limits_are_put_back(
    backend, fails, two_threads
):
    X, y, _ = data()
    call = {
        "X": X,
        "Y": np.column_stack([y] * 6),
        "train": range(120),
        "test": range(120, 240),
        "transformer": ThreadCounter(fails),
        "probes": ["knn"],
    }
    before = thread_pools(), torch.get_num_threads()
    with joblib.parallel_config(backend, n_jobs=2):
        if fails:
            with pytest.raises(ZeroDivisionError):
                evaluate_probes(**call)
        else:
            evaluate_probes(**call)
    assert (thread_pools(), torch.get_num_threads()) == before


@pytest.fixture
def two_threads_of_blas():
    with threadpool_limits(limits=2, user_api="blas"):
        yield threads_of_blas()


def threads_of_blas():
    pools = ThreadpoolController().select(user_api="blas").info()
    return {pool["num_threads"] for pool in pools}


@pytest.mark.parametrize("pays_from", [2**33, 0])
def test_small_decompositions_use_one_thread_and_others_what_is_allowed(
    monkeypatch, two_threads_of_blas, pays_from
):
    monkeypatch.setattr(_threads, "_BLAS_SHARED_FROM", pays_from)
    seen = []
    gram, solve = OrbitMoments._add, _activation_transform.law_of_whole_orbits
    monkeypatch.setattr(
        OrbitMoments, "_add", lambda *a: seen.append(threads_of_blas()) or gram(*a)
    )
    monkeypatch.setattr(
        _activation_transform,
        "law_of_whole_orbits",
        lambda *a, **k: seen.append(threads_of_blas()) or solve(*a, **k),
    )
    X, _, metadata = data()
    ActivationTransformFitter(4).fit(X, **metadata)
    assert seen == [{1} if pays_from else two_threads_of_blas] * 2
    assert threads_of_blas() == two_threads_of_blas


@pytest.mark.parametrize(
    "decomposition",
    [
        (_element_matrices, "eigh", lambda X, m: tied().fit(X, **m)),
        (_pose, "_leading_direction", lambda X, m: PoseCanonicalizer().fit(X, **m)),
        (_group, "irreps_of_regular", lambda X, m: SymmetricGroup(3).irreps),
    ],
    ids=["basis", "pose", "irreps"],
)
def test_every_decomposition_of_a_fit_uses_one_thread(
    monkeypatch, two_threads_of_blas, decomposition
):
    where, name, fit = decomposition
    found, seen = getattr(where, name), []

    def watched(*args, **kwargs):
        seen.append(threads_of_blas())
        return found(*args, **kwargs)

    monkeypatch.setattr(where, name, watched)
    X, _, metadata = data()
    fit(X, metadata)
    assert seen
    assert all(threads == {1} for threads in seen)
    assert threads_of_blas() == two_threads_of_blas


def tied():
    return GroupTiedSAE(16, symmetry=4, k=2, max_epochs=1, random_state=0)


def test_the_last_of_overlapping_blocks_puts_the_threads_back(two_threads_of_blas):
    first, second = (_threads.blas_threads_that_pay(1) for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert threads_of_blas() == {1}
    second.__exit__(None, None, None)
    assert threads_of_blas() == two_threads_of_blas


@pytest.mark.parametrize("pays_from", [2**33, 0])
def test_small_products_use_one_thread_and_others_what_is_allowed(
    monkeypatch, two_threads_of_blas, pays_from
):
    monkeypatch.setattr(_threads, "_BLAS_SHARED_FROM", pays_from)
    seen = []

    class Rows(np.ndarray):
        def __matmul__(self, other):
            seen.append(threads_of_blas())
            return super().__matmul__(other)

    rows = np.ones((3, 2)).view(Rows)
    assert np.array_equal(_threads.product(rows, np.eye(2)), rows)
    assert seen == [{1} if pays_from else two_threads_of_blas]
    assert threads_of_blas() == two_threads_of_blas
