"""Classes of rows, one of each row or several."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from ..._estimator import as_array


def members_of(labels: Any, n_rows: int, argument: str) -> tuple[list[str], NDArray]:
    """Names of classes, and which rows are of each: (n_rows, n_classes)."""
    if np.ndim(labels) == 2 and np.shape(labels)[1] > 1:
        return _indicators(labels, n_rows, argument)
    values = complete(labels, argument, "class", "row")
    check_consistent_length(values, np.empty(n_rows))
    check_classification_targets(values)
    classes, codes = np.unique(values, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"{argument} has to hold two classes or more, found {classes}."
        )
    return [str(name) for name in classes], np.eye(len(classes))[codes]


def _indicators(labels: Any, n_rows: int, argument: str) -> tuple[list[str], NDArray]:
    members = np.asarray(as_array(labels))
    check_consistent_length(members, np.empty(n_rows))
    if not np.isin(members, (0, 1)).all():
        raise ValueError(
            f"{argument} of shape {members.shape} has to say with 0 and 1 which rows "
            "are of each class. Of one class per row give one axis."
        )
    names = getattr(labels, "columns", range(members.shape[1]))
    return [str(name) for name in names], members.astype(np.float64)


def complete(values: ArrayLike, argument: str, what: str, of: str) -> NDArray:
    """Entries of one axis, none of them missing: NaN, NaT, None, or masked."""
    # in an array of strings, the NaN of a list would be the text "nan"
    given: Any = values
    if not hasattr(values, "dtype"):
        given = np.asarray(values, dtype=object)
    missing = np.flatnonzero(
        np.asarray(pd.isna(given)) | np.ravel(np.ma.getmask(values))
    )
    if len(missing):
        raise ValueError(
            f"{argument} has no {what} for {len(missing)} {of}(s), such as "
            f"{missing[0]}. Give these a {what} of their own, such as 'none'."
        )
    # an array of strings drops NUL at their end
    are_texts = all(isinstance(value, str) for value in np.ravel(given))
    return column_or_1d(given if are_texts else as_array(values))
