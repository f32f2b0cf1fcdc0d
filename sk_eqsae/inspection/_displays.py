"""Pictures of what was learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from ..activations import Orbits
from ._drawing import (
    axes_or_new,
    check_table,
    ink,
    label_ticks,
    legend_of_names,
    shades,
)
from ._equivariance import equivariance_report
from ._symmetry import feature_symmetry

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SERIES: dict[
    str, dict[str, Any]
] = {  # Okabe and Ito's colours; markers tell them apart in grey, too
    "M": {"label": "M", "color": "#0072B2", "marker": "o"},
    "nonlinear": {"label": "nonlinear map", "marker": "D"},
    "identity": {"label": "M = I", "color": "#D55E00", "marker": "s"},
    "shuffled": {"label": "orbits shuffled", "color": "#CC79A7", "marker": "x"},
}
_OPEN = {"nonlinear", "identity"}
_LEAST = 1e-16  # where an exact map is drawn on the logarithmic axis


class FeatureSymmetryDisplay:
    """How the energy of each dictionary vector is spread over the group's irreps.

    One column per latent, ordered by invariance; the shares add up to 1. The dashed
    line is the invariance of a vector whose copies under the group are orthogonal
    to each other, such as a feature of one orientation.

    Parameters
    ----------
    symmetry : pandas.DataFrame
        Table that :func:`feature_symmetry` returns, or some of its rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure that holds it.

    See Also
    --------
    feature_symmetry : The table.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae import ActivationTransformFitter, TopKSAE
    >>> from sk_eqsae.inspection import FeatureSymmetryDisplay
    >>> x = np.abs(np.random.default_rng(0).normal(size=(100, 2)))
    >>> X = np.concatenate([x, x[:, ::-1]])
    >>> groups, power = np.tile(np.arange(100), 2), np.repeat([0, 1], 100)
    >>> fitter = ActivationTransformFitter().fit(X, groups=groups, power=power)
    >>> sae = TopKSAE(4, k=2, max_epochs=5, random_state=0).fit(X)
    >>> display = FeatureSymmetryDisplay.from_estimator(sae, fitter, X=X)
    >>> display.ax_.get_ylabel()
    'share of energy'
    """

    def __init__(self, symmetry: pd.DataFrame) -> None:
        self.symmetry = symmetry

    @classmethod
    def from_estimator(
        cls,
        sae: BaseEstimator,
        activation_transform: BaseEstimator | None = None,
        *,
        X: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Compute the table and plot it.

        Parameters
        ----------
        sae : estimator
            Fitted autoencoder.
        activation_transform : estimator, default=None
            Fitted M. None takes the `activation_transform_` of `sae`.
        X : array-like of shape (n_rows, n_features), default=None
            Activations; latents that no row uses are left out. None shows all, also
            those that training never moved.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : FeatureSymmetryDisplay
            The drawn display.
        """
        symmetry = feature_symmetry(sae, activation_transform)
        if X is not None:
            symmetry = symmetry[_fires(sae, X)]
        return cls(symmetry).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        self : FeatureSymmetryDisplay
            The display, with `ax_` and `figure_`.
        """
        _check_symmetry(self.symmetry)
        ax = axes_or_new(ax)
        table = self.symmetry.dropna(subset=["invariance"])
        table = table.sort_values("invariance", ascending=False, kind="stable")
        energies = table.filter(regex="^energy ")
        self._plot_energies(ax, energies)
        ax.set(
            xlim=(0, len(table)),
            ylim=(0, 1),
            xlabel="latents, most invariant first",
            ylabel="share of energy",
        )
        self._mark_free(ax)
        legend_of_names(ax, [str(name).removeprefix("energy ") for name in energies])
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _plot_energies(self, ax: Axes, energies: pd.DataFrame) -> None:
        edges, bottom = np.arange(len(energies) + 1), np.zeros(len(energies))
        colors = shades(energies.shape[1])
        for (name, energy), color in zip(energies.items(), colors, strict=True):
            top = bottom + energy.to_numpy()
            label = str(name).removeprefix("energy ")
            ax.stairs(top, edges, baseline=bottom, fill=True, color=color, label=label)
            bottom = top

    def _mark_free(self, ax: Axes) -> None:
        """Invariance of a vector whose copies under the group are orthogonal."""
        sizes = self.symmetry[["stabilizer_size", "orbit_length"]]
        for order in sizes.prod(axis=1).head(1):
            ax.axhline(1 / order, color="white", lw=1, ls="--")
            ax.annotate(
                "1/|G|",
                (1.01, 1 / order),
                xycoords=ax.get_yaxis_transform(),
                va="center",
                fontsize="small",
            )


class TransformFidelityDisplay:
    """What M leaves unexplained, beside baselines and a ceiling.

    One group of points per power, and their mean, with bootstrap intervals. The axis
    shows 1 - R2 on a logarithmic scale, lower is better; the dashed line is what
    predicting the mean scores.

    Parameters
    ----------
    report : pandas.DataFrame
        Table that :func:`equivariance_report` returns.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure that holds it.

    See Also
    --------
    equivariance_report : The table.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae import ActivationTransformFitter
    >>> from sk_eqsae.activations import Orbits
    >>> from sk_eqsae.inspection import TransformFidelityDisplay
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> X = np.concatenate([np.roll(x, p, axis=1) for p in range(3)])
    >>> orbits = Orbits(X, np.tile(np.arange(100), 3), np.repeat(np.arange(3), 100))
    >>> train, test = orbits.split(random_state=0)
    >>> display = TransformFidelityDisplay.from_estimator(
    ...     ActivationTransformFitter(), train, test, random_state=0
    ... )
    >>> display.ax_.get_ylabel()
    'FVU on held-out orbits'
    """

    def __init__(self, report: pd.DataFrame) -> None:
        self.report = report

    @classmethod
    def from_estimator(
        cls,
        activation_transform: BaseEstimator | None,
        train: Orbits,
        test: Orbits,
        *,
        random_state: int | np.random.RandomState | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Fit the maps, compare them and plot.

        Parameters
        ----------
        activation_transform : estimator or None
            How M is fitted, see :func:`equivariance_report`.
        train, test : Orbits
            Activations to fit on and to compare on.
        random_state : int, RandomState instance or None, default=None
            Fixes the shuffling, the ceiling and the resamples.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : TransformFidelityDisplay
            The drawn display.
        """
        report = equivariance_report(
            train,
            test,
            activation_transform=activation_transform,
            random_state=random_state,
        )
        return cls(report).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        self : TransformFidelityDisplay
            The display, with `ax_` and `figure_`.
        """
        _check_report(self.report)
        ax = axes_or_new(ax)
        names = [name for name in _SERIES if (self.report["map"] == name).any()]
        offsets = np.linspace(-0.2, 0.2, len(names))
        for name, offset in zip(names, offsets, strict=True):
            self._plot_map(ax, name, offset)
        powers = self.report.loc[self.report["map"] == names[0], "power"]
        _mark_mean(ax)
        label_ticks(ax, [_power_label(power) for power in powers])
        ax.set(
            yscale="log",
            xlabel="power",
            ylabel="FVU on held-out orbits",
        )
        legend_of_names(ax, [_SERIES[name]["label"] for name in names])
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _plot_map(self, ax: Axes, name: str, offset: float) -> None:
        style = {"color": ink()} | _SERIES[name]
        rows = self.report[self.report["map"] == name]
        unexplained = 1 - rows[["high", "r2", "low"]].to_numpy().T
        low, middle, high = np.maximum(unexplained, _LEAST)
        ax.errorbar(
            np.arange(len(rows)) + offset,
            middle,
            yerr=np.maximum([middle - low, high - middle], 0),
            mfc=ax.get_facecolor() if name in _OPEN else None,
            ls="none",
            ms=5,
            lw=1.2,
            **style,
        )


def _check_symmetry(symmetry: pd.DataFrame) -> None:
    columns = ("invariance", "stabilizer_size", "orbit_length")
    origin = (
        "the table of feature_symmetry; of the latents that fire for X there may be "
        "none, so leave X out to see all"
    )
    check_table(symmetry, "symmetry", columns, origin)
    if symmetry["invariance"].isna().all():
        raise ValueError("symmetry has no latent to show: all vectors are zero.")


def _check_report(report: pd.DataFrame) -> None:
    columns = ("map", "power", "r2", "low", "high")
    check_table(report, "report", columns, "the table of equivariance_report")
    if not report["map"].isin(_SERIES).any():
        raise ValueError(
            f"column 'map' of report has none of {list(_SERIES)}, but "
            f"{sorted(map(str, report['map'].unique()))}. Pass the table of "
            "equivariance_report."
        )


def _fires(sae: Any, X: ArrayLike) -> NDArray:
    """Which vectors of the dictionary are used; pooled latents stand for several."""
    ours = hasattr(sae, "_encode_csr")
    Z = sae._encode_csr(sae._check_rows(X)) if ours else sae.transform(X)
    return np.asarray((Z > 0).sum(axis=0)).ravel() > 0


def _mark_mean(ax: Axes) -> None:
    ax.axhline(1, color="0.5", lw=0.8, ls="--", zorder=0)
    ax.annotate(
        "predicting the mean",
        (0.02, 1),
        xytext=(0, -2),
        xycoords=ax.get_yaxis_transform(),
        textcoords="offset points",
        va="top",
        color="0.35",
        fontsize="small",
    )


def _power_label(power: object) -> str:
    return ",".join(map(str, power)) if isinstance(power, tuple) else str(power)
