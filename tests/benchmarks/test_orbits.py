import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from benchmarks.orbits import __main__ as command
from benchmarks.orbits import (
    _adaptive,
    _beside,
    _budget,
    _cells,
    _curve,
    _eased,
    _features,
    _free,
    _lengths,
    _networks,
    _other,
    _probing,
    _recovery,
    _shapes,
    _small,
    _tried,
)

TINY = _cells.Settings(n_images=160, n_orbits=120, epochs=8, batch_size=32)
DATA = [("mlp", "random")]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("orbits")


# images are turned at random, which is what is compared
pytestmark = pytest.mark.filterwarnings("ignore:The canonical rows cannot be recog")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(_shapes, "BASE_EPOCHS", {"mlp": 1})
    monkeypatch.setitem(_cells.SETTINGS, "quick", TINY)
    for part in (_curve, _budget, _recovery, _probing):
        monkeypatch.setattr(part, "DATA", DATA)
    features = {"regular 512": ("regular", 16, None)}
    features["tied 128"] = ("tied", 16, "equivariant")
    features["tied 128, pooled"] = ("tied", 16, "invariant")
    monkeypatch.setattr(_probing, "FEATURES", features)
    monkeypatch.setattr(_probing, "KINDS", {"S": "shape", "SPO": "all three"})


