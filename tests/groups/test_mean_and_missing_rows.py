"""The closed forms on rows with a large mean, and on orbits with missing rows."""

import warnings

import numpy as np
import pytest

from sk_eqsae import ActivationTransformFitter, load, save
from sk_eqsae.groups import CyclicGroup, DihedralGroup

from .representations import known_representation, orbits_of

C4, C8, D4 = CyclicGroup(4), CyclicGroup(8), DihedralGroup(4)
any_group = pytest.mark.parametrize("group", [C4, D4], ids=repr)
any_law = pytest.mark.parametrize("law", ["exact", "free", "orthogonal"])
linear_law = pytest.mark.parametrize("law", ["exact", "free"])
any_mean = pytest.mark.parametrize("size", [30.0, 1e3, 1e6])


def rows_of(group, *, n_orbits=200, noise=0.02, seed=1):
    M = known_representation(group)
    return orbits_of(M, group, noise=noise, n_orbits=n_orbits, seed=seed)


def still(group, size):
    """A vector that the group leaves alone."""
    vector = known_representation(group).mean(axis=0).sum(axis=1)
    return size * vector / np.linalg.norm(vector)


def folded(group, *, n_orbits, seed):
    """Orbits after a layer that keeps some of the symmetry."""
    X, metadata = rows_of(group, n_orbits=n_orbits, seed=seed)
    rng = np.random.default_rng(9)
    weights = rng.normal(size=(X.shape[1], 96))
    X = np.maximum(X @ weights / np.sqrt(X.shape[1]), 0)
    return X + 0.05 * np.random.default_rng(seed).normal(size=X.shape), metadata


def some(X, metadata, kept):
    return X[kept], {name: values[kept] for name, values in metadata.items()}


def all_but_one(n_rows, order):
    return np.arange(n_rows) != 1


def nine_in_ten(n_rows, order):
    kept = np.random.default_rng(0).random(n_rows) < 0.9
    return kept | (np.arange(n_rows) % order == 0)


def every_third_orbit_less_one(n_rows, order):
    return np.arange(n_rows) % (3 * order) != 1


incomplete = [all_but_one, nine_in_ten, every_third_orbit_less_one]
any_rows = pytest.mark.parametrize(
    "rows", [lambda n, order: np.full(n, True), *incomplete]
)


def fitted(X, metadata, group, **settings):
    return ActivationTransformFitter(symmetry=group, **settings).fit(X, **metadata)


@any_group
@linear_law  # an orthogonal one that the mean weighs down is another one
@any_rows
@any_mean
def test_r2_does_not_depend_on_the_mean(group, law, rows, size):
    X, metadata = rows_of(group)
    test, its_metadata = rows_of(group, seed=2)
    mean = still(group, size)
    scores = []
    for change in (0, mean):
        kept = some(X + change, metadata, rows(len(X), group.order))
        fitter = fitted(*kept, group, group_law=law)
        scores.append(fitter.score(test + change, **its_metadata))
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)
    if law == "exact":
        assert fitter.rank_ == X.shape[1]
        assert fitter.order_error_ < 1e-12


@any_group
@linear_law
@any_mean
def test_mean_is_mapped_to_itself(group, law, size):
    X, metadata = rows_of(group)
    X += still(group, size)
    fitter = fitted(X, metadata, group, group_law=law)
    mean = X.mean(axis=0)
    for M in fitter.M_.reshape(-1, *2 * mean.shape):
        np.testing.assert_allclose(M @ mean, mean, atol=1e-2 if size < 1e3 else 1e-8)


@any_law
@any_rows
@any_mean
def test_parts_of_rows_with_a_large_mean_give_the_same_matrix(law, rows, size):
    X, metadata = rows_of(C4)
    X, metadata = some(X + still(C4, size), metadata, rows(len(X), 4))
    once = fitted(X, metadata, C4, group_law=law)
    in_parts = ActivationTransformFitter(symmetry=C4, group_law=law)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "M is not to be trusted")  # of one orbit
        for first, last in ((150, 151), (0, 90), (151, 200), (90, 150)):
            part = (metadata["groups"] >= first) & (metadata["groups"] < last)
            its_X, its_metadata = some(X, metadata, part)
            in_parts.partial_fit(its_X, **its_metadata)
    tolerance = 1e-8 if law != "orthogonal" else max(1e-8, 1e-14 * size**2)
    np.testing.assert_allclose(in_parts.M_, once.M_, atol=tolerance)


