import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from sk_eqsae import ActivationTransformFitter
from sk_eqsae.groups import (
    CyclicGroup,
    DihedralGroup,
    PoseCanonicalizer,
    SymmetricGroup,
)
from tests.groups.representations import canonicalize
from tests.inspection.representations import fitter_of, regular_representation

GROUPS = [CyclicGroup(2), CyclicGroup(4), CyclicGroup(6), DihedralGroup(4)]
GROUPS += [SymmetricGroup(3)]


@pytest.fixture(params=GROUPS, ids=repr)
def known(request):
    """A group, its matrices, a canonicalizer for them and rows it has not seen."""
    group = request.param
    matrices, _ = regular_representation(group, n_copies=2)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, matrices.shape[1])) + 1
    frozen = FrozenEstimator(fitter_of(group, matrices))
    canonicalizer = PoseCanonicalizer(frozen).fit(X)
    return group, matrices, canonicalizer, rng.normal(size=X.shape) + 1


def elements(group, power):
    return group.elements_of(np.reshape(power, (len(power), -1)))


def test_canonical_form_is_the_same_for_a_whole_orbit(known):
    _, matrices, canonicalizer, X = known
    expected = canonicalizer.transform(X)
    for M in matrices:
        np.testing.assert_allclose(
            canonicalizer.transform(X @ M.T), expected, atol=1e-9
        )


def test_poses_along_an_orbit_differ_by_the_element(known):
    group, matrices, canonicalizer, X = known
    pose = elements(group, canonicalizer.predict_power(X))
    for e, M in enumerate(matrices):
        moved = elements(group, canonicalizer.predict_power(X @ M.T))
        np.testing.assert_array_equal(moved, group.multiplication_table[e, pose])


def test_acting_with_the_pose_undoes_the_canonical_form(known):
    _, _, canonicalizer, X = known
    canonical, power = canonicalizer.transform(X), canonicalizer.predict_power(X)
    back = canonicalizer.activation_transform_.act(canonical, power)
    np.testing.assert_allclose(back, X, atol=1e-9)


def test_all_poses_occur_and_are_told_apart(known):
    group, _, canonicalizer, X = known
    pose = elements(group, canonicalizer.predict_power(X))
    assert set(pose) == set(range(group.order))
    assert np.median(canonicalizer.margin(X)) > 0.05


def test_margin_is_zero_for_rows_that_the_group_leaves_alone(known):
    _, matrices, canonicalizer, X = known
    invariant = X @ matrices.mean(axis=0).T
    np.testing.assert_allclose(canonicalizer.margin(invariant), 0, atol=1e-9)
    assert (canonicalizer.margin(X) > 0).all()
    assert not canonicalizer.predict_power(invariant).any()
    np.testing.assert_allclose(canonicalizer.transform(invariant), invariant, atol=1e-9)


def test_margin_does_not_depend_on_the_units_of_the_rows(known):
    _, _, canonicalizer, X = known
    frozen = FrozenEstimator(canonicalizer.activation_transform_)
    one, thousand = PoseCanonicalizer(frozen), PoseCanonicalizer(frozen)
    one, thousand = one.fit(X), thousand.fit(1000 * X)
    np.testing.assert_allclose(thousand.margin(1000 * X), one.margin(X), rtol=1e-6)


def test_noise_changes_poses_of_small_margin_only(known):
    group, _, canonicalizer, X = known
    noise = 0.1 * canonicalizer.spread_ * np.random.default_rng(2).normal(size=len(X))
    noisy = X + noise[:, np.newaxis] * canonicalizer.direction_
    pose = elements(group, canonicalizer.predict_power(X))
    changed = pose != elements(group, canonicalizer.predict_power(noisy))
    assert (canonicalizer.margin(X)[changed] < 1).all()


def test_a_leading_direction_that_two_turns_bring_back_is_not_enough():
    sign, quarter = np.array([[-1.0]]), np.array([[0.0, -1.0], [1.0, 0.0]])
    M = np.block([[sign, np.zeros((1, 2))], [np.zeros((2, 1)), quarter]])
    matrices = np.array([np.linalg.matrix_power(M, p) for p in range(4)])
    X = np.random.default_rng(0).normal(size=(300, 3)) * [10, 1, 1]
    fitter = fitter_of(CyclicGroup(4), matrices)
    canonical, pose, margin = canonicalize(X, fitter)
    moved, moved_pose, _ = canonicalize(X @ M.T, fitter)
    assert ((moved_pose - pose) % 4 == 1).all()
    w = np.abs(PoseCanonicalizer(FrozenEstimator(fitter)).fit(X).direction_)
    assert w[0] == pytest.approx(2 * np.hypot(w[1], w[2]))
    np.testing.assert_allclose(moved, canonical, atol=1e-9)
    assert (margin > 0).all()


def test_a_leading_direction_on_a_mirror_is_not_enough():
    stretch = np.diag([5.0, 1.0])  # the leading direction is the mirror of the flip
    turn = stretch @ [[0, -1], [1, 0]] @ np.linalg.inv(stretch)
    group, flip = DihedralGroup(4), np.diag([1.0, -1.0])
    power = np.linalg.matrix_power
    matrices = np.array([power(turn, a) @ power(flip, b) for a, b in group.powers])
    X = np.random.default_rng(0).normal(size=(300, 2)) @ stretch
    canonicalizer = PoseCanonicalizer(FrozenEstimator(fitter_of(group, matrices)))
    assert np.median(canonicalizer.fit(X).margin(X)) > 0.03


