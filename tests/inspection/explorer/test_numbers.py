"""The numbers on the page, against direct computation."""

import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    TopKSAE,
    explore,
)
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import CyclicGroup, DihedralGroup, ProductGroup
from sk_eqsae.inspection import feature_symmetry, fvu
from sk_eqsae.inspection._explorer._plane import _umap, plane

from .turning import ACTION, QUICK, embedded, fitted, latents_of, turning_orbits

NAMES = ["topk", "equivariant", "tied", "pooled"]
ROUNDED = {"rtol": 2e-3, "atol": 1e-9}


@pytest.fixture(scope="module", params=NAMES)
def shown(request, tmp_path_factory):
    """Autoencoder, M, orbits, labels and the data of the page."""
    inputs, orbits = turning_orbits()
    sae, fitter = fitted(request.param, orbits)
    labels = np.where(inputs[orbits.groups, 0] > 1, "large", "small")
    path = explore(
        sae,
        orbits,
        inputs,
        action=ACTION,
        labels=labels,
        activation_transform=fitter,
        n_top=3,
        path=tmp_path_factory.mktemp(request.param) / "features.html",
    )
    return sae, fitter, orbits, labels, embedded(path)


def floats(values):
    return np.array(values, dtype=float)


def test_density_and_activations_are_those_of_transform(shown):
    sae, _, orbits, _, data = shown
    Z = latents_of(sae, orbits)
    np.testing.assert_allclose(
        floats(data["columns"]["density"]), (Z > 0).mean(axis=0), **ROUNDED
    )
    live = (Z > 0).any(axis=0)
    mean = Z.sum(axis=0)[live] / (Z > 0).sum(axis=0)[live]
    np.testing.assert_allclose(floats(data["columns"]["mean"])[live], mean, **ROUNDED)
    np.testing.assert_allclose(
        floats(data["columns"]["max"])[live], Z.max(axis=0)[live], **ROUNDED
    )
    assert np.isnan(floats(data["columns"]["mean"])[~live]).all()


def test_a_histogram_counts_the_rows_in_which_a_feature_fires(shown):
    sae, _, orbits, _, data = shown
    Z = latents_of(sae, orbits)
    for latent, counts in enumerate(data["histograms"]):
        active = Z[:, latent][Z[:, latent] > 0]
        top = active.max() if len(active) else 0
        expected = np.histogram(active, bins=20, range=(0, top))[0].tolist()
        assert counts == (expected if len(active) else [])


def test_means_by_power_are_over_all_orbits(shown):
    sae, _, orbits, _, data = shown
    Z = latents_of(sae, orbits)
    means = [Z[orbits.power == p].mean(axis=0) for p in range(4)]
    np.testing.assert_allclose(np.array(data["by_power"]).T, means, **ROUNDED)


def reconstructed(sae, orbits, Z):
    decoded = Z @ sae.components_ + sae.intercept_
    if hasattr(sae, "reconstruct"):  # by the true power
        return sae.activation_transform_.act(decoded, orbits.power)
    return decoded


def test_removal_is_the_error_that_a_code_without_the_feature_adds(shown):
    sae, _, orbits, _, data = shown
    Z = latents_of(sae, orbits).astype(np.float64)
    before = reconstructed(sae, orbits, Z)
    assert data["about"]["fvu"] == pytest.approx(fvu(orbits.X, before), rel=2e-3)
    for latent in np.flatnonzero((Z > 0).any(axis=0)):
        without = Z.copy()
        without[:, latent] = 0
        after = reconstructed(sae, orbits, without)
        added = fvu(orbits.X, after) - fvu(orbits.X, before)
        assert data["columns"]["fvu_without"][latent] == pytest.approx(
            added, rel=2e-3, abs=1e-6
        )
        squares = np.square(orbits.X - after) - np.square(orbits.X - before)
        error = squares.sum(axis=1)[Z[:, latent] > 0].mean()
        assert data["columns"]["error_without"][latent] == pytest.approx(
            error, rel=2e-3, abs=1e-6
        )


