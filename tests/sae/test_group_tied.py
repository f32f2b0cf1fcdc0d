import numpy as np
import pytest
import torch
from scipy.linalg import block_diag
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from torch.nn.functional import linear, relu

from sk_eqsae import ActivationTransformFitter, GroupTiedSAE, TopKSAE
from sk_eqsae.groups import (
    CyclicGroup,
    DihedralGroup,
    ProductGroup,
    SymmetricGroup,
)
from sk_eqsae.groups._element_matrices import (
    ElementMatrices,
    basis_of_matrices,
    element_matrices,
    irrep_block,
)
from sk_eqsae.groups._group import (
    coset_representatives,
    fixed_space,
    generator_elements,
)
from sk_eqsae.inspection import feature_symmetry
from sk_eqsae.sae import _tied_network
from sk_eqsae.sae._code import BatchTopK, Prefixes, TopK, fixed_size_code, join
from sk_eqsae.sae._latent_orbits import LatentOrbits
from sk_eqsae.sae._objective import Layout, Objective, squared_errors
from sk_eqsae.sae._sparse_step import gradients
from sk_eqsae.sae._tied_network import TiedNetwork

from ..groups.representations import known_representation, orbits_of

GROUPS = [
    CyclicGroup(2),
    CyclicGroup(4),
    CyclicGroup(5),
    DihedralGroup(4),
    SymmetricGroup(3),
    ProductGroup(CyclicGroup(2), CyclicGroup(3)),
]
SETTINGS = {"max_epochs": 2, "random_state": 0}
TURN = np.array([[0.0, 1.0], [-1.0, 0.0]])
LONG = {"max_epochs": 60, "batch_size": 32, "random_state": 0}
every_group = pytest.mark.parametrize("group", GROUPS, ids=str)
linear_or_two_layers = pytest.mark.parametrize("hidden_dim", [None, 5])


def fit(group, n_free=0, **settings):
    """Six base vectors."""
    X, metadata = orbits_of(known_representation(group), group, n_orbits=60)
    settings = SETTINGS | {"orbit_lengths": {group.order: 6}, "k": 5} | settings
    sae = GroupTiedSAE(symmetry=group, n_free=n_free, **settings)
    return sae.fit(X, **metadata), X


@pytest.fixture(scope="module")
def turning(turning_orbits):
    X, groups, power, _ = turning_orbits
    return X, {"groups": groups, "power": power}


@pytest.fixture(scope="module")
def fitted(turning):
    X, metadata = turning
    return GroupTiedSAE(orbit_lengths={4: 6}, k=3, **LONG).fit(X, **metadata)


@pytest.fixture(scope="module")
def two_layers(turning):
    X, metadata = turning
    sae = GroupTiedSAE(orbit_lengths={4: 6}, k=3, hidden_dim=5, **LONG)
    return sae.fit(X, **metadata)


@every_group
@linear_or_two_layers
@pytest.mark.parametrize("n_free", [0, 4])
def test_moving_a_row_permutes_its_latents(group, hidden_dim, n_free):
    sae, X = fit(group, hidden_dim=hidden_dim, n_free=n_free)
    n = 6 * group.order
    Z = sae.transform(X)
    code, free = Z[:, :n].reshape(-1, 6, group.order), Z[:, n:]
    scale = code.max()
    for h, M in enumerate(element_matrices(sae.activation_transform_)):
        moved = sae.transform((X - sae.mean_) @ M.T + sae.mean_)
        back = group.multiplication_table[group.inverses[h]]
        if n_free == 0:
            expected = code[:, :, back]
            np.testing.assert_allclose(
                moved.reshape(expected.shape), expected, atol=1e-4 * scale
            )
        assert (free >= 0).all()


def all_kinds(group):
    """As `orbit_lengths`: one orbit of each length and subgroup, two full ones."""
    return {subgroup.name: 1 + (i == 0) for i, subgroup in enumerate(group.subgroups)}


@every_group
@linear_or_two_layers
@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
def test_orbits_of_every_length_are_permuted(group, hidden_dim, activation):
    settings = {"orbit_lengths": all_kinds(group), "activation": activation}
    sae, X = fit(group, hidden_dim=hidden_dim, k=3, **settings)
    orbits, Z = sae.latent_orbits_, sae.transform(X)
    assert sae.n_orbits_ == len(group.subgroups) + 1
    D, matrices = sae.components_, element_matrices(sae.activation_transform_)
    for g, M in enumerate(matrices):
        np.testing.assert_allclose(D[orbits.places(g)], D @ M.T, atol=1e-5)
        moved = sae.transform((X - sae.mean_) @ M.T + sae.mean_)
        expected = orbits.permute(Z, group.power_of(np.array([g]))[0])
        cut = ((Z > 0).sum(axis=1) > 2) & (activation == "topk")  # ties are cut at k
        same = np.isclose(moved, expected, atol=1e-4 * Z.max()).all(axis=1)
        assert same[~cut].all()
        assert same.mean() > 0.9
    invariant = clone_fitted(sae, output="invariant")
    np.testing.assert_array_equal(invariant.transform(X), orbits.pool(Z))


def test_orbit_lengths_come_back_as_they_were_given():
    group = DihedralGroup(4)
    given = {8: 2, "<s>": 3, "<r^2, s>": 1, 1: 4}
    sae, _ = fit(group, orbit_lengths=given)
    assert sae.orbit_lengths_ == given
    assert sae.n_components_ == 2 * 8 + 3 * 4 + 2 + 4


