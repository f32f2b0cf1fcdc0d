import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sk_eqsae.activations import Nodes, Orbits
from sk_eqsae.groups import ImageDihedral, ImageFlip, ImageRotation
from sk_eqsae.inspection import SymmetryScanDisplay, scan_symmetry
from sk_eqsae.inspection import _scan_symmetry as module


class Symmetric(nn.Conv2d):
    """A convolution whose kernels no element of D4 changes."""

    def forward(self, x):
        kernels = self.weight + self.weight.flip(-1)
        kernels = sum(torch.rot90(kernels, p, (-2, -1)) for p in range(4)) / 8
        return nn.functional.conv2d(x, kernels, self.bias, padding=1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    mirror = nn.Conv2d(4, 5, 3, padding=1)
    with torch.no_grad():  # left and right alike, up and down not
        mirror.weight += mirror.weight.flip(-1)
    return nn.Sequential(
        Symmetric(1, 4, 3),
        nn.ReLU(),
        mirror,
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(180, 6),
    )


@pytest.fixture(scope="module")
def images():
    return torch.randn(120, 1, 6, 6, generator=torch.Generator().manual_seed(0))


ACTIONS = {"turn": ImageRotation(4), "mirror": ImageFlip()}
SETTINGS = {
    "layers": ["1", "3", "5"],
    "actions": ACTIONS,
    "sites": {"1": "map", "3": "map"},
    "n_sites": 6,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def scan(network, images):
    return scan_symmetry(network, images, **SETTINGS)


def cell(scan, layer, symmetry):
    (row,) = scan[(scan["layer"] == layer) & (scan["symmetry"] == symmetry)].iloc
    return row


def test_a_scan_finds_where_a_network_loses_its_symmetry(scan):
    assert scan["layer"].tolist() == ["1", "1", "3", "3", "5", "5"]
    assert scan["symmetry"].tolist() == ["turn", "mirror"] * 3
    for symmetry in ACTIONS:
        assert cell(scan, "1", symmetry)["r2"] == pytest.approx(1, abs=1e-6)
        assert cell(scan, "1", symmetry)["r2_identity"] == pytest.approx(1, abs=1e-6)
    assert cell(scan, "3", "mirror")["r2"] == pytest.approx(1, abs=1e-6)
    assert cell(scan, "3", "turn")["r2"] < 0.9
    assert cell(scan, "5", "mirror")["r2"] < 0.6
    assert (scan["low"] <= scan["r2"]).all()
    assert (scan["r2"] <= scan["high"]).all()
    assert (scan["r2_shuffled"] < scan["r2"]).all()
    assert scan["n_features"].tolist() == [4, 4, 5, 5, 6, 6]


def test_the_same_seed_gives_the_same_table(network, images, scan):
    again = scan_symmetry(network, images, **SETTINGS)
    pd.testing.assert_frame_equal(again, scan)
    alone = scan_symmetry(network, images, **SETTINGS | {"layers": ["3"]})
    expected = scan[scan["layer"] == "3"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected)


def test_a_scan_goes_on(network, images, scan, tmp_path, monkeypatch):
    runs = []

    def counted(*args, layer, **options):
        runs.append(layer)
        return extract(*args, layer=layer, **options)

    extract = module.extract_orbits
    monkeypatch.setattr(module, "extract_orbits", counted)
    some = SETTINGS | {"layers": ["3", "5"], "out": tmp_path}
    scan_symmetry(network, images, **some)
    assert runs == [["3"], ["5"]] * 2
    runs.clear()
    found = scan_symmetry(network, images, **SETTINGS, out=tmp_path)
    pd.testing.assert_frame_equal(found, scan)
    assert runs == [["1"]] * 2
    runs.clear()
    monkeypatch.setattr(module, "measured", lambda orbits, seed: {"r2": 0.0})
    scan_symmetry(network, images + 1, **some)
    scan_symmetry(network, images, **some | {"n_rows": 500})
    scan_symmetry(nn.Sequential(*network, nn.ReLU()), images, **some)
    assert len(runs) == 12
    assert all(json.loads(path.read_text()) for path in tmp_path.glob("*.json"))


def test_rows_are_bounded_and_inputs_of_one_base_stay_together(
    network, images, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        module, "measured", lambda orbits, seed: seen.append(orbits) or {}
    )
    settings = SETTINGS | {"actions": [ImageDihedral(4)], "n_rows": 1000}
    scan_symmetry(network, images, **settings, base=np.arange(120) // 4)
    assert [len(orbits) for orbits in seen] == [960, 960, 960]
    for orbits in seen:
        assert set(orbits.groups) <= set(range(30))


def test_what_a_symmetry_needs_may_be_a_dict(network, images):
    def half_turn(batch, power):
        return batch.flip(-1, -2) if power % 2 else batch

    settings = SETTINGS | {"layers": ["1"]}
    given = {"action": half_turn, "symmetry": 2, "site_action": half_turn}
    found = scan_symmetry(network, images, **settings | {"actions": {"half": given}})
    assert found["r2"][0] == pytest.approx(1, abs=1e-6)


def test_moves_that_m_explains_are_those_of_its_definition():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    X = np.concatenate([x, x[:, [1, 0, 2, 3]] + 0.1 * rng.normal(size=x.shape)])
    orbits = Orbits(X, np.tile(np.arange(400), 2), np.repeat([0, 1], 400))
    found = module.measured(orbits, 0)
    # noise of 0.1 on 4 features, against a move by a difference of two on 2 of them
    assert found["moves"] == pytest.approx(1 - 4 * 0.01 / (2 * 2 + 4 * 0.01), abs=0.002)
    assert found["r2_identity"] == pytest.approx(0, abs=0.1)
    assert found["low"] < found["r2"] < found["high"]


def test_intervals_are_of_groups_and_not_of_sites():
    # all sites of an input are alike, so a hundred of them tell no more than one
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    pair = np.stack([x, x + rng.normal(size=x.shape)], axis=1)
    widths = []
    for n_sites in (1, 100):
        X = np.repeat(pair, n_sites, axis=0).reshape(-1, 3)
        orbits = Orbits(
            X,
            np.repeat(np.arange(40), 2 * n_sites),
            np.tile([0, 1], 40 * n_sites),
            site=np.tile(np.repeat(np.arange(n_sites), 2), 40),
        )
        found = module.measured(orbits, 0)
        widths.append(found["high"] - found["low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.2)


def test_wrong_arguments_are_named(network, images):
    with pytest.raises(ValueError, match="layers is empty"):
        scan_symmetry(network, images, **SETTINGS | {"layers": []})
    with pytest.raises(ValueError, match="actions is empty"):
        scan_symmetry(network, images, **SETTINGS | {"actions": {}})
    with pytest.raises(ValueError, match="layer='7' does not exist"):
        scan_symmetry(network, images, **SETTINGS | {"layers": ["7"]})
    with pytest.raises(ValueError, match="n_rows"):
        scan_symmetry(network, images, **SETTINGS | {"n_rows": 0})


def test_the_heat_map_has_a_row_per_layer_and_a_column_per_symmetry(plt, scan):
    display = SymmetryScanDisplay(scan).plot()
    texts = [text.get_text() for text in display.ax_.texts]
    marks = ["" if aligned else "*" for aligned in scan["aligned"].fillna(True)]
    assert texts == [f"{r2:.2f}{m}" for r2, m in zip(scan["r2"], marks, strict=True)]
    off = SymmetryScanDisplay(scan.assign(aligned=[False, *[True] * 5])).plot()
    assert [text.get_text()[-1] for text in off.ax_.texts].count("*") == 1
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["1", "3", "5"]
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["turn", "mirror"]
    moves = SymmetryScanDisplay(scan).plot(value="moves")
    (image,) = moves.ax_.images
    np.testing.assert_allclose(image.get_array().ravel(), scan["moves"])


def test_heat_maps_are_one_column_wide_and_as_high_as_the_network_is_deep(plt, scan):
    deep = pd.concat(
        [scan.assign(layer=f"blocks.{i}.long.name.of.a.layer") for i in range(20)]
    )
    deep = deep.drop_duplicates(["layer", "symmetry"])
    display = SymmetryScanDisplay(deep).plot()
    display.figure_.canvas.draw()
    assert display.figure_.get_size_inches()[0] == 3.5
    boxes = [t.get_window_extent() for t in display.ax_.get_yticklabels()]
    assert not any(one.overlaps(two) for one, two in pairwise(boxes))
    axis = display.ax_.get_window_extent()
    assert axis.width > 0.4 * display.figure_.bbox.width


def test_a_heat_map_of_one_cell_twice_is_an_error(plt, scan):
    with pytest.raises(ValueError, match=r"has \['1', 'turn'\] twice"):
        SymmetryScanDisplay(pd.concat([scan, scan])).plot()
    with pytest.raises(ValueError, match="no column 'fvu'"):
        SymmetryScanDisplay(scan).plot(value="fvu")


def test_a_scan_finds_the_size_at_which_a_grid_is_mapped_onto_itself(images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2))
    large = torch.randn(120, 1, 20, 20)
    settings = {"layers": ["0"], "actions": {"mirror": ImageFlip()}, "sites": "map"}
    settings |= {"n_sites": 6, "random_state": 0}
    found = scan_symmetry(model, large, **settings, sizes=[18, 19, 20])
    assert found["size"].tolist() == [19]
    assert found["aligned"].tolist() == [True]
    as_it_is = scan_symmetry(model, large, **settings)
    assert as_it_is["aligned"].tolist() == [False]
    assert as_it_is["offset"][0] > 0.25
    assert found["r2"][0] > as_it_is["r2"][0] + 0.1


@pytest.mark.parametrize("by_layer", [False, True])
def test_inputs_that_are_drawn_keep_their_nodes(by_layer):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 5, 120)
    molecules = [rng.normal(size=(n, 4)).astype(np.float32) for n in sizes]
    nodes = Nodes(sizes)
    table = scan_symmetry(
        nn.Sequential(nn.Tanh()),
        molecules,
        layers=["0"],
        actions={"shift": {"action": shifted, "symmetry": 4, "site_action": as_it_is}},
        sites={"0": nodes} if by_layer else nodes,
        n_rows=4 * 12 * 80,  # of two thirds of the inputs
        collate=lambda some: torch.from_numpy(np.concatenate(some)),
        random_state=0,
    )
    assert table.r2[0] == pytest.approx(1)
    assert table.n_groups[0] == 80


def shifted(molecules, power):
    return [np.roll(nodes, power, axis=1) for nodes in molecules]


def as_it_is(maps, power):
    return maps
