from itertools import pairwise

import numpy as np
import pytest
from pandas import DataFrame

from sk_eqsae import ActivationTransformFitter, EquivariantSAE, GroupTiedSAE
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import CyclicGroup
from sk_eqsae.inspection import (
    FeatureSymmetryDisplay,
    FrontierDisplay,
    LossCurveDisplay,
    ProbingDisplay,
    TransformFidelityDisplay,
    equivariance_report,
    feature_symmetry,
)
from sk_eqsae.inspection._display import label_ticks, legend_of_names, line_styles
from tests.inspection.representations import (
    Dictionary,
    fitter_of,
    regular_representation,
)


@pytest.fixture(scope="module")
def symmetry():
    group = CyclicGroup(4)
    matrices, _ = regular_representation(group)
    vectors = np.random.default_rng(0).normal(size=(30, matrices.shape[1]))
    return feature_symmetry(Dictionary(vectors), fitter_of(group, matrices))


@pytest.fixture(scope="module")
def report(turning_orbits):
    X, groups, power, _ = turning_orbits
    parts = Orbits(X, groups, power).split(random_state=0)
    return equivariance_report(*parts, n_bootstrap=50, random_state=0)


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_energies_are_stacked_up_to_one_most_invariant_first(plt, symmetry):
    display = FeatureSymmetryDisplay(symmetry).plot()
    stairs = [patch.get_data() for patch in display.ax_.patches]
    assert legend(display) == ["trivial", "sign", "rotation 1"]
    np.testing.assert_allclose(stairs[-1].values, 1)
    np.testing.assert_allclose(stairs[0].values, np.sort(symmetry["invariance"])[::-1])
    for below, above in pairwise(stairs):
        np.testing.assert_array_equal(above.baseline, below.values)


def test_invariance_of_a_free_vector_is_marked(plt, symmetry):
    display = FeatureSymmetryDisplay(symmetry).plot()
    assert display.ax_.lines[0].get_ydata()[0] == 0.25


def test_what_is_not_beyond_chance_is_pale(plt, symmetry):
    beyond = np.arange(30) % 3 > 0
    ax = FeatureSymmetryDisplay(symmetry.assign(beyond_chance=beyond)).plot().ax_
    (veil,) = ax.collections
    in_order = symmetry.sort_values("invariance", ascending=False, kind="stable")
    places = np.flatnonzero(~beyond[in_order.index])
    covered = np.zeros(30)
    for path in veil.get_paths():
        first, last = path.get_extents().intervalx.astype(int)
        covered[first:last] = 1
    np.testing.assert_array_equal(np.flatnonzero(covered), places)
    assert "not beyond chance" in ax.get_xlabel()
    whole = FeatureSymmetryDisplay(symmetry.assign(beyond_chance=True)).plot().ax_
    assert not whole.collections
    assert "chance" not in whole.get_xlabel()


def test_zero_vectors_are_not_drawn(plt, symmetry):
    table = symmetry.copy()
    table.loc[3, "invariance"] = np.nan
    assert FeatureSymmetryDisplay(table).plot().ax_.get_xlim() == (0, 29)


def test_latents_that_no_row_uses_are_left_out(plt, turning_orbits):
    X, groups, power, _ = turning_orbits
    sae = EquivariantSAE(40, k=2, max_epochs=2, random_state=0)
    sae.fit(X, groups=groups, power=power)
    n_live = int((sae.transform(X[:8]) > 0).any(axis=0).sum())
    display = FeatureSymmetryDisplay.from_estimator(sae, X=X[:8])
    assert len(display.symmetry) == n_live < 40
    assert len(FeatureSymmetryDisplay.from_estimator(sae).symmetry) == 40


def test_fidelity_shows_what_each_map_leaves(plt, report):
    display = TransformFidelityDisplay(report).plot()
    assert legend(display) == ["M", "nonlinear map", "M = I", "orbits shuffled"]
    for name, container in zip(
        report["map"].unique(), display.ax_.containers, strict=True
    ):
        left = 1 - report.loc[report["map"] == name, "r2"]
        np.testing.assert_allclose(container[0].get_ydata(), np.maximum(left, 1e-16))
    labels = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert labels == ["1", "2", "3", "mean"]


def test_an_exact_map_is_drawn(plt, report):
    exact = report.assign(r2=1.0, low=1.0, high=1.0)
    display = TransformFidelityDisplay(exact).plot()
    display.figure_.canvas.draw()
    assert (display.ax_.containers[0][0].get_ydata() > 0).all()


@pytest.mark.filterwarnings("error")
def test_what_has_no_r2_is_left_out(plt, report):
    lacking = report.astype({"power": object})
    lacking.loc[lacking["power"] == 2, ["r2", "low", "high"]] = np.nan
    lacking.loc[lacking["power"] == "mean", ["low", "high"]] = np.nan
    display = TransformFidelityDisplay(lacking).plot()
    display.figure_.canvas.draw()
    for points, *_ in display.ax_.containers:
        assert np.isnan(points.get_ydata()).tolist() == [False, True, False, False]