@pytest.mark.parametrize(
    "wrong", [{4: 2}, {3: 1}, {"<r^3>": 1}, {8: -1}, {8: 1.5}, {None: 1}]
)
def test_orbit_lengths_that_there_are_not_are_an_error(wrong):
    # of length 4 there are orbits of three subgroups
    with pytest.raises(ValueError, match=r"orbit_lengths=.* how many orbits.*'<r s>'"):
        fit(DihedralGroup(4), orbit_lengths=wrong)


@pytest.mark.parametrize(("n_components", "lengths"), [(25, {4: 6}), (None, {4: 0})])
def test_orbit_lengths_have_to_go_with_n_components(n_components, lengths, turning):
    X, metadata = turning
    sae = GroupTiedSAE(n_components, orbit_lengths=lengths, k=1, **SETTINGS)
    with pytest.raises(ValueError, match="are not those of orbit_lengths="):
        sae.fit(X, **metadata)


def test_lengths_are_those_that_the_codes_speak_for(turned_and_fixed, turning):
    """One feature turns and one does not; and in the other data all of them turn."""
    X, metadata = turned_and_fixed
    sae = GroupTiedSAE(5, k=2, **LONG).fit(X, **metadata)
    assert sae.orbit_lengths_ == {4: 1, 1: 1}
    assert sae.score(X) > 0.95
    X, metadata = turning
    counts = GroupTiedSAE(24, k=3, **LONG).fit(X, **metadata).orbit_lengths_
    assert counts[4] == 6


def test_lengths_do_not_depend_on_the_seed_of_others_or_the_unit(turned_and_fixed):
    X, metadata = turned_and_fixed
    sae = GroupTiedSAE(20, k=2, **SETTINGS)
    counts = sae.fit(X, **metadata).orbit_lengths_
    assert sae.fit(2.0**90 * X, **metadata).orbit_lengths_ == counts


@pytest.fixture
def steps(monkeypatch):
    """Steps of a regular and of a tied network, and after how many Ctrl-C comes."""
    counts, take_step = {"after": None, True: 0, False: 0}, Objective.after_step

    def step(objective):
        take_step(objective)
        counts[isinstance(objective.network, TiedNetwork)] += 1
        if counts[True] + counts[False] == counts["after"]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "after_step", step)
    return counts


@pytest.mark.parametrize(
    ("limits", "regular", "tied"),
    [({"max_epochs": 10}, 30, 150), ({"max_epochs": 10, "max_steps": 20}, 4, 20)],
)
def test_lengths_take_a_fifth_of_the_steps(limits, regular, tied, turning, steps):
    X, metadata = turning
    sae = GroupTiedSAE(24, k=3, batch_size=32, random_state=0, **limits)
    sae.fit(X, **metadata)
    assert (steps[False], steps[True]) == (regular, tied)


def test_ctrl_c_while_lengths_are_looked_for_keeps_what_was_seen(turning, steps):
    X, metadata = turning
    steps["after"] = 10
    sae = GroupTiedSAE(24, k=3, **LONG | {"max_epochs": 10})
    with pytest.warns(ConvergenceWarning) as said:
        sae.fit(X, **metadata)
    assert "while orbit_lengths='auto' was looked for" in str(said[0].message)
    assert (sae.n_iter_, steps[True]) == (0, 0)
    lengths = sae.orbit_lengths_
    sae.set_params(warm_start=True).fit(X, **metadata)
    assert (steps[False], steps[True]) == (10, 150)
    assert sae.orbit_lengths_ == lengths
    assert sae.score(X) > 0.5


def test_ctrl_c_in_the_first_partial_fit_leaves_nothing(turning, steps):
    X, metadata = turning
    steps["after"] = 10
    sae = GroupTiedSAE(24, k=3, **LONG)
    with pytest.raises(KeyboardInterrupt):
        sae.partial_fit(X, **metadata)
    assert not hasattr(sae, "components_")


def test_prefixes_hold_a_share_of_all_kinds(turning):
    X, metadata = turning
    lengths = {4: 4, 2: 4, 1: 8}
    sae = GroupTiedSAE(orbit_lengths=lengths, nested=[8, 16], k=3, **SETTINGS)
    orbits = sae.fit(X, **metadata).latent_orbits_
    assert orbits.lengths.tolist() == [4, 2, 1, 1] * 2 + [4, 4, 2, 2] + [1] * 4


@every_group
def test_dictionary_holds_all_copies_of_its_base_vectors(group):
    sae, _ = fit(group)
    D = sae.components_.reshape(6, group.order, -1)
    for g, M in enumerate(element_matrices(sae.activation_transform_)):
        np.testing.assert_allclose(D[:, g], D[:, 0] @ M.T, atol=1e-5)


@every_group
@linear_or_two_layers
def test_reconstruction_of_a_moved_row_is_moved(group, hidden_dim):
    sae, X = fit(group, hidden_dim=hidden_dim)
    decoded = sae.inverse_transform(sae.transform(X))
    for M in element_matrices(sae.activation_transform_):
        moved = sae.inverse_transform(sae.transform(X @ M.T))
        np.testing.assert_allclose(moved, decoded @ M.T, atol=1e-4 * np.abs(X).max())


def tied_network(group, hidden_dim=None):
    """A network, rows in their own coordinates and in those of the network's basis."""
    M = known_representation(group)
    generator = torch.Generator().manual_seed(0)
    generators = M[generator_elements(group)]
    basis = basis_of_matrices(ElementMatrices(group, generators))
    orbits = LatentOrbits(group, kinds_of(group), n_free=2)
    network = TiedNetwork(orbits, basis, hidden_dim, seed=0).double()
    rows = torch.randn(7, M.shape[1], dtype=torch.float64, generator=generator)
    moved = rows @ torch.from_numpy(basis.to_irreps).T
    return network, rows, moved, torch.from_numpy(M)


