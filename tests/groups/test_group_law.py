"""The exact law against groups whose representation is known."""

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes, polar

from sk_eqsae import ActivationTransformFitter, EquivariantSAE, extract_orbits
from sk_eqsae.groups import (
    ChannelPermutation,
    CubeRotation,
    CyclicGroup,
    DihedralGroup,
    GeneratedGroup,
    GridShift,
    ImageDihedral,
    ProductGroup,
    SymmetricGroup,
    multiplicities,
)
from sk_eqsae.groups._exact_law import _orthonormal, exact_representation

from .representations import (
    homomorphism_error,
    is_homomorphism,
    known_representation,
    orbits_of,
)

GROUPS = [
    CyclicGroup(2),
    CyclicGroup(6),
    DihedralGroup(4),
    SymmetricGroup(3),
    ProductGroup(CyclicGroup(2), CyclicGroup(3)),
]
every_group = pytest.mark.parametrize("group", GROUPS, ids=repr)

# i and j of the quaternions, acting on 1, i, j, k and their opposites
QUATERNIONS = GeneratedGroup([(1, 4, 3, 6, 5, 0, 7, 2), (2, 7, 4, 1, 6, 3, 0, 5)])


def representation_of_frame(T, group):
    """Reference: one eigenproblem of order * n dimensions, without irreps."""
    product, (order, n) = group.multiplication_table, T.shape[:2]
    overlap = T[product[group.inverses]].transpose(0, 2, 1, 3)
    overlap = overlap.reshape(order * n, order * n)
    vectors = np.linalg.eigh((overlap + overlap.T) / 2)[1][:, -n:]
    leading = vectors.reshape(order, n, n)
    frame = polar(leading[0])[0]
    moved = np.einsum("ghij,hik->gjk", leading[product], leading)
    return frame @ moved @ frame.T


def fitted(group, **settings):
    M = known_representation(group)
    X, metadata = orbits_of(M, group)
    return M, ActivationTransformFitter(symmetry=group, **settings).fit(X, **metadata)


@every_group
def test_known_representation_is_a_homomorphism(group):
    assert is_homomorphism(known_representation(group), group)


@every_group
def test_known_matrices_are_recovered(group):
    M, fitter = fitted(group)
    for power, expected in zip(group.powers, M, strict=True):
        np.testing.assert_allclose(fitter.matrix(power), expected, atol=1e-6)


@every_group
@pytest.mark.parametrize("solver", ["lstsq", "adam"])
def test_all_relations_hold_to_machine_precision(group, solver):
    X, metadata = orbits_of(known_representation(group), group, noise=0.3)
    fitter = ActivationTransformFitter(symmetry=group, solver=solver, max_epochs=2)
    fitter.fit(X, **metadata)
    assert fitter.order_error_ < 1e-10
    matrices = np.array([fitter.matrix(p) for p in group.powers])
    assert homomorphism_error(matrices, group.multiplication_table) < 1e-10


def test_flip_turns_the_rotation_round_in_d4():
    X, metadata = orbits_of(known_representation(DihedralGroup(4)), DihedralGroup(4))
    r, s = ActivationTransformFitter(symmetry=DihedralGroup(4)).fit(X, **metadata).M_
    np.testing.assert_allclose(s @ r @ s, np.linalg.inv(r), atol=1e-10)


@every_group
@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_with_noise_r2_is_at_its_ceiling(group, noise):
    M = known_representation(group)
    X, metadata = orbits_of(M, group, noise=noise, n_orbits=2_000)
    test, test_metadata = orbits_of(M, group, noise=noise, n_orbits=500, seed=2)
    fitter = ActivationTransformFitter(symmetry=group).fit(X, **metadata)
    learned = fitter.score(test, **test_metadata)
    for i, matrix in enumerate(
        M[group.elements_of(np.eye(group.n_generators, dtype=int))]
    ):
        fitter.M_.reshape(-1, *matrix.shape)[i] = matrix
    assert learned > fitter.score(test, **test_metadata) - 0.005


