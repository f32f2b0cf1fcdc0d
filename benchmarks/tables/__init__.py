"""Tables of the pages, made from the results that are committed beside them.

A page marks where a table stands and which one it is::

    <!-- table: speed.steps -->

    | ... |

    <!-- end of table -->

A number in running text is marked likewise, with its CSV or JSON file in `benchmarks`,
the rows (`DataFrame.query`; `all` are all, `case` is the name of an entry of a JSON
file), the column and what is taken of it, and its kind::

    <!-- number: angles/results.csv; kind == "..."; r2.mean; r2 -->0.981<!-- /number -->

What else a page says in figures is a setting, or a number of others: `unmarked` lists
the rest.
"""

import json
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
# what is no running text: tables of results, code, formulas, pictures, targets of links
_NO_TEXT = re.compile(
    r"<!-- table: .*?<!-- end of table -->|<!-- number: .*?<!-- /number -->"
    r"|```.*?```|^    .*?$|\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]+`"
    r"|!\[[^]\n]*|\]\([^)\n]*\)|<!--.*?-->",
    re.DOTALL | re.MULTILINE,
)
_UNIT = r"(?:%|(?:ms|s|min|h|KB|MB|GB|MiB|times|hours|minutes|seconds)\b)"
_FIGURE = re.compile(rf"(?<![\w.,/])-?(?:\d[\d,]*\.\d+|\d[\d,]*(?= ?{_UNIT})|\.\d+)")


def pages() -> list[Path]:
    """List the pages that may have tables."""
    docs = _ROOT / "docs"
    written = [*docs.glob("*.md"), *(docs / "howto").glob("*.md")]
    return [_ROOT / "README.md", *sorted(written)]


def renewed(text: str) -> str:
    """Put in the tables as the results have them now."""
    text = _MARKED.sub(lambda m: f"{m[1]}\n{_table(m[2], m[3])}\n\n{m[4]}", text)
    return _NUMBER.sub(lambda m: f"{m[1]}{_number(*m.groups()[1:-1])}{m[7]}", text)


def unmarked(text: str) -> list[str]:
    """List figures in running text that no result stands behind."""
    return _FIGURE.findall(_NO_TEXT.sub(" ", text))


def _table(benchmark: str, name: str) -> str:
    return getattr(import_module(f"{__name__}._{benchmark}"), name)()


def _number(path: str, rows: str, column: str, taken: str, kind: str) -> str:
    table = _read(_ROOT / "benchmarks" / path)
    found = table if rows == "all" else table.query(rows)
    return written(found[column].dropna().agg(taken), kind)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return pd.read_csv(path)
    cases = json.loads(path.read_text(encoding="utf-8"))
    return pd.DataFrame.from_dict(cases, orient="index").rename_axis("case")
