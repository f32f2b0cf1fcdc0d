import copy

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from sk_eqsae import ActivationTransformFitter, EquivariantSAE, TopKSAE
from sk_eqsae.sae import Recipe

SETTINGS = {
    "n_components": 24,
    "k": 4,
    "hidden_dim": 64,
    "max_epochs": 40,
    "batch_size": 32,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def fitted(turning_orbits):
    X, groups, power, _ = turning_orbits
    return EquivariantSAE(symmetry=4, **SETTINGS).fit(X, groups=groups, power=power)


@pytest.fixture
def invariant_target(turning_orbits):
    X, _, _, _ = turning_orbits
    return np.repeat(X[::4], 4, axis=0)


def test_invariant_reconstruction_is_the_canonical_row(
    fitted, turning_orbits, invariant_target
):
    X = turning_orbits[0]
    decoded = fitted.inverse_transform(fitted.transform(X))
    error = ((decoded - invariant_target) ** 2).sum()
    assert error < 0.1 * ((invariant_target - invariant_target.mean(0)) ** 2).sum()


def share_within_orbits(Z):
    orbits = Z.reshape(-1, 4, Z.shape[1])
    within = ((orbits - orbits.mean(axis=1, keepdims=True)) ** 2).sum()
    return within / ((Z - Z.mean(axis=0)) ** 2).sum()


@pytest.mark.parametrize(
    ("activation", "nested"), [("topk", None), ("batch_topk", [64])]
)
def test_codes_in_a_large_dictionary_are_invariant(activation, nested, turning_orbits):
    X, groups, power, _ = turning_orbits
    settings = SETTINGS | {"n_components": 256, "activation": activation}
    share = {}
    for weight in (0, Recipe().consistency_weight):
        recipe = Recipe(consistency_weight=weight)
        sae = EquivariantSAE(symmetry=4, nested=nested, recipe=recipe, **settings)
        sae.fit(X, groups=groups, power=power)
        assert sae.score(X, groups=groups, power=power) > 0.99
        share[weight] = share_within_orbits(sae.transform(X))
    assert share[0] > 0.3
    assert share[0.3] < 0.01


def test_trivial_group_is_the_regular_autoencoder():
    X = np.random.default_rng(0).normal(size=(100, 12))
    settings = SETTINGS | {"max_epochs": 3}
    ours = EquivariantSAE(symmetry=1, **settings).fit(X)
    theirs = TopKSAE(**settings).fit(X)
    assert np.array_equal(ours.components_, theirs.components_)
    assert np.array_equal(ours.loss_curve_, theirs.loss_curve_)


def test_loss_is_the_invariance_loss(turning_orbits, invariant_target):
    X, groups, power, _ = turning_orbits
    settings = SETTINGS | {"max_epochs": 1, "lr": 1e-12, "recipe": "paper"}
    sae = EquivariantSAE(symmetry=4, **settings).fit(X, groups=groups, power=power)
    decoded = sae.inverse_transform(sae.transform(X))
    loss = ((decoded - invariant_target) ** 2).sum(axis=1).mean()
    assert sae.loss_curve_[0] == pytest.approx(loss, rel=1e-4)


def test_reconstruct_moves_the_invariant_reconstruction(fitted, turning_orbits):
    X, _, power, permutation = turning_orbits
    canonical = fitted.inverse_transform(fitted.transform(X))
    moved = [
        row @ np.linalg.matrix_power(permutation, p).T
        for row, p in zip(canonical, power, strict=True)
    ]
    np.testing.assert_allclose(fitted.reconstruct(X, power=power), moved, atol=1e-3)
    np.testing.assert_allclose(
        fitted.inverse_transform(fitted.transform(X), power=power),
        fitted.reconstruct(X, power=power),
        atol=1e-5,
    )


def test_predict_power_is_the_nearest_moved_reconstruction(fitted, turning_orbits):
    X, _, power, _ = turning_orbits
    canonical = fitted.inverse_transform(fitted.transform(X))
    moved = [fitted.activation_transform_.act(canonical, p) for p in range(4)]
    nearest = np.linalg.norm(X - np.array(moved), axis=2).argmin(axis=0)
    assert np.array_equal(fitted.predict_power(X), nearest)
    assert (nearest == power).mean() > 0.99


def test_reconstruct_infers_the_power_if_it_is_not_given(fitted, turning_orbits):
    X = turning_orbits[0]
    np.testing.assert_array_equal(
        fitted.reconstruct(X), fitted.reconstruct(X, power=fitted.predict_power(X))
    )


def test_score_uses_the_true_power_if_it_is_given(fitted, turning_orbits):
    X, groups, power, _ = turning_orbits
    true = fitted.score(X, groups=groups, power=power)
    assert true == pytest.approx(fitted.score(X, power=power))
    assert true > 0.9
    assert fitted.score(X) == pytest.approx(true, abs=0.02)
    assert fitted.score(X, power=(power + 1) % 4) < 0


def test_score_checks_the_orbits_it_is_given(fitted, turning_orbits):
    X, groups, power, _ = turning_orbits
    with pytest.raises(ValueError, match="no row of power 0"):
        fitted.score(X[1:], groups=groups[1:], power=power[1:])


def test_rows_missing_from_orbits_are_left_out(turning_orbits):
    X, groups, power, _ = turning_orbits
    kept = (power == 0) | (np.arange(len(X)) % 3 > 0)
    sae = EquivariantSAE(symmetry=4, **SETTINGS)
    sae.fit(X[kept], groups=groups[kept], power=power[kept])
    assert sae.score(X, groups=groups, power=power) > 0.85


def test_activation_transform_is_cloned_and_fitted(turning_orbits):
    X, groups, power, _ = turning_orbits
    fitter = ActivationTransformFitter(solver="adam", max_epochs=2)
    sae = EquivariantSAE(activation_transform=fitter, **SETTINGS | {"max_epochs": 1})
    sae.fit(X, groups=groups, power=power)
    assert not hasattr(fitter, "M_")
    assert sae.activation_transform_.n_iter_ == 2


def test_frozen_activation_transform_is_kept(turning_orbits):
    X, groups, power, _ = turning_orbits
    fitter = ActivationTransformFitter().fit(X, groups=groups, power=power)
    fitter.M_ = np.eye(12)
    settings = SETTINGS | {"max_epochs": 1}
    sae = EquivariantSAE(activation_transform=FrozenEstimator(fitter), **settings)
    with pytest.warns(UserWarning, match="M leaves 100% of the rows as they are"):
        sae.fit(X, groups=groups, power=power)
    assert np.array_equal(sae.activation_transform_.M_, np.eye(12))


def test_activation_transform_of_another_order_is_an_error(turning_orbits):
    X, groups, power, _ = turning_orbits
    fitter = ActivationTransformFitter(symmetry=2)
    few = power < 2
    fitter.fit(X[few], groups=groups[few], power=power[few])
    sae = EquivariantSAE(activation_transform=FrozenEstimator(fitter), **SETTINGS)
    with pytest.raises(
        ValueError,
        match=r"for CyclicGroup\(.*2\), but the orbits are of CyclicGroup\(.*4\)",
    ):
        sae.fit(X, groups=groups, power=power)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_out_is_dtype_in(fitted, turning_orbits, dtype):
    X = turning_orbits[0].astype(dtype)
    assert fitted.transform(X).dtype == dtype
    assert fitted.reconstruct(X).dtype == dtype
    assert fitted.inverse_transform(fitted.transform(X), power=1).dtype == dtype


def test_warm_start_goes_on_from_the_last_fit(turning_orbits):
    X, groups, power, _ = turning_orbits
    sae = EquivariantSAE(**SETTINGS | {"max_epochs": 20}, warm_start=True)
    first = sae.fit(X, groups=groups, power=power).score(X, power=power)
    sae.set_params(max_epochs=1, lr=1e-12).fit(X, groups=groups, power=power)
    assert sae.score(X, power=power) == pytest.approx(first, abs=1e-4)
    sae.set_params(max_epochs=40, lr=1e-3).fit(X, groups=groups, power=power)
    assert sae.score(X, power=power) > first


@pytest.mark.parametrize("unit", [2.0**-90, 2.0**90])
def test_poses_of_float32_rows_do_not_depend_on_their_unit(
    fitted, turning_orbits, unit
):
    X = turning_orbits[0].astype(np.float32)
    scaled = copy.deepcopy(fitted)
    scaled.mean_, scaled.scale_ = unit * fitted.mean_, unit * fitted.scale_
    scaled.intercept_ = unit * fitted.intercept_
    found = scaled.predict_power(X * np.float32(unit))
    np.testing.assert_array_equal(found, fitted.predict_power(X))
