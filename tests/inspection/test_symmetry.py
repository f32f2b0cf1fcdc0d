import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from sk_eqsae import ActivationTransformFitter, EquivariantSAE, TopKSAE
from sk_eqsae.activations import Shards
from sk_eqsae.groups import (
    CyclicGroup,
    DihedralGroup,
    GeneratedGroup,
    SymmetricGroup,
)
from sk_eqsae.inspection import feature_symmetry
from tests.inspection.representations import (
    Dictionary,
    fitter_of,
    regular_representation,
)

QUATERNIONS = GeneratedGroup([(1, 4, 3, 6, 5, 0, 7, 2), (2, 7, 4, 1, 6, 3, 0, 5)])
GROUPS = [CyclicGroup(4), CyclicGroup(5), DihedralGroup(4), SymmetricGroup(3)]
GROUPS += [QUATERNIONS]
every_group = pytest.mark.parametrize("group", GROUPS, ids=repr)


def dictionary_of(vectors, basis):
    return Dictionary((vectors @ basis.T).astype(np.float32))


def energies(table):
    return table.filter(regex="^energy ").to_numpy()


@every_group
def test_energies_are_shares_although_m_stretches(group):
    matrices, basis = regular_representation(group, n_copies=2)
    vectors = np.random.default_rng(0).normal(size=(50, len(basis)))
    table = feature_symmetry(dictionary_of(vectors, basis), fitter_of(group, matrices))
    np.testing.assert_allclose(energies(table).sum(axis=1), 1, atol=1e-9)
    assert (energies(table) >= 0).all()
    assert (table["invariance"] == table["energy trivial"]).all()


@every_group
def test_energies_are_those_of_the_isotypic_projections(group):
    matrices, basis = regular_representation(group, n_copies=2)
    d = np.random.default_rng(0).normal(size=len(basis))
    table = feature_symmetry(Dictionary(d[np.newaxis]), fitter_of(group, matrices))
    metric = np.mean([M.T @ M for M in matrices], axis=0)
    for irrep in group.irreps:
        character = irrep.character[:, np.newaxis, np.newaxis]
        factor = irrep.dim / (irrep.commutant_dim * group.order)
        projection = factor * (character * matrices).sum(axis=0)
        np.testing.assert_allclose(projection @ projection, projection, atol=1e-9)
        expected = (projection @ d) @ metric @ (projection @ d) / (d @ metric @ d)
        assert table[f"energy {irrep.name}"][0] == pytest.approx(expected)


@every_group
def test_a_vector_of_one_irrep_has_all_its_energy_there(group):
    matrices, basis = regular_representation(group, n_invariant=0)
    for irrep in group.irreps:
        inside = irrep.character @ np.linalg.solve(basis, matrices @ basis)[:, :, 0]
        table = feature_symmetry(
            dictionary_of(inside[np.newaxis], basis), fitter_of(group, matrices)
        )
        assert table["irrep"][0] == irrep.name
        assert table[f"energy {irrep.name}"][0] == pytest.approx(1, abs=1e-6)


@every_group
def test_one_atom_of_a_free_orbit_has_invariance_one_over_the_order(group):
    matrices, basis = regular_representation(group, mixed=0.0)
    atoms = np.eye(len(basis))[: group.order]
    table = feature_symmetry(Dictionary(atoms), fitter_of(group, matrices))
    np.testing.assert_allclose(table["invariance"], 1 / group.order)
    assert (table["orbit_length"] == group.order).all()


