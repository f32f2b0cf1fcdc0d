"""JSON from files that may come from anyone, and how to quote it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.exceptions import NotFittedError

_LONGEST, _LONGEST_ERROR = 80, 500  # characters of a quotation
_MOST_DIGITS = 40  # 128 bits; a float holds no more than 309


def parse_json(text: bytes | str, name: str) -> dict[str, Any]:
    """Object that a text holds; infinity is a number in it, NaN is not."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        value = json.loads(decoded, parse_constant=_constant, parse_int=_whole)
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{name} is no valid JSON: {printable(error)}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no JSON object")
    return value


def _constant(name: str) -> float:
    if name == "NaN":
        raise ValueError("'NaN' is no number")
    return float(name)


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a whole number has {len(digits)} digits")
    return int(digits)


def is_size(value: Any, low: int = 0) -> bool:
    """Say if a JSON value is a whole number from `low` that 64 bits hold."""
    return type(value) is int and low <= value < 2**63


def shown(value: Any) -> str:
    """Repr of a plain value, or else its type, cut off where it gets long."""
    plain = value is None or isinstance(value, str | int | float)
    text = repr(value) if plain else type(value).__name__
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def printable(text: object) -> str:
    """Text in which nothing drives a terminal: control characters are escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


@contextmanager
def errors_say(what: str) -> Iterator[None]:
    """Begin a ValueError with `what`, and cut it off, whatever a file made it quote."""
    try:
        yield
    except NotFittedError:
        raise
    except ValueError as error:
        text = str(error).removesuffix(".")
        text = text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]} ..."
        raise ValueError(f"{what}: {text}.") from error
