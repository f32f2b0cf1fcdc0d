"""Benchmarks use the package as anybody does, and the package does without them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(path.parent for path in ROOT.glob("benchmarks/*/__init__.py"))


@pytest.mark.parametrize("folder", BENCHMARKS, ids=lambda folder: folder.name)
def test_a_benchmark_has_one_entry_point_and_uses_public_names(folder):
    assert (folder / "__main__.py").is_file()
    for path in folder.rglob("*.py"):
        assert not re.search(r"(from|import) sk_eqsae\S*\._", path.read_text("utf-8"))


def test_what_is_installed_and_its_pages_do_not_import_benchmarks():
    pages = [
        ROOT / "README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/gallery/*.py"),
    ]
    for path in [*pages, *ROOT.glob("sk_eqsae/**/*.py")]:
        text = path.read_text("utf-8")
        assert not re.search(r"^\s*(>>> )?(from|import) benchmarks", text, re.MULTILINE)
