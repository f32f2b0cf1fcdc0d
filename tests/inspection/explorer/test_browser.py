"""The page in a browser: it is read, searched and walked through by keyboard."""

import shutil

import numpy as np
import pytest

from sk_eqsae import TopKSAE, explore
from sk_eqsae.activations import Orbits

from .test_page import HOSTILE
from .turning import ACTION, fitted, turning_orbits

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
TIMEOUT = 30_000  # ms, on a machine that does other things, too


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        try:
            started = running.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox"], timeout=2 * TIMEOUT
            )
        except playwright.Error as error:
            if CHROMIUM is None:
                pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
            raise
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
    tab = opened(path)
    status = tab.get_by_role("status")
    assert status.inner_text().startswith(f"{live.sum()} of {len(live)} features")
    tab.get_by_label("Show").select_option("dead")
    assert len(names_shown(tab)) == (~live).sum()
    tab.get_by_label("Show").select_option("all")
    tab.get_by_label("Search").fill("sae1_")
    assert set(names_shown(tab)) == {f"grouptiedsae1_g{p}" for p in range(4)}
    assert status.inner_text() == "4 of 18 features, 1 to 4 shown"


def test_a_heading_sorts_and_says_so(opened, tied):
    path, sae, orbits = tied
    density = (sae.transform(orbits.X) > 0).mean(axis=0)
    tab = opened(path)
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


def test_a_feature_opens_and_its_links_lead_on(opened, tied):
    path, sae, _ = tied
    tab = opened(path)
    first = names_shown(tab)[0]
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
    pictures = tab.get_by_role("img", name="moved by")
    assert pictures.count() == 8 * 4
    pictures.first.scroll_into_view_if_needed()
    drawn = playwright.expect(tab.locator(".orbit img").first)
    drawn.to_have_js_property("naturalWidth", 4 * 12)
    assert tab.locator(".strongest").count() >= 8


def test_the_list_is_scrolled_to_the_feature_of_an_address(opened, large):
    tab = opened(large)
    href = tab.locator("#rows a").nth(45).get_attribute("href")
    playwright.expect(tab.locator("#rows tr").nth(45)).not_to_be_in_viewport()
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
    assert len(first) == 50
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

    assert filters(opened(tied[0])) == ["state", "irrep", "class"]
    assert filters(opened(large)) == ["state", "class"]


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
