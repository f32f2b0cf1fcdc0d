"""The classes that a file may name, and no others."""

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from .._json import shown
from ..groups import ActivationTransformFitter, PoseCanonicalizer
from ..probing import MeanDifferenceSelector, TruncatedReconstruction
from ..sae import EquivariantSAE, GroupTiedSAE, OrbitSAE, TopKSAE

KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        TopKSAE,
        EquivariantSAE,
        GroupTiedSAE,
        OrbitSAE,
        ActivationTransformFitter,
        PoseCanonicalizer,
        MeanDifferenceSelector,
        TruncatedReconstruction,
        FrozenEstimator,
    )
}
# parameters that say where and on what to compute are a program's own, not a file's
NOT_KEPT = frozenset({"checkpoint", "device"})


def kind_named(name: Any) -> Any:
    """Class of a name that a file gives."""
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"class {shown(name)} is none of {', '.join(KINDS)}")
    return KINDS[name]


def check_kind(estimator: BaseEstimator, path: str) -> None:
    """Raise an error unless an estimator is of a class of the table itself."""
    if KINDS.get(type(estimator).__name__) is not type(estimator):
        raise ValueError(
            f"{path or 'it'} is a {type(estimator).__name__}, but only instances of "
            f"{', '.join(KINDS)} can be written. Keep it with joblib or skops instead"
        )
