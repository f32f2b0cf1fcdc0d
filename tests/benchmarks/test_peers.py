import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import _adaptors, _run, _speed
from benchmarks.peers._adaptors._fitted import Batches, Fitted
from benchmarks.peers._data import PROBLEMS, Problem, _digits, _transformer, load
from benchmarks.peers._data._superposition import superposition
from benchmarks.peers._metrics import fvu, live_latents, quality, recovery
from benchmarks.peers._report import lead, summarise, write_report

WITHOUT_PACKAGE = ["ours", "dense", "scikit-learn"]
OPTIONAL = [m for m in _adaptors.METHODS if m not in WITHOUT_PACKAGE]


def cells(methods=WITHOUT_PACKAGE):
    return [_run.Cell(m, "tiny", seed, 128, 2, 32) for m in methods for seed in (0, 1)]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(PROBLEMS, "tiny", Problem(superposition, 32, 4))
    monkeypatch.setitem(_run.LIMITS, "scikit-learn", (32, 1))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("peers")


@pytest.fixture
def results(out):
    return _run.run(cells(), out, n_jobs=1)


def test_every_cell_has_a_row_with_sound_scores(results):
    assert len(results) == len(cells())
    assert results.fvu.between(0, 2).all()
    assert (results.l0 <= 4).all()
    scores = results[["dead", "mmcs", "recall", "precision"]]
    assert ((scores >= 0) & (scores <= 1)).all(axis=None)


def test_slow_method_gets_fewer_rows_and_the_others_get_the_same(results):
    seen = results.groupby("method").rows_seen.unique().map(list).to_dict()
    assert seen == {"ours": [256], "dense": [256], "scikit-learn": [32]}


def test_stored_cells_are_not_computed_again(results, out, monkeypatch):
    monkeypatch.setattr(_run, "_compute", lambda *_: pytest.fail("computed again"))
    again = _run.run(cells(), out, n_jobs=1)
    pd.testing.assert_frame_equal(again, results)  # "seconds", too


def test_other_settings_are_other_cells(results, out):
    cell = _run.Cell("ours", "tiny", 0, 128, 3, 32)
    assert _run.run([cell], out, n_jobs=1).rows_seen.item() == 384
    assert _run.run(cells(), out, n_jobs=1).rows_seen.max() == 256


def test_report_has_every_method_and_a_plot(results, out):
    report = write_report(results, out)
    assert all(method in report for method in WITHOUT_PACKAGE)
    assert {"summary.csv", "lead.csv", "report.md", "peers.png"} <= {
        path.name for path in out.iterdir()
    }


def test_lead_is_paired_by_seed_and_against_the_best_peer():
    table = pd.DataFrame(
        {
            "method": ["ours"] * 2 + ["sparsify"] * 2 + ["sae-lens"] * 2,
            "data": "tiny",
            "seed": [0, 1] * 3,
            "fvu": [0.1, 0.3, 0.2, 0.4, 0.5, 0.9],
            "dead": [0.0, 0.1, 0.5, 0.5, 0.0, 0.0],
        }
    )
    (row,) = lead(table).to_dict("records")
    assert row["best_peer"] == "sparsify"
    np.testing.assert_allclose(row["fvu_difference"], -0.1)
    np.testing.assert_allclose(row["fvu_difference_se"], 0, atol=1e-12)
    np.testing.assert_allclose(row["dead_difference"], -0.45)
    np.testing.assert_allclose(row["dead_difference_se"], 0.05)


def test_summary_has_the_standard_error_over_seeds(results):
    summary = summarise(results).set_index("method")
    of_ours = results.query("method == 'ours'").fvu
    np.testing.assert_allclose(summary.loc["ours", "fvu"], of_ours.mean())
    expected = of_ours.std(ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(summary.loc["ours", "fvu_se"], expected)


def test_predicting_the_mean_has_fvu_1():
    X = np.random.default_rng(0).normal(3, 1, size=(50, 4)).astype(np.float32)
    assert fvu(X, X) == 0
    np.testing.assert_allclose(fvu(X, np.tile(X.mean(axis=0), (50, 1))), 1, rtol=1e-6)


def test_permuted_and_scaled_true_directions_are_recovered():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(20, 30))
    found = 5 * rng.permutation(directions)
    np.testing.assert_allclose(list(recovery(found, directions).values()), 1)


def test_recall_and_precision_count_what_they_say():
    directions = np.eye(8)
    half_found_and_noise = np.vstack([np.eye(8)[:4], np.ones((12, 8))])
    scores = recovery(half_found_and_noise, directions)
    assert (scores["recall"], scores["precision"]) == (0.5, 0.25)
    np.testing.assert_allclose(scores["mmcs"], (4 + 4 / np.sqrt(8)) / 8)


def test_opposite_direction_is_not_a_find():
    assert recovery(-np.eye(3), np.eye(3))["recall"] == 0


def test_dead_latents_count_for_nothing():
    X = np.abs(np.random.default_rng(0).normal(size=(10, 4))).astype(np.float32)
    dictionary = np.vstack([np.eye(4), np.eye(4)])

    def encode(rows):
        return np.hstack([rows, np.zeros_like(rows)])

    fitted = Fitted(encode, lambda latents: latents @ dictionary, dictionary)
    np.testing.assert_array_equal(live_latents(fitted, X), [True] * 4 + [False] * 4)
    scores = quality(fitted, X, X, np.eye(4))
    assert scores["dead"] == 0.5
    assert scores["l0"] == 4
    np.testing.assert_allclose(scores["fvu"], 0, atol=1e-12)
    nothing = Fitted(np.zeros_like, np.zeros_like, np.eye(4))
    assert quality(nothing, X, X, np.eye(4))["mmcs"] == 0


