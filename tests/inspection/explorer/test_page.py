"""The page holds all that it needs, and what users name stays text."""

import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

import sk_eqsae
from sk_eqsae import ActivationTransformFitter, explore
from sk_eqsae.activations import Orbits, Shards
from sk_eqsae.groups import CyclicShift
from sk_eqsae.inspection._explorer._page import page

from .turning import ACTION, embedded, fitted, turning_orbits

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "<!-- <script>",
    "\u2028 & \"'` @@data@@ \\",
]


class Tags(HTMLParser):
    """Collects the tags of a page, and the text of its scripts."""

    def __init__(self):
        super().__init__()
        self.tags, self.scripts = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text):
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(text)


def parsed(text):
    tags = Tags()
    tags.feed(text)
    return tags


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    inputs, orbits = turning_orbits()
    sae, fitter = fitted("topk", orbits)
    names = HOSTILE * 4
    labels = np.array(HOSTILE)[orbits.groups % 4]
    path = tmp_path_factory.mktemp("hostile") / "features.html"
    explore(
        sae,
        orbits,
        inputs,
        action=ACTION,
        labels=labels,
        names=names,
        activation_transform=fitter,
        path=path,
    )
    return path


def test_names_cannot_leave_the_json(hostile_page):
    text = hostile_page.read_text(encoding="utf-8")
    own = parsed(page({"title": ""})).tags
    assert [tag for tag, _ in parsed(text).tags] == [tag for tag, _ in own]
    data = embedded(hostile_page)
    assert data["names"][:4] == HOSTILE
    assert data["classes"] == sorted(HOSTILE)
    json_text = parsed(text).scripts[0]
    assert not re.search("[<>&\u2028]", json_text)


def test_a_title_stays_text():
    text = page({"title": "<script>&"})
    assert "<title>&lt;script&gt;&amp;</title>" in text


def test_orbit_ids_may_be_anything(tmp_path):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    ids = np.array([f"{HOSTILE[0]}{i}" for i in orbits.groups])
    named = type(orbits)(orbits.X, ids, orbits.power)
    data = embedded(explore(sae, named, path=tmp_path / "features.html"))
    assert set(data["inputs"]) <= set(ids)


