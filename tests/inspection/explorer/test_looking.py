"""What the page is for: orbits, inputs, neighbours, notes, in a browser."""

import json

import numpy as np
import pandas as pd
import pytest

from sk_eqsae import TopKSAE, explore
from sk_eqsae.activations import Orbits

from .test_browser import (
    browser,
    cells,
    latents_shown,
    names_shown,
    opened,
    playwright,
    tied,
)
from .turning import embedded, fitted, latents_of, turning_orbits

__all__ = ["browser", "opened", "tied"]  # fixtures
STRANGE = [
    "\"'`><b onclick=alert(1)>",
    "</script><script>alert(1)</script>",
    "a\0b",
    "\u202eturned\u2066 round",
    "x" * 10_000,
    "word " * 2_000,
]


def test_the_list_has_one_row_for_each_latent_orbit(opened, tied):
    data, tab = embedded(tied[0]), opened(tied[0])
    shown = latents_shown(tab)
    orbits = [data["columns"]["orbit"][i] for i in shown]
    live = np.array(data["columns"]["density"]) > 0
    every = set(np.array(data["columns"]["orbit"])[live].tolist())
    assert sorted(orbits) == sorted(every)
    lost = data["columns"]["fvu_without"]
    for latent, orbit in zip(shown, orbits, strict=True):
        inside = np.flatnonzero(np.array(data["columns"]["orbit"]) == orbit)
        assert lost[latent] == max(lost[i] for i in inside)
    copies = tab.locator("#rows th .note").all_inner_texts()
    assert copies.count("4 copies") >= 3


def test_rows_have_pictures_of_the_strongest_inputs(opened, tied):
    data, tab = embedded(tied[0]), opened(tied[0])
    rows, latents = tab.locator("#rows tr").all(), latents_shown(tab)
    for row, latent in zip(rows[:3], latents[:3], strict=True):
        shown = row.locator(".thumbs img").all()
        names = [image.get_attribute("alt") for image in shown]
        tops = data["top"][latent][: len(names)]
        places = [int(np.argmax(np.array(z, dtype=float))) for _, z, *_ in tops]
        assert names == [
            f"input {data['inputs'][top[0]]} moved by {data['elements'][e]}"
            for top, e in zip(tops, places, strict=True)
        ]


def test_copies_are_side_by_side_with_the_inputs_turned(opened, tied):
    path, sae, orbits = tied
    data, Z = embedded(path), latents_of(sae, orbits).reshape(30, 4, -1)
    latent = next(i for i, turned in enumerate(data["turned"]) if turned)
    tab = opened(path, f"#feature={latent}")
    table = tab.locator("table.copies")
    assert table.locator("thead a").all_inner_texts() == ["1", "g", "g²", "g³"]
    orbit = np.array(data["columns"]["orbit"])
    inside = np.flatnonzero(orbit == orbit[latent])
    inside = sorted(inside, key=lambda i: data["columns"]["copy"][i])
    for row, (place, *_) in zip(
        table.locator("tbody tr").all(), data["top"][latent][:3], strict=True
    ):
        number = int(data["inputs"][place])
        texts = row.locator("td .note").all_inner_texts()
        for text, copy in zip(texts, inside, strict=True):
            element, _, value = text.partition(": ")
            z = Z[number, :, copy]
            assert float(value) == pytest.approx(z.max(), rel=1e-2, abs=1e-6)
            at = data["elements"].index(element)
            assert z[at] == pytest.approx(z.max(), abs=1e-4)


def test_decode_draws_the_vector_of_each_copy(opened, tied, tmp_path):
    _, sae, orbits = tied
    path, rows = tmp_path / "page.html", []

    def decode(X):
        rows.append(X)
        return X.reshape(-1, 3, 4)

    data = embedded(explore(sae, orbits, decode=decode, path=path))
    live = np.flatnonzero(np.array(data["columns"]["density"]) > 0)
    largest = latents_of(sae, orbits).max(axis=0)[live, np.newaxis]
    expected = sae.intercept_ + largest * sae.components_[live]
    np.testing.assert_allclose(np.concatenate(rows), expected, rtol=1e-5, atol=1e-5)
    latent = next(i for i, turned in enumerate(data["turned"]) if turned)
    tab = opened(path, f"#feature={latent}")
    assert tab.get_by_role("img", name=", decoded").count() == 4
    with pytest.raises(ValueError, match="decode made 1 images"):
        explore(sae, orbits, decode=lambda X: X[:1], path=path)


