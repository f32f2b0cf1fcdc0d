"""How good a trained dictionary is, in numpy alone: no library judges itself."""

import numpy as np
from numpy.typing import NDArray

FOUND = 0.9  # cosine at which a direction counts as found


def quality(fitted, train: NDArray, test: NDArray, directions=None) -> dict:
    """Judge a trained dictionary.

    Parameters
    ----------
    fitted : Fitted
        What an adaptor returns.
    train, test : ndarray of shape (n_rows, n_features)
        Rows it was and was not trained on.
    directions : ndarray of shape (n_directions, n_features), default=None
        What the rows are made of, where that is known.

    Returns
    -------
    scores : dict of float
        "fvu" and "l0" on test rows, "dead" on training rows and, with directions,
        "mmcs", "precision" and "recall".
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
    """Fraction of variance unexplained, against the per-feature mean.

    Parameters
    ----------
    X, reconstruction : ndarray of shape (n_rows, n_features)
        Rows and what was made of them.

    Returns
    -------
    fvu : float
        0 is perfect, predicting the mean of X scores 1.
    """
    X = X.astype(np.float64)
    return np.square(X - reconstruction).sum() / np.square(X - X.mean(axis=0)).sum()


def live_latents(fitted, X: NDArray) -> NDArray:
    """Tell which latents any row activates.

    Parameters
    ----------
    fitted : Fitted
        What an adaptor returns.
    X : ndarray of shape (n_rows, n_features)
        Rows.

    Returns
    -------
    live : ndarray of bool, shape (n_components,)
        True where a latent is not zero for some row. Only scikit-learn's are ever
        negative.
    """
    parts = np.array_split(X, max(1, len(X) // 4096))
    return np.any([(fitted.encode(part) != 0).any(axis=0) for part in parts], axis=0)


def recovery(dictionary: NDArray, directions: NDArray) -> dict:
    """Compare a dictionary with the directions that the rows are made of.

    Parameters
    ----------
    dictionary : ndarray of shape (n_live, n_features)
        Directions of the live latents.
    directions : ndarray of shape (n_directions, n_features)
        The true ones.

    Returns
    -------
    scores : dict of float
        "mmcs": the best cosine of each true direction, averaged; "recall": share of
        true directions with a latent at FOUND or above; "precision": share of live
        latents with a true direction at FOUND or above.
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
