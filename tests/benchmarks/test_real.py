from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmarks.real import (
    _law,
    _methods,
    _modular,
    _photographs,
    _questions,
    _tables,
)
from benchmarks.real.__main__ import main
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import ImageRotation


def test_crops_are_squares_of_different_photographs(tmp_path):
    rng = np.random.default_rng(0)
    for name, kind in (("a.png", 0), ("b.png", 1), ("small.png", 2)):
        size = (40, 40, 3) if kind == 2 else (300, 400, 3)
        image = rng.integers(0, 40, size, dtype=np.uint8) + np.uint8(90 * kind)
        cv2.imwrite(str(tmp_path / name), image)
    again = cv2.imread(str(tmp_path / "a.png"))
    cv2.imwrite(str(tmp_path / "again.png"), cv2.resize(again, (800, 600)))
    (tmp_path / "no picture.png").write_text("text")
    images, photograph = _photographs.crops(tmp_path, 6)
    assert images.shape == (6, 3, _photographs.SIDE, _photographs.SIDE)
    assert set(photograph) == {0, 1}
    assert np.array_equal(images, _photographs.crops(tmp_path, 6)[0])
    assert _photographs.centre(images, 4).shape == (6, 3, 4, 4)
    with pytest.raises(ValueError, match="no photograph"):
        _photographs.crops(tmp_path / "nothing", 6)


def test_things_to_look_at_are_orbits_where_latents_have_them():
    rng = np.random.default_rng(0)
    codes = rng.random((100, 4)) * np.array([100, 100, 1, 1])
    X = codes @ np.eye(4)
    sae = SimpleNamespace(transform=lambda X: codes, components_=np.eye(4))
    test = SimpleNamespace(X=X - X.mean(axis=0))
    found = _methods._things_to_look_at(sae, test)
    assert found == {"things_90%": 2, "things_95%": 2, "things_99%": 2}
    sae.latent_orbits_ = SimpleNamespace(orbit=np.array([0, 0, 1, 1]))
    found = _methods._things_to_look_at(sae, test)
    assert found == {"things_90%": 1, "things_95%": 1, "things_99%": 1}


@pytest.fixture
def swapped():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 4))
    X = np.stack([rows, rows[:, [2, 3, 0, 1]]], axis=1).reshape(-1, 4)
    metadata = {"groups": np.repeat(np.arange(200), 2), "power": np.tile([0, 1], 200)}
    return Orbits(X.astype(np.float32), **metadata)


def test_a_comparison_fits_every_method_once(swapped, tmp_path, monkeypatch):
    args = SimpleNamespace(quick=True, seeds=2, out=tmp_path)
    cases = {("layer", "C2"): lambda: swapped}
    _methods.compare(args, "rows", "a network", cases, (8, 2))
    table = pd.read_csv(tmp_path / "rows.csv")
    assert len(table) == 2 * len(_methods.METHODS)
    assert set(table.method) == set(_methods.METHODS)
    matrix = pd.read_csv(tmp_path / "rows_matrix.csv")
    assert matrix.r2.tolist() == pytest.approx([1])
    monkeypatch.setattr(_methods, "measures", None)  # nothing is left to fit
    _methods.compare(args, "rows", "a network", cases, (8, 2))


def test_every_method_is_measured(swapped):
    orbits = swapped
    for method in _methods.METHODS:
        cell = _methods.Cell("rows", "", "C2", method, 8, 2, 0, 30)
        row = _methods.measures(cell, *orbits.split(random_state=0))
        assert 0 < row["fvu"] < 1
        assert ("code_equivariance" in row) == (method != "regular")
    tied = _methods.measures(cell, *orbits.split(random_state=0))
    assert tied["n_things"] <= 8


def test_tables_go_on_where_they_were(tmp_path):
    cells = [_methods.Cell("n", "l", "C4", "regular", 8, 2, s, 10) for s in range(3)]
    done = []

    def fit(cell):
        done.append(cell.seed)
        return {**vars(cell), "fvu": 0.1}

    _tables.grown(fit, cells[:2], tmp_path / "t.csv")
    table = _tables.grown(fit, cells, tmp_path / "t.csv")
    assert done == [0, 1, 2]
    assert table.seed.tolist() == [0, 1, 2]


