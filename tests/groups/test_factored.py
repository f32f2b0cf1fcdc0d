"""M in a few directions is kept as factors, whose memory is bounded."""

import pickle
import tracemalloc

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from sk_eqsae import ActivationTransformFitter, EquivariantSAE
from sk_eqsae.groups import CyclicGroup, DihedralGroup
from sk_eqsae.groups._element_matrices import (
    averaged,
    element_matrices,
    irrep_basis,
    moved_by_all,
)
from sk_eqsae.persistence import load, save

from .representations import canonicalize, known_representation, orbits_of

GROUPS = [CyclicGroup(4), DihedralGroup(3)]
any_group = pytest.mark.parametrize("group", GROUPS, ids=str)


def wide_orbits(group, n_features=40, n_orbits=50, dtype=np.float64):
    """Orbits in a few directions of many features."""
    X, metadata = orbits_of(known_representation(group), group, n_orbits=n_orbits)
    rng = np.random.default_rng(0)
    X = X @ rng.normal(size=(X.shape[1], n_features)) + rng.normal(size=n_features)
    return X.astype(dtype), metadata


def factored(group, X, metadata):
    n = known_representation(group).shape[1] + 1  # the mean is a direction, too
    fitter = ActivationTransformFitter(symmetry=group, n_components=n, random_state=0)
    return fitter.fit(X, **metadata)


@any_group
def test_factors_do_what_the_whole_matrices_do(group):
    X, metadata = wide_orbits(group)
    fitter = factored(group, X, metadata)
    whole = ActivationTransformFitter(symmetry=group).fit(X, **metadata)
    whole.M_ = fitter.M_
    generic = X + np.random.default_rng(1).normal(size=X.shape)
    power = metadata["power"]
    assert_close = np.testing.assert_allclose
    assert_close(fitter.act(generic, power), whole.act(generic, power), atol=1e-9)
    assert_close(fitter.transform(generic), whole.transform(generic), atol=1e-9)
    back = fitter.inverse_transform(fitter.transform(generic))
    assert_close(back, generic, atol=1e-9)
    assert_close(fitter.matrix(power[-1]), whole.matrix(power[-1]), atol=1e-9)
    assert fitter.score(X, **metadata) == pytest.approx(whole.score(X, **metadata))
    expected = dict(moved_by_all(whole, generic))
    for element, moved in moved_by_all(fitter, generic):
        assert_close(moved, expected[element], atol=1e-9)
    assert_close(averaged(fitter, generic[0]), averaged(whole, generic[0]), atol=1e-9)
    assert_close(element_matrices(fitter), element_matrices(whole), atol=1e-9)
    for a, b in zip(irrep_basis(fitter), irrep_basis(whole), strict=True):
        assert_close(a, b, atol=1e-6)
    canonical, pose, _ = canonicalize(X, fitter)
    assert_close(canonical, np.repeat(canonical[:: group.order], group.order, axis=0))
    assert_close(fitter.act(canonical, pose), X, atol=1e-9)


@any_group
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_files_hold_factors(group, method, tmp_path):
    X, metadata = wide_orbits(group, n_features=2_000)
    fitter = ActivationTransformFitter(symmetry=group, n_components=13, random_state=0)
    getattr(fitter, method)(X, **metadata)
    fitter.M_  # noqa: B018  asking for it keeps nothing
    save(fitter, tmp_path / "M")
    assert (tmp_path / "M").stat().st_size < 1e6  # M_ takes 32 MB for each generator
    assert len(pickle.dumps(fitter)) < 1e6
    moved = fitter.act(X, metadata["power"])
    for copy in (load(tmp_path / "M"), pickle.loads(pickle.dumps(fitter))):
        assert np.array_equal(copy.act(X, metadata["power"]), moved)
        if method == "partial_fit":
            copy.partial_fit(X, **metadata)


def test_trivial_group_needs_no_matrix(tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 3_000))
    fitter = ActivationTransformFitter(symmetry=1, n_components=5).fit(X)
    save(fitter, tmp_path / "M")
    assert (tmp_path / "M").stat().st_size < 1e6
    copy = load(tmp_path / "M")
    assert np.array_equal(copy.act(X, 5), X)
    assert copy.score(X) == 1
    assert np.array_equal(copy.M_, np.eye(3_000))


def test_memory_grows_with_the_directions():
    n_features = 8_192  # whose square is 0.5 GB
    X, metadata = wide_orbits(CyclicGroup(4), n_features, dtype=np.float32)
    tracemalloc.start()
    fitter = factored(CyclicGroup(4), X, metadata)
    fitter.act(X, metadata["power"])
    fitter.score(X, **metadata)
    canonicalize(X, fitter)
    sae = EquivariantSAE(
        32,
        k=4,
        hidden_dim=16,
        max_epochs=1,
        activation_transform=FrozenEstimator(fitter),
        random_state=0,
    ).fit(X, **metadata)
    sae.predict_power(X)
    sae.reconstruct(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6