def test_superposition_is_a_sum_of_ten_directions():
    train, test, directions = superposition(6, 3, seed=0)
    assert (train.shape, test.shape) == ((6, 256), (3, 256))
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    other, _, other_directions = superposition(6, 3, seed=1)
    assert not np.allclose(train, other)
    assert not np.allclose(directions, other_directions)


@pytest.mark.parametrize("name", ["mlp-shapes", "digits-conv", "transformer"])
def test_activations_have_the_rows_asked_for(name, tmp_path, monkeypatch):
    monkeypatch.setattr(_digits, "_train", partial(_digits._train, epochs=1))
    monkeypatch.setattr(_transformer, "_train", partial(_transformer._train, steps=2))
    train, test, directions = load(name, 0, n_train=64, n_test=16, folder=tmp_path)
    assert (len(train), len(test), directions) == (64, 16, None)
    assert train.dtype == test.dtype == np.float32
    assert not (test[:, None] == train).all(axis=2).any()


def test_stored_data_are_read_again(tmp_path, monkeypatch):
    first = load("tiny", 0, n_train=8, n_test=4, folder=tmp_path)
    monkeypatch.setitem(PROBLEMS, "tiny", Problem(pytest.fail, 32, 4))
    second = load("tiny", 0, n_train=8, n_test=4, folder=tmp_path)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_hold_every_row_once_an_epoch_in_a_new_order():
    batches = Batches(np.arange(10, dtype=np.float32)[:, None], 4, seed=0)
    first, second = ([b.ravel().tolist() for b in batches] for _ in range(2))
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert len(batches) == 3
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second))
    assert set(np.concatenate(first)) == set(range(10))
    assert first != second


@pytest.mark.parametrize("method", OPTIONAL)
@pytest.mark.filterwarnings("ignore")  # theirs to mend
def test_peer_trains_on_an_array(method):
    if not _adaptors.is_installed(method):
        pytest.skip(f"{method} is not installed")
    rng = np.random.default_rng(0)
    strengths = rng.uniform(size=(640, 32)) * (rng.uniform(size=(640, 32)) < 0.1)
    X = np.float32(strengths @ rng.normal(size=(32, 16)))
    train, test = X[:512], X[512:]
    settings = {"n_components": 64, "k": 4, "batch_size": 32, "seed": 0}
    fit = _adaptors.load(method)
    fitted = fit(train, **settings, epochs=20)
    latents = fitted.encode(test)
    assert latents.shape == (128, 64)
    assert (latents >= 0).all()
    assert ((latents > 0).sum(axis=1) <= 4).all()
    assert fitted.decode(latents).shape == test.shape
    assert fitted.dictionary.shape == (64, 16)
    barely = fit(train, **settings, epochs=1)
    assert quality(fitted, train, test)["fvu"] < quality(barely, train, test)["fvu"]


def test_command_line(tmp_path, monkeypatch, capsys):
    arguments = ["--methods", "ours", "dense", "--data", "tiny", "--seeds", "1"]
    arguments += ["--first-seed", "7", "--rows", "64", "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["", *arguments, "--out", str(tmp_path)])
    command.main()
    assert "seeds [7]" in capsys.readouterr().out


def test_fits_are_timed_and_those_of_other_threads_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(_speed, "_SIZES", [(16, 2, 64)])
    monkeypatch.setattr(_speed, "_SLOW_SIZE", (16, 2, 64))
    asked = ["", "--methods", "ours", "dense", "--rounds", "1", "--out", str(tmp_path)]
    for threads in ("1", "2", "1"):
        timed = [*asked, "--time", "speed", "--threads", threads]
        monkeypatch.setattr(sys, "argv", timed)
        command.main()
    table = pd.read_csv(tmp_path / "speed.csv")
    assert table.threads.tolist() == [2, 2, 2, 1, 1, 1]
    assert table.method[:3].tolist() == ["ours", "dense", _speed.PLAIN]
    assert (table.rows_per_s > 0).all()


def test_a_method_is_timed_up_to_an_fvu_or_has_no_time(monkeypatch):
    monkeypatch.setattr(_speed, "_REACHED_IN", ["tiny"])
    monkeypatch.setattr(_speed, "_TARGET_EPOCHS", 2)
    monkeypatch.setattr(_speed, "_MAX_EPOCHS", 4)
    monkeypatch.setattr(_speed, "_N_ROWS", 128)
    worst = {"fvu": np.inf}
    trained = _speed.quality
    monkeypatch.setattr(
        _speed,
        "quality",
        lambda fitted, *rest: worst if fitted == "poor" else trained(fitted, *rest),
    )
    load = _adaptors.load
    monkeypatch.setattr(
        _adaptors, "load", lambda m: (lambda *_, **__: m) if m == "poor" else load(m)
    )
    table = _speed.reach(["dense", "poor"], 1, 1).set_index("method")
    assert table.loc["dense", "epochs"] <= 2
    assert table.loc["dense", "seconds"] > 0
    assert table.loc["poor"].isna()[["epochs", "seconds"]].all()
