import os
import signal
import subprocess
import sys
import time
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from pandas.testing import assert_frame_equal
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import f1_score
from sklearn.svm import SVC
from xgboost import XGBClassifier

from sk_eqsae import EquivariantSAE
from sk_eqsae.probing import (
    MeanDifferenceSelector,
    TruncatedReconstruction,
    evaluate_probes,
    make_probe,
)

TRAIN, TEST = np.arange(120), np.arange(120, 200)
SPLIT = {"train": TRAIN, "test": TEST}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 10)).astype(np.float32)
    Y = (X[:, :6] + 0.3 * rng.normal(size=(200, 6)) > 0.2).astype(int)
    return X, Y


@pytest.fixture(scope="module")
def orbits(turning_orbits):
    X, groups, power, _ = turning_orbits
    sae = EquivariantSAE(
        16, symmetry=4, k=4, hidden_dim=32, max_epochs=3, random_state=0
    )
    Y = np.column_stack([X[:, 1] > 0.3, X[:, 4] > 0.3, X.sum(axis=1) > 2])
    frozen = FrozenEstimator(sae.fit(X, groups=groups, power=power))
    return X, Y.astype(int), groups, power, frozen


class LoggingProbe(ClassifierMixin, BaseEstimator):
    """Appends a line to a file per fit and takes its time."""

    def __init__(self, log, pause=0.0):
        self.log = log
        self.pause = pause

    def fit(self, X, y):
        time.sleep(self.pause)
        with open(self.log, "a", encoding="utf-8") as log:
            log.write("fit\n")
        self.classes_ = np.unique(y)
        self.ridge_ = RidgeClassifier().fit(X, y)
        return self

    def predict(self, X):
        return self.ridge_.predict(X)


def n_fits(log):
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_table_has_a_row_per_task_and_probe_in_order(data):
    X, Y = data
    table = evaluate_probes(
        X,
        Y[:, :2],
        **SPLIT,
        probes=["logistic", "knn"],
        task_names=["b", "a"],
        task_kinds=["S", "SP"],
        n_jobs=2,
    )
    assert list(table.columns) == [
        "task",
        "kind",
        "probe",
        "f1",
        "train_positives",
        "test_positives",
    ]
    assert table["task"].tolist() == ["b", "b", "a", "a"]
    assert table["kind"].tolist() == ["S", "S", "SP", "SP"]
    assert table["probe"].tolist() == ["logistic", "knn"] * 2
    assert (
        table["train_positives"].tolist() == np.repeat(Y[TRAIN, :2].sum(0), 2).tolist()
    )
    assert table["test_positives"].tolist() == np.repeat(Y[TEST, :2].sum(0), 2).tolist()
    assert table["f1"].between(0.5, 1).all()


def test_f1_is_that_of_selector_and_probe_by_hand(data):
    X, Y = data
    table = evaluate_probes(
        X, Y, **SPLIT, transformer=MeanDifferenceSelector(2), probes=["knn"], n_jobs=2
    )
    for y, f1 in zip(Y.T, table["f1"], strict=True):
        selector = MeanDifferenceSelector(2).fit(X[TRAIN], y[TRAIN])
        probe = make_probe("knn").fit(selector.transform(X[TRAIN]), y[TRAIN])
        predicted = probe.predict(selector.transform(X[TEST])) == 1
        truth = y[TEST] == 1
        both, either = (predicted & truth).sum(), predicted.sum() + truth.sum()
        assert f1 == pytest.approx(2 * both / either)
    assert table["f1"].nunique() > 3


def test_validation_rows_are_scored_and_change_nothing_else(data, tmp_path):
    X, Y = data
    validation = np.arange(90, 120)
    split = {"train": np.arange(90), "test": TEST, "memory": tmp_path}
    alone = evaluate_probes(X, Y, **split, probes=["logistic"])
    table = evaluate_probes(X, Y, **split, validation=validation, probes=["logistic"])
    assert_frame_equal(table[alone.columns], alone)
    swapped = split | {"test": validation}
    expected = evaluate_probes(X, Y, **swapped, probes=["logistic"])
    assert table["validation_f1"].tolist() == expected["f1"].tolist()
    assert (table["validation_positives"] == expected["test_positives"]).all()


