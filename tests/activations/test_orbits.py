"""Orbits: their order, their canonical rows, and splits that cut none."""

from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal

from sk_eqsae.activations import Orbits
from sk_eqsae.datasets import make_shapes
from sk_eqsae.groups import ActivationTransformFitter, CyclicGroup, DihedralGroup


def make_orbits(n_orbits=10, order=4, n_features=3):
    groups = np.repeat(np.arange(n_orbits), order)
    power = np.tile(np.arange(order), n_orbits)
    X = np.column_stack([groups, power, np.zeros((len(groups), n_features - 2))])
    return Orbits(X, groups, power)


def shuffled(orbits, seed=0):
    rows = np.random.RandomState(seed).permutation(len(orbits))
    return Orbits(orbits.X[rows], orbits.groups[rows], orbits.power[rows])


def test_sizes():
    orbits = make_orbits(10, order=4)
    assert (len(orbits), orbits.order, orbits.n_orbits) == (40, 4, 10)
    assert repr(orbits) == "<Orbits: 10 orbits of order 4, 3 features>"


def test_orbits_are_immutable():
    with pytest.raises(FrozenInstanceError):
        make_orbits().X = np.zeros((40, 3))


def test_canonical_rows_have_power_zero():
    orbits = make_orbits(5)
    assert_array_equal(orbits.canonical, orbits.X[::4])


def test_canonical_rows_follow_the_first_row_of_each_orbit():
    orbits = shuffled(make_orbits(5))
    first = orbits.groups[np.sort(np.unique(orbits.groups, return_index=True)[1])]
    assert_array_equal(orbits.canonical[:, 0], first)
    assert not orbits.canonical[:, 1].any()


@pytest.mark.parametrize("test_size", [0.25, 3, 0.5])
@pytest.mark.parametrize("make", [make_orbits, lambda n: shuffled(make_orbits(n))])
def test_split_keeps_orbits_whole(make, test_size):
    orbits = make(12)
    train, test = orbits.split(test_size, random_state=0)
    assert not set(train.groups) & set(test.groups)
    n_test = test_size if test_size == 3 else 12 * test_size
    assert test.n_orbits == n_test
    assert train.n_orbits == 12 - n_test
    assert train.order == test.order == 4
    assert len(train) + len(test) == len(orbits)


def test_split_keeps_rows_with_their_ids():
    orbits = shuffled(make_orbits(12))
    for part in orbits.split(random_state=0):
        assert_array_equal(part.X[:, 0], part.groups)
        assert_array_equal(part.X[:, 1], part.power)
        kept = np.isin(orbits.groups, part.groups)
        assert_array_equal(part.X, orbits.X[kept])


def some_orbits(group=None, *, rows=4):
    """Of order 4, but only orbit 0 has more than so many rows."""
    orbits = make_orbits(12)
    kept = (orbits.power < rows) | (orbits.groups == 0)
    return Orbits(orbits.X[kept], orbits.groups[kept], orbits.power[kept], group)


def test_parts_keep_the_order_and_the_group_of_the_whole():
    whole = some_orbits(rows=3)
    assert repr(whole) == "<Orbits: 12 orbits of order 4, 3 features>"
    assert whole.group is None
    for part in whole.split(random_state=0):
        assert (part.order, part.group) == (4, CyclicGroup(4))
        for again in part.split(random_state=0):
            assert (again.order, again.group) == (4, CyclicGroup(4))
    group = CyclicGroup(5)
    for part in some_orbits(group, rows=3).split(random_state=0):
        assert part.group is group


@pytest.mark.parametrize("columns", [1, 2])
def test_parts_of_powers_with_columns_keep_the_order(columns):
    group = None if columns == 1 else DihedralGroup(2)
    power = np.tile(np.indices((2, 2)).reshape(2, -1).T[:, -columns:], (8, 1))
    ids = np.repeat(np.arange(8), 4)
    if columns == 1:
        ids = np.repeat(np.arange(16), 2)
    orbits = Orbits(np.zeros((32, 2)), ids, power, group)
    for part in orbits.split(random_state=0):
        assert part.order == orbits.order == 2 * columns
        assert part.power.shape[1:] == (columns,)


def test_split_is_fixed_by_random_state():
    orbits = make_orbits(30)
    first, again, other = (
        orbits.split(random_state=seed)[1].groups for seed in (0, 0, 1)
    )
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_split_does_not_depend_on_the_order_of_rows():
    orbits = make_orbits(30)
    test = orbits.split(random_state=0)[1]
    assert set(shuffled(orbits).split(random_state=0)[1].groups) == set(test.groups)


