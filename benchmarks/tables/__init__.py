"""Tables of the pages, made from the results that are committed beside them.

A page marks where a table stands and which one it is::

    <!-- table: speed.steps -->

    | ... |

    <!-- end of table -->
"""

import re
from importlib import import_module
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_MARKED = re.compile(
    r"(<!-- table: (\w+)\.(\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL
)


def pages() -> list[Path]:
    """List the pages that may have tables."""
    return [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]


def renewed(text: str) -> str:
    """Put in the tables as the results have them now."""
    return _MARKED.sub(lambda m: f"{m[1]}\n{_table(m[2], m[3])}\n\n{m[4]}", text)


def _table(benchmark: str, name: str) -> str:
    return getattr(import_module(f"{__name__}._{benchmark}"), name)()
