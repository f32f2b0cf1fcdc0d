"""Sites: row (x, u, g) is the activation of g x at g u, in any layout."""

import tracemalloc

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sk_eqsae.activations import Nodes, Tokens, extract_orbits
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

IMAGES = np.random.RandomState(0).randn(5, 2, 7, 7).astype(np.float32)


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


@pytest.fixture
def net():
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1)
        )
    )


def maps_of(model, inputs, action, power):
    """What a model puts out for moved inputs, (n_inputs, n_sites, channels)."""
    with torch.no_grad():
        return model(torch.as_tensor(action(inputs, power))).flatten(2).mT.numpy()


def assert_rows_are_of_moved_sites(orbits, maps_of_power):
    """Read each row again at its position."""
    action_power = np.atleast_2d(orbits.power.T).T
    for x, number, position, power in zip(
        orbits.X, orbits.inputs, orbits.position, action_power, strict=True
    ):
        assert_allclose(maps_of_power(power)[number, position], x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "action",
    [ImageRotation(4), ImageRotation(2), ImageFlip(), ImageFlip(-2), ImageDihedral()],
    ids=str,
)
def test_row_x_u_g_is_the_activation_of_g_x_at_g_u(net, action):
    orbits = extract_orbits(net, IMAGES, layer="2", action=action, sites="map")
    order = action.symmetry.order
    assert orbits.X.shape == (5 * 25 * order, 4)
    assert orbits.n_orbits == 125
    assert_rows_are_of_moved_sites(orbits, lambda p: maps_of(net, IMAGES, action, p))
    grid = np.arange(25).reshape(1, 5, 5)
    for row in range(2 * order * 7, 2 * order * 8):
        moved = action(grid, orbits.power[row]).ravel()
        assert moved[orbits.position[row]] == orbits.site[row]


def test_inputs_sites_and_powers_come_in_order(net):
    orbits = extract_orbits(net, IMAGES, layer="2", action=ImageFlip(), sites="map")
    assert_array_equal(orbits.inputs, np.repeat(np.arange(5), 50))
    assert_array_equal(orbits.groups, orbits.inputs)
    assert_array_equal(orbits.site, np.tile(np.repeat(np.arange(25), 2), 5))
    assert_array_equal(orbits.power, np.tile([0, 1], 125))
    assert_array_equal(orbits.position[::2], orbits.site[::2])
    assert_array_equal(
        orbits.at(np.tile(np.arange(25).reshape(5, 5), (5, 1, 1))), orbits.site
    )


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_sites_are_drawn_for_each_input_and_kept_along_its_orbit(net, batch_size):
    settings = {"layer": "2", "action": ImageRotation(4), "sites": "map"}
    every = extract_orbits(net, IMAGES, **settings)
    some = extract_orbits(
        net, IMAGES, **settings, n_sites=3, random_state=0, batch_size=batch_size
    )
    again = extract_orbits(net, IMAGES, **settings, n_sites=3, random_state=0)
    other = extract_orbits(net, IMAGES, **settings, n_sites=3, random_state=1)
    assert len(some) == 5 * 3 * 4
    assert_array_equal(some.site, again.site)
    assert (some.site != other.site).any()
    drawn = some.site.reshape(5, 3, 4)
    assert_array_equal(drawn, np.repeat(drawn[:, :, :1], 4, axis=2))
    assert all(len(set(sites)) == 3 for sites in drawn[:, :, 0])
    assert len({tuple(sites) for sites in drawn[:, :, 0]}) > 1
    row = (some.inputs * 25 + some.site) * 4 + some.power
    assert_allclose(some.X, every.X[row], rtol=1e-5, atol=1e-6)
    assert_array_equal(some.position, every.position[row])


def test_a_margin_keeps_off_the_border(net):
    orbits = extract_orbits(
        net, IMAGES, layer="2", action=ImageRotation(4), sites="map", margin=2
    )
    assert set(orbits.site) == set(orbits.position) == {12}
    orbits = extract_orbits(
        net, IMAGES, layer="2", action=ImageDihedral(), sites="map", margin=1
    )
    rows, columns = np.divmod(orbits.position, 5)
    assert set(rows) == set(columns) == {1, 2, 3}


