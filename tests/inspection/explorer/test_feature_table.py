"""The table says what the page says, of one class a row or of several."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from sk_eqsae import GroupTiedSAE, explore, feature_table
from sk_eqsae.datasets import make_shapes, shape_tasks
from sk_eqsae.groups import ImageRotation

from .turning import QUICK, embedded, fitted, latents_of, turning_orbits


@pytest.mark.parametrize("name", ["topk", "tied", "pooled"])
def test_the_page_shows_the_numbers_of_the_table(name, tmp_path):
    signals, orbits = turning_orbits()
    sae, fitter = fitted(name, orbits)
    labels = np.where(signals[orbits.groups, 0] > 1, "large", "small")
    M = {"activation_transform": fitter}
    table = feature_table(sae, orbits, labels, **M)
    page = tmp_path / "page.html"
    data = embedded(explore(sae, orbits, labels=labels, path=page, **M))
    assert list(table["name"]) == data["names"]
    for column, values in data["columns"].items():
        found = np.array(values, dtype=float)
        np.testing.assert_allclose(found, table[column], rtol=1e-3, atol=1e-9)
    auc = table[["auc large", "auc small"]]
    np.testing.assert_allclose(data["auc"], auc, atol=1e-4)
    live = table["density"] > 0
    best = auc.to_numpy().argmax(axis=1)
    assert list(table["class"][live]) == [data["classes"][c] for c in best[live]]


def test_classes_may_overlap():
    shapes, tasks = make_shapes(40, random_state=0), shape_tasks()[::7]
    rng = np.random.default_rng(0)
    X = shapes.images.reshape(40, -1) @ rng.normal(size=(4096, 12))
    sae, _ = fitted("topk", turning_orbits()[1])
    y = pd.DataFrame(tasks.label_matrix(shapes), columns=tasks.names)
    table = feature_table(sae, X, y)
    Z = sae.transform(X)
    some = 0
    for name in tasks.names:
        if not 0 < y[name].mean() < 1:
            assert f"auc {name}" not in table
            continue
        some += 1
        expected = [roc_auc_score(y[name], column) for column in Z.T]
        np.testing.assert_allclose(table[f"auc {name}"], expected)
        fires = (Z[y[name] == 1] > 0).mean(axis=0)
        np.testing.assert_allclose(table[f"fires in {name}"], fires)
    assert some > 7


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full((120, 2), 2), "has to say with 0 and 1"),
        (np.ones((120, 2)), "has no class that some rows are of"),
        (np.eye(3), "inconsistent"),
    ],
)
def test_classes_that_tell_nothing_are_refused(y, message):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    with pytest.raises(ValueError, match=message):
        feature_table(sae, orbits, y)


@pytest.mark.parametrize("name", ["tied", "pooled"])
def test_copies_are_those_that_the_group_makes_of_the_first(name):
    _, orbits = turning_orbits()
    sae, _ = fitted(name, orbits)
    table, Z = feature_table(sae, orbits), latents_of(sae, orbits)
    by_element = Z.reshape(30, 4, -1)  # of an orbit's rows
    live = table[table["density"] > 0]
    assert (live.groupby("orbit").size() == 4).sum() >= 3
    for _, copies in live.groupby("orbit"):
        if len(copies) == 4:
            assert sorted(copies["copy"]) == [0, 1, 2, 3]
        first = copies.index[copies["copy"] == 0][0]
        for latent, element in copies["copy"].items():
            # z of the copy by g^p at g^p x is z of the first at x
            moved = np.roll(by_element[..., latent], -element, axis=1)
            is_same = np.isclose(moved, by_element[..., first], atol=1e-4)
            assert is_same.mean() > 0.9  # but where the k-th latent is as strong


def test_rows_of_one_place_have_no_copies():
    _, orbits = turning_orbits()
    sae, _ = fitted("tied", orbits)
    sae = GroupTiedSAE(16, **QUICK).fit(orbits.X, **orbits.metadata)
    alone = feature_table(sae, orbits.canonical)
    if not hasattr(sae, "latent_orbits_"):
        assert list(alone["orbit"]) == list(range(16))
    assert len(alone) == 16


def test_rotations_of_shapes_are_labelled_by_their_powers():
    shapes, tasks = make_shapes(30, random_state=0), shape_tasks()
    images = [ImageRotation(4)(shapes.images, p)[:, 0, ::8, ::8] for p in range(4)]
    X = np.stack(images, axis=1).reshape(120, -1)
    rows = {"groups": np.repeat(np.arange(30), 4), "power": np.tile(np.arange(4), 30)}
    y = pd.DataFrame(tasks.label_matrix(shapes, **rows), columns=tasks.names)
    sae = GroupTiedSAE(16, **QUICK).fit(X, **rows)
    table = feature_table(sae, X, y)
    assert set(table["class"].dropna()) <= set(tasks.names)
