"""What a saved file says of itself, without its arrays."""

import math
import os
from typing import Any

from .._atomic import open_regular
from .._json import shown
from .._tensors import Claim, read_header
from ._files import FORMAT_VERSION, described, shortened
from ._groups import GroupReader
from ._unpack import parts_of, tagged


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """JSON values that say what a file holds; nothing is run, and no array read.

    An array is its ``dtype`` and ``shape``, an estimator a dict with its ``class``.
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

    def estimator(self, description: Any, path: str) -> dict[str, Any]:
        """Describe an estimator; attributes come in the order of their declaration."""
        kind, parameters, attributes = parts_of(description, path, self.value)
        order = [item.name for item in getattr(kind, "_fitted", ())]
        order = [name for name in order if name in attributes]
        return {
            "class": kind.__name__,
            "fitted": "n_features_in_" in attributes,
            "parameters": parameters,
            "attributes": {name: attributes[name] for name in [*order, *attributes]},
        }

    def value(self, value: Any, path: str) -> Any:
        """JSON value that says what a packed value is."""
        match tagged(value, path):
            case "estimator", content:
                return self.estimator(content, path)
            case "group", content:
                return repr(self.groups.build(content))
            case "array", order:
                return self.array(order, path)
            case (("dict" | "recipe"), dict(entries)):
                return {k: self.value(v, f"{path}.{k}") for k, v in entries.items()}
            case ((None | "tuple"), list(items)):
                return [self.value(item, f"{path}.{i}") for i, item in enumerate(items)]
            case _, content:
                # JSON has no word for infinity
                is_inf = isinstance(content, float) and math.isinf(content)
                return str(content) if is_inf else content

    def array(self, order: Any, path: str) -> dict[str, Any]:
        """Dtype and shape of an array."""
        if path not in self.arrays:
            raise ValueError(f"array {shown(path)} is missing")
        dtype, shape = self.arrays[path]
        shape = shape[::-1] if order == "F" else shape
        return {"dtype": dtype.name, "shape": list(shape)}
