"""Warnings of what a fit has come to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from .._warnings import warn

_MANY = 0.9
_FAR = 100  # mean squares of the rows: no fit that starts well ends there


def warn_of_outcome(
    sae: Any, fires: NDArray[np.bool_], target: NDArray, *, enough: bool
) -> None:
    """Warn of dead latents and of reconstructions that are far off.

    `fires` says which latents are active in some rows, which should become `target`;
    `enough`, whether the rows are so many that each latent could have been.
    """
    recipe = sae._recipe()
    if (target == target[0]).all():  # the intercept is all there is to learn
        return
    warn_if_dead(fires, most_live=enough and recipe.aux_weight > 0)
    if len(sae.loss_curve_):
        if recipe.normalize:
            target = (target - target.mean(axis=0)) / sae.scale_
        warn_if_far_off(sae.loss_curve_[-1], target, normalized=recipe.normalize)


def warn_if_dead(fires: NDArray[np.bool_], *, most_live: bool) -> None:
    """Warn if no latent is active, or hardly any where most should be.

    Where dead ones were not revived, as by ``recipe="paper"``, it is normal that most
    are dead.
    """
    n_latents, n_dead = len(fires), int((~fires).sum())
    if n_dead == n_latents:
        warn(
            "All latents are dead: no training row has an active one, so transform "
            "gives zeros. Lower lr (the learning rate), or look at the scale of X; "
            "recipe='default' does not depend on it.",
            ConvergenceWarning,
        )
    elif most_live and n_dead > _MANY * n_latents:
        warn(
            f"{n_dead} of {n_latents} latents are dead: hardly any training row has "
            "them active. Raise max_epochs, lower lr (the learning rate), or lower "
            "n_components if the data have so few features.",
            ConvergenceWarning,
        )


def warn_if_far_off(loss: float, target: NDArray, *, normalized: bool) -> None:
    """Warn if the loss is more than a hundred times that of a reconstruction of zeros.

    `target` holds some of the rows that were to be rebuilt, in the units of the loss.
    """
    zeros = float(np.square(target, dtype=np.float64).sum(axis=1).mean())
    if loss > _FAR * zeros > 0:
        advice = (
            "Raise max_epochs, or lower lr (the learning rate), k or n_components."
            if normalized
            else "Bring X to a scale of about 1, or use recipe='default', which does "
            "so by itself, or lower lr."
        )
        warn(
            f"Reconstructions are far from the rows: the loss is {loss / zeros:.0e} "
            f"times that of zeros. {advice}",
            ConvergenceWarning,
        )
