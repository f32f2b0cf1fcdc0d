import numpy as np
import pytest

from sk_eqsae import TopKSAE
from sk_eqsae.groups import CyclicGroup, DihedralGroup, SymmetricGroup
from sk_eqsae.inspection import feature_families

N_INPUTS = 300


def reader(n):
    """An autoencoder whose latents are the features, as far as they are positive."""
    sae = TopKSAE(n, k=n, max_epochs=1, random_state=0).fit(np.eye(n))
    sae.coefs_, sae.intercepts_ = [np.eye(n, dtype=np.float32)], [np.zeros(n)]
    sae.mean_, sae.scale_ = np.zeros(n), 1.0
    return sae


def permuting(group, subgroups, noise=0.1, seed=0):
    """Responses of latents on the cosets of subgroups, one latent orbit for each."""
    rng = np.random.default_rng(seed)
    table, blocks, lengths = group.multiplication_table, [], []
    for subgroup in subgroups:
        sets = {tuple(sorted(table[e, subgroup])) for e in range(group.order)}
        cosets = sorted(sets)
        of = {e: c for c, members in enumerate(cosets) for e in members}
        fires = rng.random((N_INPUTS, len(cosets))) < 0.3
        values = fires * rng.exponential(size=fires.shape)
        block = np.empty((N_INPUTS, group.order, len(cosets)))
        for e in range(group.order):
            for c, members in enumerate(cosets):  # z_(e c)(e x) = z_c(x)
                block[:, e, of[table[e, members[0]]]] = values[:, c]
        blocks.append(block)
        lengths += [len(cosets)] * len(cosets)
    Z = np.concatenate(blocks, axis=-1)
    Z = Z + noise * rng.exponential(size=Z.shape) * (rng.random(Z.shape) < 0.1)
    metadata = {
        "groups": np.repeat(np.arange(N_INPUTS), group.order),
        "power": np.tile(group.powers, (N_INPUTS, 1)),
    }
    return Z.reshape(-1, Z.shape[-1]), metadata, np.array(lengths)


CASES = [
    (CyclicGroup(2), [[0], [0, 1]]),
    (CyclicGroup(4), [[0], [0, 2], [0, 1, 2, 3], [0]]),
    (DihedralGroup(4), [[0], [0, 4], [0, 1], [0, 2, 4, 6]]),
    (SymmetricGroup(3), [[0], list(range(6))]),
]


@pytest.mark.parametrize(("group", "subgroups"), CASES, ids=lambda c: repr(c)[:20])
def test_lengths_partners_and_families_are_found(group, subgroups):
    X, metadata, lengths = permuting(group, subgroups)
    table = feature_families(
        reader(len(lengths)), X, **metadata, symmetry=group, random_state=0
    )
    assert table["orbit_length"].tolist() == lengths.tolist()
    assert (table["stabilizer_size"] * lengths == group.order).all()
    names = {1: "invariant", 2: "pair"}
    assert table["kind"].tolist() == [names.get(n, f"family of {n}") for n in lengths]
    sizes = table.groupby("family").size().tolist()
    assert sorted(sizes) == sorted(
        group.order // len(subgroup) for subgroup in subgroups
    )
    assert (table["correlation"] > 0.9).all()
    assert (table["shuffled"] < 0.3).all()


def test_partner_is_that_under_the_generator_and_not_its_inverse():
    group = CyclicGroup(4)
    x = np.random.default_rng(0).exponential(size=(N_INPUTS, 4))
    x *= np.random.default_rng(1).random(x.shape) < 0.3
    X = np.stack([np.roll(x, p, axis=1) for p in range(4)], axis=1).reshape(-1, 4)
    table = feature_families(
        reader(4),
        X,
        groups=np.repeat(np.arange(N_INPUTS), 4),
        power=np.tile(np.arange(4), N_INPUTS),
        random_state=0,
    )
    assert table["turns_into_g"].tolist() == [1, 2, 3, 0]
    np.testing.assert_allclose(table["correlation_g"], 1)
    assert group.order == table["orbit_length"][0]


