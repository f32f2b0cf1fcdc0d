import numpy as np
import pytest
from scipy.sparse import csr_array

from sk_eqsae.groups import CyclicGroup, DihedralGroup, ProductGroup, SymmetricGroup
from sk_eqsae.sae import _matching
from sk_eqsae.sae._matching import match_latents

GROUPS = [
    CyclicGroup(1),
    CyclicGroup(4),
    DihedralGroup(4),
    SymmetricGroup(3),
    ProductGroup(CyclicGroup(2), CyclicGroup(2)),
]
every_group = pytest.mark.parametrize("group", GROUPS, ids=str)


def moving_codes(group, n_of_each=2, n_orbits=150):
    """Codes that the group permutes, columns mixed, and the true orbit of each."""
    rng = np.random.default_rng(0)
    blocks = []
    for moves in (group.cosets(subgroup) for subgroup in group.subgroups):
        for _ in range(n_of_each):
            code = np.maximum(rng.normal(size=(n_orbits, moves.shape[1])) - 1, 0)
            block = np.empty((n_orbits, group.order, moves.shape[1]))
            for g, move in enumerate(moves):
                block[:, g, move] = code
            blocks.append(block)
    mixed = rng.permutation(sum(block.shape[2] for block in blocks))
    Z = np.concatenate(blocks, axis=2)[:, :, mixed]
    lengths = [block.shape[2] for block in blocks]
    return Z, np.repeat(np.arange(len(blocks)), lengths)[mixed]


def matched(Z, group, seen=None, **settings):
    table = np.arange(Z.shape[0] * Z.shape[1]).reshape(Z.shape[:2])
    table = table if seen is None else np.where(seen, table, -1)
    return match_latents(csr_array(Z.reshape(-1, Z.shape[2])), table, group, **settings)


def alike(orbits):
    return orbits[:, np.newaxis] == orbits


@every_group
def test_codes_that_permute_are_put_into_their_orbits(group):
    Z, orbits = moving_codes(group)
    found = matched(Z, group)
    assert np.array_equal(alike(found.orbit), alike(orbits))
    assert (np.bincount(found.subgroup) == 2).all()
    for i, kind in enumerate(found.subgroup):
        moves = group.cosets(group.subgroups[kind])
        members = np.flatnonzero(found.orbit == i)
        members = members[np.argsort(found.coset[members])]
        for g, move in enumerate(moves):
            np.testing.assert_allclose(Z[:, g][:, members[move]], Z[:, 0][:, members])
    if group.order > 1:
        np.testing.assert_allclose(found.score, 1, rtol=1e-4)


def test_orbits_with_missing_rows_are_matched_all_the_same():
    group = DihedralGroup(4)
    Z, orbits = moving_codes(group, n_orbits=400)
    seen = np.random.default_rng(1).random(Z.shape[:2]) < 0.7
    found = matched(Z * seen[:, :, np.newaxis], group, seen)
    assert np.array_equal(alike(found.orbit), alike(orbits))


def test_no_orbit_has_latents_of_two_parts():
    group = CyclicGroup(4)
    Z, _ = moving_codes(group)
    part = np.arange(Z.shape[2]) // 5
    found = matched(Z, group, part=part)
    assert all(len(set(part[found.orbit == i])) == 1 for i in set(found.orbit))


def test_counts_are_kept_whatever_the_codes_say():
    group = CyclicGroup(4)
    Z, _ = moving_codes(group)
    found = matched(Z, group, counts=[3, 1, 0])
    assert np.bincount(found.subgroup, minlength=3).tolist() == [3, 1, 0]


def test_dead_latents_are_put_somewhere_too():
    group = CyclicGroup(4)
    Z, orbits = moving_codes(group)
    dead = np.zeros((*Z.shape[:2], 5))
    found = matched(np.concatenate([Z, dead], axis=2), group)
    assert (found.orbit >= 0).all()
    assert np.array_equal(alike(found.orbit[: len(orbits)]), alike(orbits))


def test_cosines_are_the_same_in_small_blocks(monkeypatch):
    group = SymmetricGroup(3)
    Z, _ = moving_codes(group)
    whole = matched(Z, group)
    monkeypatch.setattr(_matching, "_AT_ONCE", 100)
    for one, other in zip(matched(Z, group), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_largest_cosines_of_each_latent_are_kept(monkeypatch):
    monkeypatch.setattr(_matching, "_PARTNERS", 3)
    rng = np.random.default_rng(0)
    before, after = rng.random((2, 50, 20)) * (rng.random((2, 50, 20)) < 0.3) / 5
    dense = before.T @ after
    [found] = _matching._largest(csr_array(before), csr_array(after))
    third = np.sort(dense, axis=1)[:, [-3]]
    kept = (dense > _matching._LEAST) & ((dense >= third) | np.eye(20, dtype=bool))
    np.testing.assert_allclose(found.toarray(), np.where(kept, dense, 0))


def test_a_long_orbit_is_scored_by_some_of_its_pairs():
    group = CyclicGroup(72)
    Z, orbits = moving_codes(group, n_of_each=1)
    found = matched(Z, group)
    assert np.array_equal(alike(found.orbit), alike(orbits))
    np.testing.assert_allclose(found.score, 1, atol=1e-5)
