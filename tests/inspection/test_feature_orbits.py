from functools import partial

import numpy as np
import pytest

from sk_eqsae import GroupTiedSAE, TopKSAE
from sk_eqsae.inspection import FeatureOrbitDisplay


@pytest.fixture(scope="module")
def turning_pixels():
    """Images of 2 x 2 pixels, one of them lit, that shift round."""
    x = np.abs(np.random.default_rng(0).normal(size=(50, 1))) * np.eye(4)[:1]
    X = np.stack([np.roll(x, p, axis=1) for p in range(4)]).reshape(-1, 4)
    groups, power = np.tile(np.arange(50), 4), np.repeat(np.arange(4), 50)
    sae = GroupTiedSAE(
        orbit_lengths={4: 2}, k=1, max_epochs=40, batch_size=32, random_state=0
    )
    return sae.fit(X, groups=groups, power=power), X


def decode(rows):
    return rows.reshape(-1, 2, 2)


def test_copies_are_decoded_as_strong_as_the_first_gets(plt, turning_pixels):
    sae, X = turning_pixels
    display = FeatureOrbitDisplay.from_estimator(
        sae, X, X.reshape(-1, 2, 2), decode=decode, features=[1]
    )
    strength = sae.transform(X)[:, 4].max()
    expected = sae.intercept_ + strength * sae.components_[4:]
    np.testing.assert_allclose(display.copies[0].reshape(4, 4), expected, atol=1e-5)


def test_inputs_are_those_that_fire_the_first_copy_most(plt, turning_pixels):
    sae, X = turning_pixels
    display = FeatureOrbitDisplay.from_estimator(
        sae, X, X.reshape(-1, 2, 2), decode=decode, features=[0], n_top=3
    )
    order = np.argsort(-sae.transform(X)[:, 0], kind="stable")[:3]
    np.testing.assert_array_equal(display.top_images[0], X[order].reshape(3, 2, 2))


def test_strongest_vectors_come_first_and_are_named(plt, turning_pixels):
    sae, X = turning_pixels
    display = FeatureOrbitDisplay.from_estimator(
        sae, X, X.reshape(-1, 2, 2), decode=decode, n_top=2
    )
    totals = sae.transform(X).reshape(-1, 2, 4).sum(axis=(0, 2))
    assert display.names == [f"vector {i}" for i in np.argsort(-totals)]
    assert display.axes_.shape == (2, 6)
    assert [ax.get_title() for ax in display.axes_[0, :4]] == [
        "$1$",
        "$g$",
        "$g^{2}$",
        "$g^{3}$",
    ]


def test_images_that_do_not_belong_to_the_rows_are_an_error(plt, turning_pixels):
    sae, X = turning_pixels
    with pytest.raises(ValueError, match="one image for each of the 200 rows"):
        FeatureOrbitDisplay.from_estimator(
            sae, X, X[1:].reshape(-1, 2, 2), decode=decode
        )


def test_vectors_that_are_not_there_are_an_error(plt, turning_pixels):
    sae, X = turning_pixels
    with pytest.raises(ValueError, match="from 0 to 1"):
        FeatureOrbitDisplay.from_estimator(
            sae, X, X.reshape(-1, 2, 2), decode=decode, features=[2]
        )
    regular = TopKSAE(4, k=1, max_epochs=1).fit(X)
    with pytest.raises(TypeError, match="Pass a fitted GroupTiedSAE"):
        FeatureOrbitDisplay.from_estimator(
            regular, X, X.reshape(-1, 2, 2), decode=decode
        )


@pytest.mark.parametrize("features", [1, [1.0], [], ["a"], [-1], [2], [[0]]])
def test_features_that_are_no_base_vectors_are_refused(plt, turning_pixels, features):
    sae, X = turning_pixels
    with pytest.raises(ValueError, match=r"features (has to list|names) base vectors"):
        FeatureOrbitDisplay.from_estimator(
            sae, X, X.reshape(-1, 2, 2), decode=decode, features=features
        )


def test_pictures_of_another_shape_are_named(plt, turning_pixels):
    sae, X = turning_pixels
    images = X.reshape(-1, 2, 2)
    for wrong in (images[:, None], X, images[:50]):
        with pytest.raises(ValueError, match=r"images has shape .* of the 200 rows"):
            FeatureOrbitDisplay.from_estimator(sae, X, wrong, decode=decode)
    for wrong in (lambda rows: rows, lambda rows: None, lambda rows: images[:1]):
        with pytest.raises(ValueError, match="what decode returns has shape"):
            FeatureOrbitDisplay.from_estimator(sae, X, images, decode=wrong)


def test_no_inputs_to_show_and_axes_are_errors(plt, turning_pixels):
    sae, X = turning_pixels
    draw = partial(
        FeatureOrbitDisplay.from_estimator, sae, X, X.reshape(-1, 2, 2), decode=decode
    )
    with pytest.raises(ValueError, match="n_top == 0"):
        draw(n_top=0)
    with pytest.raises(TypeError, match=r"ax has to be one .* found Figure"):
        draw(ax=plt.figure())
    with pytest.raises(ValueError, match="no place in a grid"):
        draw(ax=plt.figure().add_axes((0, 0, 1, 1)))


def test_the_place_of_an_axes_is_divided_among_the_pictures(plt, turning_pixels):
    sae, X = turning_pixels
    figure, (left, right) = plt.subplots(ncols=2, layout="constrained")
    display = FeatureOrbitDisplay.from_estimator(
        sae, X, X.reshape(-1, 2, 2), decode=decode, ax=right
    )
    figure.draw_without_rendering()
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]
    assert not right.axison
    for ax in display.axes_.ravel():
        assert left.bbox.x1 < ax.bbox.x0 < ax.bbox.x1 <= figure.bbox.x1


def test_headings_fit_above_few_pictures(plt, turning_pixels):
    sae, X = turning_pixels
    display = FeatureOrbitDisplay.from_estimator(
        sae, X, X.reshape(-1, 2, 2), decode=decode, features=[1], n_top=1
    )
    display.figure_.draw_without_rendering()
    for half in display.figure_.subfigs:
        heading = half._suptitle.get_window_extent()
        assert half.bbox.x0 <= heading.x0
        assert heading.x1 <= half.bbox.x1
