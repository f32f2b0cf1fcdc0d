"""Settings in JSON that come from elsewhere."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from .._container import is_size, parse_json, shown

_MAX_BYTES = 2**20  # other libraries write a few kilobytes


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that should hold a JSON object.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    settings : dict
        The object.

    Raises
    ------
    ValueError
        If it is none, or too long to be one.
    """
    with open(path, "rb") as file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise ValueError(f"{path.name} has more than {_MAX_BYTES} bytes")
    return parse_json(text, path.name)


def setting(settings: dict[str, Any], name: str) -> Any:
    """Give a setting that has to be there.

    Parameters
    ----------
    settings : dict
        Where.
    name : str
        Which.

    Returns
    -------
    value : object
        Its value.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in settings:
        raise ValueError(f"its configuration has no {name!r}")
    return settings[name]


def count(settings: dict[str, Any], name: str) -> int:
    """Give a setting that has to be a whole number from 1.

    Parameters
    ----------
    settings : dict
        Where.
    name : str
        Which.

    Returns
    -------
    count : int
        Its value.

    Raises
    ------
    ValueError
        If it is not.
    """
    value = setting(settings, name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not is_size(value) or value < 1:
        raise ValueError(f"{name} has to be a whole number from 1, not {shown(value)}")
    return int(value)


def one_of(settings: dict[str, Any], name: str, values: Collection[Any]) -> Any:
    """Give a setting that has to be one of several.

    Parameters
    ----------
    settings : dict
        Where.
    name : str
        Which.
    values : collection
        What it may be.

    Returns
    -------
    value : object
        Its value.

    Raises
    ------
    ValueError
        If it is not.
    """
    value = setting(settings, name)
    if not any(type(value) is type(v) and value == v for v in values):
        wanted = " or ".join(map(repr, values))
        raise ValueError(f"{name} has to be {wanted}, not {shown(value)}")
    return value
