"""What a saved file says of itself, without its arrays."""

import math
import os
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._container import Entry, read_header, shown
from ..sae import Recipe
from ._classes import kind_named
from ._files import FORMAT_VERSION, _described, _entries
from ._values import Unpacker


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """Read what a file holds; nothing of it is run, and no array is read.

    Parameters
    ----------
    path : str or path-like
        A file that :func:`save` has written.

    Returns
    -------
    description : dict
        JSON values: ``format_version``, ``bytes``, ``class``, ``fitted``,
        ``parameters`` and ``attributes``. An array is its ``dtype`` and ``shape``, an
        estimator is a description of its own.

    Raises
    ------
    ValueError
        If the file is no such file, or not whole.
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            entries, metadata = read_header(file)
            unpacker = Unpacker(lambda name: _stand_in(entries, name), _estimator)
            found = _estimator(_described(metadata), unpacker, "")
        except ValueError as error:
            raise ValueError(f"cannot read {os.fspath(path)!r}: {error}.") from error
        size = file.seek(0, os.SEEK_END)
    return {"format_version": FORMAT_VERSION, "bytes": size, **found}


def _stand_in(entries: dict[str, Entry], name: str) -> NDArray:
    """Array of the right shape that takes no memory."""
    if name not in entries:
        raise ValueError(f"array {shown(name)} is missing")
    return np.broadcast_to(np.zeros((), entries[name].dtype), entries[name].shape)


def _estimator(description: Any, unpacker: Unpacker, path: str) -> dict[str, Any]:
    where = path or "the estimator"
    names = {"class", "parameters", "attributes"}
    if not isinstance(description, dict) or set(description) != names:
        raise ValueError(f"{where} has to have {', '.join(sorted(names))}, only those")
    kind_named(description["class"])
    prefix = f"{path}." if path else ""
    parameters, attributes = (
        _entries(description[part], unpacker, prefix, f"{part} of {where}")
        for part in ("parameters", "attributes")
    )
    return {
        "class": description["class"],
        "fitted": "n_features_in_" in attributes,
        "parameters": _plain(parameters),
        "attributes": _plain(attributes),
    }


def _plain(value: Any) -> Any:
    """JSON value that says what a value is."""
    if isinstance(value, Recipe):
        value = asdict(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return {"dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    is_json = value is None or isinstance(value, bool | int | str)
    is_json |= isinstance(value, float) and math.isfinite(value)
    return value if is_json else str(value)  # a group, a device, infinity
