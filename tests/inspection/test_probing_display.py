import numpy as np
import pandas as pd
import pytest

from sk_eqsae import evaluate_probes
from sk_eqsae.inspection import ProbingDisplay


@pytest.fixture
def scores():
    """Three tasks of two kinds, scored by two probes for two sources."""
    rows = [
        (task, kind, probe, sae)
        for sae in ("wide", "narrow")
        for task, kind in [("t", "S"), ("u", "S"), ("v", "P")]
        for probe in ("knn", "logistic")
    ]
    table = pd.DataFrame(rows, columns=["task", "kind", "probe", "sae"])
    return table.assign(f1=np.random.default_rng(0).random(len(rows)))


def test_bars_are_means_over_tasks_with_standard_errors(plt, scores):
    display = ProbingDisplay.from_scores(scores, source="sae")
    wide = scores[scores["sae"] == "wide"].set_index(["task", "probe"])["f1"]
    t, u, v = wide["t"].mean(), wide["u"].mean(), wide["v"].mean()
    drawn = [bar.get_height() for bar in display.ax_.containers[1]]
    np.testing.assert_allclose(drawn, [(t + u) / 2, v])
    (segments,) = display.ax_.containers[0].lines[2]
    low, high = segments.get_segments()[0][:, 1]
    np.testing.assert_allclose(
        [(low + high) / 2, high - low], [(t + u) / 2, abs(t - u)]
    )
    assert display.summary["n_tasks"].tolist() == [2, 1, 2, 1]


def test_groups_and_sources_keep_their_order(plt, scores):
    ax = ProbingDisplay.from_scores(scores, source="sae").ax_
    assert [text.get_text() for text in ax.get_xticklabels()] == ["S", "P"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "wide",
        "narrow",
    ]
    ax = ProbingDisplay.from_scores(scores, by="probe").ax_
    assert [text.get_text() for text in ax.get_xticklabels()] == ["knn", "logistic"]
    assert ax.get_legend() is None


def test_a_bar_that_is_missing_leaves_the_others_in_their_places(plt, scores):
    some = scores[(scores["sae"] == "wide") | (scores["kind"] == "P")]
    ax = ProbingDisplay.from_scores(some, source="sae").ax_
    centres = [
        [bar.get_x() + bar.get_width() / 2 for bar in bars]
        for bars in ax.containers
        if hasattr(bars, "patches")
    ]
    np.testing.assert_allclose(centres[0], [-0.2, 0.8])
    np.testing.assert_allclose(centres[1], [1.2])


def dots(display):
    """What is missed and in which row, one array for each source."""
    return [bar.lines[0].get_xydata() for bar in display.ax_.containers]


def test_scores_at_the_ceiling_are_dots_of_what_is_missed(plt, scores):
    high = scores.assign(f1=1 - scores["f1"] / 100)
    display = ProbingDisplay.from_scores(high, source="sae")
    assert not display.ax_.patches
    (wide, narrow), bars = dots(display), display.summary.groupby("source", sort=False)
    np.testing.assert_allclose(wide[:, 0], 1 - bars.get_group("wide")["f1"])
    np.testing.assert_allclose(wide[:, 1], [-0.2, 0.8])
    np.testing.assert_allclose(narrow[:, 1], [0.2, 1.2])
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["S", "P"]
    assert display.ax_.get_xlabel() == "1 - mean F1, left is better"


@pytest.mark.parametrize("f1", [[0.5, 1.0], [0.9, 0.97]])
def test_one_bar_or_error_at_the_ceiling_is_enough(plt, f1):
    table = pd.DataFrame({"task": range(2), "probe": list("ab"), "f1": f1})
    assert not ProbingDisplay.from_scores(table, by="probe").ax_.patches
    assert not ProbingDisplay.from_scores(
        table.assign(probe="a"), by="probe"
    ).ax_.patches
    lower = table.assign(f1=table["f1"] / 2)
    assert ProbingDisplay.from_scores(lower, by="probe").ax_.patches


