"""How good a trained dictionary is, in numpy alone: no library judges itself."""

import numpy as np
from numpy.typing import NDArray

FOUND = 0.9  # cosine at which a direction counts as found


def quality(fitted, train: NDArray, test: NDArray, directions=None) -> dict:
    """Judge a trained dictionary.

    "fvu" and "l0" are of test rows, "dead" of training rows; see `recovery`.
    """
    latents = fitted.encode(test)
    live = live_latents(fitted, train)
    scores = {
        "fvu": fvu(test, fitted.decode(latents)),
        "l0": (latents != 0).sum(axis=1).mean(),
        "dead": 1 - live.mean(),
    }
    if directions is not None:
        scores |= recovery(fitted.dictionary[live], directions)
    return scores


def fvu(X: NDArray, reconstruction: NDArray) -> float:
    """Fraction of variance unexplained, against the per-feature mean."""
    X = X.astype(np.float64)
    return np.square(X - reconstruction).sum() / np.square(X - X.mean(axis=0)).sum()


def live_latents(fitted, X: NDArray) -> NDArray:
    """Tell which latents any row activates; only scikit-learn's are ever negative."""
    parts = np.array_split(X, max(1, len(X) // 4096))
    return np.any([(fitted.encode(part) != 0).any(axis=0) for part in parts], axis=0)


def recovery(dictionary: NDArray, directions: NDArray) -> dict:
    """Compare a dictionary with the directions that the rows are made of.

    "mmcs": the best cosine of each true direction, averaged; "recall": share of true
    directions with a latent at FOUND or above; "precision": share of live latents with
    a true direction at FOUND or above.
    """
    if len(dictionary) == 0:
        return {"mmcs": 0.0, "recall": 0.0, "precision": 0.0}
    cosines = _unit(directions) @ _unit(dictionary).T
    best_latent, best_direction = cosines.max(axis=1), cosines.max(axis=0)
    return {
        "mmcs": best_latent.mean(),
        "recall": (best_latent >= FOUND).mean(),
        "precision": (best_direction >= FOUND).mean(),
    }


def _unit(rows):
    rows = rows.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
