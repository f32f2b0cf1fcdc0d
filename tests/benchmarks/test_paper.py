import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from benchmarks.paper import _figures, _models, _probing, _report
from benchmarks.paper.__main__ import main
from benchmarks.paper._autoencoders import share_within_orbits
from benchmarks.paper._profiles import PROFILES
from benchmarks.paper._report import (
    architectures,
    best_probe,
    claims_html,
    probe_means,
    with_dead,
    write_report,
)
from benchmarks.paper._run import TABLES, Run
from benchmarks.paper._store import Store

from .paper_run import MODEL, TINY

# two epochs of gradient descent do not find M
pytestmark = pytest.mark.filterwarnings("ignore:M is not to be trusted")

ROOT = Path(__file__).parents[2]
MORE = ("invariant reconstruction", "reconstruction, true power")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def tables(folder):
    return Run(TINY, folder, n_jobs=1).compute()


def untimed(tables):
    """Tables without the times, which no two runs share."""
    return {
        name: table.drop(columns="fit_seconds", errors="ignore")
        for name, table in tables.items()
    }


def test_every_autoencoder_has_its_rows(tables):
    kinds = {
        ("regular", "plain"),
        ("equivariant", "invariant"),
        ("equivariant", "true power"),
        ("equivariant", "inferred power"),
        ("group-tied", "plain"),
    }
    assert (
        set(tables["sae"][["sae", "reconstruction"]].itertuples(index=False)) == kinds
    )
    assert set(tables["transform"].solver) == {
        "exact law",
        "least squares",
        "adam",
        "identity",
    }
    assert set(tables["probes"].features) == {
        "activations",
        "latents",
        "reconstruction",
        *MORE,
    }
    assert set(tables["probes"].query("sae == 'regular'").truncation) == {2, 4}
    more = tables["probes"].query("features in @MORE")
    assert set(more.sae) == {"equivariant"}
    assert set(more.probe) == {"xgboost"}


def test_finished_parts_are_not_computed_again(tables, folder):
    assert not Run(TINY, folder, n_jobs=1).missing
    again = Run(TINY, folder, n_jobs=1).compute()
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table)  # fit_seconds, too


def test_results_of_other_settings_are_not_taken(tables, folder):
    other = replace(TINY, adam_epochs=2)
    with pytest.raises(ValueError, match=r"results of other settings.*--fresh"):
        Run(other, folder, n_jobs=1)
    fewer = replace(TINY, cells=TINY.cells[1:2])  # the list of results is no setting
    assert not Run(fewer, folder, n_jobs=1).missing


def test_a_finished_part_is_not_taken_for_one_with_other_probes(tables, folder):
    regular, first, tied = TINY.cells
    probed_else = replace(first, truncations=(8,))
    with pytest.raises(ValueError, match=rf"{first.name} holds .* Delete this folder"):
        Run(replace(TINY, cells=(regular, probed_else, tied)), folder, n_jobs=1)
    more_probes = replace(first, k=2, probes=("knn", "logistic", "xgboost"))
    with pytest.raises(ValueError, match=rf"{MODEL.name} holds .* Delete this folder"):
        Run(replace(TINY, cells=(*TINY.cells, more_probes)), folder, n_jobs=1)
    unfinished = replace(probed_else, k=2)
    run = Run(replace(TINY, cells=(unfinished,)), folder, n_jobs=1)
    assert run.missing == [unfinished]


def test_a_bar_counts_the_parts_and_each_leaves_a_line(tmp_path, capsys):
    run = Run(TINY, tmp_path, n_jobs=1, only="*-s0")
    run.compute()
    shown = capsys.readouterr()
    assert re.search(r"parts: 100%.* 1/1 \[\d+:\d+<00:00", shown.err)  # time left
    line = r"mlp-upright-s0: R2 -?\d\.\d{4}, Adam -?\d\.\d{4}, \d+ s\n"
    assert re.fullmatch(line, shown.out)
    log = (tmp_path / "run.log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d " + line, log)
    Run(TINY, tmp_path, n_jobs=1, only="*-s0").compute()
    assert (tmp_path / "run.log").read_text() == log