def test_csr_masks_and_frames_give_the_same_table(data):
    X, Y = data
    common = {"transformer": MeanDifferenceSelector(3), "probes": ["knn", "xgboost"]}
    plain = evaluate_probes(X, Y, **SPLIT, **common)
    mask = np.arange(200) < 120
    masked = evaluate_probes(X, Y.astype(bool), train=mask, test=~mask, **common)
    assert_frame_equal(masked, plain)
    assert_frame_equal(
        evaluate_probes(sparse.csr_array(X), Y, **SPLIT, **common), plain
    )
    frames = pd.DataFrame(X).add_prefix("unit "), pd.DataFrame(Y).add_prefix("task ")
    assert_frame_equal(evaluate_probes(*frames, **SPLIT, **common), plain)


HOSTILE_NAMES = [["act[0]", "act[1]", "act[2]"], ["x<0", "x<1", "x<2"], list("aab")]


@pytest.mark.parametrize("names", HOSTILE_NAMES, ids=str)
def test_names_of_columns_that_xgboost_refuses(data, names):
    X, Y = data
    probes = {"ours": make_probe("xgboost"), "theirs": XGBClassifier(n_estimators=5)}
    common = {**SPLIT, "probes": probes}
    frame = pd.DataFrame(X[:, :3], columns=names)
    expected = evaluate_probes(X[:, :3], Y, **common)
    assert_frame_equal(evaluate_probes(frame, Y, **common), expected)
    keeps_names = MeanDifferenceSelector(3).set_output(transform="pandas")
    table = evaluate_probes(frame, Y, transformer=keeps_names, **common)
    assert_frame_equal(table, expected)


@pytest.mark.parametrize(
    "convert", [pl.DataFrame, torch.as_tensor], ids=["polars", "tensor"]
)
def test_frames_of_polars_and_tensors_give_the_same_table(data, convert):
    X, Y = data
    probes = {"ours": make_probe("xgboost"), "theirs": XGBClassifier(n_estimators=5)}
    common = {**SPLIT, "transformer": MeanDifferenceSelector(3), "probes": probes}
    table = evaluate_probes(convert(X), convert(Y), **common, task_names=list("abcdef"))
    expected = evaluate_probes(X, Y, **common, task_names=list("abcdef"))
    assert_frame_equal(table, expected)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_table_does_not_depend_on_the_workers(data, backend):
    X, Y = data
    # Few distinct rows: neighbours at equal distance must be told apart the same way.
    X = np.round(X)
    common = {**SPLIT, "transformer": MeanDifferenceSelector(2), "probes": ["knn"]}
    alone = evaluate_probes(X, Y, **common)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        assert_frame_equal(evaluate_probes(X, Y, **common), alone)


def test_big_arrays_reach_the_workers_read_only(data, orbits):
    X, Y = data
    wide = np.tile(X, (1, 300))
    frozen = FrozenEstimator(PCA(150).fit(wide[:, :2500]))
    common = {
        **SPLIT,
        "transformer": TruncatedReconstruction(frozen, 4),
        "probes": ["logistic"],
    }
    alone = evaluate_probes(wide[:, :2500], Y, **common)
    assert_frame_equal(evaluate_probes(wide[:, :2500], Y, **common, n_jobs=2), alone)


@pytest.mark.parametrize("output", ["equivariant", "invariant"])
@pytest.mark.parametrize("known", [False, True])
def test_encoding_once_changes_nothing(orbits, output, known):
    X, Y, groups, power, frozen = orbits

    class EncodesEveryTime(TruncatedReconstruction):
        """Not the class itself, so that latents are not shared between tasks."""

    common = {
        "train": groups < 80,
        "test": groups >= 80,
        "probes": ["logistic", "xgboost"],
        "power": power if known else None,
    }
    shared, apart = (
        evaluate_probes(X, Y, transformer=kind(frozen, 3, output=output), **common)
        for kind in (TruncatedReconstruction, EncodesEveryTime)
    )
    assert_frame_equal(shared, apart)


