"""The house as docs/design.md describes it: rooms, imports, and the way of one fit."""

import ast
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

import sk_eqsae
from sk_eqsae import EquivariantSAE, GroupTiedSAE, OrbitSAE, TopKSAE

PACKAGE = Path(sk_eqsae.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MAY_IMPORT = {
    "groups": set(),
    "activations": {"groups"},
    "datasets": set(),
    "sae": {"groups", "activations"},
    "probing": {"groups", "activations", "sae", "datasets"},
    "inspection": {"groups", "activations", "sae", "probing", "datasets"},
    "persistence": {"groups", "activations", "sae", "probing"},
}
# files that a fit goes through, and changes from one to another
LONGEST_WAY = {
    TopKSAE: (10, 37),
    EquivariantSAE: (18, 72),
    GroupTiedSAE: (22, 98),  # two fits, for lengths of orbits are looked for
    OrbitSAE: (17, 72),
}


def room(path):
    """The room that a file is in, or None at the top."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


def imported(path):
    """Relative imports of a file: names and the rooms that they come from."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            depth = len(path.relative_to(PACKAGE).parts) - node.level
            outer = path.relative_to(PACKAGE).parts[:depth]
            where = (*outer, *(node.module or "").split("."))
            yield where[0], [alias.name for alias in node.names]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_rooms(path):
    own = room(path)
    for other, names in imported(path):
        if own in MAY_IMPORT and other in MAY_IMPORT and other != own:
            assert other in MAY_IMPORT[own]
            assert not [name for name in names if name.startswith("_")]


def test_no_two_files_have_one_name():
    names = Counter(path.name for path in FILES)
    assert {name for name, n in names.items() if n > 1} <= {"__init__.py"}


def way_of(fit):
    """Files of the package in the order in which their functions are first called."""
    files, seen = [], set()

    def note(frame, event, arg):
        code = frame.f_code
        ours = code.co_filename.startswith(str(PACKAGE))
        if event == "call" and ours and code not in seen and code.co_name[0] != "<":
            seen.add(code)
            files.append(code.co_filename)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        fit()
    finally:
        sys.setprofile(before)
    return files


@pytest.mark.parametrize("kind", LONGEST_WAY, ids=lambda kind: kind.__name__)
def test_a_fit_can_be_followed_in_one_sitting(kind, turning_orbits):
    X, groups, power, _ = turning_orbits
    sae = kind(16, k=2, max_epochs=2, random_state=0)
    sae.fit(X, groups=groups, power=power)  # fills what is kept from fit to fit
    files = way_of(lambda: sae.fit(X, groups=groups, power=power))
    changes = sum(a != b for a, b in pairwise(files))
    most_files, most_changes = LONGEST_WAY[kind]
    assert len(set(files)) <= most_files
    assert changes <= most_changes


def test_functions_are_short():
    long = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                start = node.body[ast.get_docstring(node) is not None :]
                body = start[-1].end_lineno - start[0].lineno + 1 if start else 0
                if body > 40:
                    long.append((path.name, node.name, body))
    assert not long
