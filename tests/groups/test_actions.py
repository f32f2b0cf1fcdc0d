"""Actions: the group law, the direction, and what does not fit."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sk_eqsae.groups import (
    AxisRotation,
    ChannelPermutation,
    CubeRotation,
    CyclicGroup,
    CyclicShift,
    DihedralGroup,
    GridShift,
    ImageDihedral,
    ImageFlip,
    ImageRotation,
    ProductGroup,
    SymmetricGroup,
)

EXACT = [
    (ImageRotation(order=1), (3, 2, 6, 6)),
    (ImageRotation(order=2), (3, 2, 4, 6)),
    (ImageRotation(order=4), (3, 2, 6, 6)),
    (ImageFlip(), (3, 2, 4, 6)),
    (ImageFlip(axis=-2), (3, 2, 4, 6)),
    (CyclicShift(axis=-1, order=3), (3, 2, 6)),
    (CyclicShift(axis=1, order=5), (3, 10, 2)),
    (AxisRotation(axis=0, order=4), (3, 7, 3)),
    (AxisRotation(axis=1, order=2), (3, 7, 3)),
    (AxisRotation(axis=2, order=4), (3, 7, 3)),
]
ROUNDED = [
    (AxisRotation(axis=0, order=3), (3, 7, 3)),
    (AxisRotation(axis=1, order=7), (3, 7, 3)),
    (AxisRotation(axis=2, order=12), (3, 7, 3)),
]
SEVERAL_GENERATORS = [
    (ImageDihedral(), (2, 3, 5, 5)),
    (ImageDihedral(n_rotations=1), (2, 3, 4, 5)),
    (ImageDihedral(n_rotations=2), (2, 3, 4, 5)),
    (GridShift(axes=(-2, -1), orders=(3, 4)), (2, 6, 4)),
    (GridShift(axes=[1, 2, 3], orders=[2, 1, 3]), (2, 2, 5, 3)),
    (ChannelPermutation(3), (2, 3, 4)),
    (ChannelPermutation(4, axis=-1), (2, 3, 4)),
    (ChannelPermutation(5), (2, 5)),
    (CubeRotation(), (2, 5, 3)),
]
KINDS = [np.asarray, torch.as_tensor]


def example(shape, kind=np.asarray, dtype=np.float64):
    return kind(np.random.RandomState(0).randn(*shape).astype(dtype))


def assert_group_law(action, inputs, compare):
    for p in range(-1, action.symmetry.order + 2):
        for q in range(action.symmetry.order + 1):
            compare(action(action(inputs, p), q), action(inputs, p + q))
    compare(action(inputs, action.symmetry.order), inputs)
    compare(action(inputs, 0), inputs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("action", "shape"), EXACT, ids=str)
def test_group_law_is_exact(action, shape, kind):
    assert_group_law(action, example(shape, kind), assert_array_equal)


@pytest.mark.parametrize(("dtype", "atol"), [(np.float32, 2e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize(("action", "shape"), ROUNDED, ids=str)
def test_group_law_holds_up_to_rounding(action, shape, dtype, atol):
    inputs = example(shape, dtype=dtype)
    assert_group_law(
        action, inputs, lambda a, b: assert_allclose(a, b, rtol=0, atol=atol)
    )


@pytest.mark.parametrize(("action", "shape"), EXACT + ROUNDED, ids=str)
def test_order_is_the_smallest_power_that_changes_nothing(action, shape):
    inputs = example(shape)
    for power in range(1, action.symmetry.order):
        assert not np.allclose(action(inputs, power), inputs)


@pytest.mark.parametrize(("action", "shape"), EXACT + ROUNDED, ids=str)
def test_tensors_and_arrays_move_alike(action, shape):
    inputs = example(shape, dtype=np.float32)
    for power in range(action.symmetry.order):
        moved = action(torch.as_tensor(inputs), power)
        assert isinstance(moved, torch.Tensor)
        assert moved.dtype == torch.float32
        expected = action(inputs, power)
        assert type(expected) is np.ndarray
        assert expected.dtype == np.float32
        assert_allclose(moved.numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("action", "shape"), EXACT + ROUNDED, ids=str)
def test_outputs_share_no_memory_with_inputs(action, shape, kind):
    inputs = example(shape, kind)
    before = example(shape)
    for power in range(action.symmetry.order):
        action(inputs, power)[:] = 99
    assert_array_equal(inputs, before)


@pytest.mark.parametrize("kind", KINDS)
def test_integer_images_stay_integer(kind):
    images = kind(np.arange(9).reshape(1, 3, 3))
    for action in (ImageRotation(4), ImageFlip(), CyclicShift(-1, 3)):
        assert action(images, 1).dtype == images.dtype


def test_quarter_turn_is_counter_clockwise():
    image = np.array([[[0, 1], [0, 0]]])  # a dot at the top right
    expected = np.array([[[1, 0], [0, 0]]])  # moves to the top left
    assert_array_equal(ImageRotation()(image, 1), expected)
    assert_array_equal(ImageRotation()(torch.as_tensor(image), 1), expected)


def blob(size, angle):
    """A soft dot off the centre, at an angle counter-clockwise from the right."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    centre_x, centre_y = 0.3 * size * np.cos(angle), -0.3 * size * np.sin(angle)
    spread = 0.01 * size**2
    return np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / spread)[np.newaxis]