def kinds_of(group):
    """Two full orbits, one of each other kind, and another full one."""
    return np.array([0, *range(len(group.subgroups)), 0])


def dense_sums(network, rows, select, M):
    """What all copies make of rows, by the formulas, one latent after another."""
    orbits, group = network.orbits, network.orbits.group
    to, back = (torch.from_numpy(matrix) for matrix in network.basis[:2])
    inverse, bases = torch.linalg.inv(M), fixed_bases(network)
    encoder, components, bias = network.encoder.weight, network.components, []
    if network.hidden is not None:
        U = torch.stack([network.hidden.weight @ to @ m for m in inverse])
        rows = relu(rows @ U.mT + network.hidden.bias).transpose(0, 1)  # (row, q, j)
    W, D = [], []
    for i, (kind, subgroup) in enumerate(
        zip(orbits.kinds, orbits.subgroups, strict=True)
    ):
        F = bases[kind]
        for g in coset_representatives(group, subgroup):
            D.append(components[i, : F.shape[1]] @ F.T @ back.T @ M[g].T)
            if network.hidden is None:
                W.append(encoder[i, : F.shape[1]] @ F.T @ to @ inverse[g])
            else:
                v = encoder[i].view(-1, rows.shape[2])
                back_g = group.multiplication_table[group.inverses[g]]
                W.append(v[right_cosets(group, subgroup)[back_g]].flatten())
            bias.append(network.encoder.bias[i])
    free = slice(orbits.n_orbits, None)
    W, D = torch.stack([*W, *encoder[free]]), torch.stack([*D, *components[free]])
    b = torch.stack([*bias, *network.encoder.bias[free]])
    pre_activations = linear(rows.flatten(1), W, b)
    code = select(pre_activations.detach())
    values = pre_activations[code.bags % len(rows), code.indices]
    values = values * (code.values > 0)
    Z = torch.zeros(len(code.offsets) - 1, len(W), dtype=rows.dtype)
    return Z.index_put((code.bags, code.indices), values) @ D


def fixed_bases(network):
    """Of each kind of orbit, a basis of what its subgroup leaves alone."""
    counts, irreps = network.basis.multiplicities, network.orbits.group.irreps
    return {
        kind: torch.block_diag(
            *(
                torch.from_numpy(np.kron(fixed_space(irrep, subgroup), np.eye(m)))
                for irrep, m in zip(irreps, counts, strict=True)
            )
        )
        for kind, subgroup in zip(
            network.orbits.kinds, network.orbits.subgroups, strict=True
        )
    }


def right_cosets(group, subgroup):
    """Number of the coset H p of each element p: that of the coset of its inverse."""
    return group.cosets(subgroup)[group.inverses, 0]


def with_auxiliary(pre_activations):
    latents = torch.tensor([1, 4, pre_activations.shape[1] - 1])
    values = pre_activations[:, latents].relu()
    auxiliary = fixed_size_code(values, latents.expand(len(values), -1))
    return join([TopK(3)(pre_activations), auxiliary])


@every_group
@linear_or_two_layers
@pytest.mark.parametrize("select", [TopK(3), BatchTopK(4), with_auxiliary])
def test_sums_and_gradients_equal_those_of_all_copies_written_out(
    group, hidden_dim, select
):
    results = []
    for dense in (False, True):
        network, rows, moved, M = tied_network(group, hidden_dim)
        back = torch.from_numpy(network.basis.from_irreps)
        if dense:
            sums = dense_sums(network, rows, select, M)
        else:
            of_irreps, _, passed = network(moved, select)
            sums = of_irreps @ back.T
        weights = torch.sin(torch.arange(sums.numel(), dtype=sums.dtype))
        weights = weights.view_as(sums)
        if dense:
            (sums * weights).sum().backward()
        else:
            with torch.no_grad():
                found = gradients(passed, weights @ back, network.spare)
            *of_layers, of_inputs = found
            if of_inputs is not None:
                passed.inputs.backward(of_inputs)
            network.leave_gradients(*of_layers, torch.zeros(moved.shape[1]))
        weights = dict(network.named_parameters())
        weights.pop("intercept")
        results.append([sums.detach(), *(p.grad for p in weights.values())])
    for tied, written_out in zip(*results, strict=True):
        torch.testing.assert_close(tied, written_out, rtol=1e-5, atol=1e-5)


@every_group
def test_errors_are_as_long_as_in_the_coordinates_of_the_rows(group):
    network, rows, moved, _ = tied_network(group)
    metric = network.metric
    if metric is None:  # the group keeps lengths as they are
        metric = torch.eye(rows.shape[1], dtype=rows.dtype)
    offset = torch.zeros(moved.shape[1])
    args = ([(1.0, torch.zeros_like(moved))], torch.zeros(1), Layout((), 1, metric))
    losses, gradients, _ = squared_errors(moved.clone(), offset, *args)
    lengths = rows.square().sum(1).mean().to(losses.dtype)
    torch.testing.assert_close(losses[0], lengths, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradients, 2 * moved @ metric / len(moved))


def test_the_loss_is_the_squared_error_in_the_units_of_the_rows():
    group = DihedralGroup(4)
    settings = {"recipe": "paper", "lr": 1e-12, "max_epochs": 1}
    sae, X = fit(group, **settings)
    errors = X - sae.inverse_transform(sae.transform(X))
    expected = (errors**2).sum(axis=1).mean()
    assert sae.loss_curve_[0] == pytest.approx(expected, rel=1e-4)


