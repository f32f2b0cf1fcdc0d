"""What autoencoders that know a symmetry share: the group, the orbits, M."""

from __future__ import annotations

from copy import copy
from numbers import Integral
from typing import Any, ClassVar

from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, Interval

from .._estimator import Fitted
from ..groups import ActivationTransformFitter, FiniteGroup
from ..groups._orbit_table import given, orbit_table, warn_if_no_symmetry
from ._base import BaseSAE


class SymmetricSAE(BaseSAE):
    """Base class of the autoencoders with a `symmetry`; not for use by itself."""

    activation_transform_: Any
    symmetry_: FiniteGroup
    order_: int

    _fitted: ClassVar[tuple] = (
        *BaseSAE._fitted,
        Fitted("symmetry_", "FiniteGroup", ("order",)),
        Fitted("order_", "int", ("order",)),
        Fitted("activation_transform_", "ActivationTransformFitter", ("n_features",)),
    )

    _parameter_constraints: ClassVar[dict] = {
        **BaseSAE._parameter_constraints,
        "symmetry": [Interval(Integral, 1, None, closed="left"), FiniteGroup, None],
        "activation_transform": [HasMethods(["fit", "act", "matrix"]), None],
    }

    def _find_orbits(
        self, X: Any, metadata: dict[str, Any], partial: bool
    ) -> tuple[FiniteGroup, NDArray]:
        """The group, and the row of each orbit and element."""
        known = self.symmetry_ if self._is_going_on(partial) and partial else None
        warn_if_no_symmetry(self, metadata, "trains a plain TopKSAE")
        return orbit_table(**metadata, symmetry=known or self.symmetry, n_rows=len(X))

    def _fit_transform_of(
        self,
        group: FiniteGroup,
        X: Any,
        metadata: dict[str, Any],
        seed: int,
        *,
        more: bool = False,
    ) -> None:
        """Fit M to orbits of a group, or a copy of M to more; a frozen one stays."""
        before = getattr(self, "activation_transform_", None) if more else None
        fitter, metadata = before or self._new_fitter(group, seed), given(metadata)
        if not more or isinstance(fitter, FrozenEstimator):
            fitted = fitter.fit(X, None, **metadata)
        elif hasattr(fitter, "partial_fit"):
            # partial_fit sets new attributes and changes none
            fitted = copy(fitter).partial_fit(X, **metadata)
        else:
            raise ValueError(
                f"activation_transform={fitter!r} has no partial_fit. Take one that "
                "has, such as ActivationTransformFitter(), or fit it first and pass it "
                "in a sklearn.frozen.FrozenEstimator."
            )
        if fitted.symmetry_ != group:
            raise ValueError(
                f"activation_transform was fitted for {fitted.symmetry_}, but the "
                f"orbits are of {group}. Fit it for the same group."
            )
        self.activation_transform_ = fitted

    def _new_fitter(self, group: FiniteGroup, seed: int) -> BaseEstimator:
        """How M is to be fitted, told the group and the seed unless it knows them."""
        fitter = clone(self.activation_transform or ActivationTransformFitter())
        if isinstance(fitter, FrozenEstimator):
            return fitter
        unknown = {
            name: group if name == "symmetry" else seed
            for name, value in fitter.get_params().items()
            if value is None
            and (name == "symmetry" or name.split("__")[-1] == "random_state")
        }
        return fitter.set_params(**unknown)