def test_direction_has_the_leading_variance_inside_orbits(known):
    _, matrices, canonicalizer, X = known
    frozen = FrozenEstimator(canonicalizer.activation_transform_)
    canonicalizer = PoseCanonicalizer(frozen).fit(X)
    orbits = np.stack([X @ M.T for M in matrices])
    within = (orbits - orbits.mean(axis=0)).reshape(-1, X.shape[1])
    along = (within @ canonicalizer.direction_).var()
    assert canonicalizer.spread_ == pytest.approx(np.sqrt(along))
    largest = np.linalg.eigvalsh(within.T @ within / len(within))[-1]
    assert 0.3 * largest < along <= largest * (1 + 1e-9)


def test_frozen_transform_is_kept_and_needs_no_metadata(turning_orbits):
    X, groups, power, _ = turning_orbits
    fitter = ActivationTransformFitter().fit(X, groups=groups, power=power)
    canonicalizer = PoseCanonicalizer(FrozenEstimator(fitter)).fit(X[::3])
    np.testing.assert_array_equal(canonicalizer.activation_transform_.M_, fitter.M_)
    pose = canonicalizer.predict_power(X).reshape(-1, 4)
    assert ((pose - pose[:, :1]) % 4 == power.reshape(-1, 4)).mean() > 0.99


def test_frozen_transform_of_a_frame_takes_frames_without_a_warning(turning_orbits):
    X, groups, power, _ = turning_orbits
    frame = pd.DataFrame(X, columns=[f"unit {i}" for i in range(12)])
    fitter = ActivationTransformFitter().fit(frame, groups=groups, power=power)
    canonicalizer = PoseCanonicalizer(FrozenEstimator(fitter)).fit(frame)
    assert canonicalizer.transform(frame).shape == X.shape  # warnings are errors


def test_without_metadata_the_group_is_trivial():
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.warns(UserWarning, match="got no groups and power"):
        canonicalizer = PoseCanonicalizer().fit(X)
    np.testing.assert_array_equal(canonicalizer.transform(X), X)
    assert not canonicalizer.predict_power(X).any()
    assert not canonicalizer.margin(X).any()


def test_activations_that_the_group_leaves_alone_stay():
    x = np.random.default_rng(0).normal(size=(50, 3))
    X, groups, power = np.repeat(x, 4, 0), np.repeat(range(50), 4), [0, 1, 2, 3] * 50
    with pytest.warns(UserWarning, match="M leaves 100% of the rows as they are"):
        canonicalizer = PoseCanonicalizer().fit(X, groups=groups, power=power)
    np.testing.assert_allclose(canonicalizer.transform(X), X, atol=1e-9)
    assert not canonicalizer.margin(X).any()
    assert canonicalizer.spread_ == 0


def test_rows_that_every_element_leaves_alone_have_no_direction(known):
    _, matrices, canonicalizer, X = known
    frozen = FrozenEstimator(canonicalizer.activation_transform_)
    invariant = X @ matrices.mean(axis=0).T
    with pytest.warns(UserWarning, match="M leaves 100% of the rows as they are"):
        canonicalizer = PoseCanonicalizer(frozen).fit(invariant)
    assert not canonicalizer.direction_.any()
    assert not canonicalizer.margin(invariant).any()
    assert not canonicalizer.predict_power(invariant).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(known, dtype):
    _, _, canonicalizer, X = known
    assert canonicalizer.transform(X.astype(dtype)).dtype == dtype


def test_another_number_of_features_is_an_error(known):
    _, _, canonicalizer, X = known
    with pytest.raises(ValueError, match=r"fitted on \d+ features, but X has 3"):
        canonicalize(X[:, :3], canonicalizer.activation_transform_)


def test_canonicalize_needs_a_fitted_transform():
    with pytest.raises(NotFittedError):
        canonicalize(np.zeros((2, 2)), ActivationTransformFitter())


def half_turns(n_orbits, n_still):
    """Orbits of order 4 that a half-turn brings back, and some that nothing moves."""
    x = np.random.default_rng(0).normal(size=(n_orbits, 2))
    x[:n_still, 1] = x[:n_still, 0]
    X = np.stack([x, x[:, ::-1], x, x[:, ::-1]], axis=1).reshape(-1, 2)
    return X, np.repeat(np.arange(n_orbits), 4), np.tile(range(4), n_orbits)


def test_activations_that_repeat_before_the_group_does_warn():
    X, groups, power = half_turns(20, 0)
    with pytest.warns(UserWarning, match="Poses are ambiguous.*all 4 poses"):
        PoseCanonicalizer().fit(X, groups=groups, power=power)
    of_two = power < 2
    PoseCanonicalizer().fit(X[of_two], groups=groups[of_two], power=power[of_two])


@pytest.mark.parametrize("n_still", [9, 11])
def test_poses_are_ambiguous_if_most_rows_are_left_alone(n_still):
    X, groups, power = half_turns(20, n_still)
    of_two = power < 2
    metadata = {"groups": groups[of_two], "power": power[of_two]}
    if n_still < 10:
        PoseCanonicalizer().fit(X[of_two], **metadata)
    else:
        with pytest.warns(UserWarning, match="M leaves 55% of the rows"):
            PoseCanonicalizer().fit(X[of_two], **metadata)


def test_small_steps_of_a_large_group_are_no_ambiguity():
    group = CyclicGroup(60)
    turns = [2 * np.pi * p / 60 for p in range(60)]
    turn = np.array([[[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]] for t in turns])
    x = np.random.default_rng(0).normal(size=(5, 2))
    X = np.einsum("pij,oj->opi", turn, x).reshape(-1, 2)
    X = np.column_stack([X, np.full(300, 100)])
    groups, power = np.repeat(range(5), 60), np.tile(range(60), 5)
    fitter = ActivationTransformFitter(symmetry=group)
    PoseCanonicalizer(fitter).fit(X, groups=groups, power=power)
