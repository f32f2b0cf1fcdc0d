"""How much of a dictionary is in use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from sklearn.utils import check_array

from .._estimator import as_array


def dead_latents(Z: ArrayLike | csr_array) -> float:
    """Share of latents that no row activates.

    Parameters
    ----------
    Z : array-like or sparse array of shape (n_rows, n_components)
        Latents, as returned by ``transform``.

    Returns
    -------
    share : float
        Between 0 (each latent fires) and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.inspection import dead_latents
    >>> dead_latents(np.array([[0.0, 1.0, 0.0, 2.0], [0.0, 1.0, 0.0, 0.0]]))
    0.5
    """
    latents: Any = check_array(as_array(Z), accept_sparse=True, input_name="Z")
    fires = np.asarray((latents > 0).sum(axis=0)).ravel() > 0
    return float(1 - fires.mean())
