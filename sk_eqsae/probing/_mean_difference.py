"""Keep the few latents that best separate the classes."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import _fit_context
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .._docs import fill
from .._estimator import FEATURES, Fitted, FloatTransformer, as_array, as_entries

BYTES_PER_BATCH = 64 * 2**20
DEFAULT_N_KEPT = 32
FLOATS = [np.float64, np.float32]


def row_batches(n_rows: int, n_columns: int) -> Iterable[slice]:
    """Cut rows of `n_columns` float64 numbers into slices of a few mebibytes."""
    size = max(1, BYTES_PER_BATCH // (8 * n_columns))
    return gen_batches(n_rows, size)


def labels_of(y: ArrayLike | None) -> NDArray | None:
    """Labels as an array, none of which may be missing."""
    return None if y is None else as_entries(y, "y")


def _numbers(X: Any) -> Any:
    """Latents with a dtype, which scikit-learn's selectors leave as they come."""
    X = as_array(X)
    is_object = getattr(X, "dtype", None) == np.dtype(object)
    return X.astype(np.float64) if is_object else X


def class_codes(y: NDArray) -> NDArray[np.intp]:
    """Number the classes of `y` from 0, after checking that there are several."""
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"y has only one class ({classes.tolist()[0]!r}), so no latent can "
            "separate classes; pass labels with at least two classes"
        )
    return codes


def _mean_difference(Z: Any, codes: NDArray[np.intp]) -> NDArray:
    """Range of the class means of each column of Z, an ndarray or CSR."""
    # The sums are kept in float64 and taken row by row, so that equal columns score
    # equally to the last bit, and CSR scores as dense does.
    # Row c of the membership matrix marks the rows of class c.
    ones = np.ones(len(codes))
    membership = sparse.csc_array((ones, codes, np.arange(len(codes) + 1)))
    sums: Any = 0.0
    for rows in row_batches(*Z.shape):
        products = membership[:, rows].tocsr() @ Z[rows]
        sums = sums + (products.toarray() if sparse.issparse(products) else products)
    means = sums / np.bincount(codes)[:, None]
    return np.ptp(means, axis=0)


@fill
class MeanDifferenceSelector(SelectorMixin, FloatTransformer):
    """Keep the latents whose class means differ most.

    The truncation of the paper: the latents with the largest absolute difference
    between the means of the two classes. With more than two classes the score of a
    latent is the range (largest minus smallest) of its class means.

    Parameters
    ----------
    n_features_to_select : int, default=None
        How many latents to keep; None is 32, or all if there are fewer. Equal scores
        are taken in order of their index.

    Attributes
    ----------
    scores_ : ndarray of shape (n_features,)
        Range of the class means of each latent.
    {features_in}

    {paper}

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.probing import MeanDifferenceSelector
    >>> latents = np.array([[0.0, 5.0, 1.0], [0.0, 5.0, 2.0], [3.0, 5.0, 0.0]])
    >>> selector = MeanDifferenceSelector(1).fit(latents, [0, 0, 1])
    >>> selector.scores_
    array([3. , 0. , 1.5])
    >>> selector.transform(latents)
    array([[0.],
           [0.],
           [3.]])
    """

    _fitted: ClassVar[tuple] = (
        *FEATURES,
        Fitted("scores_", "float64", ("n_features",)),
    )

    _parameter_constraints: ClassVar[dict] = {
        "n_features_to_select": [Interval(Integral, 1, None, closed="left"), None]
    }

    def __init__(self, n_features_to_select: int | None = None) -> None:
        self.n_features_to_select = n_features_to_select

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Score the latents and choose the best.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_rows, n_features)
            Latents.
        y : array-like of shape (n_rows,)
            Class of each row.

        {self}

        Raises
        ------
        ValueError
            If `y` has one class or is continuous, or `n_features_to_select` exceeds
            the number of latents.
        """
        Z, labels = validate_data(
            self, as_array(X), labels_of(y), accept_sparse="csr", dtype=FLOATS
        )
        return self._fit_latents(Z, class_codes(labels))

    def transform(self, X: ArrayLike) -> Any:
        """Keep the chosen latents.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_rows, n_features)
            Latents.

        Returns
        -------
        {ndarray, sparse matrix} of shape (n_rows, n_features_to_select)
            The chosen ones, in the order of their index.
        """
        return super().transform(_numbers(X))

    def inverse_transform(self, X: ArrayLike) -> Any:
        """Put the chosen latents back to their places.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_rows, n_features_to_select)
            The chosen ones.

        Returns
        -------
        {ndarray, sparse matrix} of shape (n_rows, n_features)
            Latents, of which all others are 0.
        """
        return super().inverse_transform(_numbers(X))

    def _fit_latents(self, Z: Any, codes: NDArray[np.intp]) -> Self:
        """Fit to validated latents and the number of each row's class."""
        scores = _mean_difference(Z, codes)
        if (self.n_features_to_select or 1) > len(scores):
            raise ValueError(
                f"n_features_to_select={self.n_features_to_select} is larger than the "
                f"number of latents, {len(scores)}; select at most {len(scores)} or "
                "fit an SAE with more n_components"
            )
        self.n_features_in_ = len(scores)
        self.scores_ = scores
        return self

    def _get_support_mask(self) -> NDArray[np.bool_]:
        """Mark the best latents, the lower index first among equal scores."""
        check_is_fitted(self)
        n_kept = self.n_features_to_select or DEFAULT_N_KEPT
        best = np.argsort(-self.scores_, kind="stable")[:n_kept]
        mask = np.zeros(len(self.scores_), dtype=bool)
        mask[best] = True
        return mask

    def __sklearn_tags__(self) -> Any:  # numpydoc ignore=GL08
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        return tags
