"""What may stand for M."""

from typing import Any

from sklearn.utils.validation import check_is_fitted


def check_kind(activation_transform: Any) -> None:
    """Check that an estimator can be an M.

    Parameters
    ----------
    activation_transform : object
        What the user has given.

    Raises
    ------
    TypeError
        If it has no matrices.
    """
    if hasattr(activation_transform, "matrix"):
        return
    own = hasattr(activation_transform, "activation_transform_")
    hint = " The M that it was fitted with is its activation_transform_." if own else ""
    raise TypeError(
        "activation_transform has to be an ActivationTransformFitter, found "
        f"{type(activation_transform).__name__}.{hint}"
    )


def check_fitter(activation_transform: Any) -> Any:
    """Check that an estimator is a fitted M.

    Parameters
    ----------
    activation_transform : object
        What the user has given.

    Returns
    -------
    fitter : estimator
        The same.

    Raises
    ------
    TypeError
        If it has no matrices.
    """
    check_kind(activation_transform)
    check_is_fitted(activation_transform)
    return activation_transform
