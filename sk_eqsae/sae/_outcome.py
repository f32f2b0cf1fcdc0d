"""Warnings of what a fit has come to."""

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from .._warnings import warn

_CHANCES = 10  # active latents of the sample, for each latent of the dictionary
_LEAST = 1_024  # rows of the sample
_MANY = 0.9
_FAR = 100  # mean squares of the rows: no fit that starts well ends there


def sample(n_rows: int, n_latents: int, k: int) -> NDArray[np.intp]:
    """Choose rows that tell which latents are dead.

    Parameters
    ----------
    n_rows : int
        Number of rows of the training data.
    n_latents : int
        Size of the dictionary.
    k : int
        Latents that a row activates.

    Returns
    -------
    rows : ndarray of shape (n_sample,)
        Their numbers, evenly spaced: so many that each latent would be active ten
        times if all were equally often, or all rows.
    """
    wanted = max(_LEAST, -(-_CHANCES * n_latents // k))
    return np.linspace(0, n_rows - 1, min(n_rows, wanted)).astype(np.intp)


def warn_if_dead(fires: NDArray[np.bool_], *, n_chances: int, revives: bool) -> None:
    """Warn if no latent is active, or hardly any where they should be.

    Parameters
    ----------
    fires : ndarray of shape (n_latents,)
        Whether each latent is active in a row of the sample.
    n_chances : int
        How many latents the rows of the sample could activate.
    revives : bool
        Whether dead latents were revived in training. Where they were not, as by
        ``recipe="paper"``, it is normal that most are dead.

    Warns
    -----
    ConvergenceWarning
        If all are dead or, with `revives` and enough rows, more than 90 %.
    """
    n_latents, n_dead = len(fires), int((~fires).sum())
    if n_dead == n_latents:
        _warn(
            "All latents are dead: no training row has an active one, so transform "
            "gives zeros. Lower lr (the learning rate), or look at the scale of X; "
            "recipe='default' does not depend on it."
        )
    elif revives and n_chances >= _CHANCES * n_latents and n_dead > _MANY * n_latents:
        _warn(
            f"{n_dead} of {n_latents} latents are dead: hardly any training row has "
            "them active. Raise max_epochs, lower lr (the learning rate), or lower "
            "n_components if the data have so few features."
        )


def warn_if_far_off(loss: float, target: NDArray, *, normalized: bool) -> None:
    """Warn if reconstructions are much larger than what they should be.

    Parameters
    ----------
    loss : float
        Mean loss of the last epoch.
    target : ndarray of shape (n_rows, n_features)
        Some of the rows that were to be rebuilt, in the units of the loss.
    normalized : bool
        Whether training brought rows to a scale of 1.

    Warns
    -----
    ConvergenceWarning
        If the loss is more than a hundred times that of a reconstruction of zeros.
    """
    zeros = float(np.square(target, dtype=np.float64).sum(axis=1).mean())
    if loss > _FAR * zeros > 0:
        advice = (
            "Raise max_epochs, or lower lr (the learning rate), k or n_components."
            if normalized
            else "Bring X to a scale of about 1, or use recipe='default', which does "
            "so by itself, or lower lr."
        )
        _warn(
            f"Reconstructions are far from the rows: the loss is {loss / zeros:.0e} "
            f"times that of zeros. {advice}"
        )


def _warn(message: str) -> None:
    warn(message, ConvergenceWarning)
