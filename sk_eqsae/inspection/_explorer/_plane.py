"""Which features are near each other, and a map of them."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from ._page import rounded

_SIDE = 1000  # of the map
_FOR_UMAP = 50  # features; it looks at 15 neighbours of each
_N_NEAREST = 5
_CHUNK = 256  # latents that are compared with all others at a time


def nearest(vectors: NDArray | csr_array) -> list[Any]:
    """Other rows of largest cosine with each row, and these cosines."""
    unit, found = normalize(vectors.astype(np.float32)), []
    n_nearest = min(_N_NEAREST, unit.shape[0] - 1)
    for rows in gen_batches(unit.shape[0], _CHUNK):
        cosines = unit[rows] @ unit.T
        cosines = cosines.toarray() if issparse(cosines) else cosines
        here = np.arange(len(cosines))
        cosines[here, here + rows.start] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :n_nearest]
        values = rounded(np.take_along_axis(cosines, order, axis=1), 2)
        found += [
            [[int(j), c] for j, c in zip(*pair, strict=True) if c]
            for pair in zip(order, values, strict=True)
        ]
    return found


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
