"""How well M does for each power, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from .._docs import fill
from ..activations import Orbits
from ._display import COLORS, LEAST, Display, ink, label_ticks, legend_of_names
from ._equivariance_report import equivariance_report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAPS: dict[str, dict[str, Any]] = {  # markers tell them apart in grey, too
    "M": {"label": "M", "color": COLORS["blue"], "marker": "o"},
    "nonlinear": {"label": "nonlinear map", "marker": "D"},
    "identity": {"label": "M = I", "color": COLORS["red"], "marker": "s"},
    "shuffled": {"label": "orbits shuffled", "color": COLORS["pink"], "marker": "x"},
    "codes": {"label": "moved codes", "color": COLORS["green"], "marker": "^"},
}
_OPEN = {"nonlinear", "identity"}


@fill
class TransformFidelityDisplay(Display):
    """What M leaves unexplained, beside baselines and a ceiling.

    One group of points per power, and their mean, with bootstrap intervals. The axis
    shows 1 - R2 on a logarithmic scale, lower is better; the dashed line is what
    predicting the mean scores. With an autoencoder in the report its moved codes are a
    fifth map, and the legend says how equivariant codes are.

    Parameters
    ----------
    report : pandas.DataFrame
        Table that :func:`equivariance_report` returns.

    {picture}

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

    _table = "report"
    _labels = ("map", "power")
    _values = ("r2", "low", "high")
    _origin = "the table of equivariance_report"

    def __init__(self, report: pd.DataFrame) -> None:
        self.report = report

    @classmethod
    def from_estimator(
        cls,
        activation_transform: BaseEstimator | None,
        train: Orbits,
        test: Orbits,
        *,
        sae: Any = None,
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
        sae : GroupTiedSAE or OrbitSAE, default=None
            Fitted autoencoder whose codes are looked at, too.
        {evaluation_state}
        {ax}

        {display}
        """
        report = equivariance_report(
            train,
            test,
            activation_transform=activation_transform,
            sae=sae,
            random_state=random_state,
        )
        return cls(report).plot(ax=ax)

    def _checked(self) -> pd.DataFrame:
        report = super()._checked()
        if not report["map"].isin(_MAPS).any():
            raise ValueError(
                f"column 'map' of report has none of {list(_MAPS)}, but "
                f"{sorted(map(str, report['map'].unique()))}. Pass the table of "
                "equivariance_report."
            )
        return report

    def _draw(self, ax: Axes, report: pd.DataFrame) -> None:
        rows = {name: report[report["map"] == name] for name in _MAPS}
        rows = {name: of_map for name, of_map in rows.items() if len(of_map)}
        labels = {name: _label(name, of_map) for name, of_map in rows.items()}
        offsets = np.linspace(-0.2, 0.2, len(rows))  # side by side at each power
        for (name, of_map), offset in zip(rows.items(), offsets, strict=True):
            _draw_map(ax, name, of_map, offset, labels[name])
        _mark_mean(ax)
        powers = next(iter(rows.values()))["power"]
        label_ticks(ax, [str(p).strip("()").replace(" ", "") for p in powers])
        ax.set(yscale="log", xlabel="power", ylabel="FVU on held-out orbits")
        legend_of_names(ax, list(labels.values()))


def _label(name: str, rows: pd.DataFrame) -> str:
    """Name in the legend; of codes with how equivariant they are in the mean."""
    label = _MAPS[name]["label"]
    if name != "codes" or "code_equivariance" not in rows:
        return label
    return f"{label}, equivariance {rows['code_equivariance'].iloc[-1]:.2f}"


def _draw_map(
    ax: Axes, name: str, rows: pd.DataFrame, offset: float, label: str
) -> None:
    unexplained = 1 - rows[["high", "r2", "low"]].to_numpy().T
    low, middle, high = np.maximum(unexplained, LEAST)
    ax.errorbar(
        np.arange(len(rows)) + offset,
        middle,
        yerr=np.maximum([middle - low, high - middle], 0),
        mfc=ax.get_facecolor() if name in _OPEN else None,
        ls="none",
        ms=5,
        lw=1.2,
        **{"color": ink()} | _MAPS[name] | {"label": label},
    )


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
