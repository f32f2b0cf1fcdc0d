"""Actions: the group law, the direction, and what does not fit."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sk_eqsae.groups import AxisRotation, CyclicShift, ImageFlip, ImageRotation

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
KINDS = [np.asarray, torch.as_tensor]


def example(shape, kind=np.asarray, dtype=np.float64):
    return kind(np.random.RandomState(0).randn(*shape).astype(dtype))


def assert_group_law(action, inputs, compare):
    for p in range(-1, action.order + 2):
        for q in range(action.order + 1):
            compare(action(action(inputs, p), q), action(inputs, p + q))
    compare(action(inputs, action.order), inputs)
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
    for power in range(1, action.order):
        assert not np.allclose(action(inputs, power), inputs)


@pytest.mark.parametrize(("action", "shape"), EXACT + ROUNDED, ids=str)
def test_tensors_and_arrays_move_alike(action, shape):
    inputs = example(shape, dtype=np.float32)
    for power in range(action.order):
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
    for power in range(action.order):
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
    assert ImageFlip().order == 2
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
