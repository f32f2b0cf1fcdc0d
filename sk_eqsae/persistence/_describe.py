"""What a saved file says of itself, without its arrays."""

import math
import os
from collections.abc import Callable
from typing import Any

from .._atomic import open_regular
from .._json import shown
from .._tensors import Claim, read_header
from ._files import FORMAT_VERSION, described, shortened
from ._groups import GroupReader
from ._kinds import kind_named
from ._unpack import check_parts, tagged


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """JSON values that say what a file holds; nothing is run, and no array read.

    They are ``format_version``, ``bytes``, ``class``, ``fitted``, ``parameters`` and
    ``attributes``. An array is its ``dtype`` and ``shape``, an estimator such a dict.
    """
    with open_regular(path) as file:
        try:
            arrays, metadata = read_header(file)
            found = _Describer(arrays).estimator(described(metadata), "")
        except (ValueError, RecursionError) as error:
            name = os.fspath(path)
            raise ValueError(f"cannot read {name!r}: {shortened(error)}.") from error
        size = file.seek(0, os.SEEK_END)
    return {"format_version": FORMAT_VERSION, "bytes": size, **found}


class _Describer:
    """Describes packed values, given the dtypes and shapes of the arrays."""

    def __init__(self, arrays: dict[str, Claim]) -> None:
        self.arrays = arrays
        self.groups = GroupReader()
        self.describers: dict[str, Callable[[Any, str], Any]] = {
            "estimator": self.estimator,
            "group": lambda content, path: repr(self.groups.build(content)),
            "array": self.array,
            "tuple": self.value,
            "strings": self.value,
        }

    def estimator(self, description: Any, path: str) -> dict[str, Any]:
        """Describe an estimator; attributes come in the order of their declaration."""
        check_parts(description, path)
        kind = kind_named(description["class"])
        parameters, attributes = (
            {k: self.value(v, f"{path}.{k}".lstrip(".")) for k, v in values.items()}
            for values in (description["parameters"], description["attributes"])
        )
        order = [item.name for item in getattr(kind, "_fitted", ())]
        order = [name for name in order if name in attributes]
        return {
            "class": description["class"],
            "fitted": "n_features_in_" in attributes,
            "parameters": parameters,
            "attributes": {name: attributes[name] for name in [*order, *attributes]},
        }

    def value(self, value: Any, path: str) -> Any:
        """JSON value that says what a packed value is."""
        if isinstance(value, list):
            return [self.value(item, f"{path}.{i}") for i, item in enumerate(value)]
        tag, content = tagged(value, path)
        if tag in ("dict", "recipe") and isinstance(content, dict):
            return {k: self.value(v, f"{path}.{k}") for k, v in content.items()}
        if tag in self.describers:
            return self.describers[tag](content, path)
        infinite = isinstance(content, float) and math.isinf(content)
        return str(content) if infinite else content

    def array(self, order: Any, path: str) -> dict[str, Any]:
        """Dtype and shape of an array."""
        if path not in self.arrays:
            raise ValueError(f"array {shown(path)} is missing")
        dtype, shape = self.arrays[path]
        shape = shape[::-1] if order == "F" else shape
        return {"dtype": dtype.name, "shape": list(shape)}
