"""The classes that a file may name, and no others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from .._container import shown
from ..groups import ActivationTransformFitter, PoseCanonicalizer
from ..probing import MeanDifferenceSelector, TruncatedReconstruction
from ..sae import EquivariantSAE, GroupTiedSAE, TopKSAE
from . import _checks, _instance


@dataclass(frozen=True)
class Kind:
    """A class, and what `fit` sets on its instances.

    Attributes
    ----------
    type : type
        The class.
    required : frozenset of str
        Attributes that every fitted instance has.
    optional : frozenset of str
        Attributes that some have.
    check : callable
        Raises ValueError unless the attributes of an instance fit together.
    """

    type: Any
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    check: Callable[[Any], Any] = lambda estimator: None


def _kind(type_: Any, check: Callable, required: str, optional: str = "") -> Kind:
    names = frozenset(["n_features_in_", *required.split()])
    return Kind(
        type_, names, frozenset(["feature_names_in_", *optional.split()]), check
    )


_SAE = "coefs_ intercepts_ components_ intercept_ mean_ scale_ loss_curve_ n_iter_ "
_SYMMETRY = "activation_transform_ symmetry_ order_ "
_KINDS = [
    Kind(FrozenEstimator),
    _kind(TopKSAE, _checks.check_sae, _SAE, "error_curve_ threshold_ _memory"),
    _kind(
        EquivariantSAE,
        _checks.check_equivariant,
        _SAE + _SYMMETRY,
        "error_curve_ threshold_ _memory",
    ),
    _kind(
        GroupTiedSAE,
        _checks.check_group_tied,
        _SAE + _SYMMETRY + "n_components_ n_free_",
        "error_curve_ threshold_ canonical_code_ _memory",
    ),
    _kind(
        ActivationTransformFitter,
        _checks.check_fitter,
        "M_ symmetry_ order_ order_error_",
        "rank_ multiplicities_ loss_curve_ n_iter_ _sums",
    ),
    _kind(
        PoseCanonicalizer,
        _checks.check_canonicalizer,
        "activation_transform_ direction_ spread_ _readouts",
    ),
    _kind(MeanDifferenceSelector, _checks.check_selector, "scores_"),
    _kind(TruncatedReconstruction, _checks.check_truncated, "estimator_ selector_"),
]
KINDS = {kind.type.__name__: kind for kind in _KINDS}


def kind_of(estimator: BaseEstimator, path: str) -> Kind:
    """Look up the class of an estimator.

    Parameters
    ----------
    estimator : estimator
        Any.
    path : str
        Where it is, for the error.

    Returns
    -------
    kind : Kind
        The class.

    Raises
    ------
    ValueError
        If it is none of the table; subclasses are not.
    """
    kind = KINDS.get(type(estimator).__name__)
    if kind is None or kind.type is not type(estimator):
        raise ValueError(
            f"{path or 'it'} is a {type(estimator).__name__}, but only instances of "
            f"{', '.join(KINDS)} can be written. Keep it with joblib or skops instead"
        )
    return kind


def kind_named(name: Any) -> Kind:
    """Look up a class by the name that a file gives.

    Parameters
    ----------
    name : object
        Any JSON value.

    Returns
    -------
    kind : Kind
        The class.

    Raises
    ------
    ValueError
        If it is not in the table.
    """
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"class {shown(name)} is none of {', '.join(KINDS)}")
    return KINDS[name]


def check_estimator(estimator: BaseEstimator) -> None:
    """Check all that can be told of an instance without its data.

    Parameters
    ----------
    estimator : estimator
        One of a class of the table, fitted or not.

    Raises
    ------
    ValueError
        If parameters are wrong, or attributes are missing or do not fit together.
    """
    kind = kind_of(estimator, "")
    if kind.type is FrozenEstimator:
        kind_of(estimator.estimator, "estimator")
        return
    _checks.check_parameters(estimator)
    attributes = set(vars(estimator)) - set(estimator.get_params(deep=False))
    attributes -= _instance.NAMES
    if unknown := attributes - kind.required - kind.optional:
        raise ValueError(f"{shown(min(unknown))} is no attribute that fit sets")
    if not attributes:
        return
    if missing := kind.required - attributes:
        raise ValueError(
            f"it is fitted in part: it has no {', '.join(sorted(missing))}"
        )
    _checks.check_names(estimator)
    kind.check(estimator)