def test_fvu_is_one_minus_the_score(shown):
    sae, _, orbits, _, data = shown
    power = {"power": orbits.power} if hasattr(sae, "reconstruct") else {}
    score = sae.score(orbits.X, **power)
    assert data["about"]["fvu"] == pytest.approx(1 - score, rel=2e-3, abs=1e-5)


def test_symmetry_is_that_of_feature_symmetry(shown):
    sae, fitter, _, _, data = shown
    table = feature_symmetry(sae, fitter)
    assert data["irrep"] == table["irrep"].tolist()
    assert data["turns_into"][0]["latent"] == table["turns_into_g"].tolist()
    energies = table[[f"energy {name}" for name in data["irreps"]]]
    np.testing.assert_allclose(floats(data["energies"]), energies, **ROUNDED)
    np.testing.assert_allclose(
        floats(data["symmetry"]["invariance"]), table["invariance"], **ROUNDED
    )


def test_classes_have_the_auc_of_scikit_learn(shown):
    sae, _, orbits, labels, data = shown
    Z = latents_of(sae, orbits)
    assert data["classes"] == ["large", "small"]
    for c, name in enumerate(data["classes"]):
        inside = labels == name
        auc = [roc_auc_score(inside, column) for column in Z.T]
        np.testing.assert_allclose(np.array(data["auc"])[:, c], auc, atol=1e-3)
        density = (Z[inside] > 0).mean(axis=0)
        place = (np.array(data["best"]) == c).argmax(axis=1)
        fires = np.take_along_axis(data["fires_in"], place[:, np.newaxis], axis=1)
        np.testing.assert_allclose(fires[:, 0], density, atol=1e-3)


def test_top_inputs_are_the_orbits_with_the_largest_activations(shown):
    sae, _, orbits, _, data = shown
    by_orbit = latents_of(sae, orbits).reshape(30, 4, -1)
    for latent, top in enumerate(data["top"]):
        most = by_orbit[..., latent].max(axis=1)
        n_shown = min(3, int((most > 0).sum()))
        ids = [int(data["inputs"][place]) for place, _ in top]
        assert len(set(ids)) == len(top) == n_shown
        np.testing.assert_allclose(most[ids], np.sort(most)[::-1][:n_shown])
        for orbit, (_, activations) in zip(ids, top, strict=True):
            np.testing.assert_allclose(
                activations, by_orbit[orbit, :, latent], rtol=1e-2, atol=1e-6
            )


def test_rows_in_any_order_and_orbits_with_gaps_give_the_same_activations(tmp_path):
    _, orbits = turning_orbits()
    sae, fitter = fitted("topk", orbits)
    rows = np.random.default_rng(0).permutation(len(orbits))
    rows = rows[(orbits.power[rows] != 2) | (orbits.groups[rows] != 5)]
    some = Orbits(orbits.X[rows], orbits.groups[rows], orbits.power[rows])
    path = explore(
        sae, some, activation_transform=fitter, n_top=30, path=tmp_path / "f.html"
    )
    data, Z = embedded(path), sae.transform(orbits.X).reshape(30, 4, -1)
    Z[5, 2] = np.nan
    seen = set()
    for latent, top in enumerate(data["top"]):
        fires = np.flatnonzero(np.nanmax(Z[..., latent], axis=1) > 0)
        assert {int(data["inputs"][place]) for place, _ in top} == set(fires)
        for place, activations in top:
            orbit = int(data["inputs"][place])
            seen.add(orbit)
            np.testing.assert_allclose(
                floats(activations), Z[orbit, :, latent], rtol=1e-2, atol=1e-6
            )
    assert 5 in seen