def test_layers_of_one_grid_have_the_same_sites(net):
    orbits = extract_orbits(
        net,
        IMAGES,
        layer=["0", "2", ""],
        action=ImageFlip(),
        sites={"0": "map", "2": lambda out: out.permute(0, 2, 3, 1)},
        n_sites=4,
        random_state=0,
    )
    assert_array_equal(orbits["0"].site, orbits["2"].site)
    assert orbits["0"].X.shape == (40, 6)
    assert orbits["2"].X.shape == (40, 4)
    assert orbits[""].X.shape == (10, 100)
    assert orbits[""].site is None


def test_inputs_of_one_base_are_one_group(net):
    base = np.array(["a", "b", "a", "c", "c"])
    for sites in (None, "map"):
        orbits = extract_orbits(
            net, IMAGES, layer="2", action=ImageFlip(), sites=sites, base=base
        )
        assert_array_equal(orbits.groups, base[orbits.inputs])
        assert orbits.n_orbits == (5 if sites is None else 125)
        train, test = orbits.split(random_state=0)
        assert not set(train.groups) & set(test.groups)


class Transformer(nn.Module):
    """Two prefix tokens, which are constant, and a token for each 2 x 2 patch."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(2, 5, 2, stride=2)
        self.prefix = nn.Parameter(torch.randn(1, 2, 5))
        self.last = nn.Identity()

    def forward(self, x):
        tokens = self.embed(x).flatten(2).mT
        prefix = self.prefix + tokens.mean(1, keepdim=True)
        return self.last(torch.cat([prefix, tokens], dim=1))


@pytest.mark.parametrize("is_kept", [False, True])
def test_prefix_tokens_stay_or_are_left_out(is_kept):
    model, images = seeded(Transformer), IMAGES[..., :6, :6]
    sites = Tokens(grid=(3, 3), prefix=2, keep_prefix=is_kept)
    action = ImageRotation(4)
    orbits = extract_orbits(model, images, layer="last", action=action, sites=sites)
    skipped = 0 if is_kept else 2

    def rows_of(power):
        with torch.no_grad():
            return model(torch.as_tensor(action(images, power)))[:, skipped:].numpy()

    assert orbits.n_orbits == 5 * (11 - skipped)
    assert_rows_are_of_moved_sites(orbits, rows_of)
    first, last = orbits.position[:4], orbits.position[(10 - skipped) * 4 :][:4]
    assert_array_equal(first, [0] * 4 if is_kept else [0, 6, 8, 2])
    assert_array_equal(last, np.array([8, 2, 0, 6]) + 2 * is_kept)


@pytest.mark.parametrize("action", [CyclicShift(1, 4), CyclicShift(1, 2)], ids=str)
def test_tokens_in_a_row_move_with_a_shift(action):
    inputs = np.random.RandomState(0).randint(9, size=(6, 8))
    model = seeded(lambda: nn.Sequential(nn.Embedding(9, 3), nn.Tanh()))
    orbits = extract_orbits(model, inputs, layer="1", action=action, sites="tokens")
    X = orbits.X.reshape(48, action.order, 3)
    assert_allclose(X, np.repeat(X[:, :1], action.order, axis=1))


class Atoms(nn.Module):
    """A row per atom, from its own coordinates and the sum over its molecule."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, points, sizes):
        parts = torch.split(points, sizes.tolist())
        sums = torch.cat([p.sum(0, keepdim=True).expand(len(p), 3) for p in parts])
        return self.layer(torch.cat([points, sums], dim=1))