def test_prefixes_follow_the_order_of_the_public_dictionary():
    network, _, rows, _ = tied_network(CyclicGroup(4))
    part = np.searchsorted([4, 17], np.arange(network.n_latents), side="right")
    sums = network(rows, Prefixes(TopK(14), part))[0].view(len(rows), 2, -1)
    weight, bias = network.encoder.weight, network.encoder.bias
    with torch.no_grad():  # without the first base vector, its part is empty
        weight[0] = 0
        bias[0] = -1
    changed = network(rows, Prefixes(TopK(14), part))[0].view(len(rows), 2, -1)
    assert (changed[:, 0] == 0).all()
    assert (sums[:, 0] != 0).any()
    torch.testing.assert_close(changed[:, 1], sums[:, 1])


def test_as_good_as_a_regular_one_of_as_many_latents(fitted, turning):
    X, _ = turning
    small, large = (TopKSAE(n, k=3, **LONG).fit(X).score(X) for n in (6, 24))
    assert fitted.score(X) > 0.97
    assert fitted.score(X) > large - 0.02 > small


def test_adam_holds_as_many_weights_as_there_are_base_vectors(fitted, two_layers):
    for sae in (fitted, two_layers):
        network = sae._trained_network(sae.n_components_, sae.mean_, None)
        assert len(network.encoder.weight) == len(network.components) == 6
        assert len(sae.components_) == 24
    assert network.hidden.weight.shape == (5, 12)
    assert two_layers.coefs_[0].shape == (12, 20)


def test_hidden_units_are_copies_of_each_other(two_layers):
    """As the regular network has them: a move by g permutes them, five by five."""
    M, U = two_layers.activation_transform_.M_, two_layers.coefs_[0].reshape(12, 4, 5)
    np.testing.assert_allclose(U[:, 1], np.linalg.inv(M).T @ U[:, 0], atol=1e-5)
    assert len(np.unique(two_layers.intercepts_[0])) == 5
    last = two_layers.coefs_[1].reshape(4, 5, 6, 4)
    for g in range(4):
        moved = np.roll(last[..., 0], g, axis=0)
        np.testing.assert_array_equal(last[..., g], moved)


def test_fitted_m_needs_no_metadata(turning):
    X, metadata = turning
    M = ActivationTransformFitter().fit(X, **metadata)
    fitted = GroupTiedSAE(orbit_lengths={4: 6}, k=3, **SETTINGS)
    with_m = clone(fitted).set_params(activation_transform=M).fit(X)
    fitted.fit(X, **metadata)
    frozen = clone(with_m).set_params(activation_transform=FrozenEstimator(M)).fit(X)
    assert np.array_equal(with_m.components_, fitted.components_)
    assert np.array_equal(frozen.components_, fitted.components_)
    assert not hasattr(with_m, "predict_power")
    with pytest.raises(AttributeError) as error:
        with_m.predict_power(X)
    assert "give fit groups and power" in str(error.value.__cause__)


def test_rows_on_one_side_of_their_orbits_leave_the_mean_invariant(turning):
    X, metadata = turning
    M = ActivationTransformFitter().fit(X, **metadata)
    sae = GroupTiedSAE(24, k=3, activation_transform=M, **SETTINGS).fit(X[::4])
    np.testing.assert_allclose(M.M_ @ sae.mean_, sae.mean_, atol=1e-6)
    np.testing.assert_allclose(M.M_ @ sae.intercept_, sae.intercept_, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"symmetry": 2}, {"symmetry": DihedralGroup(2)}])
def test_fitted_m_of_another_group_is_an_error(turning, wrong):
    X, metadata = turning
    M = ActivationTransformFitter().fit(X, **metadata)
    sae = GroupTiedSAE(24, k=3, activation_transform=M, **SETTINGS, **wrong)
    with pytest.raises(ValueError, match=r"fitted for CyclicGroup\(n=4\)"):
        sae.fit(X)


@pytest.mark.filterwarnings("ignore:M is not to be trusted")  # as it is noisy
def test_m_that_breaks_the_law_is_an_error(turning):
    X, metadata = turning
    noisy = X + np.random.default_rng(0).normal(size=X.shape)
    free = ActivationTransformFitter(group_law="free")
    sae = GroupTiedSAE(24, k=3, activation_transform=free, **SETTINGS)
    with pytest.raises(ValueError, match="group_law='exact'"):
        sae.fit(noisy, **metadata)


def test_k_may_not_exceed_the_latents(turning):
    X, metadata = turning
    with pytest.raises(ValueError, match="dictionary of 11 latents"):
        GroupTiedSAE(11, k=12, n_free=3, **SETTINGS).fit(X, **metadata)


@pytest.mark.parametrize(
    ("n_components", "n_free", "nearest"),
    [(22, 0, (20, 24)), (25, 3, (23, 27)), (3, 0, (4, 8)), (2, 6, (10, 14))],
)
def test_a_size_that_orbits_cannot_fill_names_the_nearest_that_they_can(
    n_components, n_free, nearest, turning
):
    _, metadata = turning
    x = np.random.default_rng(0).normal(size=(60, 2))  # quarter-turns of the plane
    X = np.stack([x @ np.linalg.matrix_power(TURN, p) for p in range(4)], axis=1)
    X, metadata = X.reshape(-1, 2), {n: m[:240] for n, m in metadata.items()}
    sae = GroupTiedSAE(n_components, k=1, n_free=n_free, **SETTINGS)
    below, above = nearest
    with pytest.raises(ValueError, match=rf"do not fill .* {below} and {above}\."):
        sae.fit(X, **metadata)
    for size in nearest:
        sae.set_params(n_components=size).fit(X, **metadata)
        assert sae.n_components_ == len(sae.components_) == size
        assert sae.n_orbits_ * 4 + sae.n_free_ == size


