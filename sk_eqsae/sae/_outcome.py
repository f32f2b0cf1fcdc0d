"""Warnings of what a fit has come to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from .._warnings import warn

_MANY = 0.9
_MOST = 0.5  # of the variance; of normal rows a hundredth holds 1 to 4 %
_FAR = 100  # mean squares of the rows: no fit that starts well ends there


def warn_of_outcome(
    sae: Any, fires: NDArray[np.bool_], target: NDArray, *, enough: bool
) -> None:
    """Warn of dead latents and of reconstructions that are far off."""
    # `fires` says which latents are active in some rows, which should become `target`;
    # `enough`, whether the rows are so many that each latent could have been.
    recipe = sae._recipe()
    if (target == target[0]).all():  # the intercept is all there is to learn
        return
    warn_if_few_rows_are_all(sae, target)
    warn_if_dead(fires, most_live=enough and recipe.aux_weight > 0)
    if len(sae.loss_curve_):
        if recipe.normalize:
            target = (target - target.mean(axis=0)) / sae.scale_
        warn_if_far_off(sae.loss_curve_[-1], target, normalized=recipe.normalize)


def warn_if_few_rows_are_all(sae: Any, rows: NDArray) -> None:
    """Warn if the longest hundredth of the rows holds most of the variance."""
    n_long = len(rows) // 100
    unit = rows / np.abs(rows).max()  # keeps squares finite
    squares = np.square(unit - unit.mean(axis=0), dtype=np.float64).sum(axis=1)
    order = np.argsort(squares)
    share = squares[order[len(rows) - n_long :]].sum() / squares.sum()
    if n_long and share > _MOST:
        others = sae.score(rows[order[: len(rows) - n_long]])
        warn(
            f"The longest 1 % of the rows hold {share:.0%} of the variance, as "
            f"attention sinks do, so that score is about them: of the other rows "
            f"{others:.2f} of the variance is explained. Leave them out, or shorten "
            "them before fit, such as X * np.minimum(1, 3 * np.median(norms) / "
            "norms)[:, np.newaxis] with norms = np.linalg.norm(X, axis=1)."
        )


def warn_if_dead(fires: NDArray[np.bool_], *, most_live: bool) -> None:
    """Warn if no latent is active, or hardly any where most should be."""
    # Where dead ones were not revived, as by ``recipe="paper"``, it is normal that most
    # are dead.
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
