"""Code of pages that pastes: blocks without prompts, and what they print."""

import contextlib
import doctest
import io
import re
from pathlib import Path

# a block, and right after it what it prints
_BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE
)
# on pages that begin with five lines the network comes last
_FIRST = "\n## A network to try it on\n"
_FRACTION = re.compile(r"-?\b\d+\.\d+\b")
_FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def blocks(page: Path) -> list[tuple[str, str]]:
    """List code and what it should print, in the order in which it is run."""
    last, _, first = page.read_text(encoding="utf-8").rpartition(_FIRST)
    found = _BLOCK.findall(first) + _BLOCK.findall(last)
    return [block for block in found if ">>>" not in block[0]]


def run(page: Path, **names: object) -> None:
    """Run all blocks of a page, one after the other."""
    names["__name__"] = "__main__"
    for code, expected in blocks(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page.name, "exec"), names)
        found = printed.getvalue()
        if expected:
            _check(expected, found, code)


def _check(expected: str, found: str, code: str) -> None:
    """Words as they are; fractions, which differ from machine to machine, about so."""
    pair = [_FRACTION.sub("*", text) for text in (expected, found)]
    numbers = [[float(n) for n in _FRACTION.findall(t)] for t in (expected, found)]
    same = doctest.OutputChecker().check_output(*pair, _FLAGS)
    close = all(abs(a - b) < 0.1 for a, b in zip(*numbers, strict=False))
    message = f"{code}\nshould print:\n{expected}\nprinted:\n{found}"
    assert same, message
    assert close, message
