"""Images of shapes: the labels say what the pixels show."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_eqsae.datasets import make_shapes
from sk_eqsae.datasets._shape_tiles import N_ORIENTATIONS, draw_tiles
from sk_eqsae.datasets._shapes import _base_id

READINGS = ["upright", "random"]
UPRIGHT_TILES = draw_tiles()[np.cumsum(N_ORIENTATIONS) - N_ORIENTATIONS]
# Position names written out once more, so that the ring order is tested too.
QUADRANTS = {
    "top-left": np.s_[:32, :32],
    "bottom-left": np.s_[32:, :32],
    "bottom-right": np.s_[32:, 32:],
    "top-right": np.s_[:32, 32:],
}


def read_tile(tile):
    """Shape and orientation that a tile shows, by comparison with each template."""
    for orientation in range(4):
        for shape, template in enumerate(UPRIGHT_TILES):
            if np.array_equal(np.rot90(template, orientation), tile):
                return shape, orientation
    raise AssertionError("the tile shows none of the shapes")


def read_images(shapes):
    """Labels read off the pixels alone."""
    labels = [
        [read_tile(image[0][QUADRANTS[name]]) for name in shapes.position_names]
        for image in shapes.images
    ]
    return np.moveaxis(np.array(labels), -1, 0)


@pytest.mark.parametrize("power", [0, 1, 2, 3, 4, -1, 7])
@pytest.mark.parametrize("orientation", READINGS)
def test_labels_agree_with_pixels_after_any_rotation(orientation, power):
    shapes = make_shapes(40, orientation=orientation, random_state=power + 1)
    rotated = shapes.rotate(power)
    expected = [np.rot90(image[0], power % 4) for image in shapes.images]
    assert_array_equal(rotated.images[:, 0], expected)
    shape, turns = read_images(rotated)
    assert_array_equal(rotated.shape, shape)
    assert_array_equal(rotated.orientation, turns)


def test_each_image_can_have_its_own_power():
    shapes = make_shapes(12, orientation="random", random_state=0)
    power = np.arange(12)
    together = shapes.rotate(power)
    for i in range(12):
        alone = shapes.rotate(i)
        assert_array_equal(together.images[i], alone.images[i])
        assert_array_equal(together.shape[i], alone.shape[i])
        assert_array_equal(together.orientation[i], alone.orientation[i])


def test_rotating_leaves_the_original_alone():
    shapes = make_shapes(3, random_state=0)
    before = shapes.images.copy()
    shapes.rotate(0).images[:] = 7
    assert_array_equal(shapes.images, before)


def test_images_are_what_they_should_be():
    shapes = make_shapes(7, random_state=0)
    assert len(shapes) == 7
    assert shapes.images.shape == (7, 1, 64, 64)
    assert shapes.images.dtype == np.float32
    assert shapes.images.min() == 0
    assert shapes.images.max() == 1
    assert shapes.shape.shape == shapes.orientation.shape == (7, 4)


def test_tiles_differ_clearly():
    tiles = draw_tiles().reshape(28, -1)
    distance = ((tiles[:, None] - tiles[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    assert distance.min() > 60  # pixels of 1024; a shape covers 190 to 350


def test_orientations_are_exact():
    for template, n_orientations in zip(UPRIGHT_TILES, N_ORIENTATIONS, strict=True):
        turns = [np.rot90(template, k) for k in range(1, 5)]
        assert [np.array_equal(template, t) for t in turns] == [
            False,
            n_orientations == 2,
            False,
            True,
        ]


def test_upright_and_random_orientations():
    upright = make_shapes(500, orientation="upright", random_state=0)
    turned = make_shapes(500, orientation="random", random_state=0)
    assert not upright.orientation.any()
    for shape, n_orientations in enumerate(N_ORIENTATIONS):
        seen = turned.orientation[turned.shape == shape]
        share = np.bincount(seen, minlength=4) / len(seen)
        expected = (np.arange(4) < n_orientations) / n_orientations
        assert_allclose_share(share, expected, len(seen))


def assert_allclose_share(share, expected, n_samples):
    margin = 4.5 * np.sqrt(expected * (1 - expected) / n_samples)
    assert (np.abs(share - expected) <= margin).all(), (share, expected)


def test_shapes_are_uniform_in_each_position():
    shapes = make_shapes(4000, random_state=0)
    for position in range(4):
        share = np.bincount(shapes.shape[:, position], minlength=8) / 4000
        assert_allclose_share(share, np.full(8, 1 / 8), 4000)


@pytest.mark.parametrize("orientation", READINGS)
def test_base_id_is_equal_exactly_for_rotations(orientation):
    shapes = make_shapes(3000, orientation=orientation, random_state=0)
    rotated = shapes.rotate(np.arange(3000) % 4)
    image_of_id, id_of_image = {}, {}
    for image, base_id in zip(rotated.images[:, 0], rotated.base_id, strict=True):
        turns = (np.packbits(np.rot90(image, k) > 0.5).tobytes() for k in range(4))
        canonical = min(turns)
        assert image_of_id.setdefault(base_id, canonical) == canonical
        assert id_of_image.setdefault(canonical, base_id) == base_id
    if orientation == "upright":
        assert len(image_of_id) < 3000  # the sample holds repeats, so it can fail


def test_base_id_sees_that_a_half_turn_can_be_upright_again():
    upright = np.zeros((2, 4), dtype=np.int64)
    shape = np.array([[0, 1, 0, 0], [0, 0, 0, 1]])  # rectangles and a diagonal
    first, second = _base_id(shape, upright)
    assert first == second
    first, second = _base_id(shape + 2, upright)  # no other shape returns
    assert first != second


@pytest.mark.parametrize("orientation", READINGS)
def test_random_state_fixes_the_images(orientation):
    first, again, other = (
        make_shapes(20, orientation=orientation, random_state=seed)
        for seed in (3, np.random.RandomState(3), 4)
    )
    assert_array_equal(first.images, again.images)
    assert_array_equal(first.base_id, again.base_id)
    assert not np.array_equal(first.shape, other.shape)


def test_global_random_state_is_untouched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_shapes(5, random_state=0)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_samples": 0}, ValueError, "n_samples == 0, must be >= 1"),
        ({"n_samples": 2.5}, TypeError, "n_samples must be an instance of"),
        ({"orientation": "sideways"}, ValueError, "'upright' or 'random'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        make_shapes(**arguments)


@pytest.mark.parametrize(
    ("power", "message"),
    [
        (0.5, "found dtype float64"),
        ([0, 1], "one for each of the 3 rows"),
        ([[0, 1, 2]], "found shape"),
    ],
)
def test_bad_power(power, message):
    with pytest.raises(ValueError, match=message):
        make_shapes(3).rotate(power)


def test_importing_loads_no_drawing_or_boosting_library():
    code = (
        "import sys, sk_eqsae\n"
        "heavy = {'cv2', 'xgboost', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
