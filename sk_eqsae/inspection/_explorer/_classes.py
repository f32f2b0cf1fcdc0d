"""What users say of rows and of features: classes, names, labels and notes."""

import json
import os
from pathlib import Path
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


def read_notes(notes: Any, n_latents: int) -> list[Any]:
    """Notes of a table or of a file that the page wrote, JSON or CSV."""
    if notes is None:
        return []
    if isinstance(notes, str | os.PathLike):
        path = Path(notes)
        if path.suffix == ".csv":
            notes = pd.read_csv(path, keep_default_na=False)
        else:
            notes = json.loads(path.read_text(encoding="utf-8"))
    notes = pd.DataFrame(notes)
    if "latent" not in notes:
        raise ValueError(
            f"notes has the columns {list(notes)}, but needs latent, and label or note."
        )
    latents = pd.to_numeric(notes["latent"])
    if not latents.isin(range(n_latents)).all():
        raise ValueError(
            f"notes are of latents from {latents.min()} to {latents.max()}, but the "
            f"autoencoder has 0 to {n_latents - 1}. Give those of this autoencoder."
        )
    texts = notes.reindex(columns=["label", "note"]).astype(object)
    texts = texts.where(texts.notna(), "").astype(str)
    return texts.assign(latent=latents.astype(int)).to_dict("records")