def test_features_that_fire_at_an_input_are_found(opened, tied):
    path, sae, orbits = tied
    Z = latents_of(sae, orbits)
    share = Z.reshape(30, 4, -1)[7].max(axis=0) / np.maximum(Z.max(axis=0), 1e-9)
    tab = opened(path, "#per=latents")
    tab.get_by_label("Fires at input").fill("7")
    shown = latents_shown(tab)
    assert set(shown) == set(np.flatnonzero(share > 0).tolist())
    assert sorted(share[shown], reverse=True) == pytest.approx(share[shown], abs=0.01)
    here = [float(text.removesuffix(" %")) for text in cells(tab, "here")]
    np.testing.assert_allclose(here, 100 * share[shown], atol=0.6)
    assert "that fire at input 7" in tab.locator("#count").inner_text()
    tab.get_by_label("Fires at input").fill("no such input")
    assert names_shown(tab) == []
    assert "is not on this page" in tab.locator("#count").inner_text()


def test_an_input_of_a_feature_leads_to_the_others_that_fire_there(opened, tied):
    data, tab = embedded(tied[0]), opened(tied[0], "#feature=0&per=latents&state=all")
    first = tab.locator("#feature ol.cards a").first
    name = first.inner_text().removeprefix("Input ")
    first.click()
    playwright.expect(tab.get_by_label("Fires at input")).to_have_value(name)
    latents, percent = data["fires"][data["inputs"].index(name)]
    shown = latents_shown(tab)
    assert set(shown) == set(latents)
    assert [percent[latents.index(i)] for i in shown] == sorted(percent, reverse=True)


def test_the_address_holds_what_is_sorted_filtered_and_open(opened, tied):
    tab = opened(tied[0])
    tab.get_by_label("Search").fill("sae1")
    tab.get_by_role("combobox", name="Class").select_option("1")
    tab.get_by_label("One row per").select_option("latents")
    tab.get_by_role("columnheader", name="Density").get_by_role("button").click()
    tab.locator("#rows a").nth(2).click()
    tab.locator("#feature").wait_for()
    shown, count = names_shown(tab), tab.locator("#count").inner_text()
    other = opened(tied[0], "#" + tab.url.partition("#")[2])
    assert names_shown(other) == shown
    assert other.locator("#count").inner_text() == count
    assert other.get_by_label("Search").input_value() == "sae1"
    assert other.locator("h2").inner_text() == tab.locator("h2").inner_text()
    other.get_by_role("link", name="Close").click()
    assert names_shown(other) == shown


def test_near_features_are_compared_and_stepped_through(opened, tied):
    path, sae, orbits = tied
    data, Z = embedded(path), latents_of(sae, orbits)
    for which, vectors in enumerate((sae.components_, Z.T)):
        norms = np.linalg.norm(vectors, axis=1)
        cosines = vectors @ vectors.T / np.maximum(np.outer(norms, norms), 1e-12)
        np.fill_diagonal(cosines, -2)
        for latent, pairs in enumerate(data["near"][which]):
            best = np.sort(cosines[latent])[::-1][: len(pairs)]
            np.testing.assert_allclose([c for _, c in pairs], best, atol=0.01)
            found = cosines[latent, [j for j, _ in pairs]]
            np.testing.assert_allclose(found, best, atol=0.01)
    tab = opened(path, "#feature=3")
    tab.get_by_role("link", name="compare with").first.click()
    other = data["names"][data["near"][0][3][0][0]]
    playwright.expect(tab.locator("h2")).to_have_text([data["names"][3], other])
    tab.get_by_role("link", name="Stop comparing").click()
    playwright.expect(tab.locator("h2")).to_have_text([data["names"][3]])
    box = tab.get_by_role("searchbox", name="Compare with")
    box.fill("5")
    box.press("Enter")
    both = [data["names"][3], data["names"][5]]
    playwright.expect(tab.locator("h2")).to_have_text(both)
    tab.keyboard.press("Escape")
    tab.locator("#rows a").first.click()
    playwright.expect(tab.locator("h2")).to_have_count(1)  # where there were two
    first = tab.locator("h2").inner_text()
    tab.keyboard.press("ArrowRight")
    playwright.expect(tab.locator("h2")).not_to_have_text(first)
    tab.keyboard.press("ArrowLeft")
    playwright.expect(tab.locator("h2")).to_have_text(first)


