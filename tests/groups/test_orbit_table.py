import numpy as np
import pytest

from sk_eqsae.groups import CyclicGroup
from sk_eqsae.groups._orbit_table import check_integers, orbit_table

GROUPS = np.array([7, 7, 3, 3, 7, 3])
POWER = np.array([0, 1, 1, 0, 2, 2])


def test_table_holds_the_row_of_each_orbit_and_power():
    group, table = orbit_table(GROUPS, POWER, n_rows=6)
    assert group == CyclicGroup(3)
    assert table.tolist() == [[0, 1, 4], [3, 2, 5]]


def test_orbits_come_in_order_of_first_row_whatever_their_ids():
    relabelled = np.where(GROUPS == 7, "a", "z")
    _, same = orbit_table(relabelled, POWER, n_rows=6)
    assert np.array_equal(same, orbit_table(GROUPS, POWER, n_rows=6)[1])


def test_missing_powers_are_marked():
    _, table = orbit_table([0, 0, 1], [0, 2, 0], symmetry=4, n_rows=3)
    assert table.tolist() == [[0, -1, 1, -1], [2, -1, -1, -1]]


def test_no_metadata_is_the_trivial_group():
    for symmetry in (None, 1, CyclicGroup(1)):
        group, table = orbit_table(None, None, symmetry=symmetry, n_rows=2)
        assert group == CyclicGroup(1)
        assert table.tolist() == [[0], [1]]


@pytest.mark.parametrize(
    ("groups", "power", "symmetry", "message"),
    [
        (
            None,
            None,
            4,
            r"symmetry=.* needs to know the orbits: pass groups= and power=",
        ),
        (None, POWER, None, "power was given without groups"),
        (GROUPS, None, None, "groups was given without power"),
        (
            GROUPS,
            POWER,
            2,
            r"0 to 1 \(symmetry=CyclicGroup\(n=2\)\), found 2 in rows 4, 5",
        ),
        (GROUPS, POWER - 1, None, "integers from 0, found -1 in rows 0, 3"),
        (GROUPS, POWER + 0.5, None, "must hold integers, found 0.5 in rows 0, 1, 2"),
        (GROUPS, list("abcabc"), None, "power must hold integers, found dtype"),
        (GROUPS, list("010101"), None, "power must hold integers, found dtype <U1"),
        (GROUPS, [0, 1, 1, 0, np.nan, 2], None, r"missing .* in rows 4"),
        (GROUPS, np.c_[POWER, POWER], None, r"power must .* \(6, 2\).*symmetry="),
        (np.c_[GROUPS, GROUPS], POWER, None, r"groups must .* \(6, 2\)"),
        (None, POWER, None, r"splitter: enable metadata routing.*STEP__groups="),
        (GROUPS, [0, 1, 1, 0, 1, 2], None, "orbit 7 has power 1 twice, in rows 1, 4"),
        (GROUPS, [1, 2, 1, 0, 3, 2], 4, r"no row of power 0.*ids 7; rows 0, 1, 4\)"),
        (GROUPS, [1, 2, 1, 0, 3, 2], 4, "GroupKFold"),
        (GROUPS, POWER * 2, None, r"goes up to 4, but no row has power 1, 3, so"),
        (GROUPS[:5], POWER[:5], None, "groups has 5 entries, but X has 6 rows"),
    ],
)
def test_bad_metadata_says_which_rows_and_how_to_mend_it(
    groups, power, symmetry, message
):
    with pytest.raises(ValueError, match=message):
        orbit_table(groups, power, symmetry=symmetry, n_rows=6)


@pytest.mark.parametrize("site", [[4, 4, 9, 9], ["b", "b", "", ""], [0.5, 0.5, 2, 2]])
def test_an_orbit_is_one_site_of_one_input(site):
    """Rows of input 7 at two sites, then of input 3 at the same ones."""
    groups, power = np.repeat([7, 3], 4), np.tile([1, 0], 4)
    _, table = orbit_table(groups, power, site=site * 2, n_rows=8)
    assert table.tolist() == [[1, 0], [3, 2], [5, 4], [7, 6]]


def test_sites_of_an_input_may_miss_rows_of_their_own():
    site, power = [0, 1, 0, 1, 1], [0, 0, 1, 2, 1]
    _, table = orbit_table([5] * 5, power, site=site, symmetry=3, n_rows=5)
    assert table.tolist() == [[0, 2, -1], [1, 4, 3]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"groups": None, "power": None}, "site was given without groups and power"),
        ({"groups": None}, "power and site were given without groups"),
        ({"power": None}, "groups and site were given without power"),
        ({"site": [0, 0, 1, np.nan]}, r"site has missing values .* rows 3"),
        ({"site": [0, 0, "a", "a"]}, "site mixes entries .* int, str"),
        ({"site": [0, 0, 1]}, "site has 3 entries, but X has 4 rows"),
        ({"site": np.zeros((4, 2))}, r"site must hold one entry per row, found \(4, 2"),
        ({"site": [0, 0, 0, 1]}, "orbit a at site 0 has power 0 twice, in rows 0, 2"),
        ({"power": [0, 1, 1, 2]}, r"no row of power 0.*ids a at site 1; rows 2, 3"),
    ],
)
def test_bad_sites_are_named(given, message):
    good = {"groups": list("aaaa"), "power": [0, 1, 0, 1], "site": [0, 0, 1, 1]}
    with pytest.raises(ValueError, match=message):
        orbit_table(**good | given, n_rows=4)


def test_powers_stored_as_floats_are_taken():
    assert check_integers(np.array([0.0, 3.0])).dtype == np.int64
