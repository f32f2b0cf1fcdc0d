"""A map of features."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

_SIDE = 1000  # of the map
_FOR_UMAP = 50  # features; it looks at 15 neighbours of each


def plane(vectors: NDArray, live: NDArray) -> dict[str, Any]:
    """Places of live features by their unit vectors, and what found them."""
    places = np.full((len(vectors), 2), None)
    if live.sum() < 3 or vectors.shape[1] < 2:
        return {"by": None, "places": []}
    unit = normalize(vectors[live].astype(np.float64))
    umap = _umap() if len(unit) >= _FOR_UMAP else None
    if umap is None:
        by, at = "PCA", PCA(2, random_state=0).fit_transform(unit)
    else:  # of several threads the result would not be the same again
        model = umap(metric="cosine", random_state=0, n_jobs=1)
        by, at = "UMAP", model.fit_transform(unit)
    at = (at - at.min(axis=0)) / np.maximum(np.ptp(at, axis=0), 1e-12)
    places[live] = np.rint(_SIDE * at).astype(int)
    return {"by": by, "places": places.tolist()}


def _umap() -> Any:
    """The class UMAP, if umap-learn is installed."""
    try:
        with warnings.catch_warnings():  # of tensorflow, which is not needed
            warnings.simplefilter("ignore")
            from umap import UMAP  # noqa: PLC0415 - slow, and need not be there
    except ImportError:
        return None
    return UMAP
