"""What autoencoders that know a symmetry share: the group, the orbits, M."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, Interval

from .._estimator import Fitted
from ..groups import ActivationTransformFitter, FiniteGroup
from ..groups._orbit_table import orbit_table, warn_if_no_symmetry
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
        symmetry = known or self.symmetry
        found = orbit_table(**metadata, symmetry=symmetry, n_rows=len(X))
        warn_if_no_symmetry(self, metadata["groups"], "trains a plain TopKSAE")
        return found

    def _new_fitter(self, group: FiniteGroup, seed: int) -> BaseEstimator:
        """How M is to be fitted, told the group and the seed unless it knows them."""
        fitter = self.activation_transform or ActivationTransformFitter()
        fitter = clone(fitter)
        if isinstance(fitter, FrozenEstimator):
            return fitter
        unknown = {
            name: group if name == "symmetry" else seed
            for name, value in fitter.get_params().items()
            if value is None
            and (name == "symmetry" or name.split("__")[-1] == "random_state")
        }
        return fitter.set_params(**unknown)
