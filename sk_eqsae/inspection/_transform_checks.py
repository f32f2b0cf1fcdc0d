"""What may stand for M."""

from typing import Any

from sklearn.utils.validation import check_is_fitted


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
