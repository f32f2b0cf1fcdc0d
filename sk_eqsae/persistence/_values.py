"""Parameters and attributes as JSON and arrays, and back.

JSON's own values stand for themselves. Whatever JSON has no word for is an object of
one entry, whose name says what it is: ``{"tuple": [1, 2]}``, ``{"float": "inf"}``,
``{"array": "F"}`` for an array in Fortran order, named by where it is.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, fields
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._container import DTYPES, shown
from ..groups import FiniteGroup
from ..sae import Recipe
from ._groups import build_group, describe_group

_RECIPE = {field.name: type(field.default) for field in fields(Recipe)}
_NUMBERS = {"float": Real, "int": Integral, "bool": bool}


class Packer:
    """Turns values into JSON values, and collects their arrays.

    Parameters
    ----------
    pack_estimator : callable
        Gives the JSON value of an estimator, for this packer and a path.

    Attributes
    ----------
    arrays : dict of ndarray
        The arrays so far, in C order, by the path of what they belong to.
    """

    def __init__(self, pack_estimator: Callable[..., Any]) -> None:
        self.arrays: dict[str, NDArray] = {}
        self._pack_estimator = pack_estimator

    def pack(self, value: Any, path: str) -> Any:
        """Turn a value into a JSON value.

        Parameters
        ----------
        value : object
            A parameter or an attribute.
        path : str
            Where it is, such as "activation_transform_.M_".

        Returns
        -------
        packed : object
            A JSON value.

        Raises
        ------
        ValueError
            If the value cannot be written.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": _infinite(value, path)}
        if type(value) is list:
            return self._items(value, path)
        if isinstance(value, PurePath):  # comes back as a string
            return str(value)
        if isinstance(value, np.ndarray) and value.dtype == object:
            return {"strings": _strings(value, path)}
        kinds: list[tuple[type, str, Callable[[Any, str], Any]]] = [
            (tuple, "tuple", self._items),
            (dict, "dict", self._entries),
            (np.ndarray, "array", self._array),
            (np.generic, "scalar", _scalar),
            (torch.device, "device", lambda value, path: str(value)),
            (Recipe, "recipe", lambda value, path: self._entries(asdict(value), path)),
            (FiniteGroup, "group", _group),
            (BaseEstimator, "estimator", self._estimator),
        ]
        for kind, tag, pack in kinds:
            if isinstance(value, kind):
                return {tag: pack(value, path)}
        raise ValueError(_refusal(value, path))

    def _items(self, values: Any, path: str) -> list[Any]:
        return [self.pack(value, f"{path}.{i}") for i, value in enumerate(values)]

    def _entries(self, values: dict[str, Any], path: str) -> dict[str, Any]:
        if not all(type(name) is str for name in values):
            raise ValueError(f"{path} is a dict whose keys are not all strings")
        return {name: self.pack(v, f"{path}.{name}") for name, v in values.items()}

    def _array(self, array: NDArray, path: str) -> str:
        if array.dtype not in DTYPES or isinstance(array, np.ma.MaskedArray):
            raise ValueError(
                f"{path} is an array of {array.dtype}, which the file format does not "
                "have. Convert it with astype, or make it a list"
            )
        transposed = array.flags.f_contiguous and not array.flags.c_contiguous
        self.arrays[path] = np.asarray(array.T if transposed else array, order="C")
        return "F" if transposed else "C"

    def _estimator(self, estimator: BaseEstimator, path: str) -> Any:
        return self._pack_estimator(estimator, self, path)


def _infinite(value: float, path: str) -> str:
    if math.isnan(value):
        raise ValueError(f"{path} is NaN")
    return "inf" if value > 0 else "-inf"


def _scalar(value: np.generic, path: str) -> list[Any]:
    if value.dtype not in DTYPES or not np.isfinite(value):
        raise ValueError(
            f"{path} is {value!r}, which a file cannot hold. Set a finite number"
        )
    return [value.dtype.name, value.item()]


def _strings(array: NDArray, path: str) -> list[str]:
    if array.ndim != 1 or not all(type(item) is str for item in array):
        raise ValueError(
            f"{path} is an array of objects, which could be anything. Make it an array "
            "of numbers, or a list of plain values"
        )
    return list(array)


def _group(group: FiniteGroup, path: str) -> list[Any]:
    try:
        return describe_group(group)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _refusal(value: Any, path: str) -> str:
    kind = type(value).__name__
    if isinstance(value, np.random.RandomState | np.random.Generator):
        return (
            f"{path} is a {kind}, whose state is no parameter. Set an int or None "
            f"with set_params before saving"
        )
    return (
        f"{path} is a {kind}, which is no plain data. Set it to numbers, strings, "
        "lists or arrays, or keep the estimator with joblib or skops instead"
    )


