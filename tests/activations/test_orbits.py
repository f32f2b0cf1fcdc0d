"""Orbits: their order, their canonical rows, and splits that cut none."""

from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_array_equal

from sk_eqsae.activations import Orbits, extract_orbits
from sk_eqsae.groups import (
    ActivationTransformFitter,
    CyclicGroup,
    CyclicShift,
    DihedralGroup,
)


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


def some_orbits(symmetry=None, *, rows=4):
    """Of order 4, but only orbit 0 has more than so many rows."""
    orbits = make_orbits(12)
    kept = (orbits.power < rows) | (orbits.groups == 0)
    return Orbits(orbits.X[kept], orbits.groups[kept], orbits.power[kept], symmetry)


def test_parts_keep_the_order_and_the_group_of_the_whole():
    whole = some_orbits(rows=3)
    assert repr(whole) == "<Orbits: 12 orbits of order 4, 3 features>"
    assert whole.symmetry == CyclicGroup(4)
    for part in whole.split(random_state=0):
        assert (part.order, part.symmetry) == (4, CyclicGroup(4))
        for again in part.split(random_state=0):
            assert (again.order, again.symmetry) == (4, CyclicGroup(4))
    group = CyclicGroup(5)
    for part in some_orbits(group, rows=3).split(random_state=0):
        assert part.symmetry is group


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


def test_inputs_of_one_base_are_split_together():
    inputs, base = np.zeros((40, 4)), np.arange(40) // 2
    settings = {"layer": "", "action": CyclicShift(axis=1, order=2)}
    for given, is_leak in ((base, False), (None, True)):
        orbits = extract_orbits(torch.nn.Identity(), inputs, base=given, **settings)
        train, test = orbits.split(random_state=0)
        assert np.isin(base[test.inputs], base[train.inputs]).any() == is_leak


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
        (
            np.zeros((4, 2)),
            [0, 0, 1],
            [0, 1, 0],
            "groups has 3 entries, but X has 4 rows",
        ),
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
        (CyclicGroup(4), [0, 1, 2, -1], r"from 0 to 3 .*, found -1 in rows 3"),
        (CyclicGroup(4), [0, 1, 2, 7], r"from 0 to 3 .*, found 7"),
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


def test_the_symmetry_can_be_given_by_its_order():
    orbits = some_orbits(5, rows=3)
    assert (orbits.order, orbits.symmetry) == (5, CyclicGroup(5))
    with pytest.raises(ValueError, match="symmetry must be the order of"):
        some_orbits("rotations")


def test_metadata_are_what_fit_takes():
    orbits = make_orbits(8)
    assert list(orbits.metadata) == ["groups", "power"]
    told = ActivationTransformFitter().fit(orbits.X, **orbits.metadata)
    by_hand = ActivationTransformFitter().fit(
        orbits.X, groups=orbits.groups, power=orbits.power
    )
    assert told.order_ == 4
    assert_array_equal(told.M_, by_hand.M_)


MISSING = {
    "NaN": lambda ids: np.where(np.isin(ids, [1, 2]), np.nan, ids),
    "NaN among objects": lambda ids: np.array(
        [np.nan if i == 1 else i for i in ids], object
    ),
    "NaN in a list of strings": lambda ids: [np.nan if i == 1 else str(i) for i in ids],
    "None": lambda ids: [None if i == 1 else i for i in ids],
    "NaT": lambda ids: np.where(
        ids == 1, np.datetime64("NaT"), np.datetime64(0, "D") + ids
    ),
    "pandas' NA": lambda ids: pd.Series(np.where(ids == 1, np.nan, ids)).astype(
        "Int64"
    ),
    "masked": lambda ids: np.ma.masked_array(ids, mask=ids == 1),
    "null of polars": lambda ids: pl.Series(
        [None if i == 1 else i for i in ids.tolist()]
    ),
}