def test_the_page_loads_nothing_and_allows_only_its_own_script(hostile_page):
    tags = parsed(hostile_page.read_text(encoding="utf-8")).tags
    for _, attributes in tags:
        assert not {"src", "style", "onclick", "onerror"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    [policy] = [
        a["content"]
        for _, a in tags
        if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_script_puts_text_into_the_page_as_text_only():
    folder = Path(sk_eqsae.__file__).parent / "inspection" / "_explorer"
    scripts = [path.read_text(encoding="utf-8") for path in folder.glob("*.js")]
    script = "\n".join(scripts)
    assert script
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval", script
    )


def test_a_frozen_autoencoder_is_shown_as_what_it_holds(tmp_path):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    plain = explore(sae, orbits, path=tmp_path / "plain.html").read_text("utf-8")
    frozen = explore(FrozenEstimator(sae), orbits, path=tmp_path / "frozen.html")
    assert frozen.read_text("utf-8") == plain


def test_a_page_replaces_the_old_one_and_an_error_leaves_it(tmp_path):
    inputs, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    path = tmp_path / "features.html"
    path.write_text("old")
    with pytest.raises(ValueError, match="action has symmetry CyclicGroup"):
        explore(sae, orbits, inputs, action=CyclicShift(-1, 3), path=path)
    assert path.read_text() == "old"
    assert explore(sae, orbits, path=str(path)) == path
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [file.name for file in tmp_path.iterdir()] == ["features.html"]


def test_a_zipped_package_has_its_template(tmp_path, monkeypatch):
    """importlib.resources finds the files where there is no folder, too."""
    folder = Path(sk_eqsae.__file__).parent / "inspection" / "_explorer"
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as lib:
        lib.writestr("zipped_page/__init__.py", "")
        for file in folder.iterdir():
            if file.name == "_page.py" or file.suffix in (".js", ".css", ".html"):
                lib.write(file, f"zipped_page/{file.name}")
    monkeypatch.syspath_prepend(tmp_path / "lib.zip")
    from zipped_page._page import page as zipped  # noqa: PLC0415

    assert zipped({"title": "x"}) == page({"title": "x"})


def explored(sae, orbits, tmp_path, *arguments, **parameters):
    path = explore(sae, orbits, *arguments, path=tmp_path / "page.html", **parameters)
    return embedded(path)


def test_rows_of_an_array_are_canonical_for_an_equivariant_sae(tmp_path):
    _, orbits = turning_orbits()
    sae, _ = fitted("equivariant", orbits)
    X = orbits.canonical
    data = explored(sae, X, tmp_path)
    z, d = sae.transform(X), sae.components_
    error = np.square(X - sae.intercept_ - z @ d).sum()
    expected = error / np.square(X - X.mean(axis=0)).sum()
    assert data["about"]["fvu"] == pytest.approx(expected, rel=1e-3)


def test_without_inputs_to_show_there_are_no_pictures(tmp_path):
    inputs, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    data = explored(sae, orbits, tmp_path, inputs, n_top=0)
    assert data["pictures"]["drawings"] == []


def test_what_is_no_m_is_refused(tmp_path):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    for wrong in (sae, np.eye(12)):
        with pytest.raises(TypeError, match="activation_transform has to be"):
            explored(sae, orbits, tmp_path, activation_transform=wrong)
    M = ActivationTransformFitter()
    with pytest.raises(NotFittedError):
        explored(sae, orbits, tmp_path, activation_transform=M)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_rows_without_a_class_are_named(tmp_path, missing):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    labels = np.array(["a", "b"] * (len(orbits) // 2), dtype=object)
    labels[3] = missing
    with pytest.raises(ValueError, match=r"no class for 1 row\(s\), such as 3"):
        explored(sae, orbits, tmp_path, labels=labels)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NaT, np.ma.masked])
def test_features_without_a_name_are_named(tmp_path, missing):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    names = np.ma.array([f"feature {i}" for i in range(16)], dtype=object)
    names[5] = missing
    with pytest.raises(ValueError, match=r"no name for 1 feature\(s\), such as 5"):
        explored(sae, orbits, tmp_path, names=names)


def test_ids_of_orbits_that_are_not_drawn_have_to_name_inputs_too(tmp_path):
    inputs, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    later = Orbits(orbits.X, orbits.groups + 1, orbits.power)
    for shown in ({"n_top": 0}, {"n_top": 1}):
        with pytest.raises(ValueError, match=r"ids from 1 to 30.*return_inverse=True"):
            explored(sae, later, tmp_path, inputs, **shown)


def test_rows_of_an_array_need_an_input_each(tmp_path):
    inputs, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    with pytest.raises(ValueError, match=r"inconsistent .* samples: \[10, 30\]"):
        explored(sae, orbits.canonical[:10], tmp_path, inputs)


def test_rows_on_the_disk_are_shown_as_those_in_memory(tmp_path):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    np.save(tmp_path / "X.npy", orbits.X)
    expected = explored(sae, orbits, tmp_path)
    on_disk = Orbits(Shards(tmp_path / "X.npy"), orbits.groups, orbits.power)
    assert explored(sae, on_disk, tmp_path) == expected


def test_no_rows_and_sparse_ones_are_refused(tmp_path):
    sae, _ = fitted("topk", turning_orbits()[1])
    with pytest.raises(ValueError, match="0 sample"):
        explored(sae, np.empty((0, 12)), tmp_path)
    with pytest.raises(TypeError, match="dense data is required"):
        explored(sae, csr_array((3, 12)), tmp_path)


def test_names_of_a_list_keep_nul_at_their_end(tmp_path):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    names = [f"feature {i}\0" for i in range(16)]
    labels = [f"class {i % 2}\0\0" for i in range(len(orbits))]
    data = explored(sae, orbits, tmp_path, names=names, labels=labels)
    assert data["names"] == names
    assert "class 1\0\0" in repr(data).replace(r"\x00", "\0")
