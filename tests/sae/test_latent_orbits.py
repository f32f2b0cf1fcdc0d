"""Latents in orbits: what moves them, what pools them, what they are called."""

import pickle

import numpy as np
import pytest
from scipy.sparse import csr_array

from sk_eqsae.groups import CyclicGroup, DihedralGroup, SymmetricGroup
from sk_eqsae.sae._latent_orbits import LatentOrbits
from sk_eqsae.sae._orbit_choice import filled

GROUPS = [CyclicGroup(6), DihedralGroup(4), SymmetricGroup(3)]
every_group = pytest.mark.parametrize("group", GROUPS, ids=repr)


def orbits_of_all_kinds(group):
    """One orbit of each kind, then one more of each in reverse, and free latents."""
    kinds = np.arange(len(group.subgroups))
    return LatentOrbits(group, np.append(kinds, kinds[::-1]), n_free=3)


def codes(orbits, n_rows=5):
    rng = np.random.default_rng(0)
    Z = np.abs(rng.normal(size=(n_rows, orbits.n_components)))
    return Z * (rng.random(Z.shape) < 0.5)


@every_group
def test_lengths_are_those_of_orbits_and_stabilisers(group):
    orbits = orbits_of_all_kinds(group)
    orders = [subgroup.order for subgroup in orbits.subgroups]
    assert np.array_equal(orbits.lengths * orders, [group.order] * orbits.n_orbits)
    tied = orbits.orbit[: orbits.n_tied]
    assert np.array_equal(np.bincount(tied), orbits.lengths)
    assert orbits.orbit[-4:].tolist() == [orbits.n_orbits - 1, -1, -1, -1]
    first = orbits.coset[: orbits.n_tied] == 0
    for subgroup, latent in zip(orbits.subgroups, np.flatnonzero(first), strict=True):
        fixed = [g for g in range(group.order) if orbits.places(g)[latent] == latent]
        assert fixed == subgroup.elements.tolist()
    assert set(orbits.by_length.values()) == {2}


@every_group
def test_permutations_are_an_action_that_keeps_orbits(group):
    orbits = orbits_of_all_kinds(group)
    Z = codes(orbits)
    for g in range(group.order):
        moved = orbits.permute(Z, group.power_of(np.array([g]))[0])
        np.testing.assert_array_equal(moved[:, orbits.places(g)], Z)
        np.testing.assert_array_equal(orbits.pool(moved), orbits.pool(Z))
        np.testing.assert_array_equal(moved[:, -3:], Z[:, -3:])
        for h in range(group.order):
            again = orbits.places(h)[orbits.places(g)]
            product = group.multiplication_table[h, g]
            assert np.array_equal(again, orbits.places(product))


@every_group
def test_sparse_codes_move_as_dense_ones_each_row_by_its_own_power(group):
    orbits = orbits_of_all_kinds(group)
    Z = codes(orbits, n_rows=group.order)
    power = group.power_of(np.arange(group.order))
    moved = orbits.permute(csr_array(Z), power)
    np.testing.assert_array_equal(moved.toarray(), orbits.permute(Z, power))
    assert moved.has_canonical_format
    each = [orbits.permute(Z[[g]], power[g])[0] for g in range(group.order)]
    np.testing.assert_array_equal(moved.toarray(), each)
    pooled = orbits.pool(csr_array(Z))
    np.testing.assert_array_equal(pooled.toarray(), orbits.pool(Z))


def test_names_say_orbit_and_coset():
    orbits = LatentOrbits(CyclicGroup(4), [1, 2, 0], n_free=1)
    expected = ["0_g0", "0_g1", "1", "2_g0", "2_g1", "2_g2", "2_g3", "_free0"]
    assert orbits.names == expected
    flips = LatentOrbits(DihedralGroup(4), [6])  # all turns leave it alone
    assert flips.names == ["0_r0s0", "0_r0s1"]


def test_they_are_plain_arrays_when_pickled():
    orbits = orbits_of_all_kinds(CyclicGroup(4))
    again = pickle.loads(pickle.dumps(orbits))
    Z = codes(orbits)
    np.testing.assert_array_equal(again.permute(Z, 1), orbits.permute(Z, 1))
    assert again.names == orbits.names


@pytest.mark.parametrize(
    ("shares", "n_latents", "counts"),
    [
        ((0.95, 0.0, 0.05), 64, (15, 0, 4)),  # 15.2 and 3.2
        ((0.97, 0.0, 0.03), 64, (16, 0, 0)),  # 15.5 and 1.9
        ((0.5, 0.25, 0.25), 64, (8, 8, 16)),
        ((0.0, 0.0, 0.0), 23, (5, 1, 1)),  # no live latent says anything
        ((0.0, 0.0, 1.0), 3, (0, 0, 3)),
        ((1.0, 0.0, 0.0), 2, (0, 1, 0)),
    ],
)
def test_orbits_fill_a_dictionary_nearly_in_shares(shares, n_latents, counts):
    lengths = np.array([4, 2, 1])
    found = filled(np.array(shares), np.ones(3, dtype=bool), lengths, n_latents)
    assert found @ lengths == n_latents
    assert tuple(found) == counts


def test_what_is_not_possible_fills_nothing():
    possible, lengths = np.array([True, True, False]), np.array([6, 4, 1])
    assert not filled(np.ones(3), possible, lengths, 7).any()
    assert filled(np.array([1.0, 0, 0]), possible, lengths, 20).tolist() == [2, 2, 0]