def test_known_power_is_handed_to_reconstruct(orbits):
    X, Y, groups, power, frozen = orbits
    train, test = groups < 80, groups >= 80
    truncated = TruncatedReconstruction(frozen, 8)
    common = {"transformer": truncated, "probes": ["xgboost"], "power": 3 - power}
    table = evaluate_probes(X, Y[:, :1], train=train, test=test, **common)
    truncated.fit(X[train], Y[train, 0])
    seen = truncated.reconstruct(X[train], power=3 - power[train])
    unseen = truncated.reconstruct(X[test], power=3 - power[test])
    probe = make_probe("xgboost").fit(seen, Y[train, 0])
    assert table["f1"].tolist() == [f1_score(Y[test, 0], probe.predict(unseen))]


@pytest.mark.parametrize("wrap", [lambda sae: sae, TruncatedReconstruction])
def test_known_power_needs_an_sae_that_knows_the_group(orbits, wrap):
    X, Y, groups, power, frozen = orbits
    call = {"train": groups < 80, "test": groups >= 80, "probes": ["knn"]}
    unfitted = clone(frozen.estimator).set_params(symmetry=1)
    with pytest.raises(ValueError, match=r"fitted for each task without groups"):
        evaluate_probes(X, Y, transformer=wrap(unfitted), power=power, **call)
    plain = FrozenEstimator(unfitted.fit(X))
    with pytest.raises(ValueError, match=r"(?s)values other than 0, .* one element"):
        evaluate_probes(X, Y, transformer=wrap(plain), power=power, **call)


def test_a_frozen_sae_alone_is_told_the_power(orbits):
    X, Y, groups, power, frozen = orbits
    call = {"train": groups < 80, "test": groups >= 80, "probes": ["knn"]}
    moved = frozen.reconstruct(X, power=power)
    assert_frame_equal(
        evaluate_probes(X, Y, transformer=frozen, power=power, **call),
        evaluate_probes(moved, Y, **call),
    )


def test_a_frame_of_integers_is_one_of_floats(data):
    X, Y = data
    frame = pd.DataFrame(np.round(3 * X).astype(int)).add_prefix("unit ")
    frozen = FrozenEstimator(PCA(4).fit(frame.astype(float)))
    call = {"transformer": TruncatedReconstruction(frozen, 2), "probes": ["knn"]}
    expected = evaluate_probes(frame.astype(float), Y, **SPLIT, **call)
    assert_frame_equal(evaluate_probes(frame, Y, **SPLIT, **call), expected)
    mixed = frame.astype({"unit 0": np.float32})
    assert_frame_equal(evaluate_probes(mixed, Y, **SPLIT, **call), expected)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_finished_tasks_are_not_computed_again(data, tmp_path, n_jobs):
    X, Y = data
    log = tmp_path / "log"
    common = {**SPLIT, "probes": {"p": LoggingProbe(str(log))}, "n_jobs": n_jobs}
    first = evaluate_probes(X, Y[:, :4], **common, memory=tmp_path / "store")
    assert n_fits(log) == 4
    more = evaluate_probes(X, Y, **common, memory=str(tmp_path / "store"))
    assert n_fits(log) == 6
    assert_frame_equal(more[:4], first)
    again = joblib.Memory(str(tmp_path / "store"), verbose=0)
    assert_frame_equal(evaluate_probes(X, Y, **common, memory=again), more)
    assert n_fits(log) == 6
    evaluate_probes(X, Y, **common)
    assert n_fits(log) == 12


def changed(array):
    array = array.copy()
    array.flat[0] += 1
    return array


@pytest.mark.parametrize(
    "other",
    [
        lambda c: c | {"X": changed(c["X"])},
        lambda c: c | {"train": TRAIN[1:]},
        lambda c: c | {"test": TEST[1:]},
        lambda c: c | {"Y": 1 - c["Y"]},
        lambda c: c | {"probes": {"p": clone(c["probes"]["p"]).set_params(pause=1e-9)}},
        lambda c: (
            c | {"transformer": clone(c["transformer"]).set_params(output="invariant")}
        ),
        lambda c: c | {"transformer": TruncatedReconstruction(other_sae(c), 3)},
        lambda c: c | {"power": 1 - c["power"] % 2},
    ],
    ids=["X", "train", "test", "Y", "probe", "output", "frozen state", "power"],
)
def test_other_data_or_settings_do_not_reuse_a_result(orbits, tmp_path, other):
    X, Y, _, power, frozen = orbits
    log = tmp_path / "log"
    call = {
        "X": X[:200],
        "Y": Y[:200, :1],
        "power": power[:200],
        "probes": {"p": LoggingProbe(str(log))},
        "transformer": TruncatedReconstruction(frozen, 3),
        **SPLIT,
    }
    for settings in (call, call, other(call)):
        evaluate_probes(**settings, memory=tmp_path / "store")
    assert n_fits(log) == 2