def test_some_of_the_maps_can_be_drawn(plt, report):
    some = report[report["map"].isin(["M", "identity"])]
    assert legend(TransformFidelityDisplay(some).plot()) == ["M", "M = I"]


def test_powers_of_several_generators_are_readable(plt, report):
    several = report.assign(power=[(0, 1), (1, 0), (1, 1), "mean"] * 4)
    display = TransformFidelityDisplay(several).plot()
    labels = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert labels == ["0,1", "1,0", "1,1", "mean"]


def test_from_estimator_makes_the_report(plt, turning_orbits, report):
    X, groups, power, _ = turning_orbits
    train, test = Orbits(X, groups, power).split(random_state=0)
    display = TransformFidelityDisplay.from_estimator(
        ActivationTransformFitter(), train, test, random_state=0
    )
    np.testing.assert_allclose(display.report["r2"], report["r2"])


def test_displays_draw_where_they_are_told(plt, symmetry, report):
    figure, axes = plt.subplots(ncols=2)
    one = FeatureSymmetryDisplay(symmetry).plot(ax=axes[0])
    two = TransformFidelityDisplay(report).plot(ax=axes[1])
    assert (one.ax_, two.ax_) == tuple(axes)
    assert one.figure_ is two.figure_ is figure
    assert plt.get_fignums() == [figure.number]


def test_pooled_latents_leave_all_copies_that_fire(plt, turning_orbits):
    X, groups, power, _ = turning_orbits
    sae = GroupTiedSAE(16, k=2, max_epochs=2, random_state=0)
    sae = sae.fit(X, groups=groups, power=power)
    expected = FeatureSymmetryDisplay.from_estimator(sae, X=X).symmetry
    pooled = sae.set_params(output="invariant")
    found = FeatureSymmetryDisplay.from_estimator(pooled, X=X).symmetry
    assert found.equals(expected)


def test_a_picture_of_no_latents_is_an_error(plt, symmetry):
    with pytest.raises(ValueError, match=r"no rows.*leave X out"):
        FeatureSymmetryDisplay(symmetry[:0]).plot()
    with pytest.raises(ValueError, match="all vectors are zero"):
        FeatureSymmetryDisplay(symmetry.assign(invariance=np.nan)).plot()
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("display", "origin"),
    [
        (FeatureSymmetryDisplay, "symmetry .* table of feature_symmetry"),
        (TransformFidelityDisplay, "report .* table of equivariance_report"),
        (FrontierDisplay, "table .* by from_estimator"),
        (LossCurveDisplay, "curves .* by from_estimator"),
        (ProbingDisplay, "summary .* by from_scores"),
    ],
)
def test_what_is_not_the_table_of_a_display_is_an_error(plt, display, origin):
    with pytest.raises(TypeError, match=f"found dict.*{origin.split(' .* ')[1]}"):
        display({"f1": [1.0]}).plot()
    with pytest.raises(ValueError, match=origin):
        display(DataFrame({"shape": ["cube"]})).plot()
    assert plt.get_fignums() == []


def test_a_report_of_unknown_maps_is_an_error(plt, report):
    with pytest.raises(ValueError, match=r"none of \['M', .*, but \['Q'\]"):
        TransformFidelityDisplay(report.assign(map="Q")).plot()
    with pytest.raises(ValueError, match="report has no rows"):
        TransformFidelityDisplay(report[:0]).plot()


def test_several_axes_are_no_place_to_draw(plt, symmetry):
    with pytest.raises(TypeError, match=r"ax has to be one .* found ndarray"):
        FeatureSymmetryDisplay(symmetry).plot(plt.subplots(1, 2)[1])


def test_what_is_black_is_seen_on_a_dark_background(plt, report):
    with plt.style.context("dark_background"):
        ax = TransformFidelityDisplay(report).plot().ax_
        drawn = {line.get_color() for line in ax.lines}
        colors = {style["color"] for _, style in zip(range(7), line_styles())}  # noqa: B905
    assert "white" in drawn
    assert "white" in colors
    assert "#000000" not in drawn | colors


@pytest.mark.parametrize("width", [2, 4])
def test_long_names_stay_above_the_axes(plt, width):
    _, ax = plt.subplots(figsize=(width, 3))
    names = ["word " * n for n in (1, 20)]
    for name in names:
        ax.plot([0, 1], label=name)
    legend_of_names(ax, names)
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().width < 1.25 * ax.bbox.width


def test_labels_of_ticks_do_not_cover_each_other(plt):
    _, ax = plt.subplots(figsize=(3.5, 2.6))
    label_ticks(ax, ["short", "labels"])
    assert ax.get_xticklabels()[0].get_rotation() == 0
    label_ticks(ax, ["shape and position"] * 5)
    assert ax.get_xticklabels()[0].get_rotation() > 0
