"""Pages that say all there is, and links that lead somewhere."""

import ast
import email.message
import importlib
import importlib.metadata
import re
import runpy
import tomllib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

import sk_eqsae

from . import snippets

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
BUILT = {"_build", "auto_examples", "generated"}
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
PAGES = [page for page in PAGES if not BUILT & {*page.relative_to(ROOT).parts}]
PASTED = [page for page in PAGES if snippets.blocks(page)]


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
        if "auto_examples" not in target:  # made with the site
            assert (page.parent / target).exists(), target


def test_words_are_linked_to_the_glossary_where_a_page_first_uses_them(monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(ROOT / "docs")
    links = importlib.import_module("glossary_links")
    text = "Orbits\n======\n\nOf latent orbits, ``orbits``, orbits, orbits and FVU.\n"
    page = importlib.import_module("docutils.core").publish_doctree(text)
    links.link_words(page)
    found = [node["reftarget"] for node in page.findall(links.pending_xref)]
    assert found == ["latent orbit", "orbit", "FVU"]
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    assert set(links.WORDS.values()) <= set(glossary)


def turning_network():
    """A layer whose filters are there in all four turns, so that M exists."""
    torch.manual_seed(0)
    filters = torch.nn.Conv2d(1, 12, 5, padding=2, bias=False)
    base = filters.weight.detach()[:3]
    turned = [torch.rot90(base, turns, dims=(2, 3)) for turns in range(4)]
    filters.weight = torch.nn.Parameter(torch.cat(turned))
    blocks = torch.nn.Sequential(filters, torch.nn.ReLU())
    return torch.nn.Sequential(OrderedDict(blocks=blocks))


@pytest.mark.parametrize("page", PASTED, ids=lambda page: page.name)
def test_code_without_prompts_runs_and_prints_what_the_page_says(
    page, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names = {}
    if page.name == "index.md":  # its network is the reader's
        texture = np.random.default_rng(0).normal(size=(60, 1, 32, 32))
        photos = texture.astype("float32")  # no plain ground, which fits every pose
        names = {"model": turning_network(), "photos": photos}
    snippets.run(page, **names)


def test_a_repository_that_the_project_names_is_linked(monkeypatch):
    conf = str(ROOT / "docs" / "conf.py")
    settings = runpy.run_path(conf)
    assert settings["html_theme_options"]["icon_links"] == []
    assert "git+" not in settings["sphinx_gallery_conf"]["first_notebook_cell"]
    named = email.message.Message()
    named["Version"], named["Project-URL"] = "1.2", "Repository, https://a.b/c"
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: named)
    settings = runpy.run_path(conf)
    [link] = settings["html_theme_options"]["icon_links"]
    assert link["url"] == "https://a.b/c"
    cell = settings["sphinx_gallery_conf"]["first_notebook_cell"]
    assert "pip install --quiet git+https://a.b/c" in cell


def copied(text, prompt):
    """What the button beside a block copies: lines with a prompt, if there are any."""
    lines = [re.match(f"(?:{prompt})(.*)", line) for line in text.splitlines()]
    return "\n".join(line[1] for line in lines if line) if any(lines) else text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_the_button_copies_is_python(page):
    settings = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    text = page.read_text(encoding="utf-8")
    for code in re.findall(r"^```py(?:thon)?\n(.*?)^```$", text, re.DOTALL | re.M):
        ast.parse(copied(code, settings["copybutton_prompt_text"]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_of_pages_has_no_prompts(page):
    assert ">>>" not in page.read_text(encoding="utf-8")


def test_outputs_and_prompts_are_not_copied():
    settings = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    block = ">>> for i in range(2):\n...     print(i)\n0\n1\n"
    found = copied(block, settings["copybutton_prompt_text"])
    assert found == "for i in range(2):\n    print(i)"
    assert copied("print(1)\n", settings["copybutton_prompt_text"]) == "print(1)\n"


def test_a_snippet_that_prints_something_else_is_found(tmp_path):
    page = tmp_path / "page.md"
    text = "```python\nprint('R2', 0.71)\n```\n\n```text\nR2 {}\n```\n"
    page.write_text(text.format(0.75), encoding="utf-8")
    snippets.run(page)
    page.write_text(text.format(0.95), encoding="utf-8")
    with pytest.raises(AssertionError, match="should print"):
        snippets.run(page)


def test_tests_that_show_a_promise_exist():
    pages = [
        path.read_text("utf-8") for path in (ROOT / "docs").glob("reliability*.md")
    ]
    page = "\n".join(pages)
    assert len(pages) == 2
    named = set(re.findall(r"`([\w/]*test_\w+\.py)`", page))
    assert [path for path in named if not (ROOT / "tests" / path).exists()] == []
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    tests = re.findall(r"^def (test_\w+)", "\n".join(sources), flags=re.MULTILINE)
    for name, cut in re.findall(r"\b(test_\w+?)(_\.\.\.|\b)(?!\.py)", page):
        assert [t for t in tests if t.startswith(name) and (cut or t == name)], name


def test_the_version_is_that_of_the_project_and_of_its_citation():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert sk_eqsae.__version__ == project["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {sk_eqsae.__version__}\n" in citation