def collate(molecules):
    sizes = torch.tensor([len(points) for points in molecules])
    return torch.cat([torch.as_tensor(points) for points in molecules]), sizes


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_molecules_of_different_sizes_have_a_site_for_each_atom(batch_size):
    rng, sizes = np.random.RandomState(0), np.array([3, 5, 1, 4])
    molecules = [rng.randn(size, 3).astype(np.float32) for size in sizes]
    turn, model = AxisRotation(2, 4), seeded(Atoms)
    settings = {
        "layer": "layer",
        "action": lambda batch, power: [turn(points, power) for points in batch],
        "symmetry": 4,
        "site_action": turn,
        "sites": Nodes(sizes),
        "collate": collate,
        "batch_size": batch_size,
    }
    orbits = extract_orbits(model, molecules, **settings)
    assert_array_equal(np.bincount(orbits.inputs), 4 * sizes)
    assert_array_equal(orbits.position, orbits.site)
    for row in range(len(orbits)):
        moved = turn(molecules[orbits.inputs[row]], orbits.power[row])
        with torch.no_grad():
            expected = model(*collate([moved]))[orbits.site[row]]
        assert_allclose(orbits.X[row], expected, rtol=1e-4, atol=1e-5)
    some = extract_orbits(model, molecules, **settings, n_sites=2, random_state=0)
    assert_array_equal(np.bincount(some.inputs), [8, 8, 4, 8])


def test_a_permutation_of_atoms_permutes_their_sites():
    points = np.random.RandomState(0).randn(6, 3, 3).astype(np.float32)
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh()))
    orbits = extract_orbits(
        model, points, layer="1", action=ChannelPermutation(3), sites="tokens"
    )
    X = orbits.X.reshape(18, 6, 4)
    assert_allclose(X, np.repeat(X[:, :1], 6, axis=1), rtol=1e-5)
    assert len({tuple(p) for p in orbits.position.reshape(18, 6)}) == 3


def averaged(weight, action):
    """A kernel that no element of the group changes."""
    moved = [action(weight, power) for power in action.symmetry.powers]
    return torch.stack([torch.as_tensor(m) for m in moved]).mean(0)


