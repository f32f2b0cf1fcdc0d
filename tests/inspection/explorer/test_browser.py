"""The page in a browser: it is read, searched and walked through by keyboard."""

import numpy as np
import pytest

from sk_eqsae import TopKSAE, explore
from sk_eqsae.activations import Orbits

from .browser import imported_playwright, launched
from .test_page import HOSTILE
from .turning import ACTION, embedded, fitted, turning_orbits

playwright = imported_playwright()
TIMEOUT = 30_000  # ms, on a machine that does other things, too
EACH = "#per=latents"  # each feature has a row of its own


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        started = launched(running.chromium, timeout=2 * TIMEOUT)
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Function that opens a page; what the console says has to be nothing."""
    said = []
    context = browser.new_context(viewport={"width": 1300, "height": 800})
    context.set_default_timeout(TIMEOUT)

    def _open(path, fragment=""):
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.on("request", lambda request: said.append(request.url))
        tab.goto(f"{path.as_uri()}{fragment}")
        said.remove(path.as_uri())  # the one file that is loaded
        return tab

    yield _open
    context.close()
    assert [text for text in said if not text.startswith("data:image/")] == []


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """Page of a GroupTiedSAE whose inputs are drawn as images."""
    signals, orbits = turning_orbits()
    sae, _ = fitted("tied", orbits)
    labels = np.where(signals[orbits.groups, 0] > 1, "large", "small")
    path = tmp_path_factory.mktemp("tied") / "features.html"
    images = signals.reshape(-1, 1, 1, 12).repeat(6, axis=2)
    explore(sae, orbits, images, action=ACTION, labels=labels, path=path)
    return path, sae, orbits


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Page of 2,048 features, all of them live, with names of all kinds."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 32)).astype(np.float32)
    orbits = Orbits(X, np.repeat(np.arange(1000), 2), np.tile([0, 1], 1000))
    sae = TopKSAE(2048, k=64, max_epochs=1, random_state=0).fit(X)
    names = [HOSTILE[i % 4] + str(i) for i in range(2048)]
    labels = np.array(HOSTILE)[orbits.groups % 4]
    path = tmp_path_factory.mktemp("large") / "features.html"
    images = rng.uniform(size=(1000, 8, 8))
    return explore(sae, orbits, images, labels=labels, names=names, path=path)


def names_shown(tab):
    return tab.locator("#rows th a").all_inner_texts()


def test_the_list_is_filtered_and_counted(opened, tied):
    path, sae, orbits = tied
    live = (sae.transform(orbits.X) > 0).any(axis=0)
    tab = opened(path, EACH)
    status = tab.get_by_role("status")
    assert status.inner_text().startswith(f"{live.sum()} of {len(live)} features")
    tab.get_by_label("Show").select_option("dead")
    assert len(names_shown(tab)) == (~live).sum()
    tab.get_by_label("Show").select_option("all")
    tab.get_by_label("Search").fill("sae1_")
    assert set(names_shown(tab)) == {f"grouptiedsae1_g{p}" for p in range(4)}
    shown = "4 of 18 features, by FVU without, 1 to 4 shown"
    assert status.inner_text() == shown


def test_a_heading_sorts_and_says_so(opened, tied):
    path, sae, orbits = tied
    density = (sae.transform(orbits.X) > 0).mean(axis=0)
    tab = opened(path, EACH)
    tab.get_by_label("Show").select_option("all")
    heading = tab.get_by_role("columnheader", name="Density")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    names = list(sae.get_feature_names_out())
    shown = density[[names.index(name) for name in names_shown(tab)]]
    np.testing.assert_array_equal(shown, np.sort(density)[::-1])
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    shown = density[[names.index(name) for name in names_shown(tab)]]
    np.testing.assert_array_equal(shown, np.sort(density))


def cells(tab, key):
    return tab.locator(f"#rows [data-key={key}]").all_inner_texts()


def latents_shown(tab):
    links = tab.locator("#rows th a").all()
    return [int(link.get_attribute("data-latent")) for link in links]


@pytest.mark.parametrize(
    "words",
    [("Class", "classes", "auc", "AUC"), ("Irrep", "irreps", "energies", "Energy")],
)
@pytest.mark.parametrize("one", [0, 1])
def test_what_is_chosen_sorts_and_is_shown(opened, tied, words, one):
    box, names, values, column = words
    data = embedded(tied[0])
    of_one = np.array(data[values], dtype=float)[:, one]
    tab = opened(tied[0], EACH)
    tab.get_by_role("combobox", name=box).select_option(str(one))
    name = data[names][one]
    heading = tab.get_by_role("columnheader", name=f"{column} of {name}")
    assert heading.get_attribute("aria-sort") == "descending"
    assert f", by {column} of {name}, 1 to" in tab.get_by_role("status").inner_text()
    shown = latents_shown(tab)
    live = [i for i, share in enumerate(data["columns"]["density"]) if share]
    assert sorted(shown) == live  # also those that have another as their best
    np.testing.assert_array_equal(of_one[shown], np.sort(of_one[live])[::-1])
    scale = 100 if box == "Irrep" else 1
    texts = [float(text.removesuffix(" %")) for text in cells(tab, column.lower())]
    np.testing.assert_allclose(texts, scale * of_one[shown], rtol=6e-3, atol=1e-3)


def test_features_of_another_class_or_irrep_can_be_left_out(opened, tied):
    data = embedded(tied[0])
    tab = opened(tied[0], EACH)
    only = tab.get_by_label("only where no other is larger")
    assert not only.is_visible()
    tab.get_by_role("combobox", name="Irrep").select_option("1")
    everything = latents_shown(tab)
    only.check()
    kept = [i for i in everything if data["irrep"][i] == data["irreps"][1]]
    assert 0 < len(kept) < len(everything)
    assert latents_shown(tab) == kept
    tab.get_by_role("combobox", name="Class").select_option("0")
    both = [i for i in kept if np.argmax(data["auc"][i]) == 0]
    assert sorted(latents_shown(tab)) == sorted(both)
    for box in ("Irrep", "Class"):
        tab.get_by_role("combobox", name=box).select_option("")
    assert not only.is_visible()
    assert sorted(latents_shown(tab)) == sorted(everything)


def test_without_a_choice_the_values_are_those_of_the_best_class(opened, tied):
    data = embedded(tied[0])
    tab = opened(tied[0], EACH)
    shown = latents_shown(tab)
    best = [np.argmax(data["auc"][i]) for i in shown]
    assert cells(tab, "class") == [data["classes"][c] for c in best]
    largest = [max(data["auc"][i]) for i in shown]
    shown_auc = np.array(cells(tab, "auc"), dtype=float)
    np.testing.assert_allclose(shown_auc, largest, atol=6e-4)
    marks = {i: "" if data["beyond_chance"][i] else " ?" for i in shown}
    assert cells(tab, "irrep") == [data["irrep"][i] + marks[i] for i in shown]
    energy = [float(text.removesuffix(" %")) for text in cells(tab, "energy")]
    most = [100 * max(data["energies"][i]) for i in shown]
    np.testing.assert_allclose(energy, most, rtol=6e-3)


def test_dead_features_have_no_class(opened, tmp_path):
    _, orbits = turning_orbits(n_orbits=1)  # 3 of 16 latents fire in each of 4 rows
    sae, _ = fitted("topk", turning_orbits()[1])
    tab = opened(explore(sae, orbits, labels=[0, 1, 0, 1], path=tmp_path / "dead.html"))
    tab.get_by_label("Show").select_option("dead")
    assert set(cells(tab, "class") + cells(tab, "auc")) == {"\u2013"}
    tab.get_by_role("combobox", name="Class").select_option("0")
    assert set(cells(tab, "auc")) == {"\u2013"}


def test_a_feature_opens_and_its_links_lead_on(opened, tied):
    path, sae, _ = tied
    tab = opened(path)
    first = next(name for name in names_shown(tab) if "_g" in name)  # no free one
    tab.get_by_role("link", name=first, exact=True).click()
    article = tab.get_by_role("article", name=first)
    article.wait_for()
    assert tab.evaluate("document.activeElement.id") == "feature-name"
    base, power = first.removeprefix("grouptiedsae").split("_g")
    turned = f"grouptiedsae{base}_g{(int(power) + 1) % 4}"
    article.get_by_role("listitem").filter(has_text=f"g: {turned}").get_by_role(
        "link"
    ).click()
    tab.get_by_role("article", name=turned).wait_for()
    latent = list(sae.get_feature_names_out()).index(turned)
    assert tab.url.endswith(f"#feature={latent}")
    tab.go_back()
    tab.get_by_role("article", name=first).wait_for()


def test_an_address_opens_a_feature_with_its_pictures(opened, tied):
    path, sae, orbits = tied
    latent = int((sae.transform(orbits.X) > 0).sum(axis=0).argmax())
    tab = opened(path, f"#feature={latent}")
    cards = tab.locator("#feature ol.cards").first.locator("img")
    assert cards.count() == 8
    drawn = playwright.expect(cards.first)
    drawn.to_have_js_property("naturalWidth", 4 * 12)
    assert min(card.bounding_box()["width"] for card in cards.all()) >= 96
    tab.get_by_text("at each place of their orbit").click()
    playwright.expect(tab.locator(".orbit img")).to_have_count(8 * 4)
    playwright.expect(tab.locator(".strongest")).to_have_count(8)


def test_the_number_of_a_latent_counts_from_0(opened, large):
    tab = opened(large, "#feature=2047")
    tab.get_by_text("Latent 2047 (0 to 2,047)", exact=True).wait_for()


def is_inside(tab, selector):
    """Whether a part of the table is not cut off by the box that scrolls it."""
    return tab.evaluate(
        """(selector) => {
        const part = document.querySelector(selector).getBoundingClientRect();
        const box = document.querySelector(".scroll").getBoundingClientRect();
        return part.left >= box.left && part.right <= box.right + 1
            && part.top >= box.top && part.bottom <= box.bottom;
        }""",
        selector,
    )


def test_all_columns_are_beside_an_open_feature(opened, tied):
    path, sae, _ = tied
    names = [f"latent{i + 1000}" for i in range(len(sae.components_))]
    _, orbits = turning_orbits()
    labels = np.where(orbits.groups % 2, "semicircle", "rectangle")
    page = path.with_name("beside.html")
    explore(sae, orbits, labels=labels, names=names, path=page)
    tab = opened(page, "#feature=0")
    tab.set_viewport_size({"width": 1280, "height": 800})
    for heading in tab.locator("#head th:not([hidden])").all():
        key = heading.get_attribute("data-key")
        assert is_inside(tab, f"#head [data-key={key}]"), key


@pytest.mark.parametrize("size", [(1280, 800), (1024, 600), (400, 700)])
def test_the_scroll_bars_of_the_list_are_on_the_screen(opened, large, size):
    tab = opened(large)
    tab.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
    table = tab.locator(".scroll")
    table.evaluate("(box) => box.scrollIntoView({ block: 'nearest' })")
    box = table.bounding_box()
    assert box["height"] > 200
    assert box["y"] + box["height"] <= size[1] + 1
    table.evaluate("(box) => box.scrollTo(0, 400)")
    assert is_inside(tab, "#head [data-key=name]")


@pytest.mark.parametrize("width", [1024, 400])
def test_the_column_of_what_is_chosen_is_brought_to_view(opened, tied, width):
    tab = opened(tied[0])
    tab.set_viewport_size({"width": width, "height": 800})
    tab.get_by_role("combobox", name="Class").select_option("0")
    assert is_inside(tab, "#head [data-key=auc]")
    tab.locator("#rows a").first.focus()
    tab.keyboard.press("ArrowDown")
    assert is_inside(tab, "#head [data-key=auc]")
    if width > 1000:  # else the list makes way
        tab.locator("#rows a").first.click()
        tab.locator("#feature").wait_for()
        assert is_inside(tab, "#head [data-key=auc]")


def test_a_heading_that_has_the_focus_is_not_behind_the_names(opened, tied):
    tab = opened(tied[0])
    tab.set_viewport_size({"width": 400, "height": 700})
    buttons = tab.locator("#head th:not([hidden]) button")
    beyond_names = """(button) => {
        const names = document.querySelector("#head th").getBoundingClientRect();
        return button.getBoundingClientRect().left - names.right;
    }"""
    buttons.last.focus()
    for place in range(buttons.count() - 2, 0, -1):
        tab.keyboard.press("Shift+Tab")
        playwright.expect(buttons.nth(place)).to_be_focused()
        assert buttons.nth(place).evaluate(beyond_names) > -1


def test_the_list_is_scrolled_to_the_feature_of_an_address(opened, large):
    tab = opened(large)
    href = tab.locator("#rows a").nth(20).get_attribute("href")
    playwright.expect(tab.locator("#rows tr").nth(20)).not_to_be_in_viewport()
    tab = opened(large, href)
    playwright.expect(tab.locator("tr.open")).to_be_in_viewport()


def test_it_works_without_a_mouse(opened, tied):
    tab = opened(tied[0])
    names = names_shown(tab)
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.id") == "query"
    tab.keyboard.type("no such feature")
    assert names_shown(tab) == []
    tab.keyboard.press("Escape")
    assert names_shown(tab) == names
    tab.locator("#rows a").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "End", "Home", "ArrowDown"):
        tab.keyboard.press(key)
    assert tab.evaluate("document.activeElement.textContent") == names[1]
    tab.keyboard.press("Enter")
    tab.get_by_role("article", name=names[1]).wait_for()
    tab.keyboard.press("Escape")
    tab.locator("#feature").wait_for(state="hidden")
    assert tab.evaluate("document.activeElement.textContent") == names[1]


def test_the_arrow_keys_turn_pages_and_one_row_is_in_the_tab_order(opened, large):
    tab = opened(large)
    first = names_shown(tab)
    assert len(first) == 25
    tab.locator("#rows a").first.focus()
    tab.keyboard.press("End")
    tab.keyboard.press("ArrowDown")
    second = names_shown(tab)
    assert tab.locator("#page").inner_text().startswith("Page 2 of")
    assert tab.evaluate("document.activeElement.textContent") == second[0]
    assert tab.locator("#rows a[tabindex='0']").count() == 1
    tab.keyboard.press("ArrowUp")
    assert names_shown(tab) == first
    assert tab.evaluate("document.activeElement.textContent") == first[-1]


def test_filters_that_have_nothing_to_choose_from_are_hidden(opened, tied, large):
    def filters(tab):
        boxes = tab.get_by_role("combobox").all()
        return [box.get_attribute("id") for box in boxes if box.is_visible()]

    assert filters(opened(tied[0])) == ["state", "per", "irrep", "class"]
    assert filters(opened(large)) == ["state", "per", "class"]


def test_names_that_are_markup_are_shown_as_they_are(opened, large):
    tab = opened(large)
    tab.get_by_label("Show").select_option("all")
    tab.get_by_label("Search").fill("script>alert(1)</script>12")
    assert "<script>alert(1)</script>12" in names_shown(tab)
    tab.get_by_role("link", name="<script>alert(1)</script>12", exact=True).click()
    heading = tab.get_by_role("heading", level=2)
    assert heading.inner_text() == "<script>alert(1)</script>12"
    select = tab.get_by_role("combobox", name="Class")
    classes = select.locator("option").all_text_contents()
    assert "</script><img src=x onerror=alert(1)>" in classes
    assert tab.locator("body script").count() == 2
    assert tab.locator("#feature img:not([alt^='input'])").count() == 0


def test_no_script_but_its_own_runs(browser, tied):
    tab = browser.new_page()
    refused = []
    tab.on("console", lambda message: refused.append(message.text))
    tab.goto(tied[0].as_uri())
    tab.evaluate(
        """() => {
        window.ran = false;
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<i onclick='ran = true'></i>");
        document.querySelector("i").click();
        }"""
    )
    assert tab.evaluate("window.ran") is False
    tab.close()
    assert len(refused) == 2
    assert all("Content Security Policy" in text for text in refused)


def test_2048_features_keep_few_rows_and_pictures_in_the_document(opened, large):
    """What makes it slow is the size of the document, which stays as it is."""
    tab = opened(large)
    count = "document.querySelectorAll('*').length"
    assert tab.evaluate(count) < 1500
    tab.get_by_label("Show").select_option("all")
    assert tab.get_by_role("status").inner_text().startswith("2,048 of 2,048")
    assert tab.evaluate(count) < 1500
    tab.evaluate("location.hash = '#feature=7'")
    tab.get_by_role("article").wait_for()
    assert tab.evaluate(count) < 2000
    assert large.stat().st_size < 6_000_000


def test_it_is_readable_at_phone_width_and_prints(opened, tied):
    tab = opened(tied[0], "#feature=0")
    tab.set_viewport_size({"width": 360, "height": 700})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert not tab.locator("#list").is_visible()
    tab.get_by_role("link", name="Close").click()
    tab.locator("#list").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    tab.emulate_media(media="print")
    assert not tab.locator("#filters").is_visible()
    assert tab.locator("#rows").is_visible()