@pytest.mark.parametrize("part", ["mlp-upright-s0", TINY.cells[0].name])
def test_networks_are_trained_on_the_device_that_is_named(tmp_path, part):
    if part != "mlp-upright-s0":  # the base model is there already
        Run(TINY, tmp_path, n_jobs=1, only="*-s0").compute()
    run = Run(TINY, tmp_path, n_jobs=1, only=part, device="nowhere")
    with pytest.raises((RuntimeError, ValueError), match="nowhere"):
        run.compute()


def test_only_names_the_parts_to_compute(tmp_path):
    run = Run(TINY, tmp_path, n_jobs=1, only="*-group-tied")
    tables = run.compute()
    assert set(tables["sae"].sae) == {"group-tied"}
    assert [part.name for part in run.parts if part.name not in run.store] == [
        "mlp-upright-s0",
        "mlp-upright-s0-default-k4-regular",
        "mlp-upright-s0-default-k4-equivariant",
    ]


def test_there_is_no_report_without_a_base_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PROFILES, "smoke", TINY)
    command = ["", "--profile", "smoke", "--out", str(tmp_path), "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", [*command, "--only", "*-group-tied"])
    main()
    assert "No report without a base model, such as mlp-upright-s0" in (
        capsys.readouterr().out
    )
    assert [path.name for path in tmp_path.glob("parts/mlp*")] == [TINY.cells[2].name]


def test_a_run_killed_while_it_probes_goes_on_and_gives_the_same_tables(
    tables, tmp_path
):
    sign = "cache/**/_evaluate_task/*/output.pkl"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.benchmarks.paper_run", str(tmp_path)]
    with subprocess.Popen(
        [*command, "2"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    ) as run:
        wait_for(lambda: any(tmp_path.glob(sign)), run)
        run.send_signal(signal.SIGKILL)
    finished = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "parts").glob("[!.]*/*")
    }
    again = Run(TINY, tmp_path, n_jobs=1)
    assert again.missing
    for name, table in untimed(again.compute()).items():
        pd.testing.assert_frame_equal(table, untimed(tables)[name])
    assert all(path.stat().st_mtime_ns == when for path, when in finished.items())


def test_what_a_kill_left_behind_goes_but_not_what_another_run_is_writing(tmp_path):
    store = Store(tmp_path, {})
    left, written = tmp_path / ".part.a", tmp_path / ".part.b"
    for path in (left, written):
        path.mkdir()
    os.utime(left, (time.time() - 2 * 3600,) * 2)
    store.sweep()
    assert not left.exists()
    assert written.exists()


def test_of_two_runs_that_finish_a_part_the_first_is_kept(tmp_path):
    store = Store(tmp_path, {})
    for f1 in (1, 0):
        store.write("part", {"sae": pd.DataFrame({"f1": [f1]})}, {})
    assert store.read("sae", ["part"]).f1.tolist() == [1]
    assert {path.name for path in tmp_path.iterdir()} == {"part", "settings.json"}


def wait_for(happened, process):
    end = time.monotonic() + 120
    while not happened():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


def test_report_links_every_figure_and_stores_every_table(tables, folder):
    run = Run(TINY, folder, n_jobs=1)
    summary = write_report("tiny", run, tables, folder)
    page = (folder / "index.html").read_text()
    figures = {path.name for path in folder.glob("*.png")}
    assert {
        "samples.png",
        "shapes.png",
        "r2_per_power.png",
        "frontier_default.png",
        "symmetry_default.png",
        "training_upright_default.png",
        "probing_mlp_upright_default_4.png",
    } <= figures
    assert all(f'src="{name}"' in page for name in figures)
    assert "parts/mlp-upright-s0-default-k4-equivariant/features.png" in page
    assert "4 of 4 parts" in page
    for name in (*TABLES, "claims"):
        assert len(pd.read_csv(folder / f"{name}.csv"))
    assert "dead" in summary
    assert not re.search(r"\b0\.0000\b", summary)