def test_two_features_have_half_of_the_page_each(opened, tied):
    tab = opened(tied[0], "#feature=3&compare=5")
    tab.evaluate("document.querySelector('table.copies').style.width = '3000px'")
    first, other = (view.bounding_box() for view in tab.locator(".views > *").all())
    assert first["width"] == pytest.approx(other["width"], abs=1)


def test_copies_that_one_element_makes_are_told_apart_by_name(opened, tmp_path):
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    path = explore(sae, orbits, path=tmp_path / "page.html")
    table = pd.DataFrame(embedded(path)["columns"])[["orbit", "copy"]]
    alike = table.index[table.duplicated()]
    assert len(alike) > 0
    tab = opened(path, f"#feature={alike[0]}")
    family = table.index[table.orbit == table.orbit[alike[0]]]
    names = tab.locator("table.copies thead a").all_inner_texts()
    assert sorted(names) == sorted(f"topksae{latent}" for latent in family)


def test_a_point_of_the_map_opens_its_feature(opened, tied):
    data, tab = embedded(tied[0]), opened(tied[0])
    places = enumerate(data["map"]["places"])
    at = {i: point for i, point in places if point[0] is not None}
    latent = max(at, key=lambda i: at[i][0])  # far right: x is 1000
    tab.get_by_text("Map of features").click()
    box = tab.locator("#map").bounding_box()
    x = 8 + at[latent][0] / 1000 * (box["width"] - 2 - 16)
    y = 8 + at[latent][1] / 1000 * (box["height"] - 2 - 16)
    tab.locator("#map").click(position={"x": x, "y": y})
    playwright.expect(tab.locator("h2")).to_have_text(data["names"][latent])
    painted = """(map) => {
        const { data } = map.getContext("2d").getImageData(0, 0, map.width, map.height);
        return data.some((value) => value > 0);
    }"""
    assert tab.locator("#map").evaluate(painted)


def write_notes(tab, label, note):
    tab.get_by_label("Label", exact=True).fill(label)
    tab.get_by_label("Note", exact=True).fill(note)
    tab.get_by_label("Note", exact=True).blur()


def test_notes_are_of_all_copies_and_stay_in_the_browser(opened, tied):
    tab = opened(tied[0], "#feature=4")
    write_notes(tab, "cups", 'open at the "top",\nor not')
    tab = opened(tied[0], "#feature=5&query=cups")  # another copy, found by its label
    assert tab.get_by_label("Note", exact=True).input_value().startswith("open at")
    assert tab.locator("#rows .label").all_inner_texts() == ["cups"]


@pytest.mark.parametrize("kind", ["JSON", "CSV"])
def test_notes_are_exported_imported_and_given(opened, tied, tmp_path, kind):
    path, sae, orbits = tied
    tab = opened(path, "#feature=4")
    write_notes(tab, STRANGE[0], 'a "note",\nof two lines; NA')
    tab.get_by_text("Labels and notes").click()
    with tab.expect_download() as download:
        tab.get_by_role("button", name=f"Export {kind}").click()
    file = tmp_path / f"notes.{kind.lower()}"
    download.value.save_as(file)
    page = explore(sae, orbits, notes=file, path=tmp_path / "page.html")
    expected = {"label": STRANGE[0], "note": 'a "note",\nof two lines; NA', "latent": 4}
    assert embedded(page)["notes"] == [expected]
    write_notes(tab, "", "")
    tab.get_by_label("Import").set_input_files(file)
    playwright.expect(tab.locator("#notes-state")).to_contain_text("1 read from notes")
    box = tab.get_by_label("Note", exact=True)
    assert box.input_value() == expected["note"]
    bad = tmp_path / f"bad.{kind.lower()}"
    bad.write_text("{", encoding="utf-8")
    tab.get_by_label("Import").set_input_files(bad)
    playwright.expect(tab.locator("#notes-state")).to_contain_text("has no notes")
    assert box.input_value() == expected["note"]