def test_nested_sizes_may_not_cut_an_orbit(turning):
    X, metadata = turning
    sae = GroupTiedSAE(27, k=3, n_free=3, **SETTINGS)
    for nested, cut, whole in [([6], 6, 8), ([4, 23], 23, 24), ([1, 8], 1, 4)]:
        message = f"cuts a latent orbit at {cut}: .* such as {whole}"
        with pytest.raises(ValueError, match=message):
            sae.set_params(nested=nested).fit(X, **metadata)
    for nested in ([8], [4, 24, 25, 26], [24]):  # free vectors are cut as one likes
        sae.set_params(nested=nested).fit(X, **metadata)


@pytest.mark.parametrize(("n_free", "n_orbits"), [(0, 24), (1, 24), (4, 23), (95, 1)])
def test_default_is_8_latents_per_feature_free_ones_included(n_free, n_orbits, turning):
    X, metadata = turning
    sae = GroupTiedSAE(n_free=n_free, k=1, **SETTINGS).fit(X, **metadata)
    assert (sae.n_orbits_, sae.n_free_) == (n_orbits, n_free)
    assert 96 <= sae.n_components_ < 100


def test_default_is_8_latents_per_feature(turning):
    X, metadata = turning
    assert GroupTiedSAE(**SETTINGS).fit(X, **metadata).n_components_ == 96


@pytest.mark.parametrize("sparse_output", [False, True])
def test_invariant_latents_are_the_largest_of_a_base_vector(
    fitted, turning, sparse_output
):
    X, _ = turning
    Z = fitted.transform(X).reshape(-1, 6, 4)
    sae = clone_fitted(fitted, output="invariant", sparse_output=sparse_output)
    pooled = sae.transform(X)
    pooled = pooled.toarray() if sparse_output else pooled
    assert np.array_equal(pooled, Z.max(axis=2))
    orbits = pooled.reshape(-1, 4, 6)
    np.testing.assert_allclose(orbits, orbits[:, :1].repeat(4, axis=1), atol=2e-3)
    assert sae.score(X) == fitted.score(X)


def clone_fitted(fitted, **changes):
    changed = GroupTiedSAE(**fitted.get_params(deep=False))
    changed.__dict__.update(fitted.__dict__)
    return changed.set_params(**changes)


def test_no_active_latent_is_an_empty_row(turning):
    X, metadata = turning
    sae = GroupTiedSAE(26, k=3, n_free=2, output="invariant", **SETTINGS)
    sae.fit(X, **metadata)
    sae.intercepts_ = [np.full_like(sae.intercepts_[0], -1e6)]
    assert not sae.transform(X).any()


def test_invariant_latents_cannot_be_decoded(fitted, turning):
    X, _ = turning
    sae = clone_fitted(fitted, output="invariant")
    with pytest.raises(AttributeError) as error:
        sae.inverse_transform(sae.transform(X))
    assert "do not say how a row is turned" in str(error.value.__cause__)


def test_names_say_base_vector_and_power(turning):
    X, metadata = turning
    sae = GroupTiedSAE(9, k=2, n_free=1, **SETTINGS).fit(X, **metadata)
    assert sae.get_feature_names_out().tolist() == [
        *(f"grouptiedsae{i}_g{p}" for i in range(2) for p in range(4)),
        "grouptiedsae_free0",
    ]
    assert sae.set_params(output="invariant").get_feature_names_out().tolist() == [
        "grouptiedsae0",
        "grouptiedsae1",
    ]
    flips, _ = fit(DihedralGroup(4))
    assert "grouptiedsae5_r3s1" in flips.get_feature_names_out()


def test_pose_is_that_of_the_canonical_rows(fitted, turning):
    X, metadata = turning
    assert (fitted.predict_power(X) == metadata["power"]).mean() > 0.98


def test_pose_of_several_generators():
    group = DihedralGroup(4)
    M = known_representation(group, n_copies=1)
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(80, 1))) @ rng.normal(size=(1, M.shape[1]))
    X = np.einsum("gij,nj->ngi", M, x).reshape(-1, M.shape[1])
    power = np.tile(group.powers, (80, 1))
    sae = GroupTiedSAE(16, symmetry=group, k=1, **LONG)
    sae.fit(X, groups=np.repeat(np.arange(80), 8), power=power)
    assert (sae.predict_power(X) == power).all(axis=1).mean() > 0.98


def weights(sae):
    return [*sae.coefs_, *sae.intercepts_, sae.components_, sae.intercept_]


@pytest.mark.parametrize("group", [CyclicGroup(4), SymmetricGroup(3)], ids=str)
@linear_or_two_layers
def test_warm_start_goes_on(group, hidden_dim):
    fitted, X = fit(group, hidden_dim=hidden_dim, n_free=3)
    _, metadata = orbits_of(known_representation(group), group, n_orbits=60)
    sae = clone_fitted(fitted, warm_start=True, max_epochs=1, lr=1e-9)
    sae.fit(X, **metadata)
    for now, then in zip(weights(sae), weights(fitted), strict=True):
        np.testing.assert_allclose(now, then, atol=1e-5)
    assert sae.n_iter_ == fitted.n_iter_ + 1


