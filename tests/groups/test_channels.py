"""Images with their channels in front or at the end."""

import numpy as np
import pytest
import torch

from sk_eqsae.groups import ImageDihedral, ImageFlip, ImageRotation

IMAGES = np.random.default_rng(0).random((2, 3, 6, 6))  # channels in front
ACTIONS = [
    (ImageRotation, {"order": 4}, 1),
    (ImageRotation, {"order": 2}, 1),
    (ImageRotation, {"order": 5}, 2),
    (ImageFlip, {}, 1),
    (ImageFlip, {"axis": -2}, 1),
    (ImageDihedral, {"n_rotations": 4}, (3, 1)),
]
every_action = pytest.mark.parametrize(("kind", "settings", "power"), ACTIONS)


@every_action
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
def test_channels_at_the_end(kind, settings, power, convert):
    last = convert(np.moveaxis(IMAGES, 1, -1).copy())
    found = kind(channel_axis=-1, **settings)(last, power)
    assert type(found) is type(last)
    expected = kind(**settings)(IMAGES, power)
    np.testing.assert_allclose(np.moveaxis(np.asarray(found), -1, 1), expected)


@every_action
@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_channels_where_none_are_expected_are_refused(
    kind, settings, power, n_channels
):
    """Colours would be turned with the width, or in its place."""
    images = np.ones((2, 6, 6, n_channels))
    with pytest.raises(ValueError, match=r"Set channel_axis=-1 if it does"):
        kind(**settings)(images, power)


def test_what_the_user_says_is_taken():
    narrow = np.random.default_rng(0).random((2, 6, 5, 3))  # six maps of width 3
    flipped = ImageFlip(channel_axis=-3)(narrow, 1)
    assert np.array_equal(flipped, narrow[..., ::-1])
    assert np.array_equal(ImageFlip(axis=2)(narrow, 1), narrow[:, :, ::-1])


def test_another_channel_axis_is_an_error():
    for kind in (ImageRotation, ImageFlip, ImageDihedral):
        with pytest.raises(ValueError, match="channel_axis must be -3"):
            kind(channel_axis=1)


def test_masked_pixels_are_missing():
    masked = np.ma.masked_array(IMAGES, mask=IMAGES > 0.9)
    with pytest.raises(ValueError, match="masked entries"):
        ImageFlip()(masked, 1)