@every_group
def test_multiplicities_are_those_of_the_regular_representation(group):
    M, fitter = fitted(group)
    expected = multiplicities(group, np.trace(M, axis1=1, axis2=2))
    np.testing.assert_allclose(fitter.multiplicities_, expected, atol=1e-9)


@every_group
def test_free_law_finds_the_known_matrices_too(group):
    M, fitter = fitted(group, group_law="free")
    for power, expected in zip(group.powers, M, strict=True):
        np.testing.assert_allclose(fitter.matrix(power), expected, atol=1e-3)


def test_orthogonal_law_is_procrustes():
    group = CyclicGroup(4)
    X, metadata = orbits_of(known_representation(group), group)
    fitter = ActivationTransformFitter(group_law="orthogonal").fit(X, **metadata)
    orbits = X.reshape(-1, 4, X.shape[1])
    before, after = orbits.reshape(X.shape), np.roll(orbits, -1, 1).reshape(X.shape)
    expected = orthogonal_procrustes(before, after)[0].T
    np.testing.assert_allclose(fitter.M_, expected, atol=1e-9)


def test_exact_law_stays_near_a_law_that_the_data_almost_obey():
    group = CyclicGroup(4)
    M = known_representation(group)
    X, metadata = orbits_of(M, group, noise=0.05, n_orbits=1_000)
    exact = ActivationTransformFitter().fit(X, **metadata)
    free = ActivationTransformFitter(group_law="free").fit(X, **metadata)
    assert exact.score(X, **metadata) > free.score(X, **metadata) - 0.002


def test_dead_and_repeated_features_are_left_alone_or_follow():
    group = CyclicGroup(4)
    X, metadata = orbits_of(known_representation(group), group)
    X = np.hstack([X, X[:, :2], np.zeros((len(X), 3))])
    fitter = ActivationTransformFitter().fit(X, **metadata)
    assert fitter.rank_ == 8
    assert fitter.order_error_ < 1e-10
    assert fitter.score(X, **metadata) > 1 - 1e-9
    np.testing.assert_allclose(fitter.act(np.eye(13)[10:], 1), np.eye(13)[10:])


def test_group_of_order_one_is_the_identity():
    X = np.random.default_rng(0).normal(size=(20, 3))
    fitter = ActivationTransformFitter(symmetry=CyclicGroup(1))
    fitter.fit(X, groups=np.arange(20), power=np.zeros(20, dtype=int))
    assert np.array_equal(fitter.M_, np.eye(3))


@every_group
def test_act_takes_a_power_of_each_generator(group):
    M, fitter = fitted(group)
    X = np.random.default_rng(3).normal(size=(group.order, M.shape[1]))
    power = group.powers[:, 0] if group.n_generators == 1 else group.powers
    moved = fitter.act(X, power)
    np.testing.assert_allclose(moved, np.einsum("gij,gj->gi", M, X), atol=1e-6)
    np.testing.assert_allclose(fitter.act(X, power[-1]), X @ M[-1].T, atol=1e-6)


@every_group
def test_inverse_transform_undoes_transform(group):
    power = tuple(group.powers[-1]) if group.n_generators > 1 else 1
    _, fitter = fitted(group, power=power)
    X = np.random.default_rng(3).normal(size=(5, fitter.n_features_in_))
    np.testing.assert_allclose(
        fitter.inverse_transform(fitter.transform(X)), X, atol=1e-9
    )


@every_group
def test_a_number_as_power_is_of_each_generator(group):
    _, fitter = fitted(group)
    X = np.random.default_rng(3).normal(size=(5, fitter.n_features_in_))
    moved = X
    for generator in reversed(np.eye(group.n_generators, dtype=int)):
        moved = fitter.act(moved, generator if group.n_generators > 1 else 1)
    np.testing.assert_allclose(fitter.transform(X), moved, atol=1e-9)


@pytest.mark.filterwarnings("ignore:Powers of M that are not whole")
def test_inverse_transform_undoes_a_real_power_of_two_generators():
    _, fitter = fitted(DihedralGroup(3), power=(0.5, 1))
    X = np.random.default_rng(3).normal(size=(5, fitter.n_features_in_))
    moved = fitter.transform(X)
    np.testing.assert_allclose(fitter.inverse_transform(moved), X, atol=1e-7)


