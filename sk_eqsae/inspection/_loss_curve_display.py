"""How training went, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

from .._docs import fill
from .._estimator import checked_rows
from .._rows import read_rows
from ..groups._orbit_table import orbit_table
from ..sae import EquivariantSAE
from ..sae._base import BaseSAE
from ._checks import check_sae
from ._display import Display, draw_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CHUNK = 1024  # rows that are held at a time
_ROUNDING = 1e-14  # of the mean, below which rows count as all the same


@fill
class LossCurveDisplay(Display):
    """FVU or training loss of autoencoders over epochs.

    The axis is logarithmic, lower is better.

    Parameters
    ----------
    curves : pandas.DataFrame
        One row per autoencoder and epoch, with the columns `name`, `epoch` and
        `loss`.
    loss_name : str, default="training loss"
        What the loss is, for the axis.

    {picture}

    Notes
    -----
    What is drawn of an epoch is the mean over its batches, while weights change. The
    FVU is of `error_curve_` alone, the loss is `loss_curve_`.

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

    _table = "curves"
    _labels = ("name",)
    _values = ("epoch", "loss")
    _origin = "the curves of a LossCurveDisplay, or make one by from_estimator"

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
        site: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Collect the losses and plot them.

        Parameters
        ----------
        saes : estimator or dict
            A fitted autoencoder, or several by name.
        X : array-like of shape (n_rows, n_features), default=None
            Activations that they were trained on, to draw the FVU; where one has
            `nested`, the loss of all of them over the variance of the rows. None draws
            losses per row, in units of the activations squared.
        {groups}
            Needed, and power, for an EquivariantSAE with X: its targets are canonical.
        {power}
        {site}
        {ax}

        {display}

        Raises
        ------
        TypeError, ValueError
            If `saes` holds what was not trained here, if X has no variance, or if
            `groups` and `power` are needed and missing.
        """
        if not isinstance(saes, Mapping):
            saes = {type(saes).__name__: saes}
        if not saes:
            raise ValueError("saes is empty. Pass fitted autoencoders by name.")
        for name, sae in saes.items():
            check_sae(sae, f"saes[{name!r}]")
            if not len(sae.loss_curve_):
                raise ValueError(
                    f"saes[{name!r}] has no losses, as it was trained by another "
                    "library. Leave it out."
                )
        # with `nested` the squared error is a mean over prefixes, and no FVU
        fvu = X is not None and all(sae.nested is None for sae in saes.values())
        metadata = {"groups": groups, "power": power, "site": site}
        curves = []
        for name, sae in saes.items():
            losses = (sae.error_curve_ if fvu else sae.loss_curve_) * sae.scale_**2
            if X is not None:
                losses = losses / _target_variance(name, sae, X, metadata)
            epochs = np.arange(1, len(losses) + 1)
            curves.append({"name": str(name), "epoch": epochs, "loss": losses})
        loss_name = "training FVU" if fvu else "training loss / variance"
        if X is None:
            loss_name = "training loss per row"
        table = pd.concat(map(pd.DataFrame, curves), ignore_index=True)
        return cls(table, loss_name=loss_name).plot(ax)

    def _draw(self, ax: Axes, curves: pd.DataFrame) -> None:
        # markers evenly spaced along each line, however many epochs it has
        draw_lines(ax, curves, "epoch", "loss", markevery=0.2)
        ax.set(xlabel="epoch", ylabel=self.loss_name)


def _target_variance(
    name: str, sae: BaseSAE, X: ArrayLike, metadata: dict[str, Any]
) -> float:
    """Squared distance of what has to come out from its mean, in the mean over rows."""
    rows = checked_rows(sae, X, reset=False)
    counts = np.ones(len(rows))  # how often each row has to come out
    if isinstance(sae, EquivariantSAE) and sae.order_ > 1:
        if metadata["groups"] is None or metadata["power"] is None:
            raise ValueError(
                f"saes[{name!r}] was trained to reproduce canonical rows. Give groups "
                "and power, which tell them, or leave X out."
            )
        _, table = orbit_table(**metadata, symmetry=sae.symmetry_, n_rows=len(rows))
        of_orbits = (table >= 0).sum(axis=1)
        counts = np.bincount(table[:, 0], of_orbits, minlength=len(rows))
    used, scaler = np.flatnonzero(counts), StandardScaler()
    for batch in gen_batches(len(used), _CHUNK):
        part = used[batch]
        scaler.partial_fit(read_rows(rows, part), sample_weight=counts[part])
    variance = float(scaler.var_.sum())
    if variance <= np.square(_ROUNDING * scaler.mean_).sum():
        raise ValueError(
            "X has no variance, so losses cannot be divided by it. Leave X out."
        )
    return variance