@pytest.mark.parametrize("order", [3, 8, 24])
def test_other_orders_rotate_by_interpolation(order):
    rotation = ImageRotation(order=order)
    for power in range(order):
        rotated = rotation(blob(48, 0.2), power)
        expected = blob(48, 0.2 + 2 * np.pi * power / order)
        assert_allclose(rotated, expected, atol=0.03)


def test_quarter_turns_of_higher_orders_are_exact():
    image = example((2, 1, 5, 5))
    assert_array_equal(ImageRotation(12)(image, 9), ImageRotation(4)(image, 3))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_axis_rotation_follows_the_right_hand_rule(axis):
    point = np.eye(3)[[(axis + 1) % 3]]
    expected = np.eye(3)[[(axis + 2) % 3]]
    assert_array_equal(AxisRotation(axis, order=4)(point, 1), expected)


def test_axis_rotation_is_the_rotation_matrix():
    points = example((5, 3))
    angle = 2 * np.pi / 5
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    assert_allclose(AxisRotation(2, order=5)(points, 1), points @ matrix.T)


def test_shift_moves_by_a_share_of_the_length():
    signal = np.arange(12).reshape(1, 12)
    assert_array_equal(CyclicShift(-1, order=4)(signal, 1), np.roll(signal, 3, axis=1))


def test_actions_are_immutable_values():
    assert ImageRotation(4) == ImageRotation(order=4)
    assert repr(CyclicShift(axis=-1, order=3)) == "CyclicShift(axis=-1, order=3)"
    assert len({ImageFlip(), ImageFlip(axis=-1), ImageFlip(axis=-2)}) == 2
    with pytest.raises(FrozenInstanceError):
        ImageRotation().order = 3


@pytest.mark.parametrize("make", [ImageRotation, lambda n: CyclicShift(-1, n)])
@pytest.mark.parametrize("order", [0, -1, 2.0, "4", None])
def test_bad_order(make, order):
    with pytest.raises(ValueError, match="order must be a positive integer"):
        make(order)


def test_bad_rotation_axis():
    with pytest.raises(ValueError, match="axis must be 0, 1 or 2"):
        AxisRotation(axis=3, order=4)


@pytest.mark.parametrize(("action", "shape"), EXACT, ids=str)
@pytest.mark.parametrize("power", [0.5, "1", None, [0, 1]])
def test_bad_power(action, shape, power):
    with pytest.raises(TypeError, match="power must be one integer"):
        action(example(shape), power)


@pytest.mark.parametrize(("action", "shape"), EXACT, ids=str)
def test_inputs_of_another_kind(action, shape):
    with pytest.raises(TypeError, match="numpy array or a torch tensor, found list"):
        action(example(shape).tolist(), 1)


@pytest.mark.parametrize(
    ("action", "inputs", "message"),
    [
        (ImageRotation(4), np.zeros((2, 1, 4, 6)), r"square images .* \(2, 1, 4, 6\)"),
        (ImageRotation(3), np.zeros((2, 1, 4, 6)), "square images"),
        (ImageRotation(3), np.zeros((2, 4, 4), int), "floating dtype, found int64"),
        (ImageRotation(4), np.zeros(4), "at least 2 axes"),
        (ImageFlip(axis=0), np.zeros((2, 4)), "numbers the samples"),
        (ImageFlip(axis=-2), np.zeros((2, 4)), "numbers the samples"),
        (ImageFlip(axis=2), np.zeros((2, 4)), "axis=2 does not exist"),
        (CyclicShift(0, 2), np.zeros((2, 4)), "numbers the samples"),
        (CyclicShift(-1, 3), np.zeros((2, 4)), "divisible by the order"),
        (AxisRotation(0, 4), np.zeros((2, 4)), "3 coordinates"),
        (AxisRotation(0, 4), np.zeros((2, 3), int), "floating dtype, found int64"),
        (AxisRotation(0, 4), torch.zeros((2, 3)).int(), "found torch.int32"),
    ],
)
def test_inputs_that_do_not_fit(action, inputs, message):
    with pytest.raises(ValueError, match=message):
        action(inputs, 1)


