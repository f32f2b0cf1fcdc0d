import numpy as np
import pytest

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE
from sk_eqsae.inspection import LossCurveDisplay, fvu
from sk_eqsae.sae import Recipe

PLAIN = Recipe(aux_weight=0, consistency_weight=0)
STILL = {"lr": 1e-12, "max_epochs": 1, "random_state": 0}  # weights as they start


@pytest.fixture(scope="module")
def orbits(turning_orbits):
    X, groups, power, _ = turning_orbits
    return X + 3, {"groups": groups, "power": power}


@pytest.fixture(scope="module")
def sae(orbits):
    return TopKSAE(8, k=2, max_epochs=3, random_state=0).fit(orbits[0])


@pytest.mark.parametrize("recipe", [PLAIN, "paper", "default"])
def test_with_rows_losses_are_the_fvu_of_what_is_trained(plt, orbits, recipe):
    X, metadata = orbits
    settings = {"k": 2, "recipe": recipe, **STILL}
    canonical = X[metadata["power"] == 0].repeat(4, axis=0)  # rows lie orbit by orbit
    saes = {
        "regular": TopKSAE(8, **settings).fit(X),
        "tied": GroupTiedSAE(8, **settings).fit(X, **metadata),
        "equivariant": EquivariantSAE(8, **settings).fit(X, **metadata),
    }
    display = LossCurveDisplay.from_estimator(saes, X, **metadata)
    expected = [
        fvu(target, sae.inverse_transform(sae.transform(X)))
        for sae, target in zip(saes.values(), (X, X, canonical), strict=True)
    ]
    np.testing.assert_allclose(display.curves["loss"], expected, rtol=1e-4)
    assert display.ax_.get_ylabel() == "training FVU"


def test_canonical_rows_count_as_often_as_they_are_the_target(plt, orbits):
    X, metadata = orbits
    kept = np.delete(np.arange(len(X)), np.arange(1, 240, 4))  # some orbits lack one
    X, metadata = X[kept], {name: label[kept] for name, label in metadata.items()}
    sae = EquivariantSAE(8, k=2, recipe=PLAIN, **STILL).fit(X, **metadata)
    display = LossCurveDisplay.from_estimator(sae, X, **metadata)
    _, orbit = np.unique(metadata["groups"], return_inverse=True)
    target = X[metadata["power"] == 0][orbit]
    expected = fvu(target, sae.inverse_transform(sae.transform(X)))
    np.testing.assert_allclose(display.curves["loss"], expected, rtol=1e-4)


def test_losses_that_are_more_than_squared_errors_are_not_called_fvu(plt, orbits):
    X, _ = orbits
    plain = TopKSAE(8, k=2, **STILL).fit(X)
    nested = TopKSAE(8, k=2, nested=[2], **STILL).fit(X)
    display = LossCurveDisplay.from_estimator({"one": plain, "nested": nested}, X)
    assert display.ax_.get_ylabel() == "training loss / variance"
    variance = np.square(X - X.mean(axis=0)).sum() / len(X)
    losses = [sae.loss_curve_[0] * sae.scale_**2 for sae in (plain, nested)]
    np.testing.assert_allclose(display.curves["loss"], losses / variance)


def test_without_rows_losses_are_in_units_of_the_activations(plt, orbits, sae):
    display = LossCurveDisplay.from_estimator(sae)
    assert sae.scale_ != 1
    (line,) = display.ax_.lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(line.get_ydata(), sae.loss_curve_ * sae.scale_**2)
    assert display.ax_.get_ylabel() == "training loss per row"
    assert display.ax_.get_yscale() == "log"


def test_lines_are_named_and_may_differ_in_length(plt, orbits, sae):
    longer = TopKSAE(8, k=2, max_epochs=5, random_state=0).fit(orbits[0])
    display = LossCurveDisplay.from_estimator({"short": sae, "long": longer})
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["short", "long"]
    assert [len(line.get_xdata()) for line in display.ax_.lines] == [3, 5]
    assert LossCurveDisplay.from_estimator(sae).ax_.get_legend() is None


def test_a_loss_of_zero_is_drawn(plt, sae):
    display = LossCurveDisplay.from_estimator(sae)
    zero = LossCurveDisplay(display.curves.assign(loss=0.0)).plot()
    zero.figure_.canvas.draw()
    assert (zero.ax_.lines[0].get_ydata() > 0).all()


def test_drawn_where_told_and_nowhere_else(plt, orbits, sae):
    figure, axes = plt.subplots(ncols=2)
    settings = dict(plt.rcParams)
    display = LossCurveDisplay.from_estimator(sae, orbits[0], ax=axes[0])
    assert (display.ax_, display.figure_) == (axes[0], figure)
    assert display.plot(axes[1]).ax_ is axes[1]
    assert plt.get_fignums() == [figure.number]
    assert dict(plt.rcParams) == settings


def test_what_has_no_loss_curve_is_an_error_and_makes_no_figure(plt, orbits, sae):
    X, metadata = orbits
    with pytest.raises(TypeError, match=r"saes.* has to be a fitted .*TopKSAE"):
        LossCurveDisplay.from_estimator({"a": [sae]})
    with pytest.raises(ValueError, match="saes is empty"):
        LossCurveDisplay.from_estimator({})
    with pytest.raises(ValueError, match="X has no variance"):
        LossCurveDisplay.from_estimator(sae, np.ones_like(X))
    imported = TopKSAE(8, k=2, max_epochs=1).fit(X)
    imported.loss_curve_ = np.empty(0)
    with pytest.raises(ValueError, match="trained by another library"):
        LossCurveDisplay.from_estimator(imported)
    equivariant = EquivariantSAE(8, k=2, **STILL).fit(X, **metadata)
    with pytest.raises(ValueError, match="Give groups and power"):
        LossCurveDisplay.from_estimator({"e": equivariant}, X)
    assert plt.get_fignums() == []