class Unpacker:
    """Turns JSON values back into what they stand for, and runs nothing else.

    Parameters
    ----------
    take_array : callable
        Gives the array that belongs to a path, each once.
    build_estimator : callable
        Makes an estimator of a JSON value, for this unpacker and a path.
    """

    def __init__(
        self, take_array: Callable[[str], NDArray], build_estimator: Callable[..., Any]
    ) -> None:
        self._take_array = take_array
        self._build_estimator = build_estimator

    def unpack(self, value: Any, path: str) -> Any:
        """Turn a JSON value into what it stands for.

        Parameters
        ----------
        value : object
            Any JSON value.
        path : str
            Where it is, for errors.

        Returns
        -------
        unpacked : object
            The value.

        Raises
        ------
        ValueError
            If it stands for nothing.
        """
        if isinstance(value, list):
            return self._items(value, path)
        if not isinstance(value, dict):
            return value
        if len(value) != 1:
            raise ValueError(f"{path} is an object of {len(value)} entries, not of one")
        [(tag, content)] = value.items()
        builders: dict[str, Callable[[Any, str], Any]] = {
            "tuple": lambda content, path: tuple(self._items(content, path)),
            "dict": self._entries,
            "array": self._array,
            "strings": _built_strings,
            "scalar": _built_scalar,
            "float": _built_infinite,
            "device": _built_device,
            "recipe": self._recipe,
            "group": lambda content, path: build_group(content),
            "estimator": lambda content, path: self._build_estimator(
                content, self, path
            ),
        }
        if tag not in builders:
            raise ValueError(f"{path} is a {shown(tag)}, which nothing is known of")
        return builders[tag](content, path)

    def _items(self, values: Any, path: str) -> list[Any]:
        if not isinstance(values, list):
            raise ValueError(f"{path} has to be a list")
        return [self.unpack(value, f"{path}.{i}") for i, value in enumerate(values)]

    def _entries(self, values: Any, path: str) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise ValueError(f"{path} has to be an object")
        return {name: self.unpack(v, f"{path}.{name}") for name, v in values.items()}

    def _array(self, content: Any, path: str) -> NDArray:
        if content not in ("C", "F"):
            raise ValueError(f"{path} has to be an array in order C or F")
        array = self._take_array(path)
        return array if content == "C" else array.T

    def _recipe(self, content: Any, path: str) -> Recipe:
        values = self._entries(content, path)
        for name, value in values.items():
            if name not in _RECIPE:
                raise ValueError(f"{path} has no part {shown(name)}")
            _check_number(value, _RECIPE[name].__name__, f"{path}.{name}")
        return Recipe(**values)


def _check_number(value: Any, kind: str, path: str) -> None:
    is_bool = isinstance(value, bool)
    if not isinstance(value, _NUMBERS[kind]) or is_bool != (kind == "bool"):
        raise ValueError(f"{path} has to be of type {kind}, found {shown(value)}")


def _built_scalar(content: Any, path: str) -> np.generic:
    names = {dtype.name for dtype in DTYPES}
    if (
        not isinstance(content, list)
        or len(content) != 2
        or not isinstance(content[0], str)
        or content[0] not in names
        or not isinstance(content[1], bool | int | float)
    ):
        raise ValueError(f"{path} needs a dtype and a number")
    try:
        with np.errstate(over="ignore"):
            scalar = np.dtype(content[0]).type(content[1])
    except OverflowError:
        raise ValueError(f"{path} does not fit into {content[0]}") from None
    if scalar != content[1]:
        raise ValueError(f"{path} is no {content[0]}")
    return scalar


def _built_infinite(content: Any, path: str) -> float:
    if content not in ("inf", "-inf"):
        raise ValueError(f"{path} is no float, found {shown(content)}")
    return float(content)


def _built_device(content: Any, path: str) -> torch.device:
    try:
        return torch.device(content if isinstance(content, str) else "")
    except RuntimeError:
        raise ValueError(f"{path} is no device, found {shown(content)}") from None


def _built_strings(content: Any, path: str) -> NDArray:
    if not isinstance(content, list) or not all(isinstance(s, str) for s in content):
        raise ValueError(f"{path} has to be a list of strings")
    strings = np.empty(len(content), dtype=object)
    strings[:] = content
    return strings