def test_contradicting_parameters_are_errors():
    group = DihedralGroup(4)
    X, metadata = orbits_of(known_representation(group), group)
    with pytest.raises(ValueError, match="'orthogonal' is a closed form"):
        ActivationTransformFitter(
            symmetry=group, solver="adam", group_law="orthogonal"
        ).fit(X, **metadata)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda p: p[:, 0],
            r"one column for each of the 2 generators.*shape \(1600,\)",
        ),
        (
            lambda p: p + np.array([0, 1]),
            r"generator 1 must be from 0 to 1, found 2 in row 1",
        ),
        (lambda p: p + 0.5, "power must hold integers"),
    ],
)
def test_bad_powers_of_several_generators(spoil, message):
    group = DihedralGroup(4)
    X, metadata = orbits_of(known_representation(group), group)
    with pytest.raises(ValueError, match=message):
        ActivationTransformFitter(symmetry=group).fit(
            X, groups=metadata["groups"], power=spoil(metadata["power"])
        )


def matrices_near(group, *, n_copies=3, noise=0.05, seed=0):
    """Copies of the last irrep with symmetric noise; the irrep without noise."""
    known = np.kron(np.eye(n_copies), group.irreps[-1].matrices)
    noisy = known + noise * np.random.default_rng(seed).normal(size=known.shape)
    noisy = (noisy + noisy[group.inverses].transpose(0, 2, 1)) / 2
    noisy[0] = np.eye(known.shape[1])
    return known, noisy


def matrices_of(representation):
    order = representation.group.order
    return np.array([representation.matrix(g) for g in range(order)])


any_kind = pytest.mark.parametrize("group", [*GROUPS, QUATERNIONS], ids=repr)


@any_kind
def test_noisy_matrices_get_the_exact_representation_near_to_them(group):
    known, noisy = matrices_near(group)
    representation = exact_representation(noisy, group)
    Q = matrices_of(representation)
    assert homomorphism_error(Q, group.multiplication_table) < 1e-12
    np.testing.assert_allclose(
        Q @ Q.transpose(0, 2, 1), [np.eye(len(Q[0]))] * group.order, atol=1e-12
    )
    assert np.linalg.norm(Q - known) < 2 * np.linalg.norm(noisy - known)
    expected = multiplicities(group, np.trace(known, axis1=1, axis2=2))
    np.testing.assert_allclose(representation.multiplicities, expected, atol=1e-9)


@any_kind
def test_irrep_by_irrep_is_the_eigenproblem_of_the_whole_frame(group):
    _, noisy = matrices_near(group)
    Q = matrices_of(exact_representation(noisy, group))
    np.testing.assert_allclose(Q, representation_of_frame(noisy, group), atol=1e-9)


@any_kind
def test_matrices_that_contradict_each_other_still_give_a_representation(group):
    wild = np.random.default_rng(0).normal(size=(group.order, 7, 7))
    wild = (wild + wild[group.inverses].transpose(0, 2, 1)) / 2
    wild[0] = np.eye(7)
    Q = matrices_of(exact_representation(wild, group))
    assert homomorphism_error(Q, group.multiplication_table) < 1e-11


@pytest.mark.parametrize("noise", [1e-12, 1e-4, 0.1])
@pytest.mark.parametrize("shape", [(20, 12), (20, 20), (12, 20)])
def test_columns_become_the_nearest_that_are_orthonormal(noise, shape):
    rng = np.random.default_rng(0)
    columns = polar(rng.normal(size=shape))[0] + noise * rng.normal(size=shape)
    n = len(columns)
    frames = [columns[:, :8].reshape(n, 2, 4), columns[:, 8:].reshape(n, 1, -1)]
    found, rank = _orthonormal(frames)
    assert rank == min(shape)
    found = np.hstack([frame.reshape(n, -1) for frame in found])
    np.testing.assert_allclose(found, polar(columns)[0], atol=1e-12)