@every_group
def test_atoms_turn_into_the_product_and_form_one_orbit(group):
    matrices, basis = regular_representation(group, n_copies=3)
    atoms = np.eye(len(basis))
    table = feature_symmetry(dictionary_of(atoms, basis), fitter_of(group, matrices))
    generators = group.elements_of(np.eye(group.n_generators, dtype=int))
    latent, copy = np.divmod(np.arange(3 * group.order), 3)
    for name, g in zip(group.generator_names, generators, strict=True):
        expected = 3 * group.multiplication_table[g, latent] + copy
        turned = table[f"turns_into_{name}"].to_numpy()
        np.testing.assert_array_equal(turned[:-2], expected)
        np.testing.assert_array_equal(turned[-2:], len(atoms) - np.array([2, 1]))
        np.testing.assert_allclose(table[f"cosine_{name}"], 1, atol=1e-5)
    np.testing.assert_array_equal(table["orbit"], [*copy, 3, 4])
    assert table["orbit_length"].tolist() == [group.order] * len(copy) + [1, 1]
    assert table["invariance"].tolist()[-2:] == pytest.approx([1, 1])


def test_stabilizers_are_those_of_the_directions():
    group = CyclicGroup(4)
    matrices, basis = regular_representation(group, n_invariant=0)
    vectors = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1], [1, -1, 1, -1]])
    table = feature_symmetry(dictionary_of(vectors, basis), fitter_of(group, matrices))
    assert table["stabilizer_size"].tolist() == [1, 2, 4, 2]
    assert table["orbit_length"].tolist() == [4, 2, 1, 2]


def test_stabilizer_is_a_subgroup_where_cosines_alone_are_not():
    group = CyclicGroup(12)  # a step of 30 degrees is near, two are not
    angle = 2 * np.pi * np.arange(12) / 12
    turns = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    fitter = fitter_of(group, turns.transpose(2, 0, 1))
    table = feature_symmetry(Dictionary(np.eye(2)), fitter, threshold=0.8)
    assert table["stabilizer_size"].tolist() == [1, 1]


