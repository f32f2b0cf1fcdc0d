"""The command line: python -m sk_eqsae info FILE."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ._json import printable
from .persistence._describe import describe


class _Parser(argparse.ArgumentParser):
    """A parser whose errors quote arguments without their control characters."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command: 0, or 1 after an error, which is one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        found = describe(arguments.file)
        print(json.dumps(found, indent=2) if arguments.json else _as_text(found))
        if sys.stdout is not None:  # there is none in a service
            sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError) as error:
        if sys.stderr is not None:
            print(f"sk_eqsae info: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m sk_eqsae",
        description="Say what a file of sk_eqsae.save holds, without running anything "
        "of it.",
        epilog="The exit status is 0, 1 after an error, 2 if the arguments make no "
        "sense.",
    )
    parser.add_argument("command", choices=["info"], help="there is only this one")
    parser.add_argument("file", metavar="FILE", help="a file of sk_eqsae.save")
    parser.add_argument("--json", action="store_true", help="write JSON")
    return parser


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return printable(f"{error.strerror}: {error.filename}")
    return printable(" ".join(str(error).split()))


def _as_text(found: dict[str, Any]) -> str:
    text = [
        f"{found['class']}, {'fitted' if found['fitted'] else 'not fitted'}: "
        f"{found['bytes']:,} bytes, format version {found['format_version']}"
    ]
    for part in ("parameters", "attributes"):
        lines = list(_lines(found[part]))
        width = max((len(name) for name, _ in lines), default=0)
        text += [part, *(f"  {name:{width}}  {value}" for name, value in lines)]
    return "\n".join(text)


def _lines(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values; JSON keeps control characters of a file off the terminal."""
    for name, value in values.items():
        path = prefix + printable(json.dumps(name)[1:-1])
        kind = set(value) if isinstance(value, dict) else set()
        if kind == {"dtype", "shape"}:
            size = " x ".join(map(str, value["shape"]))
            yield path, f"{value['dtype']} array, {size}"
        elif "class" in kind:
            yield path, value["class"]
            yield from _lines(value["attributes"], f"{path}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            items = {str(i): item for i, item in enumerate(value)}
            yield from _lines(items, f"{path}.")
        else:
            yield path, printable(json.dumps(value))


if __name__ == "__main__":
    sys.exit(main())
