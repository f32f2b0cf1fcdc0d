"""Subgroups against known lattices, and how the group permutes their cosets."""

import numpy as np
import pytest

from sk_eqsae.groups import (
    CyclicGroup,
    DihedralGroup,
    FiniteGroup,
    ProductGroup,
    SymmetricGroup,
)

from .test_group import GROUPS, Q8

every_group = pytest.mark.parametrize("group", GROUPS, ids=repr)
C2 = CyclicGroup(2)
# orders of one subgroup of each class, as textbooks list them
LATTICES = {
    **{CyclicGroup(n): [d for d in range(1, n + 1) if n % d == 0] for n in (1, 4, 12)},
    DihedralGroup(4): [1, 2, 2, 2, 4, 4, 4, 8],
    DihedralGroup(5): [1, 2, 5, 10],
    SymmetricGroup(3): [1, 2, 3, 6],
    SymmetricGroup(4): [1, 2, 2, 3, 4, 4, 4, 6, 8, 12, 24],
    SymmetricGroup(5): [
        1,
        2,
        2,
        3,
        4,
        4,
        4,
        5,
        6,
        6,
        6,
        8,
        10,
        12,
        12,
        20,
        24,
        60,
        120,
    ],
    ProductGroup(C2, C2): [1, 2, 2, 2, 4],
    Q8: [1, 2, 4, 4, 4, 8],
}


@pytest.mark.parametrize("group", LATTICES, ids=repr)
def test_subgroups_are_those_of_the_lattice(group):
    assert [each.order for each in group.subgroups] == LATTICES[group]


def test_they_are_named_by_what_generates_them():
    names = [each.name for each in DihedralGroup(4).subgroups]
    expected = "1 <s> <r_s> <r^2> <r^2,_s> <r^2,_r_s> <r> <r,_s>"
    assert names == [name.replace("_", " ") for name in expected.split()]
    assert len({each.name for each in Q8.subgroups}) == 6


@every_group
def test_they_are_closed_and_no_two_are_conjugate(group):
    table, inverses = group.multiplication_table, group.inverses
    seen = set()
    for subgroup in group.subgroups:
        H = subgroup.elements
        assert np.isin(table[np.ix_(H, H)], H).all()
        conjugates = {
            tuple(np.sort(table[table[g, H], inverses[g]])) for g in range(group.order)
        }
        assert conjugates.isdisjoint(seen)
        seen |= conjugates
    assert group.subgroups[0].elements.tolist() == [0]
    assert group.subgroups[-1].order == group.order


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("kind", [CyclicGroup, DihedralGroup])
def test_formulas_agree_with_the_search(kind, n):
    group = kind(n)
    searched = FiniteGroup._subgroups(group)
    assert [len(elements) for elements, _ in searched] == [
        each.order for each in group.subgroups
    ]


@every_group
def test_cosets_are_permuted_as_a_group_acts(group):
    table = group.multiplication_table
    for subgroup in group.subgroups:
        cosets = group.cosets(subgroup)
        n = group.order // subgroup.order
        assert cosets.shape == (group.order, n)
        assert np.array_equal(cosets[0], np.arange(n))
        # (g h) c = g (h c)
        for g in range(0, group.order, 1 + group.order // 8):
            assert np.array_equal(cosets[table[g]], cosets[g][cosets])
        # orbit and stabiliser of the first one
        assert set(cosets[:, 0]) == set(range(n))
        assert np.array_equal(np.flatnonzero(cosets[:, 0] == 0), subgroup.elements)


def test_large_groups_take_a_bounded_time():
    assert len(CyclicGroup(1000).subgroups) == 16
    most = ProductGroup(*[C2] * 10)  # which has 229,755,605
    orders = [each.order for each in most.subgroups]
    assert 100 < len(orders) < 1_100
    assert (orders[0], orders[-1]) == (1, 1024)
    larger = ProductGroup(CyclicGroup(64), CyclicGroup(64))
    assert [each.name for each in larger.subgroups] == ["1", "<g_1, g_2>"]
