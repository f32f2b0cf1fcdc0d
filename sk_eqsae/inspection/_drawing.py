"""What the displays share: tables, axes, colours, legends.

Colours are Okabe and Ito's, told apart by colour-blind readers; markers, dashes and
hatches tell them apart where they are printed in grey.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from textwrap import fill
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
_CHARACTERS = 17  # of small text, per inch
_SHORTEST_LINE = 20  # characters of a name in a legend, before it is broken
_LONGEST_TICK = 24  # characters of a label at a tick, before it is broken


def check_table(table: Any, name: str, columns: Sequence[str], origin: str) -> None:
    """Refuse what is not the table that a display draws.

    Parameters
    ----------
    table : object
        What was found.
    name : str
        Name of the argument.
    columns : sequence of str
        Columns that it needs.
    origin : str
        Where such a table comes from, for the error.

    Raises
    ------
    TypeError
        If it is no table.
    ValueError
        If a column is missing, or there are no rows.
    """
    from pandas import DataFrame  # noqa: PLC0415

    if not isinstance(table, DataFrame):
        raise TypeError(
            f"{name} has to be a pandas DataFrame, found {type(table).__name__}. Pass "
            f"{origin}."
        )
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(
            f"{name} has no column {missing[0]!r}, but {list(map(str, table))}. Pass "
            f"{origin}."
        )
    if not len(table):
        raise ValueError(f"{name} has no rows. Pass {origin}.")


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

    Raises
    ------
    TypeError
        If it is something else, such as the array of ``plt.subplots(1, 2)``.
    """
    from matplotlib.axes import Axes  # noqa: PLC0415

    if isinstance(ax, Axes):
        return ax
    if ax is not None:
        raise TypeError(
            f"ax has to be one matplotlib Axes, found {type(ax).__name__}. Of several, "
            "pass one, such as axes[0]."
        )
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


def ink() -> Any:
    """Give the colour that text has: black, or white on a dark background.

    Returns
    -------
    color : color
        What Matplotlib takes for one.
    """
    from matplotlib import rcParams  # noqa: PLC0415

    return rcParams["text.color"]


def line_styles() -> Iterator[dict[str, Any]]:
    """Make styles of lines, one after the other without end.

    Yields
    ------
    style : dict
        Keywords of ``ax.plot``.
    """
    styles = zip(cycle(_COLORS), cycle(_MARKERS), cycle(_DASHES), strict=True)
    for color, marker, dashes in styles:
        seen = ink() if color == "#000000" else color
        yield {"color": seen, "marker": marker, "ls": dashes, "ms": 4, "lw": 1.4}


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


def label_ticks(ax: Axes, labels: Sequence[str]) -> None:
    """Label the x-axis at 0, 1, 2 ..., aslant where there is no room side by side.

    Parameters
    ----------
    ax : matplotlib Axes
        Axes to change.
    labels : sequence of str
        One for each place.
    """
    room = 0.8 * _room(ax) / len(labels)  # ticks have larger letters
    aslant: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    crowded = max(map(len, labels)) + 1 > room
    wrapped = [fill(label, _LONGEST_TICK) for label in labels]
    ax.set_xticks(range(len(labels)), wrapped, **(aslant if crowded else {}))


def _room(ax: Axes) -> int:
    """Characters of small text that fit side by side above the axes."""
    figure: Any = ax.figure
    inches = ax.get_window_extent().width / figure.dpi
    return max(int(_CHARACTERS * inches), 1)


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
    legend = ax.legend(
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
    for text in legend.get_texts():
        text.set_text(fill(text.get_text(), max(_room(ax) - 4, _SHORTEST_LINE)))


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
    ncols = max(1, min(len(names), int(_room(ax) // width)))
    legend_above(ax, ncols, handlelength)
