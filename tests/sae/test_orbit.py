from random import Random

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_eqsae import OrbitSAE, TopKSAE, fit_many, load, save
from sk_eqsae.groups import CyclicGroup, DihedralGroup, SymmetricGroup
from sk_eqsae.inspection import code_equivariance
from sk_eqsae.sae import _orbit
from sk_eqsae.sae._code import BatchTopK, Prefixes, TopK
from sk_eqsae.sae._network import DenseNetwork
from sk_eqsae.sae._orbit_objective import OrbitObjective
from sk_eqsae.sae._recipe import Recipe

from ..groups.representations import known_representation, orbits_of

QUICK = {"max_epochs": 3, "random_state": 0}
LONG = {"max_epochs": 60, "batch_size": 64, "lr": 1e-2, "random_state": 1}


def shorter_orbits(n_orbits=150, noise=0.0, seed=0):
    """Rows with features that C4 permutes in orbits of 4, 2 and 1."""
    rng = np.random.default_rng(seed)
    turn = np.zeros((14, 14))
    cycles = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10, 11], [12], [13]]
    for cycle in cycles:
        turn[np.roll(cycle, -1), cycle] = 1
    x = np.maximum(rng.normal(size=(n_orbits, 14)) - 1, 0)
    X = np.stack([x @ np.linalg.matrix_power(turn, p).T for p in range(4)], axis=1)
    X = X.reshape(-1, 14) + noise * rng.normal(size=(4 * n_orbits, 14))
    groups, power = np.repeat(np.arange(n_orbits), 4), np.tile(np.arange(4), n_orbits)
    return X, {"groups": groups, "power": power}


@pytest.fixture(scope="module")
def rows():
    return shorter_orbits()


@pytest.fixture(scope="module")
def fitted(rows):
    X, metadata = rows
    return OrbitSAE(14, k=5, equivariance=1, **LONG).fit(X, **metadata)


def mean_report(sae, X, metadata):
    report = code_equivariance(sae, X, **metadata)
    return report[report.power == "mean"].iloc[0]


def test_lengths_are_those_of_the_features(fitted):
    assert fitted.orbit_lengths_ == {4: 2, 2: 2, 1: 2}
    assert fitted.n_orbits_ == 6
    assert fitted.latent_orbits_.lengths.tolist() == [4, 4, 2, 2, 1, 1]


def test_codes_of_new_rows_move_with_them(fitted):
    X, metadata = shorter_orbits(seed=1)
    found = mean_report(fitted, X, metadata)
    assert found.code_equivariance > 0.95
    assert found.cross_fvu < 0.1
    assert fitted.score(X) > 0.95


def test_pooled_latents_are_nearly_those_of_the_moved_row(fitted):
    X, _ = shorter_orbits(seed=1)
    pooled = fitted.latent_orbits_.pool(fitted.transform(X)).reshape(-1, 4, 6)
    apart = np.square(pooled - pooled.mean(axis=1, keepdims=True)).sum()
    assert apart < 0.05 * np.square(pooled - pooled.mean(axis=(0, 1))).sum()


@pytest.mark.parametrize("group", [DihedralGroup(4), SymmetricGroup(3)], ids=str)
@pytest.mark.parametrize("hidden_dim", [None, 24])
def test_losses_make_codes_of_any_group_move(group, hidden_dim):
    X, metadata = orbits_of(known_representation(group), group, n_orbits=60)
    settings = LONG | {"max_epochs": 30, "hidden_dim": hidden_dim}
    without, with_ = (
        OrbitSAE(24, symmetry=group, k=4, equivariance=s, **settings).fit(X, **metadata)
        for s in (0, 1)
    )
    before, after = (
        mean_report(sae, X, metadata).code_equivariance for sae in (without, with_)
    )
    assert after > before + 0.1


def test_orbits_with_missing_rows_are_trained_on(rows, fitted):
    X, metadata = rows
    seen = (metadata["power"] == 0) | (np.random.default_rng(0).random(len(X)) < 0.7)
    part = {name: values[seen] for name, values in metadata.items()}
    sae = clone(fitted).fit(X[seen], **part)
    assert mean_report(sae, X, metadata).code_equivariance > 0.9


