"""Pictures of how training went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..groups._orbit_table import orbit_table
from ..sae._rows import TrainingRows
from ._drawing import (
    axes_or_new,
    check_table,
    legend_of_names,
    line_styles,
    log_axis,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LEAST = 1e-16  # where a loss of zero is drawn on the logarithmic axis


class LossCurveDisplay:
    """FVU or training loss of autoencoders over epochs.

    The axis is logarithmic, lower is better.

    Parameters
    ----------
    curves : pandas.DataFrame
        One row per autoencoder and epoch, with the columns `name`, `epoch` and
        `loss`.
    loss_name : str, default="training loss"
        What the loss is, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure that holds it.

    See Also
    --------
    FrontierDisplay : How good the trained autoencoders are.

    Notes
    -----
    What is drawn of an epoch is the mean over its batches, while weights change. The
    FVU is of the squared error alone, `error_curve_`. The loss is what training makes
    small: with `nested` the mean over all prefixes, with a recipe that revives dead
    latents the auxiliary loss, too. With the default recipe it is as much as twice the
    squared error while latents are dead. That of an :class:`~sk_eqsae.EquivariantSAE`
    holds the consistency loss, too: 0.3 times the squared error, or more while codes
    are not invariant.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_eqsae import TopKSAE, fit_many
    >>> from sk_eqsae.inspection import LossCurveDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> saes = {f"k = {k}": TopKSAE(64, k=k, max_epochs=10) for k in (2, 8)}
    >>> saes = dict(zip(saes, fit_many(saes.values(), X)))
    >>> display = LossCurveDisplay.from_estimator(saes, X)
    >>> display.ax_.get_ylabel()
    'training FVU'
    """

    def __init__(
        self, curves: pd.DataFrame, *, loss_name: str = "training loss"
    ) -> None:
        self.curves = curves
        self.loss_name = loss_name

    @classmethod
    def from_estimator(
        cls,
        saes: BaseEstimator | Mapping[str, BaseEstimator],
        X: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Collect the losses and plot them.

        Parameters
        ----------
        saes : estimator or dict
            A fitted autoencoder, or several by name.
        X : array-like of shape (n_rows, n_features), default=None
            Activations that they were trained on. With them the FVU is drawn, so that
            predicting the mean has 1; where one has `nested`, or is from an older file
            and does not know its squared error, the loss of all of them over the
            variance of the rows. Without them losses are per row, in units of the
            activations squared.
        groups : array-like of shape (n_rows,), default=None
            Orbit id of each row. Needed with X for an EquivariantSAE, which is trained
            to reproduce the canonical rows, not all.
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Powers of the generators of each row, needed where `groups` is.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : LossCurveDisplay
            The drawn display.

        Raises
        ------
        TypeError
            If `saes` holds something else than autoencoders.
        ValueError
            If one was not trained here, if X has no variance, or if `groups` and
            `power` are needed and missing.
        """
        import pandas as pd  # noqa: PLC0415

        if not isinstance(saes, Mapping):
            saes = {type(saes).__name__: saes}
        if not saes:
            raise ValueError("saes is empty. Pass fitted autoencoders by name.")
        rows = None if X is None else (X, groups, power)
        for name, sae in saes.items():
            _check_trained(str(name), sae)
        fvu = rows is not None and all(map(_knows_fvu, saes.values()))
        curves = [
            _curve(str(name), sae, rows, errors=fvu) for name, sae in saes.items()
        ]
        every = pd.concat(curves, ignore_index=True)
        return cls(every, loss_name=_loss_name(rows, fvu=fvu)).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        self : LossCurveDisplay
            The display, with `ax_` and `figure_`.
        """
        origin = "the curves of a LossCurveDisplay, or make one by from_estimator"
        check_table(self.curves, "curves", ("name", "epoch", "loss"), origin)
        ax = axes_or_new(ax)
        names = list(dict.fromkeys(self.curves["name"]))
        for name, style in zip(names, line_styles(), strict=False):
            curve = self.curves[self.curves["name"] == name]
            losses = np.maximum(curve["loss"], _LEAST)
            # markers evenly spaced along each line, however many epochs it has
            ax.plot(curve["epoch"], losses, label=name, markevery=0.2, **style)
        log_axis(ax, "y", np.maximum(self.curves["loss"].to_numpy(), _LEAST))
        ax.set(xlabel="epoch", ylabel=self.loss_name)
        legend_of_names(ax, names, handlelength=2.4)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _knows_fvu(sae: Any) -> bool:
    return sae.nested is None and hasattr(sae, "error_curve_")


def _loss_name(rows: tuple | None, *, fvu: bool) -> str:
    if rows is None:
        return "training loss per row"
    return "training FVU" if fvu else "training loss / variance"


def _curve(name: str, sae: Any, rows: tuple | None, *, errors: bool) -> pd.DataFrame:
    """Losses of one autoencoder, in the units of the activations or over variance."""
    import pandas as pd  # noqa: PLC0415

    losses = (sae.error_curve_ if errors else sae.loss_curve_) * sae.scale_**2
    if rows is not None:
        losses = losses / _variance(name, sae, *rows)
    epochs = np.arange(1, len(losses) + 1)
    return pd.DataFrame({"name": name, "epoch": epochs, "loss": losses})


def _check_trained(name: str, sae: Any) -> None:
    if not hasattr(sae, "_check_rows"):
        raise TypeError(
            f"saes[{name!r}] is {sae!r}. Pass a fitted autoencoder of this package, or "
            "a dictionary of them by name."
        )
    check_is_fitted(sae)
    if not len(sae.loss_curve_):
        raise ValueError(
            f"saes[{name!r}] has no losses, as it was trained by another library. "
            "Leave it out."
        )


def _variance(
    name: str,
    sae: Any,
    X: ArrayLike,
    groups: ArrayLike | None,
    power: ArrayLike | None,
) -> float:
    """Sum of squared deviations from the mean, per row that has to be reproduced."""
    rows = _training_rows(name, sae, sae._check_rows(X), groups, power)
    spread = rows.spreads()[-1]
    if spread.norm == 0:
        raise ValueError(
            "X has no variance, so losses cannot be divided by it. Leave X out."
        )
    return spread.norm**2 / spread.n_rows


def _training_rows(
    name: str,
    sae: Any,
    X: Any,
    groups: ArrayLike | None,
    power: ArrayLike | None,
) -> TrainingRows:
    """What goes in and what should come out: for an EquivariantSAE canonical rows."""
    if not hasattr(sae, "reconstruct") or sae.order_ == 1:
        return TrainingRows(X)
    if groups is None or power is None:
        raise ValueError(
            f"saes[{name!r}] was trained to reproduce canonical rows. Give groups and "
            "power, which tell them, or leave X out."
        )
    _, table = orbit_table(groups, power, symmetry=sae.symmetry_, n_rows=len(X))
    canonical = np.broadcast_to(table[:, :1], table.shape)
    return TrainingRows(X, table[table >= 0], canonical[table >= 0])