@pytest.mark.filterwarnings("error")
def test_a_perfect_score_is_drawn_at_zero(plt):
    table = pd.DataFrame({"task": range(3), "probe": list("abc"), "f1": [1, 0.99, 0.4]})
    display = ProbingDisplay.from_scores(table, by="probe")
    display.figure_.draw_without_rendering()
    ax, (found,) = display.ax_, dots(display)
    np.testing.assert_allclose(found[:, 0], [0, 0.01, 0.6])
    places = ax.transData.transform(found)[:, 0]
    left, right = ax.bbox.intervalx
    assert left < places[0] < places[1] - 10 < places[2] < right
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "0.01", "0.1"]
    perfect = ProbingDisplay.from_scores(table.assign(f1=1.0), by="probe")
    perfect.figure_.draw_without_rendering()
    np.testing.assert_array_equal(dots(perfect)[0][:, 0], 0)


def test_errors_of_dots_end_at_zero(plt):
    summary = pd.DataFrame({"group": list("ab"), "source": "", "f1": [0.98, 0.9]})
    display = ProbingDisplay(summary.assign(sem=[0.03, 0.05])).plot()
    (segments,) = display.ax_.containers[0].lines[2]
    ends = [segment[:, 0] for segment in segments.get_segments()]
    np.testing.assert_allclose(ends, [[0, 0.05], [0.05, 0.15]])


@pytest.mark.parametrize("scale", [0.4, 1])
def test_kinds_of_tasks_about_shapes_are_spelt_out(plt, scale):
    kinds = ["S", "SP", "SO", "SPO"]
    table = pd.DataFrame({"task": range(4), "kind": kinds, "f1": scale})
    display = ProbingDisplay.from_scores(table)
    axis = display.ax_.yaxis if scale == 1 else display.ax_.xaxis
    labels = [text.get_text().replace("\n", " ") for text in axis.get_ticklabels()]
    assert labels[0] == "shape"
    assert labels[3] == "shape, position, orientation"
    assert display.summary["group"].tolist() == kinds
    own = ProbingDisplay.from_scores(table.assign(kind=["S", "SP", "X", "Y"]))
    axis = own.ax_.yaxis if scale == 1 else own.ax_.xaxis
    assert [text.get_text() for text in axis.get_ticklabels()] == ["S", "SP", "X", "Y"]


def test_the_table_of_evaluate_probes_is_taken_as_it_is(plt):
    X = np.random.default_rng(0).normal(size=(80, 3))
    rows = {"train": range(40), "test": range(40, 80)}
    table = evaluate_probes(X, X > 0, probes=["knn"], **rows)
    display = ProbingDisplay.from_scores(table, by="probe")
    assert display.summary["f1"][0] == pytest.approx(table["f1"].mean())
    assert display.summary["sem"][0] == pytest.approx(table["f1"].sem())


def test_probing_is_drawn_where_told_and_nowhere_else(plt, scores):
    figure, axes = plt.subplots(ncols=2)
    settings = dict(plt.rcParams)
    display = ProbingDisplay.from_scores(scores, ax=axes[0])
    assert (display.ax_, display.figure_) == (axes[0], figure)
    assert display.plot(axes[1]).ax_ is axes[1]
    assert plt.get_fignums() == [figure.number]
    assert dict(plt.rcParams) == settings


def test_columns_that_do_not_say_are_an_error_and_make_no_figure(plt, scores):
    with pytest.raises(ValueError, match="no column 'seed', but \\['task', 'kind'"):
        ProbingDisplay.from_scores(scores, source="seed")
    with pytest.raises(ValueError, match="no column 'f1'"):
        ProbingDisplay.from_scores(scores.drop(columns="f1"))
    with pytest.raises(ValueError, match=r"column 'kind' of scores.*by='probe'"):
        ProbingDisplay.from_scores(scores.assign(kind=None))
    with pytest.raises(ValueError, match="scores has no rows"):
        ProbingDisplay.from_scores(scores.iloc[:0])
    assert plt.get_fignums() == []
