"""What autoencoders that know a symmetry share: the group, M, orbits of latents."""

from __future__ import annotations

from copy import copy
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from .._docs import fill
from .._estimator import Fitted
from .._rows import read_rows
from .._warnings import warn
from ..groups import ActivationTransformFitter, FiniteGroup
from ..groups._orbit_table import given, orbit_table, warn_if_no_symmetry
from ._base import BaseSAE, Plan
from ._latent_orbits import LatentOrbits
from ._outcome import FEWEST_PAIRS, JUDGED_ORBITS, is_by_luck


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


def _knows_pose(sae: OrbitedSAE) -> bool:
    if not hasattr(sae, "canonical_code_"):
        raise AttributeError(
            "predict_power needs to have seen which rows are canonical: give fit "
            "groups and power."
        )
    orbits = sae.latent_orbits_
    moves = {orbits.places(element).tobytes() for element in range(sae.order_)}
    if len(moves) < sae.order_:
        raise AttributeError(
            "predict_power needs latent orbits that are long enough: some elements of "
            f"{sae.symmetry_} move all latents alike."
        )
    return True


def _keeps_pose(sae: OrbitedSAE) -> bool:
    if sae.output == "invariant":
        raise AttributeError(
            "invariant latents do not say how a row is turned, so they cannot be "
            "decoded. Set output='equivariant' before transform."
        )
    return True


