"""An estimator from the JSON values and arrays of a file; nothing of it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._json import shown
from .._tensors import DTYPES
from ..sae import Recipe
from ._check import check_estimator
from ._groups import GroupReader
from ._kinds import NOT_KEPT, kind_named
from ._scikit_learn import NAMES, restore

_MAX_ESTIMATORS = 32  # in a file: a TruncatedReconstruction has ten
_SYMMETRIES = ("symmetry", "symmetry_")  # where a group may be
_PARTS = {"class", "parameters", "attributes"}
_SCALARS = {dtype.name for dtype in DTYPES.values()}
_RECIPE = {field.name for field in fields(Recipe)}


class Unpacker:
    """Makes what descriptions stand for; arrays that are used leave `arrays`."""

    def __init__(self, arrays: dict[str, NDArray]) -> None:
        self.arrays = arrays
        self.groups = GroupReader()
        self.n_estimators = 0
        self.builders: dict[str, tuple[type, Callable[[Any, str], Any]]] = {
            "tuple": (list, lambda content, path: tuple(self._items(content, path))),
            "dict": (dict, self._entries),
            "strings": (list, _strings),
            "array": (str, self._array),
        }

    def estimator(self, description: Any, path: str = "") -> Any:
        """Make an estimator, and check it."""
        self.n_estimators += 1
        if self.n_estimators > _MAX_ESTIMATORS:
            raise ValueError(f"it has more than {_MAX_ESTIMATORS} estimators")
        check_parts(description, path)
        kind = kind_named(description["class"])
        parameters, attributes = (
            {k: self._top(v, f"{path}.{k}".lstrip(".")) for k, v in values.items()}
            for values in (description["parameters"], description["attributes"])
        )
        estimator = _constructed(kind, parameters, path or "the estimator")
        declared = {item.name for item in getattr(kind, "_fitted", ())}
        for name, value in attributes.items():
            if name in NAMES:
                restore(estimator, name, value)
            elif name in declared:
                vars(estimator)[name] = value
            else:
                raise ValueError(f"{shown(name)} is nothing that fit sets")
        check_estimator(estimator, path)
        return estimator

    def _top(self, value: Any, path: str) -> Any:
        """Value of a parameter or an attribute."""
        tag, content = tagged(value, path)
        if tag == "estimator":
            return self.estimator(content, path)
        if tag == "group" and path.rsplit(".", maxsplit=1)[-1] in _SYMMETRIES:
            return self.groups.build(content)
        if tag == "recipe":
            return _recipe(content, path)
        return self._plain(value, path)

    def _plain(self, value: Any, path: str) -> Any:
        if isinstance(value, list):
            return self._items(value, path)
        tag, content = tagged(value, path)
        if tag is None:
            return content
        if tag in _SCALARS and type(content) in (int, float):
            return _scalar(tag, content, path)
        kind, build = self.builders.get(tag, (None, None))
        if build is None or type(content) is not kind:
            raise ValueError(f"{path} is a {shown(tag)}, of which nothing can be made")
        return build(content, path)

    def _items(self, values: list, path: str) -> list:
        return [self._plain(value, f"{path}.{i}") for i, value in enumerate(values)]

    def _entries(self, values: dict, path: str) -> dict:
        return {k: self._plain(value, f"{path}.{k}") for k, value in values.items()}

    def _array(self, order: str, path: str) -> NDArray:
        if path not in self.arrays or order not in ("C", "F"):
            raise ValueError(f"array {shown(path)} is missing, or its order")
        array = self.arrays.pop(path)
        return array if order == "C" else array.T


def check_parts(description: Any, path: str) -> None:
    """Raise an error unless this can be the description of an estimator."""
    where = path or "the estimator"
    if not isinstance(description, dict) or set(description) != _PARTS:
        raise ValueError(f"{where} has to have {', '.join(sorted(_PARTS))}, only those")
    for part in ("parameters", "attributes"):
        if not isinstance(description[part], dict):
            raise ValueError(f"the {part} of {where} have to be an object")


def tagged(value: Any, path: str) -> tuple[Any, Any]:
    """Tag and content of an object of one entry; of any other value None and itself."""
    if not isinstance(value, dict):
        return None, value
    if len(value) != 1:
        raise ValueError(f"{path} is an object of {len(value)} entries, not of one")
    return next(iter(value.items()))


def _constructed(kind: Any, parameters: dict[str, Any], where: str) -> Any:
    """Make an instance; a parameter that the file does not have gets its default."""
    known = set(kind._get_param_names()) - NOT_KEPT
    if unknown := set(parameters) - known:
        raise ValueError(
            f"{where} has the unknown parameter {shown(min(unknown))}. If the file was "
            "written with a newer sk-eqsae, install that"
        )
    try:
        return kind(**parameters)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def _recipe(content: Any, path: str) -> Recipe:
    if not isinstance(content, dict):
        raise ValueError(f"{path} has to be an object")
    if unknown := set(content) - _RECIPE:
        raise ValueError(f"{path} has no part {shown(min(unknown))}")
    return Recipe(**content)


def _scalar(dtype: str, content: float, path: str) -> np.generic:
    try:
        with np.errstate(over="ignore"):
            scalar = np.dtype(dtype).type(content)
    except OverflowError:
        scalar = None
    if scalar != content:
        raise ValueError(f"{path} is no {dtype}, found {shown(content)}")
    return scalar


def _strings(content: list, path: str) -> NDArray:
    if not all(isinstance(item, str) for item in content):
        raise ValueError(f"{path} has to be a list of strings")
    strings = np.empty(len(content), dtype=object)
    strings[:] = content
    return strings