def test_half_turns_fit_any_image():
    image = np.arange(6).reshape(1, 2, 3)
    assert_array_equal(ImageRotation(4)(image, 2), image[:, ::-1, ::-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("action", "shape"), EXACT + SEVERAL_GENERATORS, ids=str)
def test_acting_twice_is_acting_by_the_product(action, shape, kind):
    group, inputs = action.symmetry, example(shape, kind)
    moved = [action(inputs, power) for power in group.powers]
    for b, image in enumerate(moved):
        for a, power in enumerate(group.powers):
            product = moved[group.multiplication_table[a, b]]
            assert_array_equal(action(image, power), product)


@pytest.mark.parametrize(
    ("action", "shape"), EXACT + ROUNDED + SEVERAL_GENERATORS, ids=str
)
def test_only_the_identity_changes_nothing(action, shape):
    inputs = example(shape)
    changed = [
        not np.allclose(action(inputs, power), inputs)
        for power in action.symmetry.powers
    ]
    assert changed == [False] + [True] * (action.symmetry.order - 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("action", "shape"), SEVERAL_GENERATORS, ids=str)
def test_powers_count_modulo_the_orders_and_the_last_acts_first(action, shape, kind):
    group, inputs = action.symmetry, example(shape, kind)
    powers = np.random.default_rng(0).integers(-9, 9, size=(20, group.n_generators))
    for power in powers:
        expected = inputs
        for k in reversed(range(group.n_generators)):
            once = np.eye(group.n_generators, dtype=int)[k]
            for _ in range(power[k] % group.generator_orders[k]):
                expected = action(expected, once)
        assert_array_equal(action(inputs, power), expected)
        assert_array_equal(action(inputs, tuple(power.tolist())), expected)
        element = group.elements_of([power])[0]
        assert_array_equal(action(inputs, group.powers[element]), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("action", "shape"), SEVERAL_GENERATORS, ids=str)
def test_several_generators_keep_kind_dtype_and_inputs(action, shape, dtype):
    inputs = example(shape, dtype=dtype)
    before = inputs.copy()
    for power in action.symmetry.powers:
        moved = action(inputs, power)
        tensor = action(torch.as_tensor(inputs), power)
        assert type(moved) is np.ndarray
        assert isinstance(tensor, torch.Tensor)
        assert moved.dtype == tensor.numpy().dtype == dtype
        assert_array_equal(moved, tensor)
        moved[:] = tensor[:] = 99
    assert_array_equal(inputs, before)


def test_groups_of_the_actions():
    assert ImageRotation(6).symmetry == CyclicGroup(6)
    assert ImageFlip().symmetry == CyclicGroup(2)
    assert CyclicShift(-1, 3).symmetry == AxisRotation(0, 3).symmetry == CyclicGroup(3)
    assert ImageDihedral(6).symmetry == DihedralGroup(6)
    grid = GridShift((1, 2), (4, 3))
    assert grid.symmetry == ProductGroup(CyclicGroup(4), CyclicGroup(3))
    assert ChannelPermutation(4).symmetry == SymmetricGroup(4)
    assert CubeRotation().symmetry.order == 24


def test_dihedral_flips_first_and_then_rotates():
    image = np.array([[[0, 1], [0, 0]]])  # a dot at the top right
    expected = np.array([[[0, 0], [1, 0]]])  # flipped: top left, turned: bottom left
    assert_array_equal(ImageDihedral()(image, (1, 1)), expected)
    assert ImageDihedral()(image, (1, 1)).dtype == image.dtype


def test_other_dihedral_groups_interpolate():
    action = ImageDihedral(n_rotations=12)
    there = action(blob(48, 0.2), (5, 1))
    assert_allclose(there, blob(48, np.pi - 0.2 + 2 * np.pi * 5 / 12), atol=0.03)


def test_grid_shift_is_a_roll():
    inputs = example((2, 6, 4))
    moved = GridShift((-2, -1), (3, 4))(inputs, (2, 3))
    assert_array_equal(moved, np.roll(inputs, (4, 3), axis=(-2, -1)))


def test_channels_go_where_the_permutation_sends_them():
    inputs = np.arange(10).reshape(2, 5)
    action = ChannelPermutation(5)
    for power, images in zip(
        action.symmetry.powers, action.symmetry.permutations, strict=True
    ):
        assert_array_equal(action(inputs, power)[:, images], inputs)


def test_cube_rotations_are_the_24_signed_permutation_matrices_of_determinant_1():
    action = CubeRotation()
    matrices = np.stack(
        [action(np.eye(3), power).T for power in action.symmetry.powers]
    )
    assert len(np.unique(matrices, axis=0)) == 24
    assert_array_equal(np.abs(matrices).sum(axis=1), 1)
    assert_allclose(np.linalg.det(matrices), 1)
    # The group permutes +x, +y, +z, -x, -y, -z as these matrices do.
    axes = np.vstack([np.eye(3), -np.eye(3)])
    for matrix, images in zip(matrices, action.symmetry.permutations, strict=True):
        assert_array_equal(axes @ matrix.T, axes[images])


def test_actions_of_several_generators_are_immutable_values():
    assert ImageDihedral() == ImageDihedral(n_rotations=4)
    assert repr(ImageDihedral()) == "ImageDihedral(n_rotations=4, channel_axis=None)"
    grid = GridShift(axes=[-2, np.int64(-1)], orders=[3, 4])
    assert grid == GridShift((-2, -1), (3, 4))
    assert repr(grid) == "GridShift(axes=(-2, -1), orders=(3, 4))"
    assert len({CubeRotation(), CubeRotation(), ChannelPermutation(3)}) == 2
    grid.symmetry  # noqa: B018 what is computed is no part of the value
    assert len({grid, GridShift((-2, -1), (3, 4))}) == 1
    with pytest.raises(FrozenInstanceError):
        grid.axes = (1, 2)


@pytest.mark.parametrize(("action", "shape"), SEVERAL_GENERATORS, ids=str)
@pytest.mark.parametrize("power", [1, None, "ab", [0] * 7, [[0, 1]], []])
def test_bad_powers_of_several_generators(action, shape, power):
    n = action.symmetry.n_generators
    with pytest.raises(TypeError, match=f"power must be {n} integers, one for each"):
        action(example(shape), power)
    with pytest.raises(TypeError, match=f"power must be {n} integers, one for each"):
        action(example(shape), [0.5] * n)


@pytest.mark.parametrize(
    ("action", "shape"),
    [
        *EXACT,
        (ChannelPermutation(2), (3, 2)),
        (GridShift(axes=(1,), orders=(3,)), (2, 3)),
    ],
    ids=str,
)
def test_one_generator_takes_an_int_or_a_sequence_of_one(action, shape):
    inputs = example(shape)
    for one in ([1], (1,), np.array([1]), np.int64(1)):
        assert_array_equal(action(inputs, one), action(inputs, 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageDihedral(0), "n_rotations must be a positive integer, found 0"),
        (lambda: ChannelPermutation(6), "n of SymmetricGroup .* 2 to 5, found 6"),
        (lambda: GridShift((1, 2), (3,)), r"one order for each axis.*orders=\(3,\)"),
        (lambda: GridShift((), ()), "at least one axis"),
        (lambda: GridShift((1, 1), (3, 3)), "names an axis twice"),
        (
            lambda: GridShift((1, 2), (3, 0)),
            "order must be a positive integer, found 0",
        ),
        (lambda: GridShift((1, 2), (3, 1.5)), "orders must be a sequence of integers"),
        (lambda: GridShift(1, 4), "axes must be a sequence of integers, found 1"),
    ],
)
def test_bad_actions_of_several_generators(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("action", "inputs", "message"),
    [
        (ImageDihedral(), np.zeros((2, 4, 6)), "square images"),
        (GridShift((1, -1), (2, 2)), np.zeros((2, 4)), "names an axis twice"),
        (GridShift((1, 2), (2, 3)), np.zeros((2, 4, 4)), "divisible by the order"),
        (GridShift((0, 1), (2, 3)), np.zeros((2, 3)), "numbers the samples"),
        (ChannelPermutation(3), np.zeros((2, 4)), r"needs 3 entries .* \(2, 4\)"),
        (ChannelPermutation(2, axis=0), np.zeros((2, 4)), "numbers the samples"),
        (CubeRotation(), np.zeros((2, 4)), "3 coordinates"),
        (CubeRotation(), np.zeros((2, 3), int), "floating dtype"),
    ],
)
def test_inputs_that_do_not_fit_several_generators(action, inputs, message):
    with pytest.raises(ValueError, match=message):
        action(inputs, [1] * action.symmetry.n_generators)


@pytest.mark.parametrize(("action", "shape"), SEVERAL_GENERATORS, ids=str)
def test_inputs_of_another_kind_for_several_generators(action, shape):
    with pytest.raises(TypeError, match="numpy array or a torch tensor, found list"):
        action(example(shape).tolist(), [1] * action.symmetry.n_generators)
