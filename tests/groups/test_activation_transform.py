import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from sk_eqsae import ActivationTransformFitter
from sk_eqsae.inspection import fvu

ADAM = {"solver": "adam", "max_epochs": 400, "lr": 1e-2, "random_state": 0}
SOLVERS = [
    {"group_law": "exact"},
    {"group_law": "free"},
    ADAM | {"group_law": "exact"},
    ADAM | {"group_law": "free"},
]


def rotation(degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s], [s, c]])


def orbits_of(M, order, *, n_orbits=100, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_orbits, len(M))) + 1
    X = np.stack([x @ np.linalg.matrix_power(M, p).T for p in range(order)], axis=1)
    X = X + noise * rng.normal(size=X.shape)
    groups, power = np.indices(X.shape[:2])
    return X.reshape(-1, len(M)), groups.ravel(), power.ravel()


@pytest.mark.parametrize("settings", SOLVERS, ids=str)
@pytest.mark.parametrize("order", [2, 3, 4, 6])
def test_known_matrix_is_found(settings, order):
    M = np.kron(np.diag([1.0, 2.0]), np.zeros((2, 2)))
    M[:2, :2], M[2:, 2:] = rotation(360 / order), np.eye(2)
    X, groups, power = orbits_of(M, order)
    fitter = ActivationTransformFitter(**settings).fit(X, groups=groups, power=power)
    assert fitter.order_ == order
    np.testing.assert_allclose(fitter.M_, M, atol=2e-3)
    assert fitter.order_error_ < 5e-3
    assert fitter.score(X, groups=groups, power=power) > 0.9999


def test_permutation_of_features_is_found(turning_orbits):
    X, groups, power, permutation = turning_orbits
    fitter = ActivationTransformFitter().fit(X, groups=groups, power=power)
    np.testing.assert_allclose(fitter.M_, permutation, atol=1e-9)


def test_free_law_is_the_ridge_regression_between_neighbouring_powers():
    X, groups, power = orbits_of(rotation(90), 4, noise=0.5)
    fitter = ActivationTransformFitter(group_law="free")
    fitter.fit(X, groups=groups, power=power)
    table = X.reshape(-1, 4, 2)
    before = table.reshape(-1, 2)
    after = np.roll(table, -1, axis=1).reshape(-1, 2)
    expected = np.linalg.lstsq(before, after, rcond=None)[0].T
    np.testing.assert_allclose(fitter.M_, expected, atol=1e-5)


def test_gradient_descent_lowers_the_papers_loss_below_the_closed_forms():
    X, groups, power = orbits_of(rotation(90), 4, noise=0.5)
    fits = [ActivationTransformFitter(**s) for s in (SOLVERS[1], SOLVERS[3])]
    losses = []
    for fitter in fits:
        fitter.fit(X, groups=groups, power=power)
        orbits = X.reshape(-1, 4, 2)
        moved = [fitter.act(orbits[:, 0], p) for p in (1, 2, 3)]
        law = orbits[:, 0] @ np.linalg.matrix_power(fitter.M_, 4).T
        target = np.roll(orbits, -1, axis=1)
        error = np.stack([*moved, law], axis=1) - target
        losses.append((error**2).sum(2).mean())
    assert losses[1] < losses[0]


def test_directions_without_variance_stay_where_they_are():
    X, groups, power = orbits_of(rotation(90), 4)
    X = np.hstack([X, np.zeros((len(X), 3))])
    for law in ("exact", "free"):
        fitter = ActivationTransformFitter(group_law=law)
        fitter.fit(X, groups=groups, power=power)
        np.testing.assert_allclose(fitter.M_[2:, 2:], np.eye(3), atol=1e-9)
        assert fitter.order_error_ < 1e-3


