"""An estimator as JSON values and arrays.

JSON's own values stand for themselves. Whatever JSON has no word for is an object of
one entry, whose name says what it is: ``{"tuple": [1, 2]}``, ``{"float32": 0.5}``,
``{"array": "F"}`` for an array in Fortran order, named by where it is.
"""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._tensors import DTYPES
from ..groups import FiniteGroup
from ..sae import Recipe
from ._check import attributes_of, check_estimator
from ._groups import describe_group
from ._kinds import NOT_KEPT, check_kind
from ._scikit_learn import REQUESTS, requests_as_data


def pack_estimator(
    estimator: Any, arrays: dict[str, NDArray], path: str = ""
) -> dict[str, Any]:
    """Describe an estimator; its arrays are put into `arrays`, by where they are."""
    check_kind(estimator, path)
    parameters = estimator.get_params(deep=False)
    parameters = {k: v for k, v in parameters.items() if k not in NOT_KEPT}
    attributes = attributes_of(estimator)
    if request := attributes.get(REQUESTS):
        attributes[REQUESTS] = requests_as_data(request)
    packed_parameters, packed_attributes = (
        {k: _top(v, arrays, f"{path}.{k}".lstrip(".")) for k, v in values.items()}
        for values in (parameters, attributes)
    )
    check_estimator(estimator, path)
    return {
        "class": type(estimator).__name__,
        "parameters": packed_parameters,
        "attributes": packed_attributes,
    }


def _top(value: Any, arrays: dict[str, NDArray], path: str) -> Any:
    """Describe a parameter or an attribute, which may be what no item of a list is."""
    if isinstance(value, BaseEstimator):
        return {"estimator": pack_estimator(value, arrays, path)}
    if isinstance(value, Recipe):
        return {"recipe": asdict(value)}
    if isinstance(value, FiniteGroup):
        try:
            return {"group": describe_group(value)}
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return _plain(value, arrays, path)


def _plain(value: Any, arrays: dict[str, NDArray], path: str) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        if isinstance(value, float) and math.isnan(value):
            raise ValueError(f"{path} is NaN")
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _numbers(value, arrays, path)
    if type(value) in (list, tuple):
        items = [_plain(v, arrays, f"{path}.{i}") for i, v in enumerate(value)]
        return items if type(value) is list else {"tuple": items}
    if type(value) is dict and all(type(name) is str for name in value):
        return {"dict": {k: _plain(v, arrays, f"{path}.{k}") for k, v in value.items()}}
    if type(value) is dict and all(type(name) in (str, int) for name in value):
        return {"items": [[k, _plain(v, arrays, path)] for k, v in value.items()]}
    kind = type(value).__name__
    raise ValueError(
        f"{path} is a {kind}, which is no plain data. Set it to numbers, strings, "
        "lists or arrays (a random_state to an int or None), or keep the estimator "
        "with joblib or skops instead"
    )


def _numbers(value: Any, arrays: dict[str, NDArray], path: str) -> Any:
    """Describe an array, or a number of numpy's."""
    if value.dtype == object and all(type(item) is str for item in value.flat):
        return {"strings": value.tolist()}
    if isinstance(value, np.bool_):
        return bool(value)
    if value.dtype not in DTYPES.values() or isinstance(value, np.ma.MaskedArray):
        raise ValueError(
            f"{path} is an array of {value.dtype}, which the file format does not "
            "have. Convert it with astype, or make it a list"
        )
    if isinstance(value, np.generic):
        return {value.dtype.name: _plain(value.item(), arrays, path)}
    transposed = value.flags.f_contiguous and not value.flags.c_contiguous
    arrays[path] = np.asarray(value.T if transposed else value)
    return {"array": "F" if transposed else "C"}
