"""Whether an estimator is one that its constructor and `fit` could have made."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from .._fitted import Fitted
from .._fitting import unfrozen
from .._json import shown
from ..groups import FiniteGroup
from ._kinds import check_kind
from ._relations import check_power, check_relations
from ._scikit_learn import NAMES

_MAY_BE_ZERO = {"n_epochs", "n_free"}
_WORDS = {
    "int": "a whole number",
    "float": "a float",
    "names": "an array of strings",
    "list": "a list",
    "dict": "a dict",
    "none": "None",
}


def check_estimator(estimator: BaseEstimator, path: str = "") -> None:
    """Raise a ValueError if parameters or fitted attributes cannot be."""
    check_kind(estimator, path)
    if isinstance(estimator, FrozenEstimator):
        check_kind(estimator.estimator, f"{path}.estimator".lstrip("."))
        return
    try:
        estimator._validate_params()
        check_power(estimator)
        check_fitted(estimator)
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if path else str(error)) from None


def attributes_of(estimator: BaseEstimator) -> dict[str, Any]:
    """All that is on an instance and is no parameter."""
    parameters = estimator.get_params(deep=False)
    return {k: v for k, v in vars(estimator).items() if k not in parameters}


def check_fitted(estimator: Any) -> None:
    """Compare the attributes of an estimator, if it has any, with those declared."""
    attributes = attributes_of(estimator)
    attributes = {k: v for k, v in attributes.items() if k not in NAMES}
    if attributes:
        sizes: dict[str, int] = {}
        _Declared(estimator._fitted, sizes).check_parts(attributes, "", "")
        check_relations(estimator, sizes)


class _Declared:
    """What is declared of the attributes of a class; `sizes` are known as it goes."""

    def __init__(self, fitted: tuple[Fitted, ...], sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.parts: dict[str, dict[str, Fitted]] = {}
        for item in fitted:
            parent, _, key = item.name.rpartition("/")
            self.parts.setdefault(parent, {})[key] = item

    def check_parts(self, values: dict[str, Any], parent: str, path: str) -> None:
        """Check the items of a list or a dict, or all attributes: parent ""."""
        parts = self.parts.get(parent, {})
        required = [key for key, item in parts.items() if not item.optional]
        if missing := [key for key in required if key not in values and key != "*"]:
            what = path.removesuffix(".") or "it is fitted in part: it"
            raise ValueError(f"{what} has no {', '.join(missing)}")
        if unknown := [key for key in values if key not in parts and "*" not in parts]:
            raise ValueError(f"{shown(path + unknown[0])} is nothing that fit sets")
        # in the order of the declaration, whose first array decides a size
        for key in [*filter(values.__contains__, parts), *(values.keys() - parts)]:
            item = parts.get(key) or parts["*"]
            self._check(item, values[key], path + key)

    def _check(self, item: Fitted, value: Any, path: str) -> None:
        kind, allowed = _kind(value), item.dtype.split()
        if kind not in allowed:
            wanted = " or ".join(map(_in_words, allowed))
            raise ValueError(f"{path} has to be {wanted}, found {kind}")
        if kind in ("int", "float") and not 0 <= value < np.inf:
            raise ValueError(f"{path} has to be finite, and 0 or more")
        sized = item.shape and kind not in ("float", "none")
        if sized or isinstance(value, np.ndarray):
            self._check_shape(item.shape, _shape(value), path)
        if kind.startswith("float") and not np.isfinite(value).all():
            raise ValueError(f"{path} holds NaN or infinity")
        if kind in ("list", "dict"):
            parts = dict(enumerate(value)) if kind == "list" else value
            parts = {str(key): part for key, part in parts.items()}
            self.check_parts(parts, item.name, f"{path}.")

    def _check_shape(
        self, wanted: tuple[str, ...], found: tuple[int, ...], path: str
    ) -> None:
        if wanted[:1] == ("...",):
            wanted, end = wanted[1:], found[1 - len(wanted) :]
        else:
            end = found
        fits = len(end) == len(wanted)
        for name, size in zip(wanted, end, strict=False):
            if name and (size or name in _MAY_BE_ZERO):
                self.sizes.setdefault(name, size)
            fits &= not name or self.sizes.get(name) == size
        if not fits:
            sizes = (f"{name}={self.sizes.get(name, 'any')}" for name in wanted)
            raise ValueError(
                f"{path} has shape {found}, but needs ({', '.join(sizes)})"
            )


def _kind(value: Any) -> str:
    """What a value is, in the words of :class:`Fitted`."""
    if value is None:
        return "none"
    if isinstance(value, np.ndarray):
        return value.dtype.name if value.dtype != object else _kind_of_objects(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return "int"
    if isinstance(value, float | np.floating):
        return "float"
    if isinstance(value, FiniteGroup):
        return "FiniteGroup"
    return _kind_of_estimator(unfrozen(value))


def _kind_of_objects(array: Any) -> str:
    return "names" if all(type(item) is str for item in array.flat) else "objects"


def _kind_of_estimator(value: Any) -> str:
    name = type(value).__name__
    is_fitted = "n_features_in_" in getattr(value, "__dict__", {})
    return name if is_fitted or not isinstance(value, BaseEstimator) else f"new {name}"


def _shape(value: Any) -> tuple[int, ...]:
    """Shape of an array, the size that an int is, order of a group, features of M."""
    if isinstance(value, np.ndarray):
        return value.shape
    if isinstance(value, FiniteGroup):
        return (value.order,)
    value = unfrozen(value)
    return (int(getattr(value, "n_features_in_", value)),)


def _in_words(dtype: str) -> str:
    if dtype in _WORDS:
        return _WORDS[dtype]
    return f"a fitted {dtype}" if dtype[0].isupper() else f"an array of {dtype}"
