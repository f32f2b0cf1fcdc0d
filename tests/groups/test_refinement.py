"""Gradient descent that keeps the exact law."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sk_eqsae import ActivationTransformFitter
from sk_eqsae.groups import CyclicGroup, DihedralGroup

from .representations import homomorphism_error, known_representation, orbits_of

GROUPS = [CyclicGroup(2), CyclicGroup(4), DihedralGroup(4)]
every_group = pytest.mark.parametrize("group", GROUPS, ids=repr)
ADAM = {"solver": "adam", "lr": 1e-2, "max_epochs": 20, "random_state": 0}


def unevenly_noisy(group):
    """Orbits whose canonical rows are clean and whose others are not."""
    M = known_representation(group)
    clean, metadata = orbits_of(M, group, n_orbits=400)
    clean = clean.reshape(400, group.order, -1)
    scale = np.linspace(0, 0.8, clean.shape[2])
    noise = np.random.default_rng(0).normal(size=clean.shape) * scale
    noise[:, 0] = 0
    return (clean + noise).reshape(-1, clean.shape[2]), metadata


@pytest.fixture(scope="module")
def fits():
    found = {}
    for group in GROUPS:
        X, metadata = unevenly_noisy(group)
        start = ActivationTransformFitter(symmetry=group).fit(X, **metadata)
        refined = ActivationTransformFitter(symmetry=group, **ADAM).fit(X, **metadata)
        scores = [f.score(X, **metadata) for f in (start, refined)]
        found[group] = (start, refined, scores)
    return found


@every_group
def test_refinement_explains_more_than_the_closed_form(fits, group):
    *_, (before, after) = fits[group]
    assert after > before + 0.001


@every_group
def test_law_holds_to_machine_precision_after_refinement(fits, group):
    _, refined, _ = fits[group]
    matrices = np.array([refined.matrix(p) for p in group.powers])
    assert refined.order_error_ < 1e-10
    assert homomorphism_error(matrices, group.multiplication_table) < 1e-10


@every_group
def test_refinement_keeps_multiplicities(fits, group):
    start, refined, _ = fits[group]
    assert np.array_equal(start.multiplicities_, refined.multiplicities_)
    assert start.rank_ == refined.rank_


def test_loss_falls(fits):
    _, refined, _ = fits[GROUPS[1]]
    assert refined.n_iter_ == len(refined.loss_curve_) == 20
    assert refined.loss_curve_[-1] < refined.loss_curve_[0]


def test_descent_that_ends_above_the_closed_form_warns_and_keeps_it():
    group = GROUPS[1]
    X, metadata = unevenly_noisy(group)
    start = ActivationTransformFitter().fit(X, **metadata)
    fitter = ActivationTransformFitter(**ADAM | {"lr": 3.0, "max_epochs": 2})
    with pytest.warns(ConvergenceWarning, match="lr=3 has come out above"):
        fitter.fit(X, **metadata)
    np.testing.assert_allclose(fitter.M_, start.M_, atol=1e-9)


@pytest.mark.parametrize("max_epochs", [1, 20])
def test_nothing_to_gain_is_no_reason_to_warn(max_epochs):
    group = GROUPS[1]
    X, metadata = orbits_of(known_representation(group), group)
    fitter = ActivationTransformFitter(**ADAM | {"max_epochs": max_epochs})
    assert fitter.fit(X, **metadata).score(X, **metadata) > 0.9999


def test_refinement_in_principal_directions_keeps_the_law():
    X, metadata = unevenly_noisy(GROUPS[1])
    fitter = ActivationTransformFitter(n_components=6, **ADAM).fit(X, **metadata)
    assert fitter.rank_ == 6
    fourth = np.linalg.matrix_power(fitter.M_, 4)
    np.testing.assert_allclose(fourth, np.eye(len(fourth)), atol=1e-9)


@pytest.mark.parametrize("unit", [2.0**-90, 2.0**90])
def test_refinement_of_float32_rows_does_not_depend_on_their_unit(unit):
    X, metadata = unevenly_noisy(CyclicGroup(2))
    X = X.astype(np.float32)
    fitter = ActivationTransformFitter(**ADAM)
    here = fitter.fit(X, **metadata).M_
    there = fitter.fit(np.float32(unit) * X, **metadata).M_
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-5)