def test_notes_that_are_given_are_shown_and_checked(opened, tied, tmp_path):
    _, sae, orbits = tied
    notes = pd.DataFrame({"latent": [4], "label": ["cups"]})
    path = explore(sae, orbits, notes=notes, path=tmp_path / "page.html")
    assert embedded(path)["notes"] == [{"label": "cups", "note": "", "latent": 4}]
    tab = opened(path, "#query=cups")
    assert len(names_shown(tab)) == 1
    for wrong, message in [
        (notes.rename(columns={"latent": "feature"}), "needs latent"),
        (notes.assign(latent=99), "of latents from 99 to 99"),
    ]:
        with pytest.raises(ValueError, match=message):
            explore(sae, orbits, notes=wrong, path=path)
    (tmp_path / "notes.json").write_text(json.dumps([{"latent": 4, "label": "007"}]))
    explore(sae, orbits, notes=tmp_path / "notes.json", path=path)
    assert embedded(path)["notes"][0]["label"] == "007"


def test_examples_are_also_at_quantiles_and_at_random(opened, tied):
    path, sae, orbits = tied
    data = embedded(path)
    most = latents_of(sae, orbits).reshape(30, 4, -1).max(axis=1)
    for latent, others in enumerate(data["others"]):
        fires = np.sort(most[most[:, latent] > 0, latent])[::-1]
        top = [int(data["inputs"][place]) for place, *_ in data["top"][latent]]
        ids = [int(data["inputs"][place]) for _, place, *_ in others]
        assert not set(top) & set(ids)
        assert len(set(ids)) == len(ids) == min(len(ids), 6)
        for percent, number in zip([o[0] for o in others], ids, strict=True):
            if percent:
                weaker = (fires < most[number, latent]).mean()
                assert weaker == pytest.approx(percent / 100, abs=1.5 / len(fires))
    latent = max(range(len(data["others"])), key=lambda i: len(data["others"][i]))
    tab = opened(path, f"#feature={latent}")
    notes = tab.locator("#feature ol.cards").nth(1).locator(".note")
    assert "at random" in notes.all_inner_texts()


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """Page whose names, classes, inputs and texts are of all kinds."""
    _, orbits = turning_orbits()
    sae, _ = fitted("topk", orbits)
    ids = np.array([STRANGE[i % 6] + str(i) for i in orbits.groups], dtype=object)
    named = Orbits(orbits.X, ids, orbits.power)
    labels = [STRANGE[i % 6] for i in orbits.groups]
    names = [STRANGE[i % 6] + str(i) for i in range(16)]
    path = tmp_path_factory.mktemp("strange") / "page.html"
    return explore(sae, named, labels=labels, names=names, path=path), names


@pytest.mark.parametrize("width", [1300, 390])
def test_strange_names_stay_text_and_keep_their_place(opened, strange, width):
    path, names = strange
    tab = opened(path, "#per=latents&state=all")
    tab.set_viewport_size({"width": width, "height": 800})
    shown = tab.locator("#rows th a").all_text_contents()
    assert sorted(shown) == sorted(names)
    options = tab.locator("#class option").all_text_contents()
    assert sorted(options[1:]) == sorted(STRANGE)
    for value in range(6):
        tab.locator("#class").select_option(str(value))
        assert tab.locator("#head").bounding_box()["height"] < 150
    for latent, name in enumerate(names):
        tab.evaluate(f"location.hash = href({{ feature: {latent} }})")
        heading = tab.locator("#feature-name")
        playwright.expect(heading).to_have_js_property("textContent", name)
        assert heading.bounding_box()["height"] < 200
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("script").count() == 2
    assert tab.locator("[onclick]").count() == 0