@pytest.mark.parametrize("lose", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("name", ["groups", "power"])
def test_missing_ids_and_powers_are_an_error_that_says_where(name, lose):
    """All rows without an id would be one orbit."""
    orbits = make_orbits(4, order=4)
    metadata = orbits.metadata | {name: lose(orbits.metadata[name])}
    rows = "4, 5, 6" if name == "groups" else "1, [25]"
    with pytest.raises(ValueError, match=f"{name} has missing values .* rows {rows}"):
        Orbits(orbits.X, **metadata)
    with pytest.raises(ValueError, match=f"{name} has missing values .* rows {rows}"):
        ActivationTransformFitter().fit(orbits.X, **metadata)


def test_missing_powers_of_one_of_two_generators_are_an_error():
    group = DihedralGroup(2)
    power = group.powers.astype(float)
    power[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"power has missing values .* rows 2"):
        Orbits(np.zeros((4, 2)), np.zeros(4, dtype=int), power, group)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_any_kind_are_rows(dtype):
    base = torch.rand(10, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    X = torch.stack([base.roll(p, dims=1) for p in range(4)], dim=1).reshape(40, 4)
    metadata = {"groups": torch.arange(40) // 4, "power": torch.arange(40) % 4}
    orbits = Orbits(X.clone().requires_grad_(), **metadata)
    assert orbits.X.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    assert_array_equal(orbits.X, X.double().numpy())
    from_tensor = ActivationTransformFitter().fit(X.requires_grad_(), **metadata)
    from_array = ActivationTransformFitter().fit(orbits.X, **orbits.metadata)
    assert_array_equal(from_tensor.M_, from_array.M_)
    assert from_tensor.transform(X).dtype == orbits.X.dtype


@pytest.mark.parametrize(
    "ids", [[0, "a", 1, 2], np.array(["a", 1.0, "a", 2], object), [None, 0, b"b", 1]]
)
def test_ids_of_mixed_kinds_are_an_error(ids):
    """A list of them would become texts, of which "1" and 1 are the same."""
    message = "(mixes entries .* of types|has missing values)"
    with pytest.raises(ValueError, match=f"groups {message}"):
        Orbits(np.zeros((4, 2)), ids, [0, 0, 0, 0])


def test_masked_activations_are_missing_values():
    orbits = make_orbits(3)
    masked = np.ma.masked_array(orbits.X, mask=orbits.X == 2)
    with pytest.raises(ValueError, match=r"X has missing values .* rows 2, 6, 8, 9"):
        Orbits(masked, **orbits.metadata)
    with pytest.raises(ValueError, match=r"X has missing values"):
        ActivationTransformFitter().fit(masked, **orbits.metadata)
    assert type(Orbits(np.ma.masked_array(orbits.X), **orbits.metadata).X) is np.ndarray


def sites_of(groups=(0, 1, 2, 3), base=None, n_sites=3):
    """Inputs of order 2 that exchange places 0 and 2, with an Orbits of all places."""
    inputs, site, power = np.indices((len(groups), n_sites, 2)).reshape(3, -1)
    position = np.where(power, n_sites - 1 - site, site)
    X = np.column_stack([inputs, site, power]).astype(float)
    ids = np.asarray(groups)[inputs] if base is None else np.asarray(base)[inputs]
    return Orbits(X, ids, power, site=site, inputs=inputs, position=position)


def test_an_orbit_is_one_site_of_one_input():
    orbits = sites_of()
    assert (orbits.n_orbits, orbits.order) == (12, 2)
    assert_array_equal(orbits.canonical, orbits.X[::2])
    assert list(orbits.metadata) == ["groups", "power", "site"]
    assert_array_equal(orbits.site, orbits.X[:, 1])
    y = np.array(list("abcd"))
    assert_array_equal(y[orbits.inputs], np.repeat(y, 6))


@pytest.mark.parametrize(("n_sites", "told"), [(1, ()), (1, ("site",)), (3, ("site",))])
def test_sites_of_inputs_with_one_base_are_told_apart(n_sites, told):
    """Two crops of a photograph share places, or have no sites at all."""
    whole = sites_of(base=["p", "q", "p", "q"], n_sites=n_sites)
    parts = {name: getattr(whole, name) for name in told}
    orbits = Orbits(whole.X, whole.groups, whole.power, inputs=whole.inputs, **parts)
    assert orbits.n_orbits == 4 * n_sites
    M = ActivationTransformFitter().fit(
        orbits.X + np.array([0, 0, 1]), **orbits.metadata
    )
    assert M.order_ == 2
    train, test = orbits.split(0.5, random_state=0)
    assert set(train.groups) ^ set(test.groups) == {"p", "q"}
    for part in (train, test):
        assert part.n_orbits == 2 * n_sites
        rows = np.isin(orbits.inputs, part.inputs)
        assert_array_equal(part.site, orbits.site[rows])
        assert_array_equal(part.X, orbits.X[rows])


@pytest.mark.parametrize("as_mask", [np.array, list], ids=["grid", "one each"])
def test_labels_of_places_are_those_that_a_row_comes_from(as_mask):
    """Whatever the group has made of the place, and in a part of the orbits, too."""
    orbits = sites_of()
    mask = as_mask([[f"{x} at {u}" for u in range(3)] for x in range(4)])
    for part in (orbits, *orbits.split(random_state=0)):
        expected = [f"{int(x)} at {int(u)}" for x, u, _ in part.X]
        assert part.at(mask).tolist() == expected


def test_inputs_may_have_different_numbers_of_places():
    orbits = Orbits(
        np.zeros((5, 1)),
        [0, 0, 1, 1, 1],
        [0] * 5,
        site=[0, 1, 0, 1, 2],
        inputs=[0, 0, 1, 1, 1],
        position=[0, 1, 0, 1, 2],
    )
    assert orbits.at([[5, 6], [7, 8, 9]]).tolist() == [5, 6, 7, 8, 9]
    with pytest.raises(ValueError, match=r"2 inputs, of up to 3 places.* rows 1"):
        orbits.at([[5], [7, 8, 9]])
    with pytest.raises(ValueError, match=r"1 inputs.* none for rows 2, 3, 4"):
        orbits.at([[5, 6]])
    with pytest.raises(ValueError, match=r"inputs and places .* are not known"):
        make_orbits().at(np.zeros((10, 1)))


def test_an_input_in_two_groups_is_an_error():
    with pytest.raises(ValueError, match="input 7 is in 2 groups"):
        Orbits(np.zeros((4, 2)), [0, 0, 1, 1], [0, 1, 0, 1], inputs=[7] * 4)
    with pytest.raises(ValueError, match=r"inputs.* an entry for each row, found"):
        Orbits(np.zeros((4, 2)), [0, 0, 1, 1], [0, 1, 0, 1], inputs=[0, 0, 1])