@pytest.mark.parametrize(("before", "n_units"), [(None, 0), (5, 20)])
def test_warm_start_with_another_hidden_layer_is_an_error(before, n_units, turning):
    X, metadata = turning
    sae = GroupTiedSAE(24, k=3, hidden_dim=before, warm_start=True, **SETTINGS)
    sae.fit(X, **metadata)
    message = f"and {n_units} hidden units.*hidden_dim=7 now ask for 24 and 28"
    with pytest.raises(ValueError, match=message):
        sae.set_params(hidden_dim=7).fit(X, **metadata)


@pytest.fixture(scope="module")
def turned_and_fixed():
    """A feature that turns and one that the group leaves alone."""
    rng = np.random.default_rng(0)
    sizes = np.abs(rng.normal(size=(100, 2)))
    x = sizes @ np.eye(5)[[0, 4]]
    X = np.stack([np.hstack([np.roll(x[:, :4], p, 1), x[:, 4:]]) for p in range(4)])
    groups, power = np.tile(np.arange(100), 4), np.repeat(np.arange(4), 100)
    return X.reshape(-1, 5), {"groups": groups, "power": power}


def test_a_free_vector_codes_what_would_take_copies_that_are_equal(turned_and_fixed):
    X, metadata = turned_and_fixed
    tied, mixed = (
        GroupTiedSAE(
            orbit_lengths={4: 1}, n_free=n_free, k=2, **LONG | {"random_state": 1}
        ).fit(X, **metadata)
        for n_free in (0, 1)
    )
    assert mixed.score(X) > tied.score(X) + 0.1
    assert (mixed.transform(X)[:, 4] > 0).mean() > 0.5


def test_symmetric_vectors_are_listed_by_their_stabilizer(turned_and_fixed):
    X, metadata = turned_and_fixed
    sae = GroupTiedSAE(5, n_free=1, k=2, **LONG).fit(X, **metadata)
    table = feature_symmetry(sae, threshold=0.95)
    assert table["stabilizer_size"].tolist() == [1, 1, 1, 1, 4]
    assert table["orbit"].tolist() == [0, 0, 0, 0, 1]


def test_a_row_that_the_group_leaves_alone_has_a_code_that_it_leaves_alone(fitted):
    row = fitted.mean_ + np.ones((1, 12))
    all_latents = clone_fitted(fitted, k=24)
    code = all_latents.transform(row).reshape(6, 4)
    np.testing.assert_allclose(code, code[:, :1].repeat(4, axis=1), atol=1e-4)
    assert (fitted.transform(row) > 0).sum() <= 3  # ties are cut at k


def test_a_group_that_the_orbits_never_show_is_an_error(turning):
    X, metadata = turning
    canonical = {name: values[::4] for name, values in metadata.items()}
    with pytest.raises(ValueError, match="never"):
        GroupTiedSAE(24, symmetry=4, k=3, **SETTINGS).fit(X[::4], **canonical)


def test_activations_that_do_not_follow_the_group_are_fitted_with_a_warning(turning):
    _, metadata = turning
    X = np.random.default_rng(0).normal(size=(len(metadata["power"]), 12))
    with pytest.warns(UserWarning, match="they do not follow the group"):
        sae = GroupTiedSAE(orbit_lengths={4: 6}, k=3, **LONG).fit(X, **metadata)
    M = sae.activation_transform_
    assert M.score(X, **metadata) < 0.5
    assert sae.score(X) > 0.3


