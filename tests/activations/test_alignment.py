"""Alignment: equivariant networks, at sizes of the inputs that fit or do not."""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter
from torch import nn

from sk_eqsae.activations import extract_orbits, site_alignment
from sk_eqsae.groups import ImageDihedral, ImageFlip, ImageRotation

D4 = ImageDihedral()
KERNELS = ImageDihedral(channel_axis=-3)


class Symmetric(nn.Module):
    """Convolutions by kernels that no element of D4 changes: M is the identity."""

    def __init__(self, *layers):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential()
            for n_in, n_out, stride, padding in layers:
                layer = nn.Conv2d(n_in, n_out, 3, stride, padding)
                moved = [KERNELS(layer.weight.data, p) for p in D4.symmetry.powers]
                layer.weight.data = torch.stack(moved).mean(0)
                self.layers.extend([layer, nn.Tanh()])

    def forward(self, x):
        return self.layers(x)


class Lifting(nn.Module):
    """Four turned copies of each kernel, so that M permutes channels."""

    def __init__(self, stride, padding):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            weight = torch.randn(3, 2, 3, 3)
        self.turned = torch.cat([torch.rot90(weight, q, (-2, -1)) for q in range(4)])
        self.settings = stride, padding

    def forward(self, x):
        return nn.functional.conv2d(x, self.turned, None, *self.settings)


def images_of(size, n=24, blur=1):
    noise = np.random.RandomState(0).randn(n, 2, size, size).astype(np.float32)
    return gaussian_filter(noise, blur, axes=(-2, -1))  # as smooth as real ones


def fits(size, *layers):
    """Whether strides and padding map the grid onto itself."""
    for stride, padding in layers:
        if (size + 2 * padding - 3) % stride:
            return False
        size = (size + 2 * padding - 3) // stride + 1
    return True


@pytest.mark.parametrize("action", [D4, ImageRotation(4), ImageFlip()], ids=str)
@pytest.mark.parametrize("size", [16, 17])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
def test_aligned_rows_are_equal_up_to_m_and_a_wrong_size_warns(
    action, size, stride, padding
):
    layers = [(2, 6, stride, padding), (6, 4, 1, padding)]
    settings = {"layer": "layers.3", "action": action, "sites": "map"}
    model, images = Symmetric(*layers), images_of(size)
    if not fits(size, (stride, padding), (1, padding)):
        with pytest.warns(UserWarning, match=r"shifted by \(.*0\.5.*\) sites"):
            extract_orbits(model, images, **settings)
        return
    orbits = extract_orbits(model, images, **settings)
    X = orbits.X.reshape(orbits.n_orbits, -1, 4)
    assert_allclose(X, np.repeat(X[:, :1], X.shape[1], axis=1), atol=1e-5)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("size", "stride"), [(16, 1), (17, 1), (17, 2)])
def test_turned_kernels_permute_channels(size, stride, padding):
    orbits = extract_orbits(
        Lifting(stride, padding),
        images_of(size),
        layer="",
        action=ImageRotation(4),
        sites="map",
    )
    X = orbits.X.reshape(orbits.n_orbits, 4, 4, 3)
    for power in range(4):
        M = np.roll(X[:, 0], power, axis=1)
        assert_allclose(X[:, power], M, atol=1e-5)


class Narrower(nn.Module):
    """Leaves out the last column, as an uneven padding may do."""

    def forward(self, x):
        return x[..., :-1]


def test_the_warning_names_the_offset():
    match = r"shifted by \(\+0\.0, \+1\.0\) sites; as they are, R2 is 0\.[0-9]+"
    settings = {"layer": "", "action": ImageFlip(), "sites": "map"}
    with pytest.warns(UserWarning, match=match):
        orbits = extract_orbits(Narrower(), images_of(10), **settings)
    assert len(orbits) == 24 * 90 * 2


def test_few_inputs_and_small_grids_are_not_judged():
    model = Symmetric((2, 4, 2, 0))
    settings = {"layer": "layers.0", "action": ImageFlip(), "sites": "map"}
    extract_orbits(model, images_of(12, n=3), **settings)
    extract_orbits(model, images_of(6), **settings)
    extract_orbits(model, 0 * images_of(12), **settings)


@pytest.mark.parametrize("seed", range(6))
def test_networks_without_a_symmetry_are_no_false_alarm(seed):
    """Of smooth maps each feature is shifted by its own kernel, all at once by some."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, 16, 5), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2)
        )
    settings = {"layer": "2", "action": D4, "sites": "map", "n_sites": 1}
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        extract_orbits(model, images_of(23, blur=2), **settings)
    assert not found


class WithAnother(nn.Module):
    """Features of a convolution, and one that hardly varies but in one input."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Conv2d(1, 4, 5, padding=2)

    def forward(self, x):
        return torch.cat([self.layer(x[:, :1]), x[:, 1:]], dim=1)


def test_features_that_hardly_vary_do_not_decide():
    images = images_of(15, blur=2)
    images[:, 1] *= 1e-5
    images[0, 1] *= 1e3
    table = site_alignment(
        WithAnother(), images, layer="", action=ImageFlip(), sizes=[15]
    )
    assert table["r2"].item() > 0.5


@pytest.mark.parametrize(
    "layers", [[(2, 0)], [(2, 1)], [(2, 0), (2, 0)], [(2, 1), (2, 0)]]
)
def test_the_table_finds_the_sizes_that_fit(layers):
    widths = [2, 6, 6]
    model = Symmetric(*[(widths[i], 6, *layer) for i, layer in enumerate(layers)])
    last = f"layers.{2 * len(layers) - 1}"
    table = site_alignment(
        model,
        images_of(34, n=40),
        layer=["layers.0", last],
        action=D4,
        sizes=range(27, 35),
    )
    for name, depth in (("layers.0", 1), (last, len(layers))):
        rows = table[table["layer"] == name]
        right = np.array([fits(size, *layers[:depth]) for size in rows["size"]])
        assert rows["aligned"][right].all()
        assert (rows["r2"][right] > 0.99).all()
        assert (rows["r2"][~right] < 0.95).all()
        assert rows["best"].sum() == 1
        assert rows["best"][right].any()
        if depth == 1:  # a wrong size is half a site off
            assert not rows["aligned"][~right].any()


def test_one_size_and_no_answer():
    model = Symmetric((2, 4, 1, 1))
    table = site_alignment(
        model, images_of(9), layer="", action=ImageFlip(), sizes=[2, 9]
    )
    assert table["aligned"].tolist() == table["best"].tolist() == [False, True]
    assert np.isnan(table["r2"][0])
    assert table["offset"][0] == ()
    assert site_alignment(model, images_of(9), layer="", action=D4)[
        "size"
    ].tolist() == [*range(5, 10)]


def test_what_has_no_sizes():
    model = Symmetric((2, 4, 1, 1))
    with pytest.raises(ValueError, match="sizes must be from 1 to 9"):
        site_alignment(model, images_of(9), layer="", action=D4, sizes=[10])
    with pytest.raises(TypeError, match="inputs must be an array or a tensor"):
        site_alignment(model, [images_of(9)], layer="", action=D4)