def test_the_law_sets_methods_beside_the_regular_one(tmp_path):
    keys = {"layer": "b", "symmetry": "C4", "n_latents": 256, "k": 8}
    rows = [
        {**keys, "method": method, "seed": seed, "fvu": fvu * (1 + seed)}
        for seed in (0, 1)
        for method, fvu in (("regular", 0.1), ("tied", 0.15), ("orbit", 0.1))
    ]
    table = pd.DataFrame(rows).assign(code_equivariance=1.0, n_things=10)
    table.to_csv(tmp_path / "vision.csv", index=False)
    matrix = {"layer": ["b"], "symmetry": ["C4"], "r2": [0.7], "unexplained_moves": 0.3}
    pd.DataFrame(matrix).to_csv(tmp_path / "vision_matrix.csv", index=False)
    law = _law.joined(tmp_path)
    law = law[law.part == "vision"].set_index("method")  # small ones are committed
    assert law.ratio["tied"] == pytest.approx(1.5)
    assert law.ratio["orbit"] == pytest.approx(1.0)
    assert law.r2["tied"] == 0.7
    assert len(_law.draw(law.reset_index()).axes) == 1


def test_the_transformer_is_read_at_its_last_token():
    orbits = _modular._orbits(5, "hidden", 0, True)
    assert orbits.X.shape == (25, _modular.HIDDEN)
    assert orbits.order == 5


def test_parts_that_need_what_is_missing_say_what_to_install(
    tmp_path, monkeypatch, capsys
):
    def missing(*_):
        raise error

    monkeypatch.setattr("benchmarks.real.__main__.import_module", missing)
    argv = ["", "--parts", "molecules", "audio", "scan", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", argv)
    for error in (ModuleNotFoundError("No module"), OSError("no library")):
        main()
        told = capsys.readouterr().out
        for what in ("'.[molecules]'", "torchaudio that is built", "'.[real]'"):
            assert what in told
        assert told.count(f"left out: {error}. Install") == 3


def test_edges_turn_with_the_image():
    across = np.repeat(np.arange(64) // 32 * 200, 64).reshape(64, 64)
    image = np.stack([across] * 3).astype(np.uint8)  # dark above, light below
    found = _questions.edge_directions(image, (4, 4))
    assert set(np.unique(found)) == {-1, 2}
    assert (found[[0, 3]] == -1).all()  # far from the edge
    turned = _questions.edge_directions(np.rot90(image, axes=(1, 2)), (4, 4))
    assert set(np.unique(turned)) == {-1, 0}
    rows = Orbits(
        np.zeros((4, 1)),
        groups=[0] * 4,
        power=[0, 1, 2, 3],
        site=[0] * 4,
        inputs=[0] * 4,
        position=[5, 9, 10, 6],
        grid=(4, 4),
    )
    asked = _questions.edges(rows, image[None], ImageRotation(4))
    assert asked.tolist() == [2, 0, 2, 0]


def test_probes_of_whole_inputs_see_means_over_sites():
    power, inputs = np.tile([0, 1], 4), np.repeat([0, 0, 1, 1], 2)
    rows = SimpleNamespace(inputs=inputs, power=power, order=2)
    codes = np.arange(8.0)[:, None]
    means, labels = _questions.of_inputs(codes, rows, np.array([5, 7]))
    assert means.ravel().tolist() == [1, 2, 5, 6]
    assert labels.tolist() == [5, 5, 7, 7]


def test_probes_are_judged_by_the_area_under_the_curve():
    rng = np.random.default_rng(0)
    sides = []
    for _ in range(2):
        y = rng.integers(0, 3, 300)
        y[0] = 9  # too few to be asked for
        sides.append((np.eye(10)[y] + 0.01 * rng.normal(size=(300, 10)), y))
    found = _questions.scores("kind", *sides)
    assert found["n_kind"] == 3
    assert found["kind_1"] > 0.99
    turned = (sides[1][0][:, ::-1], sides[1][1])
    assert _questions.scores("kind", sides[0], turned)["kind_1"] < 0.6