@pytest.mark.parametrize("kind", ["shift", "volume"])
def test_equivariant_layers_on_rings_and_in_cubes(kind):
    if kind == "shift":
        action, shape = GridShift(axes=(-2, -1), orders=(2, 3)), (4, 2, 8, 12)
        layer = nn.Conv2d(2, 3, 3, 2, padding=1, padding_mode="circular")
    else:
        action, shape = CubeRotation("volumes"), (4, 2, 5, 5, 5)
        layer = nn.Conv3d(2, 3, 3, stride=2, padding=1)
        layer.weight.data = averaged(layer.weight.data, action)
    inputs = np.random.RandomState(0).randn(*shape).astype(np.float32)
    orbits = extract_orbits(
        nn.Sequential(layer), inputs, layer="0", action=action, sites="map"
    )
    X = orbits.X.reshape(orbits.n_orbits, -1, 3)
    assert_allclose(X, np.repeat(X[:, :1], X.shape[1], axis=1), atol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_a_function_moves_sites_by_site_action(net, kind):
    def turn(images, power):
        library = torch if isinstance(images, torch.Tensor) else np
        return library.rot90(images, power, (-2, -1))

    settings = {"layer": "2", "sites": "map", "n_sites": 5, "random_state": 0}
    expected = extract_orbits(net, IMAGES, **settings, action=ImageRotation(4))
    for site_action in (turn, ImageRotation(4)):
        orbits = extract_orbits(
            net,
            kind(IMAGES),
            **settings,
            action=lambda x, p: turn(x, p).copy() if kind is np.asarray else turn(x, p),
            symmetry=4,
            site_action=site_action,
        )
        assert_array_equal(orbits.X, expected.X)
        assert_array_equal(orbits.position, expected.position)


def test_files_hold_the_sites_that_are_kept_and_go_on(net, tmp_path):
    settings = {"layer": "2", "action": ImageRotation(4), "sites": "map", "n_sites": 2}
    expected = extract_orbits(net, IMAGES, **settings, random_state=0, batch_size=2)
    out = {"out": tmp_path / "rows", "batch_size": 2}
    first = extract_orbits(net, IMAGES, **settings, **out)
    again = extract_orbits(net, IMAGES, **settings, **out)
    assert len(first.X) == 5 * 2 * 4
    assert_array_equal(first.X[:], expected.X)
    assert_array_equal(again.X[:], expected.X)
    assert_array_equal(again.site, expected.site)
    with pytest.raises(ValueError, match="another sites"):
        extract_orbits(net, IMAGES, **settings, **out, random_state=1)


class Slow(nn.Module):
    """Puts out maps that are much larger than what is kept of them."""

    def forward(self, x):
        return x[:, :1].repeat(1, 64, 40, 40)


def test_memory_is_of_what_is_kept():
    images = np.zeros((64, 1, 2, 2), np.float32)
    tracemalloc.start()
    try:
        orbits = extract_orbits(
            Slow(),
            images,
            layer="",
            action=ImageRotation(4),
            sites="map",
            n_sites=2,
            batch_size=2,
            random_state=0,
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert orbits.X.nbytes == 64 * 2 * 4 * 64 * 4
    whole = 64 * 4 * 64 * 80 * 80 * 4
    assert peak < whole / 10


@pytest.mark.parametrize(
    ("layer", "settings", "message"),
    [
        ("2", {"sites": "maps"}, "sites must be 'map', 'tokens'"),
        ("2", {"n_sites": 2}, "need sites="),
        ("2", {"sites": "map", "n_sites": 0}, "n_sites must be a whole number from 1"),
        ("2", {"sites": "map", "n_sites": 2.5}, "n_sites must be a whole number"),
        ("2", {"sites": "map", "margin": -1}, "margin must be a whole number from 0"),
        ("2", {"sites": "map", "margin": 3}, r"grid of \(5, 5\).* leaves no site"),
        ("2", {"sites": "tokens"}, r"Tokens\("),
        ("2", {"sites": Tokens((2, 2))}, "one token for each site"),
        ("2", {"sites": Nodes([5])}, "has 1 sizes"),
        ("2", {"sites": Nodes([5] * 5)}, "with 25 nodes for 5 inputs"),
        ("2", {"sites": lambda out: out[:, 0, 0]}, r"sites \(n_inputs, n_sites"),
        ("3", {"sites": "map"}, r"a map \(n_inputs, channels, \*grid\)"),
        ("2", {"base": [0, 1]}, "base has 2 entries for 5 inputs"),
        ("2", {"base": [0, 1, None, 1, 0]}, "base has missing values .* rows 2"),
        ("2", {"base": [0, "a", 1, 1, 0]}, "base mixes entries .* of types"),
        (
            "2",
            {"sites": "map", "site_action": lambda m, p: m * 0},
            "to another place; at power 0",
        ),
        (
            "2",
            {"sites": "map", "action": lambda x, p: x, "symmetry": 2},
            "Set site_action=",
        ),
        ("2", {"sites": "map", "action": GridShift((2, 3), (7, 7))}, "equal steps"),
    ],
)
def test_what_does_not_fit(net, layer, settings, message):
    net.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    settings = {"action": ImageRotation(4)} | settings
    with pytest.raises(ValueError, match=message):
        extract_orbits(net, IMAGES, layer=layer, **settings)


@pytest.mark.parametrize("sizes", [[0, 1], [1.5], [[1]]])
def test_sizes_of_nodes_are_counts(sizes):
    with pytest.raises(ValueError, match="sizes must hold the number of nodes"):
        Nodes(sizes)


@pytest.mark.parametrize("size", [(16, 16), (12, 24)])
@pytest.mark.parametrize("channel_axis", [-3, -1])
def test_maps_that_have_their_channels_last_are_not_turned_sideways(size, channel_axis):
    class ChannelsLast(nn.Module):
        def forward(self, x):
            return x.movedim(1, -1)

    model = nn.Sequential(nn.Conv2d(3, 7, 4, stride=2, padding=1), ChannelsLast())
    x = torch.rand(4, 3, *size)
    settings = {"action": ImageFlip(channel_axis=channel_axis)}
    if channel_axis == -1:
        x = x.movedim(1, -1)
        settings["forward"] = lambda model, batch: model(batch.movedim(-1, 1))
    with pytest.raises(ValueError, match="looks as if the last axis held channels"):
        extract_orbits(model, x, layer="1", sites="map", **settings)
    last = extract_orbits(model, x, layer="1", sites=lambda out: out, **settings)
    second = extract_orbits(model, x, layer="0", sites="map", **settings)
    assert_array_equal(last.X, second.X)
