"""What may stand for an autoencoder, for M, and for its rows."""

from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from .._estimator import as_array, is_on_disk
from ..sae._base import BaseSAE


def check_sae(sae: Any, name: str = "sae") -> None:
    """Refuse what is no fitted autoencoder of this package."""
    if not isinstance(sae, BaseSAE):
        raise TypeError(
            f"{name} has to be a fitted autoencoder of this package, found {sae!r}."
        )
    check_is_fitted(sae)


def checked_rows(X: Any, n_features: int) -> Any:
    """Rows with as many features as M has; what is on the disk stays there."""
    if not is_on_disk(X):
        X = check_array(as_array(X), dtype=(np.float64, np.float32), input_name="X")
    if X.shape[1] != n_features:
        raise ValueError(
            f"X has {X.shape[1]} features, but activation_transform was fitted on "
            f"{n_features}. Give activations of the same layer."
        )
    return X


def check_transform(activation_transform: Any, *, fitted: bool = True) -> None:
    """Refuse what has no matrices, or none yet."""
    if not hasattr(activation_transform, "matrix"):
        own = hasattr(activation_transform, "activation_transform_")
        hint = " The M that it was fitted with is its activation_transform_."
        raise TypeError(
            "activation_transform has to be an ActivationTransformFitter, found "
            f"{type(activation_transform).__name__}.{hint if own else ''}"
        )
    if fitted:
        check_is_fitted(activation_transform)