def test_correlations_are_those_of_the_other_half():
    # no latent knows of another: what is chosen as largest is no more than chance
    rng = np.random.default_rng(0)
    X = rng.exponential(size=(80, 60)) * (rng.random((80, 60)) < 0.3)
    groups, power = np.repeat(np.arange(40), 2), np.tile([0, 1], 40)
    table = feature_families(reader(60), X, groups=groups, power=power, random_state=0)
    assert abs(table["correlation"].mean()) < 0.1
    assert abs(table["correlation"].mean() - table["shuffled"].mean()) < 0.1
    assert (table["kind"] == "none").mean() > 0.8


def test_correlations_are_numpys():
    group = CyclicGroup(4)
    X, metadata, _ = permuting(group, [[0], [0, 2]], noise=1.0)
    table = feature_families(reader(6), X, **metadata, random_state=0)
    ids = np.random.RandomState(0).permutation(N_INPUTS)[N_INPUTS // 2 :]
    cube = X.reshape(N_INPUTS, 4, 6)[np.sort(ids)]
    for latent, partner in enumerate(table["turns_into_g"]):
        here = cube[:, :, latent].ravel()
        there = np.roll(cube, -1, axis=1)[:, :, partner].ravel()
        expected = np.corrcoef(here, there)[0, 1]
        assert table["correlation_g"][latent] == pytest.approx(expected)


def test_latents_that_never_fire_have_no_partner():
    X, metadata, _ = permuting(CyclicGroup(2), [[0], [0, 1]])
    X = np.column_stack([X, np.zeros(len(X)), np.full(len(X), 2.0)])
    table = feature_families(reader(5), X, **metadata, random_state=0)
    assert table["kind"].tolist() == ["pair", "pair", "invariant", "none", "none"]
    assert table["correlation"][3:].isna().all()
    assert (table["turns_into_g"][3:] == -1).all()


def test_missing_rows_and_order_of_rows_do_not_matter_much():
    X, metadata, lengths = permuting(CyclicGroup(4), [[0], [0, 2], [0, 1, 2, 3]])
    rng = np.random.default_rng(0)
    kept = rng.permutation(
        np.flatnonzero((np.arange(len(X)) % 4 == 0) | (rng.random(len(X)) < 0.8))
    )
    metadata = {name: values[kept] for name, values in metadata.items()}
    table = feature_families(reader(7), X[kept], **metadata, random_state=0)
    assert table["orbit_length"].tolist() == lengths.tolist()


def test_pairs_of_rows_are_bounded(monkeypatch):
    X, metadata, lengths = permuting(CyclicGroup(4), [[0], [0, 2], [0, 1, 2, 3]])
    module = "sk_eqsae.inspection._feature_families._MOST_PAIRS"
    whole = feature_families(reader(7), X, **metadata, random_state=0)
    monkeypatch.setattr(module, 300)
    table = feature_families(reader(7), X, **metadata, random_state=0)
    assert table["orbit_length"].tolist() == lengths.tolist()
    assert (table["correlation_g"] != whole["correlation_g"]).any()


def test_errors_say_what_is_missing():
    sae, X = reader(3), np.random.default_rng(0).random((6, 3))
    with pytest.raises(ValueError, match="no row has any other power"):
        feature_families(sae, X, groups=np.arange(6), power=np.zeros(6, int))
    with pytest.raises(ValueError, match=r"groups holds 3 group\(s\)"):
        feature_families(sae, X, groups=np.repeat([0, 1, 2], 2), power=[0, 1] * 3)
    with pytest.raises(TypeError, match="fitted autoencoder"):
        feature_families("sae", X, groups=np.arange(6), power=np.zeros(6, int))


def test_sites_are_orbits_of_their_own_and_halves_cut_between_inputs():
    group = CyclicGroup(4)
    X, metadata, lengths = permuting(group, [[0], [0, 2], [0, 1, 2, 3]])
    site = metadata["groups"] % 3
    metadata["groups"] //= 3
    table = feature_families(reader(7), X, **metadata, site=site, random_state=0)
    assert table["orbit_length"].tolist() == lengths.tolist()
    some = np.flatnonzero(metadata["groups"] < 3)
    metadata = {name: values[some] for name, values in metadata.items()}
    with pytest.raises(ValueError, match=r"groups holds 3 group\(s\)"):
        feature_families(reader(7), X[some], **metadata, site=site[some])
