"""An estimator from the JSON values and arrays of a file; nothing of it is run."""

import inspect
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
_SCALARS = {dtype.name for dtype in DTYPES.values()}
_PARTS = {"class", "parameters", "attributes"}


class Unpacker:
    """Makes what descriptions stand for; arrays that are used leave `arrays`."""

    def __init__(self, arrays: dict[str, NDArray]) -> None:
        self.arrays = arrays
        self.groups = GroupReader()
        self.n_estimators = 0

    def estimator(self, description: Any, path: str = "") -> Any:
        """Make an estimator, and check it."""
        self.n_estimators += 1
        if self.n_estimators > _MAX_ESTIMATORS:
            raise ValueError(f"it has more than {_MAX_ESTIMATORS} estimators")
        where = path or "the estimator"
        if not isinstance(description, dict) or set(description) != _PARTS:
            raise ValueError(f"{where} has to have {', '.join(sorted(_PARTS))} alone")
        kind = kind_named(description["class"])
        parameters, attributes = (
            self._parts(description[part], path)
            for part in ("parameters", "attributes")
        )
        estimator = _made(kind, parameters, where)
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

    def _parts(self, values: Any, path: str) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise ValueError("parameters and attributes have to be objects")
        return {k: self._top(v, f"{path}.{k}".lstrip(".")) for k, v in values.items()}

    def _top(self, value: Any, path: str) -> Any:
        """Make a parameter or an attribute, which may be what no item of a list is."""
        match _tagged(value, path):
            case "estimator", content:
                return self.estimator(content, path)
            case "group", content if path.rpartition(".")[2] in _SYMMETRIES:
                return self.groups.build(content)
            case "recipe", dict(content):
                return _made(Recipe, content, path)
        return self._plain(value, path)

    def _plain(self, value: Any, path: str) -> Any:
        tag, content = _tagged(value, path)
        match tag, content:
            case None, list():
                return self._items(content, path)
            case None, _:
                return content
            case "tuple", list():
                return tuple(self._items(content, path))
            case "dict", dict():
                return {k: self._plain(v, f"{path}.{k}") for k, v in content.items()}
            case "items", list() if all(map(_is_item, content)):
                return {k: self._plain(v, path) for k, v in content}
        return self._of_numpy(tag, content, path)

    def _of_numpy(self, tag: str, content: Any, path: str) -> Any:
        match tag, content:
            case "array", "C" | "F":
                return self._array(content, path)
            case "strings", list() if all(isinstance(item, str) for item in content):
                return np.array(content, dtype=object)
            case _, int() | float() if tag in _SCALARS:
                return _scalar(tag, content, path)
        raise ValueError(f"{path} is a {shown(tag)} that nothing can be made of")

    def _items(self, values: list, path: str) -> list:
        return [self._plain(value, f"{path}.{i}") for i, value in enumerate(values)]

    def _array(self, order: str, path: str) -> NDArray:
        if path not in self.arrays:
            raise ValueError(f"array {shown(path)} is missing")
        array = self.arrays.pop(path)
        return array if order == "C" else array.T


def _tagged(value: Any, path: str) -> tuple[Any, Any]:
    """Tag and content of an object of one entry; of any other value None and itself."""
    if not isinstance(value, dict):
        return None, value
    if len(value) != 1:
        raise ValueError(f"{path} is an object of {len(value)} entries, not of one")
    return next(iter(value.items()))


def _is_item(pair: Any) -> bool:
    """Whether it is a key, a number or a string, and a value."""
    return isinstance(pair, list) and [type(each) for each in pair[:-1]] in (
        [int],
        [str],
    )


def _made(kind: Any, parameters: dict[str, Any], where: str) -> Any:
    """Make an instance; a parameter that the file does not have gets its default."""
    known = set(inspect.signature(kind).parameters) - NOT_KEPT
    if unknown := set(parameters) - known:
        raise ValueError(
            f"{where} has the unknown parameter {shown(min(unknown))}. If the file was "
            "written with a newer sk-eqsae, install that"
        )
    try:
        return kind(**parameters)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def _scalar(dtype: str, number: float, path: str) -> np.generic:
    try:
        with np.errstate(over="ignore"):
            scalar = np.dtype(dtype).type(number)
    except OverflowError:
        scalar = None
    if scalar != number:
        raise ValueError(f"{path} is no {dtype}, found {shown(number)}")
    return scalar
