"""Whether an estimator is one that its constructor and `fit` could have made."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from .._estimator import Fitted, unfrozen
from .._json import shown
from ..groups import FiniteGroup
from ._kinds import check_kind
from ._relations import check_power, check_relations
from ._scikit_learn import NAMES

_MAY_BE_ZERO = {"n_epochs", "n_free"}
_KINDS: tuple[tuple[Any, str], ...] = (
    (bool, "bool"),
    ((int, np.integer), "int"),
    ((float, np.floating), "float"),
    (FiniteGroup, "FiniteGroup"),
    (type(None), "none"),
)


def check_estimator(estimator: Any, path: str = "") -> None:
    """Raise a ValueError if parameters or fitted attributes cannot be."""
    check_kind(estimator, path)
    if isinstance(estimator, FrozenEstimator):
        check_kind(estimator.estimator, f"{path}.estimator".lstrip("."))
        return
    attributes = attributes_of(estimator)
    attributes = {k: v for k, v in attributes.items() if k not in NAMES}
    try:
        estimator._validate_params()
        check_power(estimator)
        if attributes:
            declared = _Declared(estimator._fitted)
            declared.check_parts(attributes, "", "")
            check_relations(estimator, declared.sizes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if path else str(error)) from None


def attributes_of(estimator: BaseEstimator) -> dict[str, Any]:
    """All that is on an instance and is no parameter."""
    parameters = estimator.get_params(deep=False)
    return {k: v for k, v in vars(estimator).items() if k not in parameters}


class _Declared:
    """What is declared of the attributes of a class; `sizes` are known as it goes."""

    def __init__(self, fitted: tuple[Fitted, ...]) -> None:
        self.sizes: dict[str, int] = {}
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
            wanted = " or ".join(allowed)
            raise ValueError(f"{path} has to be of {wanted}, found {kind}")
        if kind in ("int", "float") and not 0 <= value < np.inf:
            raise ValueError(f"{path} has to be finite, and 0 or more")
        is_array = isinstance(value, np.ndarray)
        if is_array or (item.shape and kind not in ("float", "none")):
            self._check_shape(item.shape, _shape(value), path)
        if is_array and kind.startswith("float"):
            # by the range, which takes no memory; of the zeros of read_header, one
            # number in all places, by that
            some = value if any(value.strides) else value.flat[:1]
            if not np.isfinite([some.min(initial=0), some.max(initial=0)]).all():
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
    if isinstance(value, np.ndarray):
        are_names = value.dtype == object and all(type(v) is str for v in value.flat)
        return "names" if are_names else value.dtype.name
    value = unfrozen(value)
    name = type(value).__name__
    if isinstance(value, BaseEstimator):
        return name if "n_features_in_" in vars(value) else f"new {name}"
    return next((word for kinds, word in _KINDS if isinstance(value, kinds)), name)


def _shape(value: Any) -> tuple[int, ...]:
    """Shape of an array, the size that an int is, order of a group, features of M."""
    if isinstance(value, np.ndarray):
        return value.shape
    if isinstance(value, FiniteGroup):
        return (value.order,)
    value = unfrozen(value)
    return (int(getattr(value, "n_features_in_", value)),)