def run(monkeypatch, out, *parts):
    arguments = ["", "--parts", *parts, "--seeds", "1", "--quick", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    command.main()


@pytest.mark.parametrize(
    ("part", "n_rows"), [("curve", 10), ("budget", 16), ("recovery", 6)]
)
def test_part_stores_a_row_per_cell_and_a_figure(
    part, n_rows, out, monkeypatch, capsys
):
    run(monkeypatch, out, part)
    rows = pd.read_csv(out / f"{part}.csv")
    assert len(rows) == n_rows
    assert (out / f"{part}.png").exists()
    assert "| mlp | random |" in capsys.readouterr().out or part == "recovery"


def test_probing_scores_every_source_of_features(out, monkeypatch, capsys):
    run(monkeypatch, out, "probing")
    rows = pd.read_csv(out / "probing.csv")
    assert set(rows.features) == set(_probing.FEATURES)
    assert rows.f1.between(0, 1).all()
    assert rows.groupby(["features", "kind", "n_selected"]).size().max() == 4
    assert "±" in capsys.readouterr().out


def test_mixtures_are_compared_on_networks_that_follow_in_part(out, monkeypatch):
    monkeypatch.setattr(_adaptive, "SHARES", (1.0,))
    run(monkeypatch, out, "adaptive")
    rows = pd.read_csv(out / "adaptive.csv")
    assert list(rows["method"].astype(str)) == [str(m) for m in _adaptive.METHODS]
    assert rows["fvu"].between(0, 1).all()
    assert (out / "adaptive.png").exists()


def test_other_networks_are_compared_at_equal_sizes(out, monkeypatch):
    signals = {n: f for n, f in _other._NETWORKS.items() if n == "signals, C4"}
    monkeypatch.setattr(_other, "_NETWORKS", signals)
    run(monkeypatch, out, "other")
    rows = pd.read_csv(out / "other.csv")
    assert set(rows["order"]) == {4}
    assert rows["fvu"].between(0, 1).all()


def test_features_are_drawn_from_a_network_of_their_own(out, monkeypatch, capsys):
    monkeypatch.setitem(_features.N_IMAGES, True, 40)
    run(monkeypatch, out, "features")
    assert "FVU 0." in capsys.readouterr().out
    assert (out / "features.png").exists()


def turned_parts(seed=0, n_orbits=120):
    """Three parts that are there or not, each in one of four places."""
    rng = np.random.default_rng(seed)
    answers = rng.integers(0, 2, (n_orbits, 3))
    x = (answers * rng.uniform(0.5, 1.5, answers.shape)) @ np.eye(3, 12)
    X = np.stack([np.roll(x, 3 * p, axis=1) for p in range(4)], axis=1)
    groups, power = np.indices((n_orbits, 4)).reshape(2, -1)
    X = X.reshape(-1, 12).astype(np.float32)
    return _shapes.Orbits(X, groups, power), np.repeat(answers, 4, axis=0)


@pytest.fixture
def network():
    (train, seen), (test, asked) = turned_parts(0), turned_parts(1)
    return _networks.Network(train, test, 1.0, (seen, asked))


@pytest.fixture
def small(network, monkeypatch):
    monkeypatch.setattr(_small, "N_LATENTS", 16)
    monkeypatch.setattr(_small, "K", 3)
    monkeypatch.setattr(_beside, "WIDTHS", (1, 2, 4))
    for part in (_eased, _free, _lengths, _tried):
        monkeypatch.setattr(part, "N_LATENTS", 16)
        monkeypatch.setattr(part, "K", 3)
        monkeypatch.setattr(part, "NAMES", ("turned",))
    for part in (_free, _tried):
        monkeypatch.setattr(part, "NETWORKS", {"turned": lambda _: network})
    monkeypatch.setattr(_small, "NETWORKS", {"turned": lambda _: network})


def test_all_methods_are_compared_on_a_network(small, out, monkeypatch, capsys):
    run(monkeypatch, out, "small")
    rows = pd.read_csv(out / "small.csv").set_index("method")
    assert list(rows.index) == ["regular", "tied, full orbits", "tied", "orbit"]
    assert rows["fvu"].between(0, 1).all()
    assert rows.loc["regular", "labels_90%"] > rows.loc["tied", "labels_90%"]
    assert rows.loc["tied", "auc_1"] > rows.loc["regular", "auc_1"] > 0.5
    before = (out / "small.csv").read_text()
    run(monkeypatch, out, "small")
    assert (out / "small.csv").read_text() == before


def test_labels_are_counted_at_what_a_regular_one_explains(network):
    train = network.train
    sae = _cells.TopKSAE(12, k=3, max_epochs=60, random_state=0).fit(train.X)
    own = 1 - sae.score(network.test.X)
    found = _beside.labels_needed(sae, network, None)
    assert found == _beside.labels_needed(sae, network, own)
    assert 1 < found["labels_90%"] <= found["labels_99%"] <= 12
    better = _beside.labels_needed(sae, network, 1 - 2 * (1 - own))
    assert np.isnan(better["labels_99%"])


def test_free_vectors_are_set_beside_orbits(small, out, monkeypatch, capsys):
    monkeypatch.setattr(_free, "N_FREE", (0, 4))
    run(monkeypatch, out, "free")
    rows = pd.read_csv(out / "free.csv").set_index("n_free")
    assert rows.loc["4", "n_free_"] == 4
    assert rows.loc["0", "code_equivariance"] > rows.loc["4", "code_equivariance"]
    assert "| turned | 1 |" in capsys.readouterr().out


def test_lengths_that_are_found_are_set_beside_a_grid(small, out, monkeypatch, capsys):
    run(monkeypatch, out, "lengths")
    rows = pd.read_csv(out / "lengths.csv").set_index("full")
    assert list(rows.index) == ["auto", "100%", "75%", "50%", "25%"]
    assert rows.orbit_lengths[["100%", "50%"]].tolist() == [
        "{4: 4}",
        "{4: 2, 2: 2, 1: 4}",
    ]
    best = rows.fvu[rows.validation.drop("auto").idxmin()]
    above = rows.fvu["auto"] / best - 1
    assert capsys.readouterr().out.rstrip().endswith(f"| {above:+.0%} |")


def test_what_was_tried_trains_with_what_it_says(small, out, monkeypatch):
    monkeypatch.setattr(_tried, "PENALTIES", (100.0,))
    run(monkeypatch, out, "tried")
    rows = pd.read_csv(out / "tried.csv").set_index("variant")
    assert list(rows.index) == list(_tried.variants())
    plain, near = rows.fvu["orbit, strength 1"], rows.fvu.filter(like="100, strength 1")
    assert near.item() != plain
    assert rows.equivariance["from tied, strength 1"] == 1


def test_longer_look_eases_a_strength_that_becomes_cheap(network, monkeypatch):
    costs = {"s": 0.1, "l": 0.05}  # after a short part and after a longer one
    monkeypatch.setattr(
        _eased.LongerLook, "_cost", lambda self, plan, name, *_: (costs[name], 1.0)
    )

    class Full(_eased.OrbitSAE):
        def _chosen_strength(self, plan):
            return 1.0

    def fitted(kind):
        settings = {"k": 3, "max_epochs": 6, "batch_size": 32, "random_state": 0}
        sae = kind(16, symmetry=network.train.symmetry, **settings)
        return sae.fit(network.train.X, **network.train.metadata)

    eased, full = fitted(_eased.LongerLook), fitted(Full)
    assert (eased.equivariance_, eased.is_eased_) == (1, True)
    assert not np.array_equal(eased.components_, full.components_)
    monkeypatch.setattr(_eased, "EASED", 1)
    assert np.array_equal(fitted(_eased.LongerLook).components_, full.components_)


def test_longer_look_and_strength_1_are_set_beside_a_regular_one(
    small, out, monkeypatch
):
    monkeypatch.setattr(_eased, "CHEAP", 1e9)  # so that nobody looks longer
    for _ in range(2):
        run(monkeypatch, out, "eased")
        rows = pd.read_csv(out / "eased.csv").set_index("variant")
        assert list(rows.index) == ["longer look", "strength 1"]
    assert not rows.is_eased.any()
    assert rows.strength["strength 1"] == 1
    assert rows.regular_fvu.nunique() == 1
    assert (rows.cost > 0).all()


def test_stored_cells_are_not_computed_again(out, monkeypatch):
    run(monkeypatch, out, "curve")
    before = (out / "curve.csv").read_text()
    monkeypatch.setattr(_curve, "score", lambda *_: pytest.fail("computed again"))
    run(monkeypatch, out, "curve")
    assert (out / "curve.csv").read_text() == before


def test_other_settings_are_other_cells(out):
    cells = _curve.cells([0], quick=True)[:1]
    other = [replace(cell, epochs=1) for cell in cells]
    for wanted in (cells, other):
        rows = _cells.table(_curve.score, wanted, out / "settings.csv", 1)
        assert rows.epochs.item() == wanted[0].epochs
    assert len(pd.read_csv(out / "settings.csv")) == 2


def test_full_grid_has_every_size_and_k_that_fits():
    cells = pd.DataFrame([vars(cell) for cell in _curve.cells([0, 1, 2], False)])
    assert set(cells.k) == {4, 8, 16, 32}
    assert {8, 16, 32, 64, 128, 512, 2048} < set(cells.n_vectors)
    assert not cells.duplicated().any()
    assert (cells.query("k == 32 and method == 'regular'").n_vectors >= 32).all()
    assert cells.query("k == 32 and method == 'tied'").n_vectors.min() == 8


def curve(sizes, fvu, method):
    return pd.DataFrame(
        {"base": "mlp", "orientation": "random", "k": 8, "seed": 0}
        | {"n_vectors": sizes, "fvu": fvu, "method": method}
        | {"fvu_of_M": 0.01}
    )


def test_curve_moved_left_by_four_has_a_factor_of_four():
    sizes, fvu = np.array([32, 64, 128, 512]), [0.5, 0.2, 0.001, 0.002]
    both = [curve(sizes, fvu, "regular"), curve(sizes // 4, fvu, "tied")]
    factors = _curve.factors_of(pd.concat(both))
    np.testing.assert_allclose(factors.filter(like="at FVU").to_numpy(), 4)
    np.testing.assert_allclose(factors[["mean", "std"]], [[4, 0]], atol=1e-9)


def test_level_that_a_curve_does_not_reach_has_no_factor():
    regular = curve([32, 64], [0.5, 0.05], "regular")
    tied = curve([8, 16], [0.4, 0.15], "tied")
    factors = _curve.factors_of(pd.concat([regular, tied]))
    missing = factors[[f"at FVU {level}" for level in (0.1, 0.03, 0.01)]]
    assert missing.isna().all(axis=None)
    assert factors["at FVU 0.2"].item() > 1


def test_true_atoms_are_28_orbits_of_four_that_a_quarter_turn_maps_to_each_other():
    orbits = _recovery.orbits_of_atoms()
    np.testing.assert_array_equal(np.bincount(orbits), [4] * 28)
    shapes = _shapes.images_of("random", 0, 20)
    tasks = _recovery.atom_tasks()
    rows = [
        tasks.label_matrix(shapes, groups=np.arange(20), power=np.full(20, p))
        for p in range(2)
    ]
    counts = [np.array([np.bincount(orbits, r) for r in part]) for part in rows]
    np.testing.assert_array_equal(*counts)


def test_sums_of_atoms_give_the_atoms_back():
    cell = _cells.Cell(n_images=400)
    groups, power = np.divmod(np.arange(1600), 4)
    rng = np.random.default_rng(0)
    empty = _shapes.Orbits(np.zeros((1600, 1)), groups, power)
    labels = _recovery.one_hot(cell, empty)
    X = labels @ rng.normal(size=(112, 120))
    orbits = _shapes.Orbits(X, groups, power)
    atoms, unexplained = _recovery.true_atoms(
        cell, _shapes.Activations(orbits, orbits, 0)
    )
    assert unexplained < 1e-12
    np.testing.assert_allclose(
        X - X.mean(axis=0), (labels - labels.mean(axis=0)) @ atoms, atol=1e-8
    )


def test_atoms_are_found_through_a_shift_of_each_position():
    cell = _cells.Cell(n_images=400)
    groups, power = np.divmod(np.arange(1600), 4)
    orbits = _shapes.Orbits(np.zeros((1600, 1)), groups, power)
    labels = _recovery.one_hot(cell, orbits)
    atoms = np.random.default_rng(0).normal(size=(112, 120))
    position = np.array([task.position for task in _recovery.atom_tasks()])
    shifted = atoms + 2 * (position == "top-left")[:, np.newaxis]
    Z, best = csr_array(3 * labels), np.arange(112)
    np.testing.assert_allclose(_recovery._correlations(Z, labels).max(axis=0), 1)
    cosines = _recovery.cosines_after_shift(Z, labels, shifted / 3, atoms, best)
    np.testing.assert_allclose(cosines, 1)
    wrong = shifted[np.r_[1, 0, 2:112]] / 3
    cosines = _recovery.cosines_after_shift(Z, labels, wrong, atoms, best)
    np.testing.assert_array_equal(cosines < 0.5, best < 2)


def test_gap_is_between_the_best_of_each_and_holds_within_an_error():
    scores = {
        "tied 128": [0.5, 0.5],
        "tied 128, pooled": [0.8, 0.7],
        "regular 512": [0.9, 0.7],
        "regular 2048": [0.1, 0.1],
    }
    rows = pd.DataFrame(
        [
            {"features": name, "task": task, "f1": f1, "seed": 0}
            for name, values in scores.items()
            for task, f1 in enumerate(values)
        ]
    ).assign(base="mlp", orientation="random", kind="S", n_selected=4)
    (row,) = _probing.gaps_of(rows).to_dict("records")
    assert (row["tied"], row["regular"]) == ("tied 128, pooled", "regular 512")
    np.testing.assert_allclose([row["gap"], row["gap_se"]], [-0.05, 0.05])
    assert row["holds"]