def test_factors_leave_out_what_an_element_does_not_move():
    group = CyclicGroup(4)
    known, _ = matrices_near(group, noise=0)
    known = np.pad(known, [(0, 0), (0, 2), (0, 2)])
    known[:, -2:, -2:] = np.eye(2)
    representation = exact_representation(known, group)
    ranks = [representation.factors(g)[0].shape[1] for g in range(4)]
    assert ranks == [0, 6, 6, 6]
    np.testing.assert_allclose(matrices_of(representation), known, atol=1e-12)


@pytest.mark.parametrize("group", [DihedralGroup(4), SymmetricGroup(3)], ids=repr)
def test_equivariant_sae_takes_any_group(group):
    rng = np.random.default_rng(0)
    M = np.kron(known_representation(group, n_copies=1), np.eye(2))
    x = np.abs(rng.normal(size=(150, 2))) @ np.eye(2, M.shape[1])
    X = np.einsum("gij,nj->ngi", M, x).reshape(-1, M.shape[1])
    groups = np.repeat(np.arange(150), group.order)
    power = np.tile(group.powers, (150, 1))
    sae = EquivariantSAE(
        16,
        symmetry=group,
        k=4,
        hidden_dim=64,
        batch_size=64,
        max_epochs=20,
        random_state=0,
    ).fit(X, groups=groups, power=power)
    assert sae.order_ == group.order
    assert sae.score(X, groups=groups, power=power) > 0.9
    assert sae.predict_power(X).shape == power.shape
    assert (sae.predict_power(X) == power).all(axis=1).mean() > 0.9


@pytest.mark.parametrize("law", ["exact", "free", "orthogonal"])
def test_chunks_do_not_change_the_fit(law, monkeypatch):
    X, metadata = orbits_of(known_representation(CyclicGroup(4)), CyclicGroup(4))
    whole = ActivationTransformFitter(group_law=law).fit(X, **metadata).M_
    monkeypatch.setattr("sk_eqsae.groups._moments._CHUNK_ENTRIES", 7 * X.shape[1])
    chunked = ActivationTransformFitter(group_law=law).fit(X, **metadata).M_
    np.testing.assert_allclose(chunked, whole, atol=1e-9)


@pytest.mark.parametrize("law", ["exact", "free", "orthogonal"])
def test_activations_without_variance_give_the_identity_or_leave_them(law):
    X, groups, power = np.zeros((8, 3)), [0, 0, 0, 0, 1, 1, 1, 1], [0, 1, 2, 3] * 2
    fitter = ActivationTransformFitter(group_law=law)
    moved = fitter.fit(X, groups=groups, power=power).act(X, 1)
    assert np.array_equal(moved, X)


def linear_model(n_inputs, n_outputs=None):
    """An invertible layer, so that activations follow the group exactly."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.Linear(n_inputs, n_outputs or n_inputs, bias=False)
        torch.nn.init.orthogonal_(layer.weight)
    return torch.nn.Sequential(torch.nn.Flatten(), layer)


@pytest.mark.parametrize(
    ("action", "shape"),
    [
        (ImageDihedral(), (1, 4, 4)),
        (GridShift((-2, -1), (2, 3)), (1, 2, 3)),
        (ChannelPermutation(3, axis=1), (3, 2, 2)),
        (CubeRotation(), (4, 3)),
    ],
    ids=repr,
)
def test_actions_of_several_generators_from_inputs_to_matrices(action, shape):
    inputs = np.random.default_rng(0).normal(size=(60, *shape)).astype(np.float32)
    model = linear_model(int(np.prod(shape)))
    orbits = extract_orbits(model, inputs, layer="1", action=action)
    assert orbits.power.shape == (len(orbits), action.symmetry.n_generators)
    train, test = orbits.split(0.3, random_state=0)
    fitter = ActivationTransformFitter(symmetry=action.symmetry)
    fitter.fit(train.X, groups=train.groups, power=train.power)
    assert fitter.score(test.X, groups=test.groups, power=test.power) > 0.9999
    assert fitter.order_error_ < 1e-10
