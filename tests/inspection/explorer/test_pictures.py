"""Inputs are drawn as what they are, and moved as the action moves them."""

import base64
import re

import cv2
import numpy as np
import pytest
import torch

from sk_eqsae.groups import AxisRotation, CyclicGroup, ImageRotation
from sk_eqsae.inspection._explorer._pictures import check_ids, kind_of, pictures

GROUP = CyclicGroup(4)


def drawn(inputs, ids=(0,), action=None, group=GROUP, max_bytes=10**6):
    return pictures(inputs, np.array(ids), action, group, max_bytes)


def pixels(uri):
    data = base64.b64decode(re.sub("data:image/(png|webp);base64,", "", uri))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((8, 8), "image"),
        ((1, 8, 6), "image"),
        ((8, 6, 3), "image"),
        ((50,), "signal"),
        ((2, 50), "signal"),
        ((50, 2), "points"),
        ((50, 3), "points"),
    ],
)
def test_the_shape_says_what_an_input_is(shape, kind):
    assert kind_of(shape) == kind


def test_inputs_of_other_shapes_are_an_error():
    with pytest.raises(ValueError, match="cannot be drawn"):
        kind_of((5, 8, 8))


@pytest.mark.parametrize("as_kind", [np.asarray, torch.from_numpy])
def test_an_orbit_of_images_is_one_strip(as_kind):
    images = np.random.default_rng(0).uniform(size=(2, 1, 6, 6)).astype(np.float32)
    found = drawn(as_kind(images), [1], ImageRotation(4))
    assert (found["aspect"], found["n_elements"]) == (1, 4)
    strip = pixels(found["drawings"][0])[..., 0]
    low, high = images.min(), images.max()
    expected = np.hstack([np.rot90(images[1, 0], p) for p in range(4)])
    np.testing.assert_array_equal(
        strip, np.rint(255 * (expected - low) / (high - low)).astype(np.uint8)
    )


@pytest.mark.parametrize("channels_last", [True, False])
def test_colours_and_bytes_are_kept(channels_last):
    image = np.random.default_rng(0).integers(256, size=(5, 4, 3), dtype=np.uint8)
    inputs = image[None] if channels_last else np.moveaxis(image, -1, 0)[None]
    found = drawn(inputs)
    assert found["aspect"] == pytest.approx(4 / 5)
    np.testing.assert_array_equal(pixels(found["drawings"][0]), image)


def test_large_images_become_small():
    found = drawn(np.zeros((1, 300, 200)))
    assert pixels(found["drawings"][0]).shape[:2] == (96, 64)


def test_signals_are_heights_from_lowest_to_highest():
    signals = np.array([[0.0, 1.0, 2.0, 4.0, 3.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert drawn(signals)["drawings"] == [[[[0, 25, 50, 100, 75]]]]
    assert len(drawn(np.zeros((1, 2, 1000)))["drawings"][0][0][1]) == 128


def test_points_turn_inside_the_picture():
    points = np.array([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    action = AxisRotation(axis=2, order=4)
    first, quarter, half, _ = drawn(points, [0], action)["drawings"][0]
    # from (1, 1, 1): x is down on the left, y on the right, z up
    assert first == [[7, 25], [50, 100]]
    assert quarter == [[93, 25], [50, 100]]
    assert half == [[93, 75], [50, 100]]
    assert drawn(points[..., :2])["drawings"] == [[[[100, 50], [50, 50]]]]


def test_pictures_take_no_more_room_than_they_may():
    images = np.random.default_rng(0).uniform(size=(9, 20, 20))
    whole = drawn(images, range(9))["drawings"]
    assert len(whole) == 9
    room = sum(len(uri) + 2 for uri in whole[:4])  # with quotes
    assert drawn(images, range(9), max_bytes=room)["drawings"] == whole[:4]
    assert drawn(images, range(9), max_bytes=room - 1)["drawings"] == whole[:3]


def test_ids_without_an_input_are_an_error():
    with pytest.raises(ValueError, match=r"holds ids from 1 to 2.*np\.unique\(groups"):
        check_ids(np.array([1, 2]), 2)
    with pytest.raises(ValueError, match="must hold integers"):
        check_ids(np.array(["a"]), 2)


def test_one_pixel_that_is_no_number_spoils_no_other_picture():
    images = np.linspace(0, 1, 2 * 16).reshape(2, 4, 4)
    expected = pixels(drawn(images, ids=[1])["drawings"][0])
    for hole in (np.nan, np.inf, -np.inf):
        spoiled = images.copy()
        spoiled[0, 1, 1] = hole
        first, second = drawn(spoiled, ids=[0, 1])["drawings"]
        np.testing.assert_array_equal(pixels(second), expected)
        color = {np.inf: [255] * 3, -np.inf: [0] * 3}.get(hole, [255, 0, 255])
        assert pixels(first)[1, 1].tolist() == color


def test_lists_and_tensors_of_short_floats_are_drawn():
    images = np.linspace(0, 1, 16).reshape(1, 4, 4)
    expected = drawn(images)["drawings"]
    assert drawn(images.tolist())["drawings"] == expected
    short = torch.from_numpy(images).bfloat16()
    assert drawn(short)["drawings"] == drawn(short.float())["drawings"]


@pytest.mark.parametrize("dtype", [complex, object])
def test_inputs_that_are_no_real_numbers_are_refused(dtype):
    with pytest.raises(ValueError, match=r"inputs of dtype .* cannot be drawn"):
        drawn(np.zeros((1, 4, 4)).astype(dtype))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n_coordinates", [2, 3])
def test_a_point_that_is_nowhere_is_marked_and_moves_no_other(hole, n_coordinates):
    points = np.random.default_rng(0).normal(size=(1, 5, n_coordinates))
    expected = drawn(points)["drawings"][0][0]
    spoiled = np.insert(points, 2, hole, axis=1)
    (found,) = drawn(spoiled)["drawings"][0]
    assert found[:2] + found[3:] == expected
    assert found[2] == [None, None]
    assert drawn(np.full((1, 3, 2), np.nan))["drawings"] == [[[[None, None]] * 3]]


@pytest.mark.filterwarnings("error")
def test_a_sample_that_is_no_number_is_marked():
    signals = np.array([[0.0, np.nan, 2.0, 4.0, np.inf]])
    assert drawn(signals)["drawings"] == [[[[0, None, 50, 100, 100]]]]


def test_masked_numbers_are_missing():
    signals = np.ma.masked_greater(np.array([[0.0, 1.0, 9.0, 2.0, 1.0]]), 5)
    assert drawn(signals)["drawings"] == [[[[0, 50, None, 100, 50]]]]
