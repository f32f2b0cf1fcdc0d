"""Where actions move the sites of a layer."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_eqsae.groups import (
    AxisRotation,
    ChannelPermutation,
    CubeRotation,
    CyclicShift,
    GridShift,
    ImageDihedral,
    ImageFlip,
    ImageRotation,
)

# an action, a grid, and the shape of maps that it moves as the inputs
CASES = [
    (ImageRotation(4), (5, 5)),
    (ImageRotation(2), (3, 4)),
    (ImageRotation(4, channel_axis=-1), (4, 4)),
    (ImageRotation(4), (3, 4, 4)),
    (ImageFlip(), (3, 4)),
    (ImageFlip(), (5,)),
    (ImageFlip(axis=-2), (3, 4)),
    (ImageFlip(axis=2), (3, 4)),
    (ImageDihedral(), (4, 4)),
    (ImageDihedral(2), (3, 5)),
    (CyclicShift(axis=-1, order=3), (4, 6)),
    (CyclicShift(axis=2, order=4), (4, 6)),
    (CyclicShift(axis=1, order=5), (5, 3)),
    (GridShift(axes=(-2, -1), orders=(2, 3)), (4, 6)),
    (ChannelPermutation(4), (4,)),
    (ChannelPermutation(3, axis=-2), (3, 2)),
    (CubeRotation("volumes"), (3, 3, 3)),
]


def maps_of(grid, action):
    """Inputs of one channel, as large as the grid."""
    maps = np.random.RandomState(0).randn(2, *grid)
    if getattr(action, "axis", None) == 1:  # of inputs without channels
        return maps
    is_last = getattr(action, "channel_axis", None) == -1
    return np.expand_dims(maps, -1 if is_last else 1)


@pytest.mark.parametrize(("action", "grid"), CASES, ids=str)
def test_the_entry_of_an_input_lands_at_the_site_that_is_named(action, grid):
    maps = maps_of(grid, action)
    for power in action.symmetry.powers:
        site = action.site_permutation(grid, power, input_shape=maps.shape)
        moved = action(maps, power).reshape(2, -1)
        assert_array_equal(moved[:, site], maps.reshape(2, -1))


@pytest.mark.parametrize(("action", "grid"), CASES, ids=str)
def test_permutations_of_sites_compose_as_the_group(action, grid):
    group, shape = action.symmetry, maps_of(grid, action).shape
    sites = [action.site_permutation(grid, p, input_shape=shape) for p in group.powers]
    assert_array_equal(sites[0], np.arange(np.prod(grid)))
    for a, b in np.ndindex(group.order, group.order):
        assert_array_equal(sites[group.multiplication_table[a, b]], sites[a][sites[b]])


def test_shifts_move_sites_by_the_shift_over_the_stride():
    action = CyclicShift(axis=-1, order=4)
    for length, n_sites in [(16, 8), (8, 8), (8, 16)]:
        site = action.site_permutation((n_sites,), 1, input_shape=(2, 3, length))
        assert_array_equal(site, np.roll(np.arange(n_sites), -n_sites // 4))


def test_tokens_before_channels_are_the_grid_where_only_they_fit():
    site = CyclicShift(1, 3).site_permutation((12,), 1, input_shape=(2, 12, 8))
    assert_array_equal(site, np.roll(np.arange(12), -4))
    site = CyclicShift(1, 3).site_permutation((8,), 1, input_shape=(2, 12, 8))
    assert_array_equal(site, np.arange(8))


@pytest.mark.parametrize(
    ("action", "grid", "shape"),
    [
        (AxisRotation(2, 5), (7,), (2, 7, 3)),
        (CubeRotation(), (7,), (2, 7, 3)),
        (ChannelPermutation(3), (4, 4), (2, 3, 4, 4)),
        (ImageFlip(axis=1), (4, 4), (2, 3, 4, 4)),
    ],
)
def test_what_moves_no_site(action, grid, shape):
    for power in action.symmetry.powers:
        site = action.site_permutation(grid, power, input_shape=shape)
        assert_array_equal(site, np.arange(np.prod(grid)))


def test_points_in_a_grid_of_voxels_move_as_volumes():
    points, volumes = CubeRotation(), CubeRotation("volumes")
    for power in points.symmetry.powers:
        assert_array_equal(
            points.site_permutation((3, 3, 3), power),
            volumes.site_permutation((3, 3, 3), power),
        )


def test_volumes_turn_as_the_points_in_them():
    corners = np.argwhere(np.ones((2, 2, 2)))
    for power in CubeRotation().symmetry.powers:
        site = CubeRotation("volumes").site_permutation((2, 2, 2), power)
        moved = CubeRotation()(2.0 * corners - 1, power)
        assert_array_equal(2 * corners[site] - 1, moved)


@pytest.mark.parametrize(
    ("action", "grid", "shape", "message"),
    [
        (ImageRotation(8), (4, 4), None, "Use order=4 or 2"),
        (ImageRotation(4), (3, 4), None, "needs square images"),
        (ImageRotation(4), (196,), (2, 3, 224, 224), r"Tokens\(grid="),
        (ImageFlip(), (16,), (2, 3, 4, 4), r"Tokens\(grid="),
        (CyclicShift(-1, 4), (6,), None, "by 1.5, .* Orders that work: 1, 2, 3, 6"),
        (CyclicShift(-1, 4), (30,), (2, 3, 32), "not lie at equal steps"),
        (CyclicShift(1, 4), (16,), (2, 16, 64), "or hold channels"),
        (CyclicShift(-1, 4), (16,), (2, 3, 32, 32), "site_action="),
        (ChannelPermutation(4, -1), (2,), (2, 4), "needs 4 entries"),
        (AxisRotation(2, 4), (3, 3, 3), None, "site_action="),
        (CubeRotation("volumes"), (3, 3, 4), None, "needs cubes"),
    ],
)
def test_what_maps_no_grid_onto_itself(action, grid, shape, message):
    with pytest.raises(ValueError, match=message):
        action.site_permutation(grid, action.symmetry.powers[1], input_shape=shape)


def test_a_cube_is_turned_as_points_or_volumes():
    with pytest.raises(ValueError, match="kind must be 'points' or 'volumes'"):
        CubeRotation("voxels")