def other_sae(call):
    sae = call["transformer"].estimator.estimator
    twin = EquivariantSAE(**sae.get_params())
    twin.__dict__.update(sae.__dict__, components_=changed(sae.components_))
    return FrozenEstimator(twin)


def test_order_of_probes_in_the_table_is_that_of_the_call(data, tmp_path):
    X, Y = data
    for order in (["knn", "logistic"], ["logistic", "knn"]):
        table = evaluate_probes(X, Y, **SPLIT, probes=order, memory=tmp_path)
        assert table["probe"].tolist() == order * 6


def sweep(log, store, n_jobs):
    """Evaluate 30 tasks with a slow probe that logs its fits."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 30))
    Y = (X + rng.normal(size=(200, 30)) > 0).astype(int)
    return evaluate_probes(
        X,
        Y,
        **SPLIT,
        transformer=MeanDifferenceSelector(3),
        probes={"slow": LoggingProbe(str(log), pause=0.05)},
        memory=store,
        n_jobs=n_jobs,
    )


def start_in_another_process(log, store):
    code = (
        "from tests.probing.test_evaluate import sweep\n"
        f"sweep({str(log)!r}, {str(store)!r}, n_jobs=2)"
    )
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


def test_killed_run_goes_on_where_it_was(tmp_path):
    log, store = tmp_path / "log", tmp_path / "store"
    run = start_in_another_process(log, store)
    deadline = time.monotonic() + 120
    while n_fits(log) < 8:
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert n_fits(log) < 30

    resumed = sweep(log, store, n_jobs=1)
    # What the two workers were at when they were killed is all that is done twice.
    assert 30 <= n_fits(log) <= 32
    assert_frame_equal(resumed, sweep(tmp_path / "other log", None, n_jobs=2))


def test_progress_bar_counts_all_tasks(data, capsys):
    X, Y = data
    evaluate_probes(X, Y, **SPLIT, probes=["logistic"], verbose=1)
    assert "6/6" in capsys.readouterr().err
    evaluate_probes(X, Y, **SPLIT, probes=["logistic"])
    assert capsys.readouterr().err == ""


def bad(**change):
    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (bad(train=range(121)), "train and test share 1 rows, the first of them 120"),
        (bad(validation=[150]), "test and validation share 1 rows"),
        (bad(train=[]), r"train has to list rows .* shape \(0,\)"),
        (bad(test=[0.5]), "test has to list rows .* array of float64"),
        (bad(test=[True, False]), r"array of bool of shape \(2,\)"),
        (bad(test=[200]), "test names rows of X from 200 to 200, but .* from 0 to 199"),
        (bad(test=[-1]), "test names rows of X from -1"),
        (bad(Y=np.arange(200)), r"Y has shape \(200,\); give one row per row of X"),
        (bad(Y=np.ones((3, 1))), r"Y has shape \(3, 1\)"),
        (bad(Y=np.full((200, 1), 2)), "Y has values other than 0 and 1, such as"),
        (bad(Y=np.full((200, 1), np.nan)), "Y has missing values .* rows 0, 1"),
        (bad(Y=pd.DataFrame([0, 1, pd.NA, 1] * 50)), "Y has missing .* rows 2, 6"),
        (bad(Y=np.ma.masked_equal(np.eye(200)[:, :1], 1)), "Y has missing .* rows 0"),
        (bad(train=np.ma.masked_equal(TRAIN, 7)), "train has missing values .* rows 7"),
        (bad(task_names=["a"]), "task_names has 1 entries for 6 columns"),
        (bad(task_kinds=["a"]), "task_kinds has 1 entries for 6 columns"),
        (bad(power=np.zeros(200)), "transformer=None has no reconstruct"),
        (
            bad(
                power=np.zeros(200),
                transformer=TruncatedReconstruction(PCA(2), 1),
            ),
            "takes none: it rebuilds every row",
        ),
        (bad(probes="knn"), r"one string; give a list, \['knn'\]"),
        (bad(probes=["svm"]), "'svm' is not a probe"),
        (bad(X=np.full((200, 2), np.nan)), "Input X contains NaN"),
        (bad(transformer=MeanDifferenceSelector(11)), "n_features_to_select=11"),
        (
            bad(transformer=TruncatedReconstruction(PCA(2), 1, output="moved")),
            "'output' parameter",
        ),
        (
            bad(
                transformer=TruncatedReconstruction(
                    FrozenEstimator(PCA(2).fit(np.eye(10))), 1, output="moved"
                )
            ),
            "'output' parameter",
        ),
    ],
)
def test_bad_input_is_an_error_that_says_what_to_do(data, change, message):
    X, Y = data
    with pytest.raises(ValueError, match=message):
        evaluate_probes(**({"X": X, "Y": Y, **SPLIT} | change))


@pytest.mark.parametrize("side", ["train", "test"])
def test_task_with_one_class_is_an_error_that_names_it(data, side):
    X, Y = data
    Y = Y.copy()
    Y[SPLIT[side], 1] = 1
    Y[SPLIT[side], 4] = 0
    message = f"one class only in the {side} rows of 2 .*: 'task 1', 'task 4'; leave"
    with pytest.raises(ValueError, match=message):
        evaluate_probes(X, Y, **SPLIT)


def short_probe(max_iter):
    return make_probe("logistic").set_params(logistic__max_iter=max_iter)


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
def test_probes_that_do_not_converge_warn_once(data, backend):
    X, Y = data
    probes = {
        "short": short_probe(2),
        "long": short_probe(1_000),
        "ridge": RidgeClassifier(),
    }
    with (
        joblib.parallel_config(backend, n_jobs=2),
        warnings.catch_warnings(record=True),
    ):
        warnings.simplefilter("always")
        with pytest.warns(ConvergenceWarning) as caught:
            evaluate_probes(X, Y, **SPLIT, probes=probes)
    (warning,) = caught
    assert "'short' has not converged in 6 of 6 tasks, the first" in str(
        warning.message
    )
    assert warning.filename == __file__


def test_a_result_from_the_store_still_warns(data, tmp_path):
    X, Y = data
    call = {**SPLIT, "probes": {"short": short_probe(2)}, "memory": tmp_path}
    for _ in range(2):
        with pytest.warns(ConvergenceWarning, match="'short' has not converged"):
            evaluate_probes(X, Y, **call)


def test_the_papers_probes_converge_without_a_warning(data):
    X, Y = data
    evaluate_probes(X, Y[:, :2], **SPLIT)


@pytest.mark.parametrize(
    "probe", [SVC(), HistGradientBoostingClassifier(max_iter=3)], ids=repr
)
def test_a_probe_without_a_limit_that_it_can_miss_gives_no_warning(data, probe):
    """Warnings are errors here."""
    X, Y = data
    evaluate_probes(X, Y[:, :1], probes={"probe": probe}, **SPLIT)


class WarningTransformer(BaseEstimator):
    """Transformer outside scikit-learn that has not converged."""

    def fit(self, X, y):
        warnings.warn("not there yet", ConvergenceWarning, stacklevel=1)
        return self

    def transform(self, X):
        return X


def test_warnings_of_a_transformer_are_let_through(data):
    X, Y = data
    call = {"transformer": WarningTransformer(), "probes": ["knn"]}
    with pytest.warns(ConvergenceWarning, match="not there yet"):
        evaluate_probes(X, Y, **SPLIT, **call)


def test_progress_needs_no_terminal(data, monkeypatch):
    """Programs without a window, and services, have no stderr."""
    monkeypatch.setattr(sys, "stderr", None)
    table = evaluate_probes(*data, **SPLIT, probes=["knn"], verbose=1)
    assert len(table) == 6


def test_a_missing_power_is_an_error(orbits):
    X, Y, _, power, frozen = orbits
    power = np.where(np.arange(len(X)) == 5, np.nan, power)
    with pytest.raises(ValueError, match=r"power has missing values .* rows 5"):
        evaluate_probes(
            X,
            Y,
            **SPLIT,
            transformer=TruncatedReconstruction(frozen, 4),
            power=power,
        )
