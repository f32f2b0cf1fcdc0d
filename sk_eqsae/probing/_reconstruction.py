"""Activations rebuilt from the few latents that best separate the classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import Parameter, signature
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import (
    _num_samples,
    check_is_fitted,
    validate_data,
)

from .._doc_link import DocLinkMixin
from .._fitted import FEATURES, Fitted
from ._selection import (
    MeanDifferenceSelector,
    _class_codes,
    _row_batches,
)

FLOATS = [np.float64, np.float32]


class _Encoded(NamedTuple):
    """What a reconstruction has to know of some rows, whatever their labels.

    Latents of shape (n_rows, n_latents), and the power of each row or None.
    """

    latents: Any
    power: NDArray | None


class _EncodedRows(NamedTuple):
    """_Encoded rows kept as CSR, with the form in which the SAE takes its latents."""

    latents: sparse.csr_array
    power: NDArray | None
    as_dense: bool

    @classmethod
    def join(cls, pieces: Iterable[_Encoded]) -> _EncodedRows:
        """Put pieces together, holding one dense piece at a time."""
        formats, latents, powers = zip(
            *((sparse.issparse(z), sparse.csr_array(z), p) for z, p in pieces),
            strict=True,
        )
        power = None if powers[0] is None else np.concatenate(powers)
        return cls(sparse.vstack(latents, format="csr"), power, not formats[0])

    def pieces(self) -> Iterator[_Encoded]:
        """Cut into pieces whose dense latents take little memory."""
        for part in _row_batches(*self.latents.shape):
            latents = self.latents[part]
            power = None if self.power is None else self.power[part]
            yield _Encoded(latents.toarray() if self.as_dense else latents, power)


def _rows_for(sae: Any, X: Any, checked: Any) -> Any:
    """Give `X` with its column names if the SAE knows them, else without."""
    named = hasattr(X, "columns") and hasattr(sae, "feature_names_in_")
    return X if named else checked


def _latents_of(sae: Any, rows: Any) -> Any:
    """Latents of `rows` as an ndarray or CSR, whatever `set_output` says."""
    latents = sae.transform(rows)
    return latents.tocsr() if sparse.issparse(latents) else np.asarray(latents)


def _encode(
    sae: Any, rows: Any, *, power: NDArray | None = None, infer_power: bool = False
) -> Iterator[_Encoded]:
    """Encode validated rows piece by piece, with the power given or inferred."""
    infer = sae.predict_power if infer_power and _moves(sae) else None
    n_latents = _latents_of(sae, _safe_indexing(rows, slice(1))).shape[1]
    for part in _row_batches(_num_samples(rows), n_latents):
        piece = _safe_indexing(rows, part)
        given = None if power is None else power[part]
        yield _Encoded(_latents_of(sae, piece), infer(piece) if infer else given)


def _select_latents(
    pieces: Iterable[_Encoded], codes: NDArray[np.intp], n_features_to_select: int
) -> MeanDifferenceSelector:
    """Fit a selector on encoded rows that are not kept."""
    selector = MeanDifferenceSelector(n_features_to_select)
    return selector._fit_batches((piece.latents for piece in pieces), codes)


def _keep_columns(latents: Any, columns: NDArray[np.intp]) -> Any:
    """Copy of `latents` in which every column but the named ones is zero."""
    if sparse.issparse(latents):
        keep = np.zeros(latents.shape[1], dtype=latents.dtype)
        keep[columns] = 1
        return sparse.csr_array(latents @ sparse.diags_array(keep))
    kept = np.zeros_like(latents)
    kept[:, columns] = latents[:, columns]
    return kept


def _decode(
    sae: Any, pieces: Iterable[_Encoded], columns: NDArray[np.intp], out: NDArray
) -> NDArray:
    """Decode the latents named by `columns`, moved by their powers, into `out`."""
    start = 0
    for latents, power in pieces:
        stop = start + latents.shape[0]
        moved = {} if power is None else {"power": power}
        out[start:stop] = sae.inverse_transform(
            _keep_columns(latents, columns), **moved
        )
        start = stop
    return out


def _moves(sae: Any) -> bool:
    """Whether an SAE rebuilds canonical rows, to be moved by a power."""
    return "power" in signature(sae.inverse_transform).parameters


def _check_power(sae: Any, power: ArrayLike, n_rows: int) -> NDArray:
    """Powers as an array, one per row, for an SAE that can use them."""
    if not _moves(sae):
        raise ValueError(
            f"power was given, but inverse_transform of {sae!r} takes none: it "
            "rebuilds every row as it is; leave power=None"
        )
    powers = np.asarray(power)
    if powers.shape[:1] != (n_rows,):
        raise ValueError(
            f"power has shape {powers.shape} for {n_rows} rows of X; give one power "
            "per row, with a column per generator if there are several"
        )
    if getattr(sae, "order_", None) == 1 and powers.any():
        raise ValueError(
            f"power has values other than 0, but {sae!r} was fitted with a group of "
            "one element, which moves nothing; pass groups= and power= to its fit, or "
            "leave power=None"
        )
    return powers


def _fit_params(estimator: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata in the form in which the `fit` of `estimator` takes it.

    What nothing in `estimator` has a use for is left out, as for a plain SAE.
    """
    if isinstance(estimator, Pipeline) and not get_config()["enable_metadata_routing"]:
        return {
            f"{step}__{name}": values
            for step, part in estimator.steps
            if hasattr(part, "fit")
            for name, values in _fit_params(part, metadata).items()
        }
    used = {name: v for name, v in metadata.items() if _uses(estimator, name)}
    lost = [name for name in used if not _accepts(estimator, name)]
    if lost:
        raise ValueError(
            f"{' and '.join(lost)} cannot be passed on: a part of {estimator!r} takes "
            f"this in fit, but the fit of {type(estimator).__name__} does not; give "
            "that the parameter, or fit it beforehand and wrap it in FrozenEstimator"
        )
    return used


