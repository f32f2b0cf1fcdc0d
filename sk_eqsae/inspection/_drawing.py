"""What the displays share: axes, colours, legends.

Colours are Okabe and Ito's, told apart by colour-blind readers; markers, dashes and
hatches tell them apart where they are printed in grey.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", "-.", ":")  # 4 and 7: 28 lines until two look the same
_BAR_COLORS = tuple(color for color in _COLORS if color != "#000000")  # of error bars
_HATCHES = ("", "///", "...", "xxx")
_TICKS = [  # in each decade, where the largest value over the smallest is below this
    (10, (1, 1.5, 2, 3, 4, 6)),
    (200, (1, 2, 5)),
    (np.inf, (1,)),
]
_LEGEND_WIDTH = 46  # characters in one column of a paper


def axes_or_new(ax: Axes | None) -> Axes:
    """Give the axes to draw on.

    Parameters
    ----------
    ax : matplotlib Axes or None
        None makes a new figure, one column of a paper wide.

    Returns
    -------
    ax : matplotlib Axes
        Where to draw.
    """
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # noqa: PLC0415

    return plt.subplots(figsize=(3.5, 2.6), layout="constrained")[1]


def shades(n: int) -> np.ndarray:
    """Make colours from dark to light, even in lightness for any kind of eye.

    Parameters
    ----------
    n : int
        How many.

    Returns
    -------
    colors : ndarray of shape (n, 4)
        Red, green, blue and opacity.
    """
    from matplotlib import colormaps  # noqa: PLC0415

    return colormaps["cividis"](np.linspace(0.05, 0.95, n))


def line_styles() -> Iterator[dict[str, Any]]:
    """Make styles of lines, one after the other without end.

    Yields
    ------
    style : dict
        Keywords of ``ax.plot``.
    """
    styles = zip(cycle(_COLORS), cycle(_MARKERS), cycle(_DASHES), strict=True)
    for color, marker, dashes in styles:
        yield {"color": color, "marker": marker, "ls": dashes, "ms": 4, "lw": 1.4}


def bar_styles() -> Iterator[dict[str, Any]]:
    """Make styles of bars, one after the other without end.

    Yields
    ------
    style : dict
        Keywords of ``ax.bar``.
    """
    for color, hatch in zip(cycle(_BAR_COLORS), cycle(_HATCHES), strict=True):
        yield {"color": color, "hatch": hatch, "edgecolor": "white", "lw": 0}


def log_axis(ax: Axes, which: str, values: np.ndarray, *, base: int = 10) -> None:
    """Make an axis logarithmic, with plain numbers at its ticks.

    Parameters
    ----------
    ax : matplotlib Axes
        Axes to change.
    which : {"x", "y"}
        Which of its two axes.
    values : ndarray
        Positive numbers that are drawn on it.
    base : int, default=10
        Ticks are at its powers, and of 10, where there are few, between them.
    """
    from matplotlib import ticker  # noqa: PLC0415

    span = values.max() / values.min()
    decimal = next(subs for below, subs in _TICKS if span < below)
    ax.set(**{f"{which}scale": "log"})
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(ticker.LogLocator(base, decimal if base == 10 else (1,)))
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())
    if base != 10:
        axis.set_minor_locator(ticker.NullLocator())


def legend_above(ax: Axes, ncols: int, handlelength: float = 1) -> None:
    """Put the legend above the axes, so that it hides nothing.

    Parameters
    ----------
    ax : matplotlib Axes
        Axes with labelled artists.
    ncols : int
        Entries side by side.
    handlelength : float, default=1
        Length of the sample beside a label; dashes need 2.4 to be seen.
    """
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=ncols,
        frameon=False,
        fontsize="small",
        handlelength=handlelength,
        columnspacing=1,
        labelspacing=0.3,
        borderaxespad=0,
    )


def legend_of_names(ax: Axes, names: Sequence[str], handlelength: float = 1) -> None:
    """Put a legend above the axes where there is more than one name to tell apart.

    Parameters
    ----------
    ax : matplotlib Axes
        Axes with labelled artists.
    names : sequence of str
        Their labels.
    handlelength : float, default=1
        As for :func:`legend_above`.
    """
    if len(names) < 2:
        return
    width = max(map(len, names)) + 2 * handlelength + 2  # in characters
    ncols = max(1, min(len(names), int(_LEGEND_WIDTH // width)))
    legend_above(ax, ncols, handlelength)