@pytest.mark.parametrize("name", ["topk", "equivariant", "tied"])
def test_rows_of_an_array_under_several_generators(name, tmp_path):
    group = ProductGroup(CyclicGroup(2), CyclicGroup(3))
    x = np.abs(np.random.default_rng(0).normal(size=(20, 12)))
    shifted = [np.roll(x.reshape(-1, 2, 6), 2 * p, axis=2) for p in range(3)]
    X = np.concatenate([part[:, ::step] for step in (1, -1) for part in shifted])
    X = X.reshape(-1, 12)
    groups, power = np.tile(np.arange(20), 6), np.repeat(group.powers, 20, axis=0)
    orbits = {"groups": groups, "power": power}
    fitter = ActivationTransformFitter(symmetry=group)
    sae = {
        "topk": TopKSAE(16, **QUICK),
        "equivariant": EquivariantSAE(16, symmetry=group, hidden_dim=16, **QUICK),
        "tied": GroupTiedSAE(18, symmetry=group, **QUICK),
    }[name]
    if name == "topk":
        sae.fit(X)
        fitter.fit(X, **orbits)
    else:
        sae.fit(X, **orbits)
        fitter = None
    rows = {"activation_transform": fitter}
    data = embedded(explore(sae, X[:20], path=tmp_path / "page.html", **rows))
    alone = Orbits(X[:20], np.arange(20), np.zeros((20, 2), dtype=int), group)
    assert data == embedded(explore(sae, alone, path=tmp_path / "same.html", **rows))
    assert data["elements"] == ["1", "g_2", "g_2²", "g_1", "g_1 g_2", "g_1 g_2²"]
    assert data["about"]["n_orbits"] == 20
    assert len(data["turns_into"]) == 2


def test_constant_activations_have_no_share_to_lose(tmp_path):
    sae, _ = fitted("topk", turning_orbits()[1])
    constant = np.full((7, 12), 0.1)
    data = embedded(explore(sae, constant, path=tmp_path / "page.html"))
    assert data["about"]["fvu"] == 1
    fires = floats(data["columns"]["density"]) > 0
    assert fires.any()
    assert np.isnan(floats(data["columns"]["fvu_without"])[fires]).all()


def test_without_m_there_is_no_symmetry_and_without_inputs_no_picture(tmp_path):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    data = embedded(explore(sae, orbits, path=tmp_path / "features.html"))
    assert not {"irreps", "symmetry", "classes"} & set(data)
    assert data["pictures"] is None


def elements_on_the_page(group, folder):
    sae = TopKSAE(4, k=1, max_epochs=1, random_state=0)
    X = np.random.default_rng(0).normal(size=(20, 3))
    power = np.zeros((20, group.n_generators), dtype=int)
    orbits = Orbits(X, np.arange(20), power, group)
    return embedded(explore(sae.fit(X), orbits, path=folder / "f.html"))["elements"]


def test_elements_are_named_by_their_powers(tmp_path):
    assert elements_on_the_page(CyclicGroup(3), tmp_path) == ["1", "g", "g²"]
    assert elements_on_the_page(DihedralGroup(2), tmp_path) == ["1", "s", "r", "r s"]
    assert elements_on_the_page(CyclicGroup(13), tmp_path)[12] == "g¹²"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sae": "none"}, TypeError, "found .none."),
        ({"activation_transform": "M"}, TypeError, "ActivationTransformFitter, found"),
        ({"names": ["a"]}, ValueError, "has 1 entries, but the dictionary has 16"),
        ({"labels": np.zeros(120)}, ValueError, "two classes or more"),
        ({"labels": np.zeros(3)}, ValueError, "inconsistent numbers of samples"),
        ({"labels": np.linspace(0, 1, 120)}, ValueError, "Unknown label type"),
        ({"n_top": -1}, ValueError, "n_top"),
    ],
)
def test_what_does_not_fit_together_is_an_error(tmp_path, changes, error, message):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    arguments = {"sae": sae, "orbits": orbits, "path": tmp_path / "f.html"} | changes
    with pytest.raises(error, match=message):
        explore(**arguments)
    assert not (tmp_path / "f.html").exists()


def named(X):
    return pd.DataFrame(X, columns=[f"unit {i}" for i in range(X.shape[1])])


