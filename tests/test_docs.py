"""Pages that say all there is, and links that lead somewhere."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

import sk_eqsae

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8").split()
ROOMS = [
    "activations",
    "datasets",
    "groups",
    "inspection",
    "persistence",
    "probing",
    "sae",
]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def test_every_room_is_looked_at():
    folders = (ROOT / "sk_eqsae").glob("*/__init__.py")
    assert sorted(path.parent.name for path in folders) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_a_page_in_the_reference(room):
    module = importlib.import_module(f"sk_eqsae.{room}")
    for name in module.__all__:
        page = name if name in sk_eqsae.__all__ else f"{room}.{name}"
        assert page in REFERENCE


def test_every_name_of_the_package_has_a_page_in_the_reference():
    assert set(sk_eqsae.__all__) <= set(REFERENCE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#:\s]+)[^):]*\)", text):
        if not target.startswith("auto_examples"):  # made with the site
            assert (page.parent / target).exists(), target


def test_tests_that_show_a_promise_exist():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    tests = re.findall(r"^def (test_\w+)", "\n".join(sources), flags=re.MULTILINE)
    for name, cut in re.findall(r"\b(test_\w+?)(_\.\.\.|\b)(?!\.py)", page):
        assert [t for t in tests if t.startswith(name) and (cut or t == name)], name


def test_the_version_is_that_of_the_project_and_of_its_citation():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert sk_eqsae.__version__ == project["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {sk_eqsae.__version__}\n" in citation
