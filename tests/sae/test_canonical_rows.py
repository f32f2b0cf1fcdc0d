"""What EquivariantSAE says where it cannot learn, and that it says nothing else."""

import warnings

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    OrbitSAE,
    load,
    save,
)

SETTINGS = {"k": 4, "hidden_dim": 64, "batch_size": 32, "random_state": 0}


def orbits(canonical):
    """Rows that four steps of three features each move, and their metadata."""
    n_orbits = len(canonical)
    X = np.stack([np.roll(canonical, 3 * p, axis=1) for p in range(4)], axis=1)
    metadata = {"groups": np.repeat(range(n_orbits), 4), "power": [0, 1, 2, 3]}
    metadata["power"] = np.tile(metadata["power"], n_orbits)
    return X.reshape(-1, canonical.shape[1]), metadata


def upright(n_orbits=100):
    """Canonical rows in three features of twelve."""
    values = np.abs(np.random.default_rng(0).normal(size=(n_orbits, 3)))
    return values @ np.eye(3, 12)


def turned(canonical):
    """Each row moved by a random element."""
    turns = 3 * np.random.default_rng(1).integers(4, size=len(canonical))
    return np.stack([np.roll(x, t) for x, t in zip(canonical, turns, strict=True)])


@pytest.mark.parametrize("max_epochs", [1, 40])  # not trained yet, and learned by heart
def test_canonical_rows_that_any_other_row_could_be_are_warned_of(max_epochs):
    X, metadata = orbits(turned(upright()))
    sae = EquivariantSAE(24, max_epochs=max_epochs, **SETTINGS)
    with pytest.warns(UserWarning, match="canonical rows cannot be recog") as caught:
        sae.fit(X, **metadata)
    (message,) = [str(warning.message) for warning in caught]
    assert "max_epochs" not in message
    assert caught[0].filename == __file__


def test_dead_latents_are_then_not_blamed_on_too_little_training():
    line = np.linspace(1, 2, 400)[:, np.newaxis] * np.ones((400, 3)) @ np.eye(3, 12)
    sae = EquivariantSAE(300, max_epochs=2, **SETTINGS | {"k": 2})
    X, metadata = orbits(turned(line))
    with pytest.warns(UserWarning, match="cannot be recognised") as caught:
        sae.fit(X, **metadata)
    assert len(caught) == 1
    X, metadata = orbits(line)
    with pytest.warns(UserWarning, match="of 300 latents are dead.*Raise max_epochs"):
        sae.fit(X, **metadata)


@pytest.mark.parametrize("unit", [1.0, 1e30, 1e-30])
def test_canonical_rows_that_can_be_seen_are_not_warned_of(unit):
    for n_orbits in (30, 100):
        signed = np.random.default_rng(0).normal(size=(n_orbits, 3)) @ np.eye(3, 12)
        for canonical in (upright(n_orbits), signed):  # no mean tells the signed ones
            X, metadata = orbits(unit * canonical)
            EquivariantSAE(24, max_epochs=2, **SETTINGS).fit(X, **metadata)


def test_what_the_group_hardly_moves_needs_no_canonical_row():
    rng = np.random.default_rng(0)
    fixed = np.tile(rng.normal(size=(100, 3)), 4)
    X, metadata = orbits(fixed + 0.1 * rng.normal(size=(100, 12)))
    EquivariantSAE(24, max_epochs=2, **SETTINGS).fit(X, **metadata)


def test_few_orbits_are_not_judged():
    for n_orbits in (20, 24, 29):
        X, metadata = orbits(turned(upright(n_orbits)))
        EquivariantSAE(24, max_epochs=2, **SETTINGS).fit(X, **metadata)
    X, metadata = orbits(turned(upright()))
    kept = (metadata["power"] == 0) | (metadata["groups"] < 20)  # the others alone
    metadata = {name: values[kept] for name, values in metadata.items()}
    EquivariantSAE(24, max_epochs=2, **SETTINGS).fit(X[kept], **metadata)


def test_poses_at_chance_are_warned_of_where_training_had_its_time():
    X, metadata = orbits(upright())
    M = ActivationTransformFitter().fit(X, **metadata)
    M.M_ = np.eye(12)  # turns two features, and leaves the others
    M.M_[:2, :2] = [[0, -1], [1, 0]]
    settings = SETTINGS | {"activation_transform": FrozenEstimator(M)}
    with pytest.warns(UserWarning, match=r"predict_power is at chance: .* 25%"):
        EquivariantSAE(24, max_epochs=30, **settings).fit(X, **metadata)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EquivariantSAE(24, max_epochs=2, **settings).fit(X, **metadata)


@pytest.mark.parametrize("kind", [GroupTiedSAE, OrbitSAE])
@pytest.mark.parametrize("n_components", [16, 96])  # and most learned by heart
def test_tied_codes_say_that_poses_are_at_chance_where_they_are_asked(
    tmp_path, n_components, kind
):
    settings = {"k": 3, "max_epochs": 30, "random_state": 0}
    sae = kind(n_components, **settings)
    X, metadata = orbits(turned(upright()))
    sae.fit(X, **metadata)
    save(sae, tmp_path / "sae")
    for fitted in (sae, load(tmp_path / "sae")):
        with pytest.warns(UserWarning, match="predict_power is at chance") as caught:
            fitted.predict_power(X)
        assert caught[0].filename == __file__
    X, metadata = orbits(upright())
    found = sae.fit(X, **metadata).predict_power(X)
    assert (found == metadata["power"]).mean() > 0.7
    sae.fit(X[:40], **{name: values[:40] for name, values in metadata.items()})
    sae.predict_power(X)  # too few orbits to be judged