@fill
class OrbitedSAE(SymmetricSAE):
    """Base class of the autoencoders with latent orbits; not for use by itself."""

    # A subclass sets `_orbit_kinds` and `n_free_` with `_set_orbits`.

    n_free_: int
    output: str

    _fitted: ClassVar[tuple] = (
        *SymmetricSAE._fitted,
        # of each orbit, the place of its subgroup among those of the group
        Fitted("_orbit_kinds", "int64", ("n_orbits",)),
        Fitted("_orbit_lengths", "int64", ("n_orbits",)),
        Fitted("n_free_", "int", ("n_free",)),
        Fitted("canonical_code_", "float64", ("n_tied",), optional=True),
        Fitted("_poses_by_luck", "bool", optional=True),
    )

    _parameter_constraints: ClassVar[dict] = {
        **SymmetricSAE._parameter_constraints,
        "orbit_lengths": [StrOptions({"auto"}), dict],
        "output": [StrOptions({"equivariant", "invariant"})],
    }

    def _set_orbits(self, orbits: LatentOrbits) -> None:
        self._orbit_kinds, self._orbit_lengths = orbits.kinds, orbits.lengths
        self.n_free_ = orbits.n_free

    @property
    def latent_orbits_(self) -> LatentOrbits:
        """Which latents the group permutes among each other, and how."""
        orbits = LatentOrbits(self.symmetry_, self._orbit_kinds, self.n_free_)
        if not np.array_equal(orbits.lengths, self._orbit_lengths):
            raise ValueError(
                f"the latent orbits are of another group than {self.symmetry_}."
            )
        return orbits

    @property
    def n_orbits_(self) -> int:
        """Number of latent orbits."""
        return len(self._orbit_kinds)

    @property
    def orbit_lengths_(self) -> dict[int | str, int]:
        """Number of latent orbits of each length, or of each subgroup."""
        return self.latent_orbits_.by_length

    def _keep(self, plan: Plan, curves: NDArray) -> Self:
        super()._keep(plan, curves)
        code, by_luck, canonical = None, None, plan.rows.canonical
        if canonical is not None:
            code = self._canonical_code(plan.rows.X, canonical)
            by_luck = self._finds_poses_by_luck(plan.rows)
        if code is not None or plan.memory is None:
            self._set_or_drop("canonical_code_", code)
            self._set_or_drop("_poses_by_luck", by_luck)
        return self

    def _finds_poses_by_luck(self, rows: Any) -> bool:
        """Whether canonical rows of half the orbits tell no poses of the others."""
        # a mean code knows the rows that it is of
        first = np.flatnonzero(rows.elements == 0)  # of each orbit
        half = len(first) // 2
        if half < FEWEST_PAIRS or self.order_ == 1:
            return False
        last = len(rows) - 1
        chosen = np.linspace(first[half], last, 2 * JUDGED_ORBITS).astype(np.intp)
        Z = self._encode_csr(read_rows(rows.X, rows.inputs[chosen]))
        code = self._canonical_code(rows.X, rows.inputs[first[:half]])
        return is_by_luck(self._poses(Z, code), rows.elements[chosen])

    def _canonical_code(self, X: Any, canonical: NDArray) -> NDArray:
        """Mean latents of canonical rows, of shape (n_tied,)."""
        total = np.zeros(len(self.components_))
        for chunk in self._chunks(len(canonical)):
            Z = self._encode_csr(read_rows(X, canonical[chunk]))
            total += np.asarray(Z.sum(axis=0, dtype=np.float64))
        return total[: self.latent_orbits_.n_tied] / len(canonical)

    def transform(self, X: ArrayLike) -> NDArray | csr_array:
        """Encode activations.

        Parameters
        ----------
        {X}

        Returns
        -------
        Z : ndarray or csr_array
            Latents, non-negative, in the units of the activations and in the dtype
            of X. With ``output="equivariant"`` of shape (n_rows, n_components),
            at most `k` of a row non-zero, or with ``activation="batch_topk"`` those
            above `threshold_`; with ``output="invariant"`` of shape
            (n_rows, n_orbits).
        """
        if self.output == "equivariant":
            return super().transform(X)
        Z = self._encode_csr(self._checked(X))
        Z = self.latent_orbits_.pool(Z)
        return Z if self.sparse_output else Z.toarray()

    inverse_transform = available_if(_keeps_pose)(SymmetricSAE.inverse_transform)
    to_module = available_if(_keeps_pose)(SymmetricSAE.to_module)

    @available_if(_knows_pose)
    @fill
    def predict_power(self, X: ArrayLike) -> NDArray:
        """Pose of each row: the power that brings it nearest to canonical rows.

        Parameters
        ----------
        {X}

        Returns
        -------
        power : ndarray of shape (n_rows,) or (n_rows, n_generators)
            The p whose inverse makes the code most like `canonical_code_`, by inner
            product; the first on ties. It means something only as far as canonical
            rows can be told from the others.

        Warns
        -----
        UserWarning
            If it was at chance on training rows.
        """
        Z = self._encode_csr(self._checked(X))
        if vars(self).get("_poses_by_luck"):
            warn(
                "predict_power is at chance: canonical rows of half the training "
                "orbits do not tell the poses of the others. Codes move with the rows "
                "all the same. For poses, choose canonical inputs by what can be seen "
                "in them, such as upright images, or raise max_epochs."
            )
        return self.symmetry_.power_of(self._poses(Z, self.canonical_code_))

    def _poses(self, Z: csr_array, canonical_code: NDArray) -> NDArray:
        """Element (n_rows,) that brings a canonical code nearest to each code."""
        orbits = self.latent_orbits_
        moved = np.empty((self.order_, orbits.n_tied))
        for element, code in enumerate(moved):
            code[orbits.places(element)[: orbits.n_tied]] = canonical_code
        # products of float32 may leave its range
        return (Z[:, : orbits.n_tied].astype(np.float64) @ moved.T).argmax(axis=1)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Name the latents.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str
            ``grouptiedsae3_g2`` is what the second power of the generator g makes of
            the first latent of orbit 3, and ``grouptiedsae_free1`` the second free
            one. Invariant latents and orbits of one latent are ``grouptiedsae3``.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        prefix, orbits = type(self).__name__.lower(), self.latent_orbits_
        pooled = self.output == "invariant"
        names = map(str, range(orbits.n_orbits)) if pooled else orbits.names
        return np.array([f"{prefix}{name}" for name in names], dtype=object)

    @property
    def _n_features_out(self) -> int:
        return self.n_orbits_ if self.output == "invariant" else len(self.components_)
