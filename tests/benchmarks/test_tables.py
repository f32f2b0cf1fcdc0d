"""Tables of the pages are those of the results that are committed beside them."""

import re

import numpy as np
import pandas as pd
import pytest

from benchmarks import tables
from benchmarks._markdown import markdown, significant, written
from benchmarks.paper._profiles import PROFILES
from benchmarks.tables import _paper

PAGES = [page for page in tables.pages() if "<!-- table:" in page.read_text("utf-8")]

# what is no result of ours: settings, versions, limits, and what the paper says
SAID = {
    "README.md": "3.11",
    "benchmarks.md": "0.987",
    "big_data.md": "64",
    "design.md": "5 100",
    "explore_details.md": "0.55",
    "getting_started.md": "3.11",
    "index.md": "3.11",
    "orbits_full.md": "0.2 0.01 0.95",
    "orbits_measured.md": "99",
    "paper.md": "98",
    "paper_claims.md": "0.01 0.99",
    "paper_results.md": "0.987",
    "paper_tables.md": "0.95",
    "real.md": "5",
    "real_others.md": "0.84",
    "real_tables.md": "0.5 2 99",
    "recipe.md": "30 0.3",
    "reliability_details.md": "8 100 3.11 90",
    "recipe_peers.md": "0.9",
}


@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: page.name)
def test_figures_in_running_text_come_from_results(page):
    found = tables.unmarked(page.read_text(encoding="utf-8"))
    assert found == SAID.get(page.name, "").split()


def test_figures_are_found_where_no_result_stands_behind_them():
    assert tables.unmarked("R2 is 0.98 and 12 % are dead, in 1,200 s.") == [
        *("0.98", "12", "1,200")
    ]
    table = "<!-- table: a.b -->\n| 0.5 |\n<!-- end of table -->"
    number = "<!-- number: a.csv; all; b.max; r2 -->0.98<!-- /number -->"
    assert tables.unmarked(f"{table} `lr=2e-3` $0.5$ {number} ![0.1](a-0.2.png)") == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_of_the_pages_are_those_of_the_results(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- table:") == text.count("<!-- end of table -->")
    assert tables.renewed(text) == text, "run python -m benchmarks.tables"


def test_a_table_that_is_out_of_date_is_renewed():
    assert len(PAGES) > 3
    now = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert "1.03" in now
    assert tables.renewed(now.replace("1.03", "0.03")) != now.replace("1.03", "0.03")


def test_a_table_that_is_not_there_yet_is_put_in():
    page = "<!-- table: speed.tied -->\n\n<!-- end of table -->\n\nText.\n"
    assert "| latents | batch |" in tables.renewed(page)
    assert tables.renewed(page).endswith("\n\n<!-- end of table -->\n\nText.\n")


@pytest.mark.parametrize("name", ["base", "transform", "sae", "curves", "symmetry"])
def test_results_of_the_full_run_are_those_of_its_parts(name):
    folder = tables.pages()[0].parent / "benchmarks" / "paper" / "results" / "full"
    profile = PROFILES["full"]
    paths = [
        folder / "parts" / part.name / f"{name}.csv"
        for part in (*profile.models, *profile.cells)
    ]
    parts = pd.concat([pd.read_csv(p) for p in paths if p.exists()], ignore_index=True)
    stored = pd.read_csv(folder / f"{name}.csv")
    pd.testing.assert_frame_equal(stored, parts, rtol=1e-5, check_dtype=False)


def test_finished_parts_of_the_full_run_are_counted():
    profile = PROFILES["full"]
    rows = tables._table("paper", "parts").splitlines()[2:]
    counts = [row.split(" | ")[-1].removesuffix(" |").split(" of ") for row in rows]
    finished, all_parts = np.array(counts, dtype=int).sum(axis=0)
    results = tables.pages()[0].parent / "benchmarks/paper/results/full/parts"
    assert finished == len(list(results.glob("[!.]*/")))
    assert all_parts == len(profile.models) + len(profile.cells)


def test_scores_of_several_seeds_stand_side_by_side(monkeypatch):
    labels = {"base": "cnn", "orientation": "upright", "recipe": "default", "k": 8}
    labels |= {"features": "latents", "truncation": 32, "probe": "xgboost"}
    rows = pd.DataFrame(
        [(1, "wide", 0.6, 0.5), (0, "wide", 0.9, 0.25), (0, "regular", 0.9, 0.8)],
        columns=["seed", "sae", "dead", "S"],
    ).assign(**labels, SP=0.1, SO=0.2, SPO=0.3)
    monkeypatch.setattr(_paper, "_read", lambda name: rows)
    shown = _paper.probes_seeds().splitlines()[2:]
    f1 = "0.250 / 0.500 | 0.100 / 0.100 | 0.200 / 0.200 | 0.300 / 0.300"
    assert shown == [f"| cnn | 8 | wide | latents | 90% / 60% | {f1} |"]


def test_numbers_are_written_with_the_digits_that_count():
    assert significant(0.0004321, 1) == "0.0004"
    assert significant(9.96) == "9.96"
    assert significant(9.996) == "10.0"
    assert significant(17_789.7) == "17,800"
    assert significant(0.201) == "0.201"


def test_all_numbers_of_a_kind_have_as_many_digits():
    found = [written(value, "fvu") for value in (0.38452, 0.0004321, 0.0000123)]
    assert found == ["0.385", "0.000432", "1.23e-05"]
    assert [written(value, "r2") for value in (0.98765, -0.9043)] == ["0.988", "-0.90"]
    shares = [written(v, "percent") for v in (0.384, 0.9975, 0.00009, 1.1692)]
    assert shares == ["38 %", "99.8 %", "0.009 %", "117 %"]
    assert [written(v, kind) for v, kind in ((1.768, "ratio"), (761.4, "count"))] == [
        *("1.8", "761")
    ]


def test_a_number_in_running_text_is_that_of_the_results():
    text = (
        "<!-- number: angles/results.csv; degrees < 20; r2.max; r2 -->9<!-- /number -->"
    )
    expected = pd.read_csv(tables.pages()[0].parent / "benchmarks/angles/results.csv")
    expected = written(expected.query("degrees < 20").r2.max(), "r2")
    assert tables.renewed(text) == text.replace("-->9<", f"-->{expected}<")


def test_a_number_of_one_case_is_read_from_a_file_of_cases():
    of = "speed/results.json; case == 'large_fit'; gigabytes.max; count"
    text = f"<!-- number: {of} -->9<!-- /number -->"
    assert tables.renewed(text) == text.replace("-->9<", "-->20.0<")


def test_no_page_prints_a_number_as_zero():
    for page in PAGES:
        assert not re.search(r"(?<![\d.])0\.0000\b", page.read_text("utf-8")), page


def test_a_table_is_markdown():
    expected = "| a | b |\n| --- | --- |\n| 1 |  |"
    assert markdown(["a", "b"], [[1, ""]]) == expected