@pytest.mark.parametrize("as_rows", [np.asarray, named, np.ndarray.tolist])
def test_rows_of_an_array_are_inputs_by_themselves(as_rows, tmp_path):
    inputs, orbits = turning_orbits()
    X = orbits.canonical
    sae = TopKSAE(16, **QUICK).fit(as_rows(X))
    data = embedded(explore(sae, as_rows(X), inputs, path=tmp_path / "page.html"))
    assert data["about"]["n_rows"] == data["about"]["n_orbits"] == len(X)
    sae = TopKSAE(16, **QUICK).fit(X)
    alone = Orbits(X, np.arange(len(X)), np.zeros(len(X), dtype=int))
    assert data == embedded(explore(sae, alone, inputs, path=tmp_path / "same.html"))


def test_of_a_layer_with_sites_the_page_names_the_input_and_the_cell(tmp_path):
    """Maps of 2 x 3 places and 4 features that a mirror image reverses by rows."""
    rng = np.random.default_rng(0)
    maps = np.abs(rng.normal(size=(20, 2, 3, 4)))
    moved = np.stack([maps, maps[:, :, ::-1]], axis=1)  # (input, element, row, column)
    place = np.arange(6).reshape(2, 3)
    at = np.stack([place, place[:, ::-1]], axis=-1).reshape(6, 2)  # g u of each u
    X = np.stack([moved[:, e].reshape(20, 6, 4)[:, at[:, e]] for e in (0, 1)], axis=2)
    orbits = Orbits(
        X.reshape(-1, 4),
        groups=np.repeat(np.arange(20) // 4, 12),
        power=np.tile([0, 1], 120),
        inputs=np.repeat(np.arange(20), 12),
        site=np.tile(np.repeat(np.arange(6), 2), 20),
        position=np.tile(at.ravel(), 20),
        grid=(2, 3),
    )
    sae = TopKSAE(4, k=1, max_epochs=2, random_state=0).fit(orbits.X)
    sae.coefs_, sae.intercepts_ = [np.eye(4, dtype=np.float32)], [np.zeros(4)]
    sae.mean_, sae.scale_ = np.zeros(4), 1.0
    data = embedded(explore(sae, orbits, maps.sum(axis=-1), path=tmp_path / "f.html"))
    assert data["grid"] == [2, 3]
    Z = sae.transform(moved.reshape(-1, 4)).reshape(20, 2, 6, 4)
    for latent, top in enumerate(data["top"]):
        most = Z[..., latent].max(axis=(1, 2))
        ids = [int(data["inputs"][place]) for place, *_ in top]
        np.testing.assert_allclose(most[ids], np.sort(most)[::-1][: len(top)])
        assert len(set(ids)) == len(ids) == 8
        for number, (_, activations, cells, _) in zip(ids, top, strict=True):
            for element in (0, 1):
                found = Z[number, element, cells[element], latent]
                assert activations[element] == pytest.approx(found, rel=1e-2)
            assert cells[1] == at[cells[0], 1]
            assert max(activations) == pytest.approx(most[number], rel=1e-2)


class FirstCoordinates:
    """Stands in for UMAP."""

    def __init__(self, **settings):
        assert settings["random_state"] == 0

    def fit_transform(self, X):
        return X[:, :2]


def test_the_map_is_by_umap_where_it_is_installed(monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(60, 5))
    vectors[3:5, :2] = [[0, -100], [100, 0]]
    live = np.arange(60) != 7
    monkeypatch.setitem(sys.modules, "umap", None)  # as if it were not installed
    assert plane(vectors, live)["by"] == "PCA"
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FirstCoordinates))
    found = plane(vectors, live)
    assert found["by"] == "UMAP"
    assert found["places"][7] == [None, None]
    assert (found["places"][3][1], found["places"][4][0]) == (0, 1000)
    assert plane(vectors[:20], live[:20])["by"] == "PCA"  # too few


def test_what_umap_warns_of_when_it_is_imported_is_no_error(monkeypatch, tmp_path):
    warns = (
        "import warnings\nwarnings.warn('no tensorflow', ImportWarning)\nUMAP = int\n"
    )
    (tmp_path / "umap.py").write_text(warns, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "umap", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _umap() is int
    del sys.modules["umap"]