@pytest.mark.parametrize("constant", [1e3, 1e5])
@pytest.mark.parametrize("n_orbits", [8, 300])  # rows are kept, rows are summed
def test_small_features_beside_a_large_constant_one_are_seen(constant, n_orbits):
    X, metadata = rows_of(C4, n_orbits=n_orbits, noise=0)
    X = np.hstack([0.05 * X, np.full((len(X), 1), constant)])
    fitter = fitted(X, metadata, C4)
    assert fitter.rank_ == X.shape[1]  # one of them is the mean's
    assert fitter.score(X, **metadata) > 0.9999
    np.testing.assert_allclose(
        fitter.M_[:8, :8], known_representation(C4)[1], atol=1e-6
    )


def test_float32_rows_with_a_large_mean():
    X, metadata = rows_of(C4)
    X = (X + still(C4, 1e4)).astype(np.float32)
    assert fitted(X, metadata, C4).score(X, **metadata) > 0.99


@any_law
@pytest.mark.parametrize("value", [0.1, 1e5])
def test_rows_that_are_all_alike_are_left_alone(law, value):
    groups, power = np.indices((50, 4)).reshape(2, -1)
    X = value * np.ones((200, 5)) + np.arange(5)
    fitter = fitted(X, {"groups": groups, "power": power}, C4, group_law=law)
    np.testing.assert_allclose(fitter.act(X, 1), X, rtol=1e-9)


def test_refinement_starts_from_a_closed_form_that_knows_of_the_mean():
    X, metadata = rows_of(C4, noise=0.2)
    X += still(C4, 1e4)
    closed = fitted(X, metadata, C4).score(X, **metadata)
    settings = {"solver": "adam", "max_epochs": 1, "random_state": 0}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gradient descent with")
        refined = fitted(X, metadata, C4, **settings)
    assert refined.score(X, **metadata) > closed - 0.01
    assert refined.order_error_ < 1e-12


@pytest.mark.parametrize("group", [C8, D4], ids=repr)
@pytest.mark.parametrize("rows", incomplete)
def test_missing_rows_cost_little_where_not_all_is_explained(group, rows):
    X, metadata = folded(group, n_orbits=400, seed=1)
    test, its_metadata = folded(group, n_orbits=100, seed=2)
    whole = fitted(X, metadata, group)
    kept = fitted(*some(X, metadata, rows(len(X), group.order)), group)
    assert kept.order_error_ < 1e-12
    scores = [fitter.score(test, **its_metadata) for fitter in (whole, kept)]
    assert 0.5 < scores[0] < 0.8
    assert scores[1] > scores[0] - 0.01


@pytest.mark.parametrize("group", [C4, C8, D4], ids=repr)
def test_orbits_of_two_rows_each_tell_the_whole_law(group):
    X, metadata = rows_of(group, n_orbits=600, noise=0.2)
    other = np.random.default_rng(0).integers(1, group.order, size=600)
    element = np.tile(np.arange(group.order), 600)
    kept = (element == 0) | (element == np.repeat(other, group.order))
    fitter = fitted(*some(X, metadata, kept), group)
    test, its_metadata = rows_of(group, noise=0.2, seed=2)
    best = fitted(X, metadata, group).score(test, **its_metadata)
    assert fitter.score(test, **its_metadata) > best - 0.02


@pytest.mark.parametrize("rows", incomplete)
def test_wrong_groups_are_not_to_be_trusted_without_some_rows_either(rows):
    X, metadata = rows_of(C4)
    shuffled = np.random.default_rng(0).permutation(len(X))
    X, metadata = some(X[shuffled], metadata, rows(len(X), 4))
    with pytest.warns(UserWarning, match="explains less of the activations than"):
        fitted(X, metadata, C4)


@any_law
@any_rows
def test_saved_sums_go_on_where_they_were(law, rows, tmp_path):
    X, metadata = rows_of(D4)
    X, metadata = some(X + still(D4, 1e3), metadata, rows(len(X), 8))
    fitter = ActivationTransformFitter(symmetry=D4, group_law=law)
    fitter.partial_fit(X, **metadata)
    save(fitter, tmp_path / "sums")
    loaded = load(tmp_path / "sums")
    for each in (fitter, loaded):
        each.partial_fit(X, **metadata)
    assert np.array_equal(loaded.M_, fitter.M_)