def test_fewer_rows_than_features_warns_that_m_is_not_to_be_trusted():
    rng = np.random.default_rng(0)
    M = np.roll(np.eye(40), 10, axis=0)
    x = rng.normal(size=(5, 40))
    X = np.stack([x @ np.linalg.matrix_power(M, p).T for p in range(4)], axis=1)
    groups, power = np.repeat(np.arange(5), 4), np.tile(np.arange(4), 5)
    X = X.reshape(-1, 40)
    fitter = ActivationTransformFitter()
    with pytest.warns(
        UserWarning, match="5 orbits with 20 rows are too few for the 20 directions"
    ):
        fitter.fit(X, groups=groups, power=power)
    assert fitter.order_error_ < 1e-10
    assert fitter.score(X, groups=groups, power=power) > 0.999


def test_already_invariant_activations_give_the_identity():
    x = np.random.default_rng(0).normal(size=(50, 3))
    X, groups, power = np.repeat(x, 4, 0), np.repeat(range(50), 4), [0, 1, 2, 3] * 50
    for settings in SOLVERS:
        fitter = ActivationTransformFitter(**settings)
        fitter.fit(X, groups=groups, power=power)
        np.testing.assert_allclose(fitter.M_, np.eye(3), atol=1e-6)


def test_no_metadata_is_the_identity():
    X = np.random.default_rng(0).normal(size=(10, 3))
    with pytest.warns(UserWarning, match="got no groups and power, so it leaves rows"):
        fitter = ActivationTransformFitter().fit(X)
    assert np.array_equal(fitter.M_, np.eye(3))
    assert fitter.order_ == 1
    assert fitter.score(X) == 1


@pytest.fixture(scope="module")
def quarter_turn():
    X, groups, power = orbits_of(rotation(90), 4)
    return X, ActivationTransformFitter(symmetry=4).fit(X, groups=groups, power=power)


@pytest.mark.parametrize("p", [0, 1, 2, 3, 5, -1])
def test_act_applies_the_power_of_m(quarter_turn, p):
    X, fitter = quarter_turn
    np.testing.assert_allclose(fitter.act(X, p), X @ rotation(90 * p).T, atol=1e-4)


def test_act_takes_one_power_per_row(quarter_turn):
    X, fitter = quarter_turn
    power = np.arange(len(X)) % 4
    moved = fitter.act(X, power)
    for p in range(4):
        np.testing.assert_array_equal(moved[power == p], fitter.act(X, p)[power == p])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_is_act_and_inverse_transform_undoes_it(quarter_turn, dtype):
    X, _ = quarter_turn
    groups, power = np.repeat(np.arange(100), 4), np.tile(np.arange(4), 100)
    fitter = ActivationTransformFitter(symmetry=4, power=3)
    fitter.fit(X, groups=groups, power=power)
    rows = X.astype(dtype)
    moved = fitter.transform(rows)
    assert moved.dtype == dtype
    np.testing.assert_allclose(moved, rows @ rotation(270).T, atol=1e-4)
    np.testing.assert_allclose(fitter.inverse_transform(moved), rows, atol=1e-4)


def test_what_was_moved_can_be_moved_on_without_the_names_it_has_lost():
    X, groups, power = orbits_of(rotation(90), 4)
    frame = pd.DataFrame(X, columns=["a", "b"])
    fitter = ActivationTransformFitter().fit(frame, groups=groups, power=power)
    moved = fitter.transform(frame)  # warnings are errors
    np.testing.assert_allclose(fitter.inverse_transform(moved), X, atol=1e-10)
    np.testing.assert_allclose(fitter.act(fitter.act(frame, 3), -3), X, atol=1e-10)
    with pytest.raises(ValueError, match="feature names should match"):
        fitter.act(frame[["b", "a"]], 1)
    with pytest.raises(ValueError, match="X has 1 features"):
        fitter.act(moved[:, :1], 1)


def test_r2_per_power_is_that_of_the_moved_canonical_rows():
    X, groups, power = orbits_of(rotation(90), 4, noise=0.7)
    fitter = ActivationTransformFitter().fit(X, groups=groups, power=power)
    orbits = X.reshape(-1, 4, 2)
    expected = [1 - fvu(orbits[:, p], fitter.act(orbits[:, 0], p)) for p in (1, 2, 3)]
    r2 = fitter.r2_per_power(X, groups=groups, power=power)
    np.testing.assert_allclose(r2, expected)
    assert fitter.score(X, groups=groups, power=power) == pytest.approx(r2.mean())


