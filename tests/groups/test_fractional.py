import numpy as np
import pytest
from scipy.linalg import expm

from sk_eqsae import ActivationTransformFitter
from sk_eqsae.groups import CyclicGroup, ProductGroup
from sk_eqsae.groups._real_powers import power_weights


def rotations(*frequencies):
    """A whose expm turns planes at given frequencies, in a skew basis."""
    A = np.zeros((2 * len(frequencies), 2 * len(frequencies)))
    for i, frequency in enumerate(frequencies):
        A[2 * i, 2 * i + 1], A[2 * i + 1, 2 * i] = -frequency, frequency
    rng = np.random.default_rng(0)
    basis = np.eye(len(A)) + 0.2 * rng.normal(size=A.shape)
    return basis @ A @ np.linalg.inv(basis)


@pytest.fixture(scope="module")
def family():
    """A fitter of order 12 and the generator A of M^t = expm(t A)."""
    A = 2 * np.pi / 12 * rotations(0, 1, 2, 5)
    x = np.random.default_rng(1).normal(size=(100, len(A)))
    X = np.stack([x @ expm(p * A).T for p in range(12)], axis=1).reshape(-1, len(A))
    groups, power = np.repeat(np.arange(100), 12), np.tile(np.arange(12), 100)
    return ActivationTransformFitter().fit(X, groups=groups, power=power), A


@pytest.mark.parametrize("t", [0.5, 1 / 3, -2.25, 7.9, 3.0])
def test_real_power_is_the_matrix_exponential(family, t):
    fitter, A = family
    np.testing.assert_allclose(fitter.matrix(t), expm(t * A), atol=1e-7)
    X = np.random.default_rng(2).normal(size=(5, len(A)))
    np.testing.assert_allclose(fitter.act(X, t), X @ expm(t * A).T, atol=1e-6)


def test_two_half_steps_are_a_step(family):
    fitter, A = family
    X = np.random.default_rng(2).normal(size=(5, len(A)))
    half = fitter.act(X, 0.5)
    np.testing.assert_allclose(fitter.act(half, 0.5), fitter.act(X, 1), atol=1e-7)


def test_each_row_has_its_own_real_power(family):
    fitter, A = family
    X = np.random.default_rng(2).normal(size=(4, len(A)))
    power = np.array([0.0, 0.25, 1.0, 11.5])
    expected = [x @ expm(t * A).T for x, t in zip(X, power, strict=True)]
    np.testing.assert_allclose(fitter.act(X, power), expected, atol=1e-6)


def test_inverse_transform_undoes_a_real_power(family):
    fitter, A = family
    X = np.random.default_rng(2).normal(size=(5, len(A)))
    fitter.set_params(power=0.3)
    moved = fitter.transform(X)
    fitter_back = fitter.inverse_transform(moved)
    fitter.set_params(power=1)
    np.testing.assert_allclose(fitter_back, X, atol=1e-7)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 7, 8])
def test_whole_powers_have_one_weight(order):
    powers = np.arange(-order, 2 * order, dtype=float)
    expected = np.eye(order)[powers.astype(int) % order]
    np.testing.assert_allclose(power_weights(powers, order), expected, atol=1e-12)


@pytest.mark.parametrize("order", [3, 4, 7, 8])
def test_weights_are_continuous_at_whole_powers(order):
    near = power_weights(np.array([1 + 1e-9]), order)
    np.testing.assert_allclose(near, power_weights(np.array([1.0]), order), atol=1e-7)