# The objective


def dense_loss(objective, orbits, seen, element):
    """The same row by row, with dense codes and torch's own gradients."""
    network, k = objective.network, objective.select.k
    D, b = network.components, network.intercept
    places = [(i, e) for i, there in enumerate(seen) for e in np.flatnonzero(there)]
    total = 0.0
    for n, (i, e) in enumerate(places):
        x, to = orbits[i, e], int(objective.products[element, e])
        code = torch.zeros_like(network.encoder(x))
        values, latents = network.encoder(x).topk(k)
        code[latents] = values.relu()
        y, moved = x, code
        if seen[i, to]:
            y, moved = orbits[i, to], torch.zeros_like(code)
            moved[objective.moves[element]] = code
        at_support = network.encoder(y).relu() * (moved.detach() > 0)
        total = total + (code @ D + b - x).square().sum() / len(places)
        half = len(places) // 2
        if n < half:
            total = total + 0.3 * (at_support @ D + b - y).square().sum() / half
        else:
            missed = (moved @ D + b - y).square().sum()
            total = total + 0.1 * missed / (len(places) - half)
    return total


@pytest.mark.parametrize("is_whole", [True, False])
def test_loss_and_gradients_equal_the_dense_ones(is_whole):
    group, k = DihedralGroup(3), 3
    network = DenseNetwork(5, 6 + 3 + 1, seed=0).double()
    recipe = Recipe(aux_weight=0)
    objective = OrbitObjective(
        network,
        TopK(k),
        recipe,
        n_rows=100,
        prefixes=np.array([10]),
        group=group,
        is_whole=is_whole,
        seed=0,
    )
    orbits = _orbit.LatentOrbits(group, [0, 1, len(group.subgroups) - 1])
    objective.set_moves(orbits)
    objective.strength = 1.0
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(4, 6, 5, generator=generator, dtype=torch.float64)
    seen = torch.ones(4, 6, dtype=torch.bool)
    if not is_whole:
        seen = torch.rand(4, 6, generator=generator) < 0.6
        seen[:, 0] = True
    element = Random("0 1").randrange(1, 6)
    results = []
    for loss in (
        lambda: objective.learn(X, seen)[0],
        lambda: dense_loss(objective, X, seen, element),
    ):
        network.zero_grad()
        value = loss()
        if value.requires_grad:
            value.backward()
        results.append(
            [value.detach(), *(p.grad.clone() for p in network.parameters())]
        )
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("select", [BatchTopK(2), Prefixes(TopK(2), np.arange(8) // 4)])
def test_moved_codes_have_the_bags_of_their_rows(select):
    prefixes = np.array([4, 8] if isinstance(select, Prefixes) else [8])
    objective = OrbitObjective(
        DenseNetwork(5, 8),
        TopK(2),
        Recipe(),
        n_rows=100,
        prefixes=prefixes,
        group=CyclicGroup(4),
        is_whole=True,
        seed=0,
    )
    table = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    own = select(table)
    to = moves = torch.tensor([1, 2, 3, 0, 5, 6, 7, 4])
    partners = (to, torch.ones(8, dtype=bool))
    support, cross = objective._moved(moves, partners, 4, table, own)
    rows = own.bags if own.rows is None else own.rows[own.bags]
    n = len(support.values)
    assert torch.equal(support.values, table[to[rows[:n]], moves[own.indices[:n]]])
    assert torch.equal(support.rows[support.bags], to[rows[:n]])
    assert torch.equal(cross.values, own.values[n:])
    assert torch.equal(cross.sources, own.indices[n:])
    assert torch.equal(cross.indices, moves[own.indices[n:]])
    assert torch.equal(cross.rows[cross.bags], rows[n:])
    assert (rows[:n] < 4).all()
    assert (rows[n:] >= 4).all()


# The choice of the strength


def unruly():
    """Rows that no code moves with: each is another input's."""
    X, metadata = shorter_orbits(noise=0.05)
    return X[np.random.default_rng(5).permutation(len(X))], metadata


def test_auto_keeps_full_strength_where_the_network_follows_the_group(fitted):
    X, metadata = shorter_orbits(noise=0.1)
    sae = clone(fitted).set_params(equivariance="auto").fit(X, **metadata)
    assert sae.equivariance_ == 1
    assert mean_report(sae, X, metadata).code_equivariance > 0.7


def test_auto_never_loses_more_than_a_twentieth_where_it_does_not():
    X, metadata = unruly()
    strong, auto, regular = (
        OrbitSAE(20, k=3, equivariance=s, **LONG).fit(X, **metadata)
        for s in (3, "auto", 0)
    )
    fvu, most, least = (1 - sae.score(X) for sae in (auto, strong, regular))
    assert most > 1.3 * least
    assert fvu < 1.05 * least
    assert auto.equivariance_ < 0.2


def searched(monkeypatch, errors):
    """What strength is chosen where these have the errors of a function."""
    tried = []

    def error(self, plan, name, strength, rows):
        tried.append(strength)
        return errors(strength)

    monkeypatch.setattr(OrbitSAE, "_error_of_short_part", error)
    X, metadata = shorter_orbits(20)
    sae = OrbitSAE(14, k=3, **QUICK).fit(X, **metadata)
    return sae.equivariance_, tried


@pytest.mark.parametrize("slope", [0.5, 0.7, 1])
@pytest.mark.parametrize("cost", [0.04, 0.1, 0.6])
def test_search_finds_a_strength_that_costs_nearly_what_it_may(
    slope, cost, monkeypatch
):
    found, tried = searched(monkeypatch, lambda s: 2 + 2 * cost * s**slope)
    assert tried[:2] == [0, 1]
    assert 0 < found <= 1
    assert cost * found**slope <= 0.05
    assert found == 1 or cost * found**slope > 0.01


def test_search_gives_up_where_every_strength_costs_too_much(monkeypatch):
    found, tried = searched(monkeypatch, lambda s: 1.0 + (s > 0))
    assert found == 0
    assert len(tried) == 5


def test_held_out_inputs_are_trained_on_in_the_end(monkeypatch):
    X, metadata = shorter_orbits(50)
    sizes = []
    train = _orbit.train
    monkeypatch.setattr(
        _orbit,
        "train",
        lambda objective, dataset, **settings: (
            sizes.append(len(dataset)),
            train(objective, dataset, **settings),
        )[1],
    )
    OrbitSAE(14, k=3, **QUICK).fit(X, **metadata)
    assert sizes[:3] == [45, 45, 45]
    assert sizes[-1] == 50


def test_no_strength_is_a_regular_autoencoder_matched_afterwards(rows):
    X, metadata = rows
    sae = OrbitSAE(14, k=3, equivariance=0, **LONG).fit(X, **metadata)
    assert sae.equivariance_ == 0
    assert sae.latent_orbits_.n_components == 14
    assert sae.score(X) > 0.8


# The contract


def test_a_trivial_group_equals_topk_exactly(rows):
    X, _ = rows
    regular = TopKSAE(14, k=3, **QUICK).fit(X)
    trivial = OrbitSAE(14, symmetry=1, k=3, **QUICK).fit(X)
    assert np.array_equal(regular.transform(X), trivial.transform(X))
    assert trivial.orbit_lengths_ == {1: 14}
    together = OrbitSAE(14, symmetry=1, k=3, **QUICK)
    fit_many([clone(regular), together], X)
    assert together.n_orbits_ == 14


def test_fit_many_gives_what_fit_gives(rows):
    X, metadata = rows
    several = [OrbitSAE(14, k=k, equivariance=1, **QUICK) for k in (2, 3)]
    for one in fit_many(several, X, **metadata):
        alone = clone(one).fit(X, **metadata)
        assert np.array_equal(one.components_, alone.components_)


def test_lengths_may_be_given(rows):
    X, metadata = rows
    sae = OrbitSAE(k=3, orbit_lengths={4: 1, 1: 5}, **QUICK).fit(X, **metadata)
    assert sae.n_components_ == 9
    assert sae.orbit_lengths_ == {4: 1, 1: 5}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_components": 8}, "are 9 latents, but n_components=8"),
        ({"nested": [4]}, "together with nested"),
        ({"orbit_lengths": {3: 1}}, "orbit_lengths=.*3"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(rows, wrong, message):
    X, metadata = rows
    settings = {"orbit_lengths": {4: 1, 1: 5}, "k": 1} | wrong
    with pytest.raises(ValueError, match=message):
        OrbitSAE(**settings, **QUICK).fit(X, **metadata)


def test_prefixes_of_a_nested_dictionary_cut_no_orbit(rows):
    X, metadata = rows
    sae = OrbitSAE(14, k=3, nested=[5, 9], **QUICK).fit(X, **metadata)
    orbit = sae.latent_orbits_.orbit
    assert all(orbit[size - 1] != orbit[size] for size in (5, 9))


def test_names_say_orbit_and_element(fitted):
    names = fitted.get_feature_names_out().tolist()
    assert names[:4] == [f"orbitsae0_g{p}" for p in range(4)]
    assert names[8:] == [
        *("orbitsae2_g0", "orbitsae2_g1", "orbitsae3_g0", "orbitsae3_g1"),
        *("orbitsae4", "orbitsae5"),
    ]


@pytest.mark.parametrize("hidden_dim", [None, 8])
def test_partial_fit_finds_orbits_and_goes_on(rows, hidden_dim):
    X, metadata = rows
    sae = OrbitSAE(14, k=3, hidden_dim=hidden_dim, equivariance=0.7, **LONG)
    sae.partial_fit(X, **metadata)
    kinds, curve = sae._orbit_kinds, sae.error_curve_
    for _ in range(30):
        sae.partial_fit(X, **metadata)
    regular = OrbitSAE(14, k=3, hidden_dim=hidden_dim, equivariance=0, **LONG)
    for _ in range(31):
        regular.partial_fit(X, **metadata)
    assert not np.array_equal(sae.components_, regular.components_)
    with_losses, without = (s.loss_curve_ - s.error_curve_ for s in (sae, regular))
    assert with_losses[-1] > without[-1] + 0.01
    assert np.array_equal(sae._orbit_kinds, kinds)
    assert sae.error_curve_[-1] < curve[-1] / 2
    assert sae.equivariance_ == 0.7


def test_partial_fit_keeps_what_adam_knows_of_each_latent(rows, monkeypatch):
    X, metadata = rows
    orders = []
    reorder = OrbitObjective.reorder
    monkeypatch.setattr(
        OrbitObjective,
        "reorder",
        lambda self, order: (orders.append(order), reorder(self, order)),
    )
    sae = OrbitSAE(14, k=3, **QUICK).partial_fit(X, **metadata)
    monkeypatch.setattr(_orbit, "_reorder_memory", lambda *args: None)
    before = OrbitSAE(14, k=3, **QUICK).partial_fit(X, **metadata)
    for name in ("module.idle", "optimizer.0.exp_avg", "optimizer.3.exp_avg_sq"):
        assert np.array_equal(sae._memory[name], before._memory[name][orders[0]])


def test_warm_start_goes_on_with_the_orbits(rows, fitted):
    X, metadata = rows
    sae = clone(fitted).set_params(warm_start=True, max_epochs=5)
    sae.fit(X, **metadata)
    kinds, n_before = sae._orbit_kinds, sae.n_iter_
    sae.fit(X, **metadata)
    assert np.array_equal(sae._orbit_kinds, kinds)
    assert sae.n_iter_ == n_before + 5
    with pytest.raises(ValueError, match="goes on with latent orbits of"):
        sae.fit(
            X[::2], groups=metadata["groups"][::2], power=metadata["power"][::2] // 2
        )


def test_a_fit_goes_on_from_the_checkpoint_of_any_part(rows, tmp_path, monkeypatch):
    X, metadata = rows
    sae = OrbitSAE(14, k=3, **QUICK | {"max_epochs": 6})
    expected = clone(sae).fit(X, **metadata)
    train = _orbit.train
    for last in range(4):
        calls = []

        def dying(*args, calls=calls, last=last, **kwargs):
            if len(calls) == last:
                raise KeyError
            calls.append(train(*args, **kwargs))
            return calls[-1]

        monkeypatch.setattr(_orbit, "train", dying)
        sae.set_params(checkpoint=tmp_path)
        with pytest.raises(KeyError):
            sae.fit(X, **metadata)
        assert len(list(tmp_path.iterdir())) == last
    monkeypatch.setattr(_orbit, "train", train)
    sae.fit(X, **metadata)
    assert np.array_equal(sae.components_, expected.components_)
    assert sae.equivariance_ == expected.equivariance_
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("hidden_dim", [None, 8])
def test_files_hold_all_of_it(rows, tmp_path, call, hidden_dim):
    X, metadata = rows
    sae = OrbitSAE(14, k=3, hidden_dim=hidden_dim, **QUICK)
    getattr(sae, call)(X, **metadata)
    save(sae, tmp_path / "file.safetensors")
    found = load(tmp_path / "file.safetensors")
    assert np.array_equal(found.transform(X), sae.transform(X))
    assert found.orbit_lengths_ == sae.orbit_lengths_
    again = [each.partial_fit(X, **metadata) for each in (sae, found)]
    assert np.array_equal(*(each.components_ for each in again))


def test_poses_are_found_where_canonical_rows_differ_from_the_others(turning_orbits):
    X, groups, power, _ = turning_orbits
    sae = OrbitSAE(12, k=3, equivariance=1, **LONG).fit(X, groups=groups, power=power)
    assert (sae.predict_power(X) == power).mean() > 0.95


def test_poses_need_orbits_that_tell_all_elements_apart(rows):
    X, metadata = rows
    sae = OrbitSAE(k=3, orbit_lengths={2: 3, 1: 2}, **QUICK).fit(X, **metadata)
    with pytest.raises(AttributeError) as error:
        sae.predict_power(X)
    assert "long enough" in str(error.value.__cause__)


def test_rows_on_the_disk_give_what_an_array_gives(rows, tmp_path):
    X, metadata = rows
    path = tmp_path / "rows.npy"
    np.save(path, X.astype(np.float32))
    sae = OrbitSAE(14, k=3, **QUICK)
    expected = clone(sae).fit(np.load(path), **metadata)
    found = clone(sae).fit(np.load(path, mmap_mode="r"), **metadata)
    assert np.array_equal(found.components_, expected.components_)
    streamed = sae.set_params(buffer_size=0.01)
    streamed.fit(np.load(path, mmap_mode="r"), **metadata)
    assert np.isfinite(streamed.components_).all()


def test_sites_of_one_input_are_held_out_together(rows):
    X, metadata = rows
    orbit = metadata["groups"]
    sites = {"groups": orbit // 5, "site": orbit % 5, "power": metadata["power"]}
    found = OrbitSAE(14)._training_rows(X, sites, False, 0)
    first = found.table[:, 0]
    before, after = np.split(sites["groups"][first], [len(first) - found.n_held_out])
    assert set(before).isdisjoint(after)
    assert len(set(after)) == 3


@pytest.mark.parametrize(
    ("last", "n_calls", "n_epochs"), [(1, 1, 1), (2, 3, 2), (3, 3, 2)]
)
def test_an_interrupted_fit_keeps_what_it_has(
    rows, monkeypatch, last, n_calls, n_epochs
):
    X, metadata = rows
    calls = []
    train = _orbit.train

    def interrupted(*args, **kwargs):
        calls.append(train(*args, **kwargs))
        return calls[-1][:, : -1 if len(calls) == last else None]

    monkeypatch.setattr(_orbit, "train", interrupted)
    sae = OrbitSAE(14, k=3, **QUICK | {"max_epochs": 6}).fit(X, **metadata)
    assert len(calls) == n_calls
    assert sae.n_iter_ == n_epochs
    assert sae.n_orbits_ > 0


def test_a_row_without_partners_is_fitted():
    sae = OrbitSAE(12, symmetry=4, equivariance=0.5, k=2, **QUICK)
    sae.fit(np.array([[0.5]]), groups=[0], power=[0])
    assert np.isfinite(sae.loss_curve_).all()