def test_a_power_that_is_never_seen_has_no_r2():
    X, groups, power = orbits_of(rotation(90), 4)
    kept = power != 2
    for settings in SOLVERS:
        fitter = ActivationTransformFitter(4, **settings)
        fitter.fit(X[kept], groups=groups[kept], power=power[kept])
        r2 = fitter.r2_per_power(X[kept], groups=groups[kept], power=power[kept])
        assert np.isnan(r2).tolist() == [False, True, False]
        assert fitter.score(X, groups=groups, power=power) > 0.999


@pytest.mark.parametrize("law", ["free", "exact", "orthogonal"])
def test_no_neighbouring_powers_is_an_error_for_the_closed_forms(law):
    X, groups, power = orbits_of(rotation(90), 4)
    kept = power % 2 == 0
    fitter = ActivationTransformFitter(symmetry=4, group_law=law)
    with pytest.raises(ValueError, match=r"power: no orbit.*solver='adam'"):
        fitter.fit(X[kept], groups=groups[kept], power=power[kept])


@pytest.mark.parametrize(
    ("power", "message"),
    [
        ([0, 1], r"power has shape \(2,\) for 400 row\(s\) and 1 generator"),
        ("a", "power must hold integers, found dtype"),
    ],
)
def test_bad_power(quarter_turn, power, message):
    X, fitter = quarter_turn
    with pytest.raises(ValueError, match=message):
        fitter.act(X, power)


def test_score_without_metadata_is_an_error(quarter_turn):
    X, fitter = quarter_turn
    with pytest.raises(ValueError, match="pass groups= and power="):
        fitter.score(X)


def test_diverging_fit_names_the_learning_rate():
    X, groups, power = orbits_of(rotation(90), 4)
    fitter = ActivationTransformFitter(solver="adam", group_law="free", lr=1e30)
    with pytest.raises(ValueError, match=r"diverged.*lr=1e\+30"):
        fitter.fit(X, groups=groups, power=power)


@pytest.mark.filterwarnings("ignore:M is not to be trusted")  # it does not move
@pytest.mark.parametrize("scale", [1e-20, 1, 1e20])
@pytest.mark.parametrize(("law", "powers"), [("free", 4), ("exact", 3)])
def test_losses_are_over_the_mean_squared_norm_of_a_row(law, powers, scale):
    X, groups, power = orbits_of(rotation(90), 4, noise=0.5)
    standing_still = {"solver": "adam", "lr": 1e-12, "max_epochs": 1}
    fitter = ActivationTransformFitter(group_law=law, **standing_still)
    fitter.fit(scale * X, groups=groups, power=power)
    table = X.reshape(-1, 4, 2)
    moved = [fitter.act(table[:, 0], p) for p in range(1, powers + 1)]
    true = [table[:, p % 4] for p in range(1, powers + 1)]
    loss = np.square(np.subtract(moved, true)).sum(axis=2).mean()
    expected = loss / np.square(X).sum(axis=1).mean()
    np.testing.assert_allclose(fitter.loss_curve_, expected, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-20, 1, 1e20])
def test_descent_that_ends_below_the_identity_warns(scale, turning_orbits):
    X, groups, power, _ = turning_orbits
    settings = {"solver": "adam", "group_law": "free", "random_state": 0}
    metadata = {"groups": groups, "power": power}
    poor = ActivationTransformFitter(lr=1, max_epochs=3, **settings)
    with pytest.warns(ConvergenceWarning, match="less of the activations than M = I"):
        poor.fit(scale * X, **metadata)
    unfinished = ActivationTransformFitter(max_epochs=3, **settings)
    with pytest.warns(ConvergenceWarning, match="their mean does.*raise max_epochs"):
        unfinished.fit(scale * X, **metadata)
