"""Activations rebuilt from the few latents that best separate the classes."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import OneToOneFeatureMixin, _fit_context, clone
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object
from sklearn.utils.validation import check_is_fitted, validate_data

from .._docs import fill
from .._estimator import FEATURES, Fitted, FloatTransformer, as_array
from ..groups._orbit_table import METADATA, given
from ._mean_difference import FLOATS, MeanDifferenceSelector, class_codes, labels_of
from ._truncation import check_power, decode, encode, rows_for


def _asked_for(estimator: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata that the `fit` of an estimator requests, named as it takes them."""
    if isinstance(estimator, Pipeline):
        routed = get_config()["enable_metadata_routing"]
        return {
            name if routed else f"{step}__{name}": values
            for step, part in estimator.steps
            for name, values in _asked_for(part, metadata).items()
        }
    routing = get_routing_for_object(estimator)
    is_own = isinstance(routing, MetadataRequest)
    requests = routing.fit.requests if is_own else {}
    if unset := [name for name in metadata if requests.get(name, False) is None]:
        raise ValueError(
            f"the fit of {type(estimator).__name__} takes {' and '.join(unset)}, but "
            "does not say if it wants them. Write into its class "
            '__metadata_request__fit = {"groups": True, "power": True, "site": True}, '
            "with False for what it does not want."
        )
    return {name: metadata[name] for name in routing.consumes("fit", metadata)}


@fill
class TruncatedReconstruction(OneToOneFeatureMixin, FloatTransformer):
    """Activations rebuilt from the latents that best separate the classes.

    Encodes the activations with an SAE, sets all latents to zero but those chosen by
    :class:`MeanDifferenceSelector`, and decodes. Probing the result tells how much of
    a concept a few directions of the dictionary carry.

    Parameters
    ----------
    estimator : estimator
        The SAE, which is cloned and fitted; wrap a fitted one in
        :class:`~sklearn.frozen.FrozenEstimator` to use it as it is.
    n_features_to_select : int, default=None
        How many latents to keep; None is 32, or all if there are fewer.
    output : {"equivariant", "invariant"}, default="equivariant"
        Whether :meth:`transform` moves the canonical reconstruction of an
        :class:`~sk_eqsae.EquivariantSAE` by the power inferred for each row, or leaves
        it canonical, as it always does in a :class:`~sklearn.pipeline.Pipeline`.

    Attributes
    ----------
    estimator_ : estimator
        The fitted SAE.
    selector_ : MeanDifferenceSelector
        The fitted selector, over the latents.
    {features_in}

    Notes
    -----
    Rows are encoded and decoded a few at a time, the faster with `sparse_output=True`.
    A power that is known (:meth:`reconstruct`) can tell a probe what it has to find:
    where the canonical inputs are upright, it is the orientation.

    {paper}

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from sk_eqsae.probing import TruncatedReconstruction
    >>> X = np.random.default_rng(0).normal(size=(50, 6))
    >>> y = X[:, 0] > 0
    >>> truncated = TruncatedReconstruction(PCA(), n_features_to_select=2).fit(X, y)
    >>> truncated.transform(X).shape
    (50, 6)
    >>> int(truncated.selector_.get_support().sum())
    2
    """

    __metadata_request__fit: ClassVar = METADATA

    _fitted: ClassVar[tuple] = (
        *FEATURES,
        Fitted(
            "estimator_",
            "TopKSAE EquivariantSAE GroupTiedSAE OrbitSAE",
            ("n_features",),
        ),
        Fitted("selector_", "MeanDifferenceSelector", ("n_latents",)),
    )

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "transform", "inverse_transform"])],
        "n_features_to_select": MeanDifferenceSelector._parameter_constraints[
            "n_features_to_select"
        ],
        "output": [StrOptions({"equivariant", "invariant"})],
    }

    def __init__(
        self,
        estimator: Any,
        n_features_to_select: int | None = None,
        *,
        output: str = "equivariant",
    ) -> None:
        self.estimator = estimator
        self.n_features_to_select = n_features_to_select
        self.output = output

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
        site: ArrayLike | None = None,
    ) -> Self:
        """Fit the SAE, then select its latents.

        Parameters
        ----------
        {X}
        y : array-like of shape (n_rows,)
            Class of each row; used for the selection.
        {metadata}

        {self}

        Raises
        ------
        ValueError
            If `y` has one class or missing values, `n_features_to_select` exceeds the
            number of latents, or `estimator` does not say if it wants metadata.

        Notes
        -----
        Metadata go to the `fit` of `estimator`, or of a pipeline's steps, if it
        requests them.
        """
        X, y = as_array(X), labels_of(y)
        checked, labels = validate_data(self, X, y, dtype=FLOATS)
        codes = class_codes(labels)
        self.estimator_ = clone(self.estimator)
        told = given({"groups": groups, "power": power, "site": site})
        self.estimator_.fit(
            X if hasattr(X, "columns") else checked,
            y,
            **_asked_for(self.estimator_, told),
        )
        encoded = encode(self.estimator_, rows_for(self.estimator_, X, checked))
        self.selector_ = encoded.select(codes, self.n_features_to_select)
        return self

    def transform(self, X: ArrayLike) -> NDArray:
        """Rebuild activations from the selected latents.

        Parameters
        ----------
        {X}

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            Reconstructions, in the dtype of `X`.
        """
        return self._rebuild(X, infer_power=self.output == "equivariant")

    def reconstruct(self, X: ArrayLike, *, power: ArrayLike | None = None) -> NDArray:
        """Rebuild activations, moved by powers that are known.

        Parameters
        ----------
        {X}
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Power of each row. If None, it is inferred, whatever `output` says.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            Reconstructions, in the dtype of `X`.

        Raises
        ------
        ValueError
            If `power` is given and `estimator` cannot move what it rebuilds, or was
            fitted without a symmetry; or if there is not one power per row.
        """
        return self._rebuild(X, power, infer_power=power is None)

    def _rebuild(
        self, X: ArrayLike, power: ArrayLike | None = None, *, infer_power: bool
    ) -> NDArray:
        """Encode and decode piece by piece."""
        check_is_fitted(self)
        X, sae = as_array(X), self.estimator_
        checked = validate_data(self, X, dtype=FLOATS, reset=False)
        powers = None if power is None else check_power(sae, power, len(checked))
        rows = rows_for(sae, X, checked)
        encoded = encode(sae, rows, power=powers, infer_power=infer_power)
        selected = self.selector_.get_support(indices=True)
        return decode(sae, encoded, selected, np.empty_like(checked, order="C"))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