def test_a_run_that_tests_the_machinery_judges_no_claim(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(_report, "_figure", lambda figure, folder, name: "")
    run = Run(TINY, tmp_path, n_jobs=1)
    summary = write_report("smoke", run, tables, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert summary.startswith("This is a test of the machinery, not a result")
    assert "This is a test of the machinery" in page
    assert "claims" not in re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)
    assert not (tmp_path / "claims.csv").exists()


def test_claims_are_said_in_a_word_and_their_figures_unfold():
    claim = {"claim": "M <explains>", "paper": "98 %", "ours, paper recipe": "R2 .9"}
    claim |= {"ours, default recipe": "R2 .8", "paper recipe": "holds"}
    verdicts = {
        "holds": "holds",
        "holds only for S": "in part",
        "mlp: holds; cnn: does not hold": "in part",
        "does not hold; behind everywhere": "does not hold",
        "not measured": "not measured",
    }
    for verdict, words in verdicts.items():
        page = claims_html(pd.DataFrame([claim | {"default recipe": verdict}]))
        found = re.findall(r'<span class="word">(.*?)</span>', page)
        assert found == [words, "holds"]
    assert "M &lt;explains&gt;" in page
    assert "98 %" in page[page.index("<details>") :]


def drawn(axis, label):
    """Y values of the lines that have a label."""
    lines = [line for line in axis.get_lines() if line.get_label() == label]
    return np.concatenate([line.get_ydata() for line in lines])


def test_dots_are_of_the_first_seed_and_dashes_of_the_second(tables):
    probes = tables["probes"].query("probe == 'knn' and truncation in (0, 4)")
    other = probes.assign(seed=1, f1=probes.f1 / 2)
    figure = _figures.probing(pd.concat([probes, other]), "both")
    axis = figure.axes[0]
    of_activations = probes[probes.sae == "none"].groupby("kind").f1.mean()
    expected = of_activations.reindex(_figures.KINDS).to_numpy()
    dots = axis.containers[0].lines[0].get_xdata(orig=False)
    np.testing.assert_allclose(np.asarray(dots, float), (1 - expected).clip(1e-4))
    dashes = next(ln for ln in axis.get_lines() if ln.get_label() == "seed 1")
    np.testing.assert_allclose(dashes.get_xdata(orig=False), 1 - expected / 2)


def test_the_frontier_has_one_axis_for_all_reconstructions(tables):
    [axis] = _figures.frontier(tables["sae"], tables["base"]).axes
    labels = {line.get_label() for line in axis.get_lines()}
    shown = {"regular", "group-tied", "equivariant, inferred power"}
    assert {*shown, "equivariant, not moved"} < labels
    l1 = tables["sae"].query("sae == 'equivariant'").l1.iloc[0]
    np.testing.assert_allclose(drawn(axis, "equivariant, not moved"), l1)


def test_training_has_a_panel_for_each_k(tables):
    curves = tables["curves"]
    more = curves.assign(k=8, train_fvu=2 * curves.train_fvu)
    figure = _figures.training(pd.concat([curves, more]))
    four, eight = figure.axes
    regular = curves[curves.sae == "regular"]
    np.testing.assert_allclose(drawn(four, "regular"), regular.train_fvu)
    np.testing.assert_allclose(drawn(eight, "regular"), 2 * regular.train_fvu)
    assert (four.get_title(), four.get_ylabel()) == ("mlp, k = 4", "training FVU")


def test_training_shows_losses_where_an_fvu_is_missing(tables):
    curves = tables["curves"]
    known = curves.train_fvu.where(curves.sae != "regular")
    more = curves.assign(k=8)  # of which all is known
    figure = _figures.training(pd.concat([curves.assign(train_fvu=known), more]))
    four, eight = figure.axes
    equivariant = curves[curves.sae == "equivariant"]
    np.testing.assert_allclose(drawn(four, "equivariant"), equivariant.train_loss)
    np.testing.assert_allclose(drawn(eight, "equivariant"), equivariant.train_fvu)
    assert (equivariant.train_loss > equivariant.train_fvu).all()
    labels = [four.get_ylabel(), eight.get_ylabel()]
    assert labels == ["loss / variance", "training FVU"]


def test_fvu_of_training_is_what_the_autoencoder_reaches(tables):
    last = tables["curves"].groupby("sae").train_fvu.last()
    assert last.between(0.1, 2).all()  # one epoch


def test_train_and_test_share_no_base_image():
    _, train, test, _ = _models.base_model(MODEL, 100, 1, 0.2, "cpu")
    shapes = _models.images_of(100, MODEL)
    train_ids, test_ids = (shapes.base_id[part.groups] for part in (train, test))
    assert not set(train_ids) & set(test_ids)
    data = _probing.probe_data(TINY, train, test, shapes)
    ids = [
        {X.tobytes() for X in data["X"][data[side]]}
        for side in ("train", "validation", "test")
    ]
    assert not ids[0] & ids[1]
    assert not (ids[0] | ids[1]) & ids[2]


def test_best_probe_is_chosen_on_validation_rows_that_all_have():
    probes = pd.DataFrame(
        [
            ("cnn", "a", "knn", 0.9, 0.1),
            ("cnn", "a", "xgboost", 0.1, 0.5),
            ("cnn", "b", "knn", 0.9, 0.9),  # without xgboost: not compared
        ],
        columns=["base", "sae", "probe", "f1", "validation_f1"],
    ).assign(orientation="upright", seed=0, recipe="default", k=8)
    probes = probes.assign(features="latents", truncation=8)
    assert best_probe(probes) == "xgboost"


def test_mean_f1_has_a_column_for_each_kind(tables):
    means = probe_means(tables["probes"])
    row = means.query("sae == 'none' and probe == 'knn'").iloc[0]
    scores = tables["probes"].query("sae == 'none' and probe == 'knn'")
    assert row["SP"] == scores[scores.kind == "SP"].f1.mean()


def test_scores_stand_beside_the_share_of_dead_latents(tables):
    means = probe_means(tables["probes"])
    table = with_dead(means, tables["sae"])
    pd.testing.assert_frame_equal(table.drop(columns="dead"), means)
    assert table.dead.isna().eq(table.sae == "none").all()
    dead = tables["sae"].groupby("sae").dead.first()
    shown = table[table.sae != "none"]
    assert (shown.dead == shown.sae.map(dead)).all()


def test_table_1_lists_the_layers_of_encoder_and_decoder():
    counts = architectures().groupby("part", sort=False).count()
    expected = {"encoder": {"mlp": 4, "cnn": 6}, "decoder": {"mlp": 5, "cnn": 7}}
    assert counts.to_dict("index") == expected


def test_full_profile_covers_the_papers_grid():
    cells = PROFILES["full"].cells
    grid = {
        (cell.model.base, cell.sae, cell.k)
        for cell in cells
        if cell.model[1:] == ("upright", 0)
        and cell.recipe == "default"
        and cell.truncations == (8, 32)
        and len(cell.probes) == 3
    }
    saes = ("regular", "wide", "two-layer", "equivariant", "group-tied")
    assert grid == {
        (base, sae, k) for base in ("mlp", "cnn") for sae in saes for k in (8, 16, 32)
    }
    plain = {
        (c.model.base, c.sae, c.k)
        for c in cells
        if c.recipe == "paper" and c.model.orientation == "upright"
    }
    assert grid - plain == {
        (base, sae, 16)
        for base in ("mlp", "cnn")
        for sae in ("two-layer", "group-tied")
    }
    random = {(c.recipe, c.sae) for c in cells if c.model.orientation == "random"}
    assert random == {("default", sae) for sae in saes if sae != "wide"}
    assert len({cell.name for cell in cells}) == len(cells)


def test_codes_inside_orbits_are_none_of_invariant_ones_and_all_of_others():
    groups = np.repeat(np.arange(50), 4)
    invariant = np.abs(np.random.default_rng(0).normal(size=(50, 6)))[groups]
    pose = np.tile(np.eye(4), (50, 1))
    shuffled = np.random.default_rng(1).permutation(200)
    for Z, share in ((invariant, 0), (pose, 1)):
        found = share_within_orbits(csr_array(Z[shuffled]), groups[shuffled])
        assert found == pytest.approx(share, abs=1e-9)
    both = np.hstack([invariant, pose])
    variances = [part.var(axis=0).sum() for part in (pose, both)]
    found = share_within_orbits(csr_array(both), groups)
    assert found == pytest.approx(variances[0] / variances[1])


def test_a_run_that_tests_the_machinery_says_so_first(tmp_path, monkeypatch, capsys):
    def compute(run):
        assert capsys.readouterr().out.startswith(_report.SMOKE)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "compute", compute)
    command = ["", "--profile", "smoke", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(KeyboardInterrupt):
        main()
