"""Settings in JSON that come from elsewhere."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from .._atomic import read_bytes
from .._json import is_size, parse_json, shown

_MAX_BYTES = 2**20  # other libraries write a few kilobytes


def read_json(path: Path) -> dict[str, Any]:
    """Object in a JSON file that is no longer than settings are."""
    text = read_bytes(path, _MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise ValueError(f"{path.name} has more than {_MAX_BYTES} bytes")
    return parse_json(text, path.name)


def setting(settings: dict[str, Any], name: str) -> Any:
    """Setting that has to be there."""
    if name not in settings:
        raise ValueError(f"its configuration has no {name!r}")
    return settings[name]


def section(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """Setting that has to be an object of settings."""
    value = setting(settings, name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} has to be an object")
    return value


def count(settings: dict[str, Any], name: str) -> int:
    """Setting that has to be a whole number from 1."""
    value = setting(settings, name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not is_size(value, low=1):
        raise ValueError(f"{name} has to be a whole number from 1, not {shown(value)}")
    return int(value)


def one_of(settings: dict[str, Any], name: str, values: Collection[Any]) -> Any:
    """Setting that has to be one of several values, and of its type."""
    value = setting(settings, name)
    if not any(type(value) is type(v) and value == v for v in values):
        wanted = " or ".join(map(repr, values))
        raise ValueError(f"{name} has to be {wanted}, not {shown(value)}")
    return value
