"""Tables of the pages, made from the results that are committed beside them.

A page marks where a table stands and which one it is::

    <!-- table: speed.steps -->

    | ... |

    <!-- end of table -->

A number in running text is marked likewise, with its CSV file in `benchmarks`, the
rows (`DataFrame.query`), the column and what is taken of it, and its kind::

    <!-- number: angles/results.csv; kind == "..."; r2.mean; r2 -->0.981<!-- /number -->
"""

import re
from importlib import import_module
from pathlib import Path

import pandas as pd

from .._markdown import written

_ROOT = Path(__file__).parents[2]
_MARKED = re.compile(
    r"(<!-- table: (\w+)\.(\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL
)
_NUMBER = re.compile(
    r"(<!-- number: ([\w/.]+); (.+?); (\w+)\.(\w+); (\w+) -->).*?(<!-- /number -->)"
)


def pages() -> list[Path]:
    """List the pages that may have tables."""
    return [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]


def renewed(text: str) -> str:
    """Put in the tables as the results have them now."""
    text = _MARKED.sub(lambda m: f"{m[1]}\n{_table(m[2], m[3])}\n\n{m[4]}", text)
    return _NUMBER.sub(lambda m: f"{m[1]}{_number(*m.groups()[1:-1])}{m[7]}", text)


def _table(benchmark: str, name: str) -> str:
    return getattr(import_module(f"{__name__}._{benchmark}"), name)()


def _number(path: str, rows: str, column: str, taken: str, kind: str) -> str:
    table = pd.read_csv(_ROOT / "benchmarks" / path)
    return written(table.query(rows)[column].agg(taken), kind)
