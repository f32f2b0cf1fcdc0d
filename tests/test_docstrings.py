"""What can be imported is documented in full, as it is at run time; the rest in a line.

Docstrings are checked as users see them, with the texts that `sk_eqsae._docs.fill` puts
in, so that reading the sources would not do.
"""

import ast
import importlib
import inspect
from functools import cache
from pathlib import Path

import pytest
from numpydoc.validate import ERROR_MSGS, validate

import sk_eqsae

PACKAGE = Path(sk_eqsae.__file__).parent
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
# rooms whose private names are known to have short docstrings; "" is the package itself
DONE = ["", *ROOMS]
LONGEST = 3  # lines of a private docstring
NOT_ASKED = {
    "ES01",  # an extended summary is not always needed
    "EX01",  # an example is asked for below, of classes and functions
    "GL01",  # the summary may start on the first line
    "RT01",
    "RT02",
    "SA01",  # nor is See Also
    "SA04",
    "YD01",
}


def public_objects():
    """Classes and functions that can be imported, by the shortest name of each."""
    modules = [sk_eqsae, *(importlib.import_module(f"sk_eqsae.{r}") for r in ROOMS)]
    found = {}
    for module in modules:
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found.setdefault(value, f"{module.__name__}.{name}")
    return found


def members(kind):
    """Public methods and properties of a class that are written in this package."""
    for name in dir(kind):
        value = getattr(kind, name)
        function = getattr(value, "fget", None) or getattr(value, "func", value)
        function = getattr(inspect.unwrap(function), "__func__", function)
        ours = str(getattr(function, "__module__", "")).startswith("sk_eqsae")
        if ours and inspect.isfunction(function) and not name.startswith("_"):
            yield function, name


NAMED = public_objects()
MEMBERS = {
    function: f"{path}.{name}"
    for kind, path in reversed(NAMED.items())
    if inspect.isclass(kind)
    for function, name in members(kind)
}


def written_at(value):
    """Where a class or a function is written: module and name in it."""
    return value.__module__, value.__qualname__


@cache
def errors(path):
    """What numpydoc says of a docstring, by the code of the check."""
    return dict(validate(path)["errors"])


@pytest.mark.parametrize("path", [*NAMED.values(), *MEMBERS.values()])
def test_what_can_be_imported_is_documented_in_full(path):
    assert not {code: errors(path)[code] for code in errors(path).keys() - NOT_ASKED}


def test_checks_that_are_not_asked_are_checks_of_numpydoc():
    assert set(ERROR_MSGS) >= NOT_ASKED


@pytest.mark.parametrize("path", NAMED.values())
def test_every_class_and_function_has_an_example(path):
    assert "EX01" not in errors(path)


@pytest.mark.parametrize("value", [*NAMED, *MEMBERS], ids=lambda v: v.__qualname__)
def test_signatures_name_types_as_a_reader_knows_them(value):
    assert "_typing" not in str(inspect.signature(value))


def docstrings(tree, module, outer=""):
    """Name and docstring of all functions and classes in a tree, inner ones too."""
    for node in ast.iter_child_nodes(tree):
        name = outer
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{outer}.{node.name}" if outer else node.name
            yield (module, name), ast.get_docstring(node) or ""
        yield from docstrings(node, module, name)


@pytest.mark.parametrize("room", DONE)
def test_what_nobody_can_import_is_documented_in_a_line(room):
    public = {written_at(value) for value in (*NAMED, *MEMBERS)}
    paths = (PACKAGE / room).rglob("*.py") if room else PACKAGE.glob("*.py")
    long = []
    for path in paths:
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for where, text in docstrings(ast.parse(path.read_text("utf-8")), module):
            if where not in public and len(text.splitlines()) > LONGEST:
                long.append(".".join(where))
    assert not long
