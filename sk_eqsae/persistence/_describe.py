"""What a saved file says of itself, without its arrays."""

import math
import os
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from .._atomic import open_regular
from .._json import errors_say
from .._tensors import read_header
from ._check import attributes_of
from ._files import FORMAT_VERSION, estimator_of
from ._kinds import NOT_KEPT
from ._scikit_learn import NAMES


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """JSON values that say what a file holds; nothing is run, and no array read.

    An array is its ``dtype`` and ``shape``, an estimator a dict with its ``class``.
    """
    with open_regular(path) as file:
        with errors_say(f"cannot read {os.fspath(path)!r}"):
            estimator = estimator_of(*read_header(file))
        size = file.seek(0, os.SEEK_END)
    return {"format_version": FORMAT_VERSION, "bytes": size, **_estimator(estimator)}


def _estimator(estimator: BaseEstimator) -> dict[str, Any]:
    parameters, attributes = estimator.get_params(deep=False), attributes_of(estimator)
    return {
        "class": type(estimator).__name__,
        "fitted": "n_features_in_" in attributes,
        "parameters": _values(parameters, NOT_KEPT),
        "attributes": _values(attributes, NAMES),
    }


def _values(values: dict[str, Any], but: frozenset[str] = frozenset()) -> Any:
    return {name: _value(value) for name, value in values.items() if name not in but}


def _value(value: Any) -> Any:
    if isinstance(value, BaseEstimator):
        return _estimator(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return {"dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, dict):
        return _values(value)
    if isinstance(value, list | tuple | np.ndarray):
        return [_value(item) for item in value]
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return value if is_number or isinstance(value, str | None) else repr(value)
