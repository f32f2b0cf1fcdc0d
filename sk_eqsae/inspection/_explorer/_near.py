"""Features that are near each other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from ._page import rounded

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