def test_split_by_base_leaks_nothing():
    shapes = make_shapes(2000, random_state=0)
    orbits = make_orbits(2000)
    train, test = orbits.split(base=shapes.base_id, random_state=0)
    seen = shapes.base_id[train.groups]
    assert not np.isin(shapes.base_id[test.groups], seen).any()
    train, test = orbits.split(random_state=0)  # without base there is a leak
    seen = shapes.base_id[train.groups]
    assert np.isin(shapes.base_id[test.groups], seen).any()


def test_split_by_base_can_be_repeated_on_a_part():
    base = np.arange(40) // 2
    train, _ = make_orbits(40).split(base=base, random_state=0)
    first, second = train.split(base=base, random_state=0)
    assert not set(base[first.groups]) & set(base[second.groups])


def test_orbit_ids_may_be_strings():
    X = np.zeros((6, 2))
    groups, power = np.repeat(["a", "b", "c"], 2), np.tile([0, 1], 3)
    train, test = Orbits(X, groups, power).split(1, random_state=0)
    assert set(train.groups) | set(test.groups) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        (np.ndarray.tolist, np.ndarray.tolist),
        (pd.DataFrame, lambda x: pd.Series(x, index=range(100, 100 + len(x)))),
        (torch.as_tensor, torch.as_tensor),
    ],
    ids=["lists", "pandas", "torch"],
)
def test_lists_frames_and_tensors_are_taken_as_arrays(rows, column):
    arrays = make_orbits(8)
    parts = arrays.X, arrays.groups, arrays.power
    orbits = Orbits(rows(parts[0]), column(parts[1]), column(parts[2]))
    assert repr(orbits) == repr(arrays)
    assert_array_equal(orbits.canonical, arrays.canonical)
    test, expected = (o.split(random_state=0)[1] for o in (orbits, arrays))
    for name in ("X", "groups", "power"):
        assert isinstance(getattr(test, name), np.ndarray)
        assert_array_equal(getattr(test, name), getattr(expected, name))


@pytest.mark.parametrize(
    ("X", "groups", "power", "message"),
    [
        (np.zeros(4), [0, 0, 1, 1], [0, 1, 0, 1], "X must have 2 axes"),
        (np.zeros((4, 2)), [0, 0, 1], [0, 1, 0], "[Ii]nconsistent"),
        (np.zeros((4, 2)), [0, 0, 1, 1], [0, 1, 1, 2], "power 0, the canonical row"),
        (np.zeros((4, 2)), [0, 0, 1, 1], [0, 1, 0, 0], "orbit 1 has power 0 twice"),
        (np.zeros((4, 2)), [0, 0, 1, 1], [0, -1, 0, 1], "found -1"),
    ],
)
def test_parts_that_do_not_fit_together(X, groups, power, message):
    with pytest.raises(ValueError, match=message):
        Orbits(X, np.array(groups), np.array(power))


@pytest.mark.parametrize(
    ("group", "power", "message"),
    [
        (CyclicGroup(4), [0, 1, 2, -1], r"from 0 to 3 \(order=4\), found -1 in rows 3"),
        (CyclicGroup(4), [0, 1, 2, 7], r"from 0 to 3 \(order=4\), found 7"),
        (
            DihedralGroup(3),
            [[0, 0], [-2, 0], [2, 0], [0, 1]],
            "power of generator 0 must be from 0 to 2, found -2 in row 1",
        ),
        (DihedralGroup(3), [[0, 0], [1, 0], [2, 0], [0, 3]], "generator 1 .* found 3"),
        (DihedralGroup(3), [0, 1, 2, 3], "one column for each of the 2 generators"),
        (CyclicGroup(4), [0, 1, 2, 0.5], "must hold integers, found 0.5"),
    ],
)
def test_powers_that_fit_refuses(group, power, message):
    X, groups, power = np.eye(4), np.zeros(4, dtype=int), np.array(power)
    with pytest.raises(ValueError, match=message) as of_fit:
        ActivationTransformFitter(symmetry=group).fit(X, groups=groups, power=power)
    with pytest.raises(ValueError, match=message) as of_orbits:
        Orbits(X, groups, power, group)
    assert str(of_orbits.value) == str(of_fit.value)


def test_an_order_in_the_place_of_a_group_is_an_error():
    with pytest.raises(TypeError, match=r"such as CyclicGroup\(4\), found 4"):
        Orbits(np.zeros((4, 2)), np.zeros(4, dtype=int), np.arange(4), group=4)


def test_base_with_too_few_labels():
    with pytest.raises(ValueError, match="base has 9 labels"):
        make_orbits(10).split(base=np.arange(9))


def test_base_needs_integer_ids():
    orbits = make_orbits(3)
    named = Orbits(orbits.X, orbits.groups.astype(str), orbits.power)
    with pytest.raises(ValueError, match="groups must hold integers"):
        named.split(base=np.arange(3))


def test_base_must_have_one_axis():
    with pytest.raises(ValueError, match="base must have one axis"):
        make_orbits(3).split(base=np.zeros((3, 1)))