def test_stabilizers_need_the_cosine_to_reach_the_threshold():
    swap = np.array([np.eye(2), [[0.0, 1.0], [1.0, 0.0]]])
    fitter = fitter_of(CyclicGroup(2), swap)
    angle = np.pi / 4 - 0.15
    dictionary = Dictionary(np.array([[np.cos(angle), np.sin(angle)]]))
    for threshold, size in [(0.95, 2), (0.96, 1)]:  # cos(0.3) = 0.955
        table = feature_symmetry(dictionary, fitter, threshold=threshold)
        assert table["stabilizer_size"].tolist() == [size]
        assert table["orbit_length"].tolist() == [2 // size]


def test_orbits_need_the_cosine_to_reach_the_threshold():
    group = CyclicGroup(2)
    swap = np.array([np.eye(2), [[0.0, 1.0], [1.0, 0.0]]])
    vectors = np.array([[1.0, 0.0], [np.sin(0.3), np.cos(0.3)]])
    for threshold, orbits in [(0.95, [0, 0]), (0.96, [0, 1])]:
        table = feature_symmetry(
            Dictionary(vectors), fitter_of(group, swap), threshold=threshold
        )
        assert table["turns_into_g"].tolist() == [1, 0]
        np.testing.assert_allclose(table["cosine_g"], np.cos(0.3))
        assert table["orbit"].tolist() == orbits


def test_exact_orbits_have_threshold_one():
    group = CyclicGroup(4)
    matrices, basis = regular_representation(group)
    dictionary = dictionary_of(np.eye(len(basis)), basis)
    table = feature_symmetry(dictionary, fitter_of(group, matrices), threshold=1)
    assert table["orbit"].tolist() == [0, 0, 0, 0, 1, 2]
    assert table["orbit_length"].tolist() == [4, 4, 4, 4, 1, 1]


def test_lengths_of_dictionary_vectors_do_not_matter():
    group = DihedralGroup(3)
    matrices, basis = regular_representation(group)
    vectors = np.random.default_rng(0).normal(size=(20, len(basis)))
    scaled = vectors * np.geomspace(1e-3, 1e3, 20)[:, np.newaxis]
    one, two = (
        feature_symmetry(Dictionary(v), fitter_of(group, matrices))
        for v in (vectors, scaled)
    )
    np.testing.assert_allclose(energies(two), energies(one))
    assert (two["turns_into_r"] == one["turns_into_r"]).all()


def test_more_latents_than_one_chunk():
    group = CyclicGroup(4)
    matrices, _ = regular_representation(group, n_copies=4)
    quarter = np.random.default_rng(0).normal(size=(600, matrices.shape[1]))
    dictionary = Dictionary(np.concatenate([quarter @ M.T for M in matrices]))
    table = feature_symmetry(dictionary, fitter_of(group, matrices), threshold=0.9999)
    expected = (np.arange(2400) + 600) % 2400
    np.testing.assert_array_equal(table["turns_into_g"], expected)
    np.testing.assert_array_equal(table["orbit"], np.tile(np.arange(600), 4))


def test_a_zero_vector_has_no_symmetry():
    group = CyclicGroup(2)
    matrices, basis = regular_representation(group)
    vectors = np.vstack([np.eye(len(basis)), np.zeros(len(basis))])
    table = feature_symmetry(dictionary_of(vectors, basis), fitter_of(group, matrices))
    last = table.iloc[-1]
    assert np.isnan(last["invariance"])
    assert np.isnan(last["cosine_g"])
    assert table["irrep"].isna().tolist() == [False] * 4 + [True]
    assert (table["orbit"] == last["orbit"]).sum() == 1


def planted(group, n_rows=2000):
    """M, and rows with most variance where nothing moves, as activations have it."""
    matrices, basis = regular_representation(group, n_copies=3, n_invariant=6, mixed=0)
    scales = np.repeat([1.0, 3.0], [3 * group.order, 6])
    X = 5 + np.random.default_rng(1).normal(size=(n_rows, len(basis))) * scales
    return fitter_of(group, matrices), X


@pytest.mark.parametrize("group", [CyclicGroup(24), DihedralGroup(4)], ids=repr)
@pytest.mark.parametrize("spectrum", ["X", "dictionary"])
def test_few_random_directions_are_beyond_chance(group, spectrum):
    fitter, X = planted(group)
    mixtures = np.random.default_rng(2).normal(size=(400, len(X)))
    table = feature_symmetry(
        Dictionary(mixtures @ (X - X.mean(axis=0))),
        fitter,
        X=X if spectrum == "X" else None,
    )
    assert table["beyond_chance"].mean() < 0.1
    chance = table.filter(regex="^chance ").to_numpy()
    beyond_any = (energies(table) > chance).any(axis=1)
    assert 0.01 < beyond_any.mean() < 0.1  # 5 % of them, in any irrep


def test_features_of_one_irrep_are_beyond_chance_and_those_of_all_are_not():
    group = CyclicGroup(24)
    fitter, X = planted(group)
    angle = 2 * np.pi * np.arange(24) / 24
    waves = [np.kron(np.cos(n * angle), [1, 0, 0]) for n in (1, 5, 11)]
    invariant = np.eye(X.shape[1])[-2:]
    one_orientation = np.eye(X.shape[1])[:2]
    vectors = np.vstack([np.pad(waves, ((0, 0), (0, 6))), invariant, one_orientation])
    table = feature_symmetry(Dictionary(vectors), fitter, X=X)
    main = ["rotation 1", "rotation 5", "rotation 11", "trivial", "trivial"]
    assert table["irrep"].tolist()[:5] == main
    expected = [True, True, True, True, True, False, False]
    assert table["beyond_chance"].tolist() == expected


def test_where_nothing_moves_invariance_is_no_more_than_chance():
    group = CyclicGroup(4)
    fitter, X = planted(group)
    X[:, : 3 * group.order] = 0  # all the variance is in features that stay
    table = feature_symmetry(Dictionary(np.eye(X.shape[1])[-2:]), fitter, X=X)
    assert table["invariance"].tolist() == [1, 1]
    assert not table["beyond_chance"].any()


@pytest.mark.parametrize("constant", ["X", "dictionary"])
def test_without_a_spectrum_nothing_is_beyond_chance(constant):
    fitter, X = planted(CyclicGroup(4))
    dictionary, X = Dictionary(np.eye(X.shape[1])), np.full_like(X, 0.1)
    if constant == "dictionary":
        dictionary, X = Dictionary(np.zeros_like(dictionary.components_)), None
    table = feature_symmetry(dictionary, fitter, X=X)
    assert table.filter(regex="^chance ").isna().all(axis=None)
    assert not table["beyond_chance"].any()


def test_chance_is_that_of_the_rows_wherever_they_are(tmp_path):
    fitter, X = planted(CyclicGroup(4), n_rows=5000)
    dictionary = Dictionary(np.eye(X.shape[1]))
    found = feature_symmetry(dictionary, fitter, X=X)
    assert found.equals(feature_symmetry(dictionary, fitter, X=X))
    np.save(tmp_path / "X.npy", X)
    on_disk = feature_symmetry(dictionary, fitter, X=Shards(tmp_path / "X.npy"))
    assert found.equals(on_disk)
    with pytest.raises(ValueError, match="X has 3 features"):
        feature_symmetry(dictionary, fitter, X=X[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        feature_symmetry(dictionary, fitter, X=np.where(X > 7, np.nan, X))


def test_equivariant_sae_brings_its_own_m(turning_orbits):
    X, groups, power, _ = turning_orbits
    sae = EquivariantSAE(16, k=4, max_epochs=2, random_state=0)
    sae.fit(X, groups=groups, power=power)
    table = feature_symmetry(sae)
    given = feature_symmetry(sae, FrozenEstimator(sae.activation_transform_))
    np.testing.assert_array_equal(energies(table), energies(given))
    assert table.index.tolist() == list(range(16))


def test_topk_sae_is_given_m(turning_orbits):
    X, groups, power, permutation = turning_orbits
    fitter = ActivationTransformFitter().fit(X, groups=groups, power=power)
    sae = TopKSAE(12, k=3, max_epochs=5, random_state=0).fit(X)
    table = feature_symmetry(sae, fitter)
    unit = sae.components_ / np.linalg.norm(sae.components_, axis=1, keepdims=True)
    cosines = unit @ permutation.T @ unit.T
    np.testing.assert_array_equal(table["turns_into_g"], cosines.argmax(axis=1))
    np.testing.assert_allclose(table["cosine_g"], cosines.max(axis=1), atol=1e-5)


def test_no_m_is_an_error():
    sae = TopKSAE(4, k=1, max_epochs=1).fit(np.eye(3))
    with pytest.raises(ValueError, match="TopKSAE has no M: give activation_trans"):
        feature_symmetry(sae)


def test_another_number_of_features_is_an_error():
    fitter = fitter_of(CyclicGroup(1), np.eye(3)[np.newaxis])
    with pytest.raises(ValueError, match="fitted on 3 features, but the dictionary"):
        feature_symmetry(Dictionary(np.eye(4)), fitter)


def test_a_transform_without_a_group_is_an_error():
    with pytest.raises(TypeError, match="has to be an ActivationTransformFitter"):
        feature_symmetry(Dictionary(np.eye(4)), Dictionary(np.eye(4)))


def test_broken_group_law_warns():
    fitter = fitter_of(CyclicGroup(4), np.eye(4)[np.newaxis].repeat(4, axis=0))
    fitter.order_error_ = 0.5
    with pytest.warns(UserWarning, match="law of the group up to 0.5 only"):
        feature_symmetry(Dictionary(np.eye(4)), fitter)


def test_an_autoencoder_is_no_m(turning_orbits):
    X, groups, power, _ = turning_orbits
    sae = EquivariantSAE(4, k=1, max_epochs=1, random_state=0)
    sae = sae.fit(X, groups=groups, power=power)
    with pytest.raises(TypeError, match=r"found EquivariantSAE.*activation_transform_"):
        feature_symmetry(sae, sae)
