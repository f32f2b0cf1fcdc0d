import numpy as np
import pytest

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE
from sk_eqsae.inspection import FrontierDisplay, fvu

QUICK = {"max_epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def rows(turning_orbits):
    return turning_orbits[0]


@pytest.fixture(scope="module")
def saes(turning_orbits):
    X, groups, power, _ = turning_orbits
    metadata = {"groups": groups, "power": power}
    return {
        "regular": [TopKSAE(16, k=k, **QUICK).fit(X) for k in (4, 1)],
        "tied": [GroupTiedSAE(14, k=2, n_free=2, **QUICK).fit(X, **metadata)],
        "equivariant": [EquivariantSAE(8, k=2, **QUICK).fit(X, **metadata)],
    }


def test_points_are_sparsity_size_and_fvu(plt, saes, rows):
    table = FrontierDisplay.from_estimator(saes, rows).table
    assert table["name"].tolist() == ["regular", "regular", "tied", "equivariant"]
    assert table["n_components"].tolist() == [16, 16, 3 + 2, 8]
    every = [sae for several in saes.values() for sae in several]
    for (_, point), sae in zip(table.iterrows(), every, strict=True):
        Z = sae.transform(rows)
        assert point["l0"] == (Z > 0).sum(axis=1).mean()
        assert point["l1"] == pytest.approx(Z.sum(axis=1).mean())
    rebuilt = [sae.inverse_transform(sae.transform(rows)) for sae in every[:3]]
    rebuilt += [every[3].reconstruct(rows)]
    np.testing.assert_allclose(table["fvu"], [fvu(rows, part) for part in rebuilt])


def test_pooled_latents_do_not_hide_what_a_reconstruction_costs(plt, saes, rows):
    (tied,) = saes["tied"]
    pooled = GroupTiedSAE(14, k=2, n_free=2, output="invariant", **QUICK)
    pooled.__dict__ |= vars(tied) | {"output": "invariant"}
    display = FrontierDisplay.from_estimator([tied, pooled], rows)
    assert display.table["l0"].nunique() == 1


@pytest.mark.parametrize("x", ["l0", "l1", "n_components"])
def test_lines_go_from_small_to_large(plt, saes, rows, x):
    display = FrontierDisplay.from_estimator(saes, rows, x=x)
    line = display.ax_.lines[0]
    points = display.table[display.table["name"] == "regular"].sort_values(
        x, kind="stable"
    )
    np.testing.assert_array_equal(line.get_xdata(), points[x])
    np.testing.assert_array_equal(line.get_ydata(), points["fvu"])
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == list(saes)


def test_one_list_needs_no_name(plt, saes, rows):
    display = FrontierDisplay.from_estimator(saes["regular"], rows)
    assert len(display.ax_.lines) == 1
    assert display.ax_.get_legend() is None


def test_a_wide_range_is_drawn_on_a_logarithmic_axis(plt, saes, rows):
    table = FrontierDisplay.from_estimator(saes, rows).table
    for sizes, scale in [([10, 20, 30, 40], "linear"), ([10, 20, 30, 41], "log")]:
        display = FrontierDisplay(table.assign(n_components=sizes))
        assert display.plot(x="n_components").ax_.get_xscale() == scale


def test_perfect_reconstructions_and_dead_dictionaries_are_drawn(plt, saes, rows):
    table = FrontierDisplay.from_estimator(saes, rows).table
    display = FrontierDisplay(table.assign(fvu=0.0, l0=[0.0, 1, 2, 8])).plot()
    display.figure_.canvas.draw()
    assert (display.ax_.lines[0].get_ydata() > 0).all()
    assert display.ax_.get_xscale() == "linear"


def test_frontier_is_drawn_where_told_and_nowhere_else(plt, saes, rows):
    figure, axes = plt.subplots(ncols=2)
    settings = dict(plt.rcParams)
    display = FrontierDisplay.from_estimator(saes, rows, ax=axes[0])
    assert (display.ax_, display.figure_) == (axes[0], figure)
    assert display.plot(axes[1], x="l1").ax_ is axes[1]
    assert plt.get_fignums() == [figure.number]
    assert dict(plt.rcParams) == settings


def test_what_is_no_list_of_autoencoders_is_an_error_and_makes_no_figure(
    plt, saes, rows
):
    regular = saes["regular"][0]
    with pytest.raises(ValueError, match="x='k' has to be one of"):
        FrontierDisplay.from_estimator(saes, rows, x="k")
    with pytest.raises(TypeError, match=r"saes\['a'\] is one estimator"):
        FrontierDisplay.from_estimator({"a": regular}, rows)
    with pytest.raises(TypeError, match="saes is one estimator"):
        FrontierDisplay.from_estimator(regular, rows)
    with pytest.raises(TypeError, match=r"what saes.* holds .*found 'regular'"):
        FrontierDisplay.from_estimator({"a": ["regular"]}, rows)
    with pytest.raises(ValueError, match="saes is empty"):
        FrontierDisplay.from_estimator({}, rows)
    assert plt.get_fignums() == []