def _uses(estimator: Any, name: str) -> bool:
    """Whether the `fit` of an estimator or of one of its parts takes metadata."""
    if isinstance(estimator, FrozenEstimator):
        return False
    if name in signature(estimator.fit).parameters:
        return True
    parts = _parts(estimator)
    if parts:
        return any(_uses(part, name) for part in parts)
    return _accepts(estimator, name)


def _accepts(estimator: Any, name: str) -> bool:
    """Whether `fit` can be called with a keyword."""
    parameters = signature(estimator.fit).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    return name in parameters or Parameter.VAR_KEYWORD in kinds


def _parts(estimator: Any) -> list[Any]:
    """Estimators among the parameters, at any depth, but not inside frozen ones."""
    values = [
        value
        for value in estimator.get_params().values()
        if hasattr(value, "fit") and not isinstance(value, type)
    ]
    frozen = [value for value in values if isinstance(value, FrozenEstimator)]
    inside = {id(value.estimator) for value in frozen}
    return [value for value in values if id(value) not in inside]


class TruncatedReconstruction(
    DocLinkMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Activations rebuilt from the latents that best separate the classes.

    Encodes the activations with an SAE, sets all latents to zero but those chosen by
    :class:`MeanDifferenceSelector`, and decodes. Probing the result tells how much of
    a concept a few directions of the dictionary carry.

    Parameters
    ----------
    estimator : estimator
        The SAE, with `transform` and `inverse_transform`. It is cloned and fitted;
        wrap a fitted one in :class:`~sklearn.frozen.FrozenEstimator` to use it as it
        is.
    n_features_to_select : int, default=32
        How many latents to keep.
    output : {"equivariant", "invariant"}, default="equivariant"
        For an SAE that rebuilds canonical rows, whose `inverse_transform` takes a
        power, such as :class:`~sk_eqsae.EquivariantSAE`: whether :meth:`transform`
        moves the canonical reconstruction by the power inferred for each row, or
        leaves it canonical. Others have one reconstruction, and this changes nothing;
        of a :class:`~sklearn.pipeline.Pipeline`, whose `inverse_transform` takes no
        power, that is the canonical one.

    Attributes
    ----------
    estimator_ : estimator
        The fitted SAE.
    selector_ : MeanDifferenceSelector
        The fitted selector, over the latents.
    n_features_in_ : int
        Number of features of an activation.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, when `X` had string column names.

    See Also
    --------
    MeanDifferenceSelector : The selected latents themselves.
    evaluate_probes : Probes over this for many tasks.

    Notes
    -----
    The rows are encoded and decoded a few at a time, so the dense latents of all rows
    are never held at once. An SAE with `sparse_output=True` is the faster one here: its
    decoder then sees the selected latents alone.

    A power that is known (:meth:`reconstruct`) can tell a probe what it has to find:
    where the canonical inputs are upright, it is the orientation.

    References
    ----------
    .. [1] E. Erdogan and A. Lucic, "Group Equivariance Meets Mechanistic
       Interpretability: Equivariant Sparse Autoencoders", arXiv:2511.09432,
       section 4 and figure 3.

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

    __metadata_request__fit: ClassVar = {"groups": True, "power": True}

    _fitted: ClassVar[tuple] = (
        *FEATURES,
        Fitted("estimator_", "TopKSAE EquivariantSAE GroupTiedSAE", ("n_features",)),
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
        n_features_to_select: int = 32,
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
    ) -> Self:
        """Fit the SAE, then select its latents.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        y : array-like of shape (n_rows,)
            Class of each row; used for the selection.
        groups : array-like of shape (n_rows,), default=None
            Orbit of each row; passed on to `estimator`.
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Power of each row; passed on to `estimator`.

        Returns
        -------
        TruncatedReconstruction
            The fitted transformer.

        Raises
        ------
        ValueError
            If `y` has one class, `n_features_to_select` exceeds the number of
            latents, or a part of `estimator` takes `groups` or `power` in `fit` and
            they cannot be passed on to it.

        Notes
        -----
        `groups` and `power` go to the `fit` of `estimator` if it takes them, and in a
        :class:`~sklearn.pipeline.Pipeline` to each step whose `fit` does: by the
        steps' requests with metadata routing, and as `STEP__groups` without. They are
        left out where nothing takes them, as with :class:`~sk_eqsae.TopKSAE`.
        """
        checked, labels = validate_data(self, X, y, dtype=FLOATS)
        codes = _class_codes(labels)
        self.estimator_ = clone(self.estimator)
        given = {"groups": groups, "power": power}
        orbits = _fit_params(
            self.estimator_, {n: v for n, v in given.items() if v is not None}
        )
        self.estimator_.fit(X if hasattr(X, "columns") else checked, y, **orbits)
        pieces = _encode(self.estimator_, _rows_for(self.estimator_, X, checked))
        self.selector_ = _select_latents(pieces, codes, self.n_features_to_select)
        return self

    def transform(self, X: ArrayLike) -> NDArray:
        """Rebuild activations from the selected latents.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            Reconstructions, in the dtype of `X`.
        """
        check_is_fitted(self)
        checked = validate_data(self, X, dtype=FLOATS, reset=False)
        return self._rebuild(X, checked, infer_power=self.output == "equivariant")

    def reconstruct(self, X: ArrayLike, *, power: ArrayLike | None = None) -> NDArray:
        """Rebuild activations, moved by powers that are known.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Power of each row. If None, it is inferred, whatever `output` says.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            Reconstructions, in the dtype of `X`.

        Raises
        ------
        ValueError
            If `power` is given and `estimator` cannot move what it rebuilds, there is
            not one power per row, or a power is not 0 and `estimator` was fitted
            without a symmetry.
        """
        check_is_fitted(self)
        checked = validate_data(self, X, dtype=FLOATS, reset=False)
        if power is None:
            return self._rebuild(X, checked, infer_power=True)
        powers = _check_power(self.estimator_, power, len(checked))
        return self._rebuild(X, checked, power=powers)

    def _rebuild(self, X: Any, checked: NDArray, **powers: Any) -> NDArray:
        """Encode and decode piece by piece."""
        rows = _rows_for(self.estimator_, X, checked)
        pieces = _encode(self.estimator_, rows, **powers)
        selected = self.selector_.get_support(indices=True)
        out = np.empty_like(checked, order="C")
        return _decode(self.estimator_, pieces, selected, out)

    def __sklearn_tags__(self) -> Any:  # numpydoc ignore=GL08
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
