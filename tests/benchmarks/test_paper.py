from dataclasses import replace

import pandas as pd
import pytest

from benchmarks.paper import _stages
from benchmarks.paper._profiles import PROFILES, Cell
from benchmarks.paper._report import write_report
from benchmarks.paper._run import Run

TINY = replace(
    PROFILES["smoke"],
    n_images=100,  # fewer would not determine M
    base_epochs={"mlp": 1},
    adam_epochs=1,
    n_components=32,
    sae_epochs={"default": 1},
    probe_rows=(160, 40),
    cells=(
        Cell("mlp", "upright", "regular", 4, probed=True),
        Cell("mlp", "upright", "equivariant", 4, probed=True),
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def tables(folder):
    return Run(TINY, folder, n_jobs=1).compute()


def test_every_autoencoder_has_its_rows(tables):
    kinds = {
        ("regular", "plain"),
        ("equivariant", "invariant"),
        ("equivariant", "true power"),
        ("equivariant", "inferred power"),
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
        "invariant reconstruction",
        "reconstruction, true power",
    }


def test_finished_parts_are_not_computed_again(tables, folder):
    again = Run(TINY, folder, n_jobs=1).compute()
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table)  # fit_seconds, too


def test_report_links_every_figure_and_stores_every_table(tables, folder):
    summary = write_report("tiny", TINY, tables, folder, 60)
    page = (folder / "index.html").read_text()
    figures = {path.name for path in folder.glob("*.png")}
    assert {"samples.png", "r2_per_power.png", "frontier.png"} < figures
    assert all(f'src="{name}"' in page for name in figures)
    for name, table in tables.items():
        assert len(pd.read_csv(folder / f"{name}.csv")) == len(table)
    assert "dead" in summary


def test_train_and_test_share_no_base_image():
    _, train, test = _stages.base_model(TINY, "mlp", "upright")
    ids = _stages.images_of(TINY, "upright").base_id
    assert not set(ids[train.groups]) & set(ids[test.groups])