def noisy_turns(noise, n_orbits=200):
    """Orbits of C4 in 8 dimensions; each row has noise that does not turn."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_orbits, 8))
    X = np.stack([np.roll(x, 2 * p, axis=1) for p in range(4)], axis=1)
    X = X + noise * rng.normal(size=X.shape)
    groups, power = np.indices((n_orbits, 4)).reshape(2, -1)
    return X.reshape(-1, 8), {"groups": groups, "power": power}


mostly_free = pytest.mark.filterwarnings("ignore:n_free='auto' makes")


def fit_auto(X, metadata, n_components=None, **settings):
    quick = {"k": 3, "max_epochs": 20, "batch_size": 16, "lr": 0.01, "random_state": 0}
    sae = GroupTiedSAE(n_components, n_free="auto", **quick | settings)
    return sae.fit(X, **metadata)


def test_an_eighth_is_free_where_m_leaves_more_than_3_times_a_regular_fvu():
    fits = [fit_auto(*noisy_turns(noise)) for noise in (0, 0.3, 1)]
    assert [sae.n_free_ for sae in fits] == [0, 0, 8]
    assert [sae.latent_orbits_.n_tied + sae.n_free_ for sae in fits] == [64, 64, 64]
    # one that is hardly trained leaves as much
    assert fit_auto(*noisy_turns(1), max_steps=5).n_free_ == 0


def test_short_regular_fit_is_trained_once(monkeypatch):
    n_fits, fit_regular = [], TopKSAE.fit
    monkeypatch.setattr(
        TopKSAE, "fit", lambda *args: n_fits.append(1) or fit_regular(*args)
    )
    fit_auto(*noisy_turns(0.3), max_epochs=1)
    assert len(n_fits) == 1


@pytest.mark.parametrize(
    ("noise", "n_components", "n_free"),
    [(0, 20, 0), (0, 23, 3), (0.7, 40, 8), (0.7, 6, 2)],
)
def test_free_vectors_are_as_many_as_leave_whole_orbits(noise, n_components, n_free):
    rng = np.random.default_rng(0)  # in a plane that turns there are full orbits alone
    x, turn = rng.normal(size=(200, 2)), np.array([[0.0, 1], [-1, 0]])
    X = np.stack([x @ np.linalg.matrix_power(turn, p) for p in range(4)], axis=1)
    X = (X + noise * rng.normal(size=X.shape)).reshape(-1, 2)
    groups, power = np.indices((200, 4)).reshape(2, -1)
    metadata = {"groups": groups, "power": power}
    sae = fit_auto(X, metadata, n_components=n_components)
    assert sae.n_components_ == len(sae.components_) == n_components
    assert (sae.n_free_, *sae.orbit_lengths_) == (n_free, 4)
    assert len(sae.get_feature_names_out()) == n_components


def test_m_is_judged_on_orbits_that_it_is_not_fitted_on():
    rng = np.random.default_rng(0)  # as many rows as directions: any M fits them
    groups, power = np.indices((16, 2)).reshape(2, -1)
    X = rng.normal(size=(32, 32))
    with pytest.warns(UserWarning, match="M is not to be trusted") as caught:
        sae = fit_auto(X, {"groups": groups, "power": power}, max_epochs=200)
    assert sum("to be trusted" in str(warning.message) for warning in caught) == 1
    assert sae.n_free_ == sae.n_components_ // 8


@pytest.mark.filterwarnings("ignore:M is well defined")
@pytest.mark.parametrize("told", [("groups", "site"), ("groups",)])
def test_m_is_judged_on_inputs_that_it_is_not_fitted_on(told):
    """Sites that are alike would tell what M makes of the others of their input."""
    rng = np.random.default_rng(0)
    groups, site, power = np.indices((16, 4, 2)).reshape(3, -1)
    X = rng.normal(size=(16, 1, 2 * 40)).repeat(4, axis=1).reshape(-1, 40)
    ids = {"groups": groups, "site": site} if "site" in told else {}
    ids = ids or {"groups": 4 * groups + site}
    sae = fit_auto(X, {**ids, "power": power}, max_epochs=50)
    assert (sae.n_free_ == 0) == ("site" not in told)


def test_what_the_group_leaves_alone_is_no_reason_for_free_vectors():
    rng = np.random.default_rng(0)
    groups, power = np.indices((100, 4)).reshape(2, -1)
    X = rng.normal(size=(100, 6)).repeat(4, axis=0)
    with pytest.warns(UserWarning, match="M leaves 100% of the rows as they are"):
        sae = fit_auto(X, {"groups": groups, "power": power})
    assert (sae.orbit_lengths_, sae.n_free_) == ({1: 48}, 0)


def test_frozen_m_is_judged_on_the_orbits():
    X, metadata = noisy_turns(1)
    clean, _ = noisy_turns(0)
    M = FrozenEstimator(ActivationTransformFitter().fit(clean, **metadata))
    assert fit_auto(clean, metadata, activation_transform=M).n_free_ == 0
    assert fit_auto(X, metadata, activation_transform=M).n_free_ == 8


def test_fitted_m_without_orbits_does_not_tell_how_many_are_free():
    X, metadata = noisy_turns(0)
    M = ActivationTransformFitter().fit(X, **metadata)
    with pytest.raises(ValueError, match="Give fit groups and power"):
        fit_auto(X, {}, activation_transform=M)


@pytest.mark.parametrize("noise", [0, 1])
@pytest.mark.parametrize(("n_components", "n_free"), [(None, 0), (36, 0), (40, 4)])
def test_lengths_that_are_given_leave_the_others_free(noise, n_components, n_free):
    X, metadata = noisy_turns(noise)
    settings = {"orbit_lengths": {4: 9}, "max_epochs": 1}
    sae = fit_auto(X, metadata, n_components, **settings)
    assert (sae.orbit_lengths_, sae.n_free_) == ({4: 9}, n_free)
    assert sae.n_components_ == 36 + n_free
    M = ActivationTransformFitter().fit(X, **metadata)
    settings["activation_transform"] = M
    assert fit_auto(X, {}, n_components, **settings).n_free_ == n_free
    again = sae.set_params(warm_start=True).fit(X, **metadata)
    assert (again.n_free_, again.n_iter_) == (n_free, 2)


def test_fewer_latents_than_the_orbits_that_are_given_are_refused():
    X, metadata = noisy_turns(1)
    with pytest.raises(ValueError, match="n_components=32 latents, 0 of them free"):
        fit_auto(X, metadata, 32, orbit_lengths={4: 9})


def test_one_orbit_does_not_tell_how_many_are_free():
    X, metadata = noisy_turns(0, n_orbits=1)
    with (
        pytest.warns(UserWarning, match="too few"),
        pytest.raises(ValueError, match="needs two or more, found 1"),
    ):
        fit_auto(X, metadata)


def test_warm_start_keeps_the_free_vectors():
    X, metadata = noisy_turns(1)
    sae = fit_auto(X, metadata, warm_start=True)
    assert sae.fit(X[:40], **{name: m[:40] for name, m in metadata.items()})
    assert (sae.n_free_, sae.n_iter_) == (8, 40)
    with pytest.raises(ValueError, match="goes on with the 64 latents"):
        sae.set_params(n_free=3).fit(X, **metadata)


def test_free_vectors_are_trained_in_the_coordinates_of_the_rows():
    """However skew those of the group are, as long as free vectors do the work."""
    skew = np.diag(np.geomspace(1, 30, 8))
    X, metadata = noisy_turns(0)
    X = X @ skew
    rows = slice(0, None, 4)  # these alone say nothing of the group
    M = ActivationTransformFitter().fit(X, **metadata)
    settings = {"k": 2, "max_epochs": 30, "batch_size": 32, "random_state": 0}
    regular = TopKSAE(28, **settings).fit(X[rows])
    mixed = GroupTiedSAE(28, n_free=24, activation_transform=M, **settings).fit(X[rows])
    assert mixed.score(X[rows]) > regular.score(X[rows]) - 0.05


def test_fit_without_labels_forgets_the_canonical_rows(turning):
    X, metadata = turning
    M = FrozenEstimator(ActivationTransformFitter().fit(X, **metadata))
    sae = GroupTiedSAE(24, k=3, activation_transform=M, **SETTINGS)
    assert hasattr(sae.fit(X, **metadata), "predict_power")
    assert not hasattr(sae.fit(X), "predict_power")


def test_warm_start_without_labels_keeps_the_group_and_m(fitted, turning):
    X, _ = turning
    other = ActivationTransformFitter(symmetry=4, group_law="orthogonal")
    sae = clone_fitted(
        fitted, warm_start=True, max_epochs=1, lr=1e-9, activation_transform=other
    ).fit(X)
    assert sae.order_ == 4
    assert sae.activation_transform_ is fitted.activation_transform_
    np.testing.assert_allclose(sae.components_, fitted.components_, atol=1e-5)


@pytest.mark.parametrize(
    "change", [{"n_free": 4}, {"n_components": 28, "n_free": 4}, {"n_components": 28}]
)
def test_warm_start_with_other_sizes_is_an_error(fitted, turning, change):
    X, metadata = turning
    sae = clone_fitted(fitted, warm_start=True, **change)
    with pytest.raises(ValueError, match=r"6 base vectors moved by .*, 0 free"):
        sae.fit(X, **metadata)
    assert sae.n_free_ == 0


def test_warm_start_with_another_group_is_an_error(fitted, turning):
    X, metadata = turning
    halves = metadata["power"] % 2 == 0
    rows = {"groups": metadata["groups"][halves], "power": metadata["power"][halves]}
    rows["power"] = rows["power"] // 2
    sae = clone_fitted(fitted, warm_start=True)
    with pytest.raises(ValueError, match="the orbits now are of others"):
        sae.fit(X[halves], **rows)


def test_fitted_m_of_another_width_is_an_error(turning):
    X, metadata = turning
    M = ActivationTransformFitter().fit(X, **metadata)
    sae = GroupTiedSAE(24, k=3, activation_transform=M, **SETTINGS)
    with pytest.raises(ValueError, match="fitted on 12 features, but X has 8"):
        sae.fit(X[:, :8])


@pytest.mark.parametrize("unit", [2.0**-90, 2.0**90])
def test_poses_of_float32_rows_do_not_depend_on_their_unit(turning_orbits, unit):
    X, groups, power, _ = turning_orbits
    X = X.astype(np.float32)
    sae = GroupTiedSAE(32, k=2, max_epochs=2, random_state=0)
    small = sae.fit(X, groups=groups, power=power).predict_power(X)
    X = X * np.float32(unit)
    scaled = sae.fit(X, groups=groups, power=power).predict_power(X)
    np.testing.assert_array_equal(scaled, small)


@every_group
@pytest.mark.parametrize("few", [0, 16])  # copies that are added one by one
def test_copies_are_those_of_the_matrices_of_the_group(group, few, monkeypatch):
    monkeypatch.setattr(_tied_network, "_FEW_COPIES", few)
    counts = np.arange(len(group.irreps)) % 3  # of some irreps none
    for subgroup in group.subgroups:
        copies = _tied_network.IrrepCopies(group, counts, subgroup)
        layer = _tied_network.Layer([(copies, 2)], copies.width)
        matrices = _of_all_copies(group, counts, subgroup)
        weight = torch.sin(torch.arange(2.0 * copies.width)).view(2, -1).double()
        written = layer.write(weight, weight.new_zeros(layer.n_rows, copies.width))
        expected = weight[:, : copies.n_numbers].numpy() @ matrices.swapaxes(1, 2)
        np.testing.assert_allclose(
            written.view(2, -1, copies.width), expected.swapaxes(0, 1), atol=1e-12
        )
        total = layer.sum(written, torch.ones_like(weight))
        weight[:, copies.n_numbers :] = 0
        torch.testing.assert_close(total, weight * copies.n_copies)


def _of_all_copies(group, counts, subgroup):
    """Matrices of each coset, from the numbers of a base vector to its coordinates."""
    fixed = block_diag(
        *(
            np.kron(fixed_space(irrep, subgroup), np.eye(m))
            for irrep, m in zip(group.irreps, counts, strict=True)
            if m
        )
    )
    elements = coset_representatives(group, subgroup)
    return np.stack([irrep_block(group, counts, e) @ fixed for e in elements])


def test_training_of_two_layers_leaves_no_memory_behind(turning, monkeypatch):
    X, metadata = turning
    networks, new = [], GroupTiedSAE._new_network

    def new_and_known(*args):
        networks.append(new(*args))
        return networks[-1]

    monkeypatch.setattr(GroupTiedSAE, "_new_network", new_and_known)
    fit = {"max_steps": 20, "batch_size": 32, "random_state": 0}
    GroupTiedSAE(orbit_lengths={4: 6}, k=3, hidden_dim=5, **fit).fit(X, **metadata)
    assert sum(map(len, networks[0].spare.values())) < 10