def test_real_powers_of_several_generators():
    A, B = np.zeros((4, 4)), np.zeros((4, 4))
    A[:2, :2] = rotations(2 * np.pi / 3)
    B[2:, 2:] = rotations(2 * np.pi / 5)
    group = ProductGroup(CyclicGroup(3), CyclicGroup(5))
    x = np.random.default_rng(1).normal(size=(60, 4))
    X = np.stack([x @ (expm(p * A) @ expm(q * B)).T for p, q in group.powers], axis=1)
    groups, power = np.repeat(np.arange(60), 15), np.tile(group.powers, (60, 1))
    fitter = ActivationTransformFitter(symmetry=group)
    fitter.fit(X.reshape(-1, 4), groups=groups, power=power)
    expected = expm(0.5 * A) @ expm(-1.2 * B)
    with pytest.warns(UserWarning, match="frequency 1, the highest that steps of 1/3"):
        found = fitter.matrix([0.5, -1.2])
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("order", [2, 4, 5, 12])
@pytest.mark.parametrize("n_components", [None, 4])
def test_real_powers_of_what_turns_too_fast_are_warned_of(order, n_components):
    A = 2 * np.pi / order * rotations(0, order // 2)  # or from order // 2 upwards
    x = np.random.default_rng(1).normal(size=(100, 4))
    X = np.stack([x @ expm(p * A).T for p in range(order)], axis=1).reshape(-1, 4)
    metadata = {"groups": np.repeat(range(100), order), "power": [*range(order)] * 100}
    fitter = ActivationTransformFitter(n_components=n_components).fit(X, **metadata)
    for move in (fitter.matrix, lambda t: fitter.act(X, t)):
        move(1)
        with pytest.warns(UserWarning, match="not whole are a guess here: 100%"):
            move(0.5)


@pytest.mark.filterwarnings("ignore:M is not to be trusted")
def test_real_powers_need_an_exact_law():
    X = np.random.default_rng(0).normal(size=(8, 2))
    groups, power = [0] * 4 + [1] * 4, [0, 1, 2, 3] * 2
    fitter = ActivationTransformFitter(group_law="free")
    fitter.fit(X, groups=groups, power=power)
    with pytest.raises(ValueError, match=r"power must hold integers, found 0\.5"):
        fitter.act(X, 0.5)


def test_nan_power_is_an_error(family):
    fitter, A = family
    with pytest.raises(ValueError, match="power contains NaN"):
        fitter.act(np.ones((1, len(A))), np.nan)


def halves(frequency, *, n_orbits=40):
    """Orbits of order 12 in half steps, of rows that turn at a frequency."""
    A = 2 * np.pi / 12 * rotations(0, frequency)
    x = np.random.default_rng(1).normal(size=(n_orbits, len(A)))
    power = np.tile(np.arange(24) / 2, n_orbits)
    X = np.stack([x @ expm(p * A).T for p in power[:24]], axis=1).reshape(-1, len(A))
    return X, {"groups": np.repeat(range(n_orbits), 24), "power": power}


@pytest.mark.parametrize(("frequency", "is_right"), [(2, True), (5, True), (7, False)])
def test_rows_of_half_steps_tell_whether_real_powers_hold(frequency, is_right):
    X, metadata = halves(frequency)
    whole = metadata["power"] % 1 == 0
    fitter = ActivationTransformFitter(12)
    fitter.fit(X[whole], **{name: v[whole] for name, v in metadata.items()})
    assert fitter.score(X[whole], **{n: v[whole] for n, v in metadata.items()}) > 0.999
    # 7 steps of 12 look like 5 back at whole powers: no spectrum of these shows it
    of_halves = fitter.score(X, **metadata)
    assert of_halves > 0.999 if is_right else of_halves < 0.5
    shuffled = np.random.default_rng(0).permutation(len(X))
    again = fitter.score(X[shuffled], **{n: v[shuffled] for n, v in metadata.items()})
    assert again == pytest.approx(of_halves)


def test_rows_of_half_steps_at_sites_are_moved_from_their_own_site():
    X, metadata = halves(2)
    fitter = ActivationTransformFitter(12)
    whole = metadata["power"] % 1 == 0
    fitter.fit(X[whole], **{name: v[whole] for name, v in metadata.items()})
    site = metadata["groups"] % 2
    paired = metadata | {"groups": metadata["groups"] // 2, "site": site}
    assert fitter.score(X, **paired) == pytest.approx(fitter.score(X, **metadata))


def test_rows_of_half_steps_need_their_canonical_row():
    X, metadata = halves(2)
    fitter = ActivationTransformFitter(12)
    whole = metadata["power"] % 1 == 0
    fitter.fit(X[whole], **{name: v[whole] for name, v in metadata.items()})
    rest = {name: v[1:] for name, v in metadata.items()}
    with pytest.raises(ValueError, match="have no row of power 0"):
        fitter.score(X[1:], **rest)
    nothing = metadata | {"groups": np.where(whole, metadata["groups"], np.nan)}
    with pytest.raises(ValueError, match="groups"):
        fitter.score(X, **nothing)
    with pytest.raises(ValueError, match="without groups"):
        fitter.score(X, power=metadata["power"])


@pytest.mark.filterwarnings("ignore:M is not to be trusted")
def test_a_free_law_scores_whole_powers_only():
    X, metadata = halves(2)
    whole = metadata["power"] % 1 == 0
    fitter = ActivationTransformFitter(12, group_law="free")
    fitter.fit(X[whole], **{name: v[whole] for name, v in metadata.items()})
    with pytest.raises(ValueError, match="power must hold integers"):
        fitter.score(X, **metadata)
