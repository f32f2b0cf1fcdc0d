"""What is said of M that is not to be trusted, and of M that is."""

import warnings

import numpy as np
import pytest

from sk_eqsae import ActivationTransformFitter
from sk_eqsae.groups import CyclicGroup, ProductGroup

TURN = 2 * np.pi / 12


def layer_of_shifted_inputs(n_orbits, order=8, n_inputs=24, width=16, gain=4.0):
    """Activations of a nonlinear layer, which hardly follow the shifts."""
    rng = np.random.default_rng(0)
    W = gain * rng.normal(size=(n_inputs, width)) / np.sqrt(n_inputs)
    b, x = rng.normal(size=width), rng.normal(size=(n_orbits, n_inputs))
    step = n_inputs // order
    X = [np.tanh(np.roll(x, p * step, axis=1) @ W + b) for p in range(order)]
    groups, power = np.indices((n_orbits, order)).reshape(2, -1)
    return np.stack(X, axis=1).reshape(-1, width), {"groups": groups, "power": power}


def layer_of_turned_inputs(n_orbits, frequency, angles):
    """A layer of ReLUs after functions on the circle up to a frequency, turned."""
    rng = np.random.default_rng(0)
    k = np.arange(1, frequency + 1)
    a, b = rng.normal(size=(2, n_orbits, frequency)) / np.sqrt(frequency)
    W = rng.normal(size=(2 * frequency + 1, 24))
    ones = np.ones((n_orbits, 1))
    return np.stack(
        [
            np.maximum(
                np.hstack(
                    [
                        a * np.cos(k * angle) - b * np.sin(k * angle),
                        a * np.sin(k * angle) + b * np.cos(k * angle),
                        ones,
                    ]
                )
                @ W,
                0,
            )
            for angle in angles
        ],
        axis=1,
    )


def test_m_that_explains_less_than_the_mean_of_its_own_rows_warns():
    X, metadata = layer_of_shifted_inputs(23)
    with pytest.warns(
        UserWarning, match="their mean does.*held out it will be"
    ) as all_:
        fitter = ActivationTransformFitter(symmetry=8).fit(X, **metadata)
    assert len(all_) == 1
    assert all_[0].filename == __file__
    assert fitter.score(X, **metadata) < 0


@pytest.mark.parametrize(
    "group", [CyclicGroup(13), ProductGroup(CyclicGroup(3), CyclicGroup(4))], ids=str
)
def test_single_orbit_is_scored_against_the_mean_of_all_rows(group):
    rng = np.random.default_rng(0)
    elements = np.arange(group.order)
    X = np.concatenate(
        [
            np.stack([np.cos(a), np.sin(a)], axis=1)
            for a in (
                2 * np.pi * p / n
                for p, n in zip(group.powers.T, group.generator_orders, strict=True)
            )
        ],
        axis=1,
    ) @ rng.normal(size=(2 * group.n_generators, 20)) + rng.normal(size=20)
    metadata = {"groups": np.zeros(group.order, int), "power": group.power_of(elements)}
    fitter = ActivationTransformFitter(symmetry=group).fit(X, **metadata)
    assert fitter.score(X, **metadata) > 1 - 1e-9
    assert (fitter.r2_per_power(X, **metadata) > 1 - 1e-9).all()
    fitter.M_ = np.zeros_like(fitter.M_)
    mean = np.zeros_like(X) + X.mean(axis=0)
    expected = 1 - np.square(X[1:]).sum() / np.square(X - mean)[1:].sum()
    assert fitter.score(X, **metadata) == pytest.approx(expected, rel=0.2)
    assert fitter.score(X, **metadata) < 0


def test_single_orbit_is_not_told_to_give_more():
    X = np.random.default_rng(0).normal(size=(4, 16))
    metadata = {"groups": np.zeros(4, int), "power": np.arange(4)}
    with pytest.warns(UserWarning, match="moves any single orbit") as caught:
        fitter = ActivationTransformFitter().fit(X, **metadata)
    assert len(caught) == 1
    assert "orbits or more" not in str(caught[0].message)
    assert fitter.score(X, **metadata) > 1 - 1e-9


@pytest.mark.parametrize(("frequency", "trusted"), [(2, True), (6, False), (8, False)])
def test_powers_between_warn_where_frequencies_reach_half_the_order(frequency, trusted):
    half_steps = layer_of_turned_inputs(300, frequency, TURN / 2 * np.arange(24))
    groups, power = np.indices((300, 12)).reshape(2, -1)
    fitter = ActivationTransformFitter(symmetry=12)
    X = half_steps[:, ::2]
    fitter.fit(X.reshape(-1, 24), groups=groups, power=power)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        moved = fitter.act(X[:, 0], 0.5)
        fitter.act(X[:, 0], 3.0)
    total = np.square(half_steps[:, 1] - half_steps[:, 1].mean(axis=0)).sum()
    r2 = 1 - np.square(moved - half_steps[:, 1]).sum() / total
    assert len(caught) == (0 if trusted else 1)
    assert (r2 > 0.9) == trusted
    if not trusted:
        assert "angular frequency 6" in str(caught[0].message)
        assert caught[0].filename == __file__


def test_a_score_of_canonical_rows_alone_says_that_it_needs_others():
    X, metadata = layer_of_shifted_inputs(30)
    canonical = metadata["power"] == 0
    alone = {name: values[canonical] for name, values in metadata.items()}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitter = ActivationTransformFitter(symmetry=8).fit(X, **metadata)
    with pytest.raises(ValueError, match="no row has another power than 0"):
        fitter.score(X[canonical], **alone)


def test_m_of_a_few_long_orbits_says_what_it_is_for_the_others():
    X, metadata = layer_of_shifted_inputs(600)
    long = metadata["groups"] % 100 == 0
    with pytest.warns(UserWarning, match=r"1 % of the orbits hold 9\d% .* R2 of -?\d"):
        ActivationTransformFitter(8).fit(
            np.where(long[:, np.newaxis], 100 * X, X), **metadata
        )