def test_texts_and_tokens_are_drawn_and_the_one_that_fired_is_marked(opened, tmp_path):
    words = np.array(["<b>", "cat", "\u202esat", "on", "the", "mat"])
    rng = np.random.default_rng(0)
    texts = rng.integers(6, size=(20, 6))
    X = np.eye(6)[texts.ravel()] + 0.01 * rng.normal(size=(120, 6))
    place = np.tile(np.arange(6), 20)
    where = {"site": place, "position": place, "grid": (6,)}
    orbits = Orbits(X, np.repeat(np.arange(20), 6), np.zeros(120, dtype=int), **where)
    sae = TopKSAE(12, k=1, max_epochs=30, random_state=0).fit(X)
    tokens = [list(words[text]) for text in texts]
    path = explore(sae, orbits, tokens, render=list, path=tmp_path / "tokens.html")
    data, Z = embedded(path), sae.transform(X).reshape(20, 6, -1)
    latent = int(Z.mean(axis=(0, 1)).argmax())
    tab = opened(path, f"#feature={latent}")
    marked = tab.locator("#feature ol.cards").first.locator("mark")
    numbers = [int(data["inputs"][place]) for place, *_ in data["top"][latent]]
    expected = [words[texts[i, Z[i, :, latent].argmax()]] for i in numbers]
    assert marked.all_text_contents() == expected
    plain = ["<i>" + " ".join(words[text]) for text in texts]
    path = explore(sae, orbits, plain, path=tmp_path / "texts.html")
    tab = opened(path, f"#feature={latent}")
    shown = tab.locator("#feature ol.cards").first.locator(".passage")
    assert shown.all_text_contents() == [plain[i] for i in numbers]


def test_a_function_draws_inputs_that_are_no_numbers(tmp_path):
    _, orbits = turning_orbits(n_orbits=5)
    sae, _ = fitted("topk", turning_orbits()[1])
    molecules = [{"atoms": i} for i in range(5)]

    def sketch(molecule):
        return np.full((4, 6, 4), 10 * molecule["atoms"], dtype=np.uint8)

    path = tmp_path / "page.html"
    data = embedded(explore(sae, orbits, molecules, render=sketch, path=path))
    found = data["pictures"]
    assert (found["kind"], found["aspect"]) == ("image", 1.5)
    assert len(set(found["drawings"])) == len(data["inputs"]) == 5


def test_a_heat_map_shows_all_sites_that_fire(opened, tmp_path):
    rng = np.random.default_rng(0)
    maps = np.abs(rng.normal(size=(20, 2, 3, 4)))
    place = np.tile(np.arange(6), 20)
    where = {"site": place, "position": place, "grid": (2, 3)}
    number = np.repeat(np.arange(20), 6)
    orbits = Orbits(maps.reshape(-1, 4), number, np.zeros(120, dtype=int), **where)
    sae = TopKSAE(8, k=2, max_epochs=5, random_state=0).fit(orbits.X)
    images = maps.sum(axis=-1).repeat(4, axis=1).repeat(4, axis=2)
    path = explore(sae, orbits, images, path=tmp_path / "page.html")
    data, Z = embedded(path), sae.transform(orbits.X).reshape(20, 6, -1)
    for latent, top in enumerate(data["top"]):
        for at, _, _, heat in top:
            z = Z[int(data["inputs"][at]), :, latent]
            assert [cell for cell, _ in heat] == np.flatnonzero(z > 0).tolist()
            np.testing.assert_allclose([v for _, v in heat], z[z > 0], rtol=1e-2)
    latent = int((Z > 0).sum(axis=(0, 1)).argmax())
    tab = opened(path, f"#feature={latent}")
    assert tab.locator(".warm").count() == 0
    assert tab.locator("#feature .cell").count() >= 8
    tab.get_by_label("Heat map").check()
    n_sites = sum(len(heat) for *_, heat in data["top"][latent])
    playwright.expect(tab.locator(".warm")).to_have_count(n_sites)
