"""What every display is and looks like: a table, checked and drawn in one place.

Colours are Okabe and Ito's, told apart by colour-blind readers; markers, dashes and
hatches tell them apart where they are printed in grey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from textwrap import fill as wrapped
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from .._docs import fill
from ..groups import FiniteGroup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 1e-16  # where 0 is drawn on a logarithmic axis
COLORS = {
    "blue": "#0072B2",
    "red": "#D55E00",
    "green": "#009E73",
    "black": "#000000",
    "pink": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", "-.", ":")  # 4 and 7: 28 lines until two look the same
_HATCHES = ("", "///", "...", "xxx")
_TICKS = [  # in each decade, where the largest value over the smallest is below this
    (10, (1, 1.5, 2, 3, 4, 6)),
    (200, (1, 2, 5)),
    (np.inf, (1,)),
]
_TICKS_FROM_ZERO = [(5, (1, 2, 5)), (50, (1, 3)), (np.inf, (1,))]  # smaller room
_CHARACTERS = 17  # of small text, per inch
_SHORTEST_LINE = 20  # characters of a name in a legend, before it is broken
_LONGEST_TICK = 24  # characters of a label at a tick, before it is broken


@fill
class Display:
    """A picture of one table. A subclass says which one, and how it is drawn."""

    _table: ClassVar[str]  # name of the attribute that holds it
    _labels: ClassVar[tuple[str, ...]]  # columns that say what a row is
    _values: ClassVar[tuple[str, ...]]  # columns of numbers
    _origin: ClassVar[str]  # where such a table comes from, for errors

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        {ax}

        {display}
        """
        return self._plot(ax)

    def _plot(self, ax: Axes | None, *args: Any, **options: Any) -> Self:
        table = self._checked(**options)  # first: an error leaves no empty figure
        self.ax_ = axes_or_new(ax)
        self.figure_ = self.ax_.figure
        self._draw(self.ax_, table, **options)
        return self

    def _checked(self, *args: Any, **options: Any) -> pd.DataFrame:
        table = getattr(self, self._table)
        return checked_table(
            table, self._table, self._labels, self._values, self._origin
        )

    def _draw(self, ax: Axes, table: pd.DataFrame, *args: Any, **options: Any) -> None:
        raise NotImplementedError


def checked_table(
    table: Any, name: str, labels: Sequence[str], values: Sequence[str], origin: str
) -> pd.DataFrame:
    """A table that says of every row what it is; values as floats, NaN if missing."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"{name} has to be a pandas DataFrame, found {type(table).__name__}. Pass "
            f"{origin}."
        )
    for column in (*labels, *values):
        if column not in table:
            raise ValueError(
                f"{name} has no column {column!r}, but {list(map(str, table))}. Pass "
                f"{origin}."
            )
    if not len(table):
        raise ValueError(f"{name} has no rows. Pass {origin}.")
    for column in labels:
        if n_missing := int(table[column].isna().sum()):
            raise ValueError(
                f"column {column!r} of {name} is missing in {n_missing} row(s). Leave "
                f"these rows out, or pass {origin}."
            )
    return table.assign(**table[list(values)].astype("Float64").astype(float))


def axes_or_new(ax: Axes | None) -> Axes:
    """Axes to draw on; None makes a figure that is one column of a paper wide."""
    from matplotlib.axes import Axes  # noqa: PLC0415  (slow, and not all draw)

    if isinstance(ax, Axes):
        return ax
    if ax is not None:
        raise TypeError(
            f"ax has to be one matplotlib Axes, found {type(ax).__name__}. Of several, "
            "pass one, such as axes[0]."
        )
    import matplotlib.pyplot as plt  # noqa: PLC0415

    return plt.subplots(figsize=(3.5, 2.6), layout="constrained")[1]


def ink() -> Any:
    """Colour of text: black, or white on a dark background."""
    from matplotlib import rcParams  # noqa: PLC0415

    return rcParams["text.color"]


def shades(n: int) -> np.ndarray:
    """Colours from dark to light, even in lightness for any kind of eye, (n, 4)."""
    from matplotlib import colormaps  # noqa: PLC0415

    return colormaps["cividis"](np.linspace(0.05, 0.95, n))


def line_styles() -> Iterator[dict[str, Any]]:
    """Keywords of ``ax.plot``, for one line after the other without end."""
    colors = COLORS | {"black": ink()}
    styles = zip(cycle(colors.values()), cycle(_MARKERS), cycle(_DASHES), strict=True)
    for color, marker, dashes in styles:
        yield {"color": color, "marker": marker, "ls": dashes, "ms": 4, "lw": 1.4}


def bar_styles() -> Iterator[dict[str, Any]]:
    """Keywords of ``ax.bar``, for one kind of bar after the other without end."""
    colors = [color for name, color in COLORS.items() if name != "black"]
    for color, hatch in zip(cycle(colors), cycle(_HATCHES), strict=True):
        yield {"color": color, "hatch": hatch, "edgecolor": "white", "lw": 0}


def draw_lines(ax: Axes, table: pd.DataFrame, x: str, y: str, **settings: Any) -> None:
    """One line for each `name` of a table, over a logarithmic axis."""
    table = table.assign(**{y: table[y].clip(lower=LEAST)})
    names = list(dict.fromkeys(table["name"]))
    for name, style in zip(names, line_styles(), strict=False):
        line = table[table["name"] == name].sort_values(x, kind="stable")
        ax.plot(line[x], line[y], label=name, **style, **settings)
    log_axis(ax, "y", table[y])
    legend_of_names(ax, names, handlelength=2.4)  # less would hide the dashes


def log_axis(ax: Axes, which: str, values: pd.Series, *, base: int = 10) -> None:
    """Logarithmic axis with plain numbers; of base 10 also between few powers."""
    from matplotlib import ticker  # noqa: PLC0415

    drawn = values[np.isfinite(values)]
    span = drawn.max() / drawn.min() if len(drawn) else 1
    decimal = next(subs for below, subs in _TICKS if span < below)
    ax.set(**{f"{which}scale": "log"})
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(ticker.LogLocator(base, decimal if base == 10 else (1,)))
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())
    if base != 10:
        axis.set_minor_locator(ticker.NullLocator())


def log_axis_from_zero(ax: Axes, values: pd.Series) -> None:
    """X-axis that is even from 0 to the least value above, and logarithmic beyond."""
    least = values[values > 0].min() if (values > 0).any() else 1
    ax.set_xscale("symlog", linthresh=least, linscale=0.5)
    right = max(ax.get_xlim()[1], 1.2 * least)
    ax.set_xlim(-least / 4, right)  # a dot at 0 is seen whole
    in_decade = next(subs for below, subs in _TICKS_FROM_ZERO if right / least < below)
    decades = 10.0 ** np.arange(np.floor(np.log10(least)), 1)
    ticks = np.outer(decades, in_decade).ravel()
    shown = [0, *ticks[(ticks > least / 2) & (ticks < right)]]
    ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
    ax.set_xticks([], minor=True)
    ax.axvline(0, color="0.5", lw=0.8, zorder=0)


def label_ticks(ax: Axes, labels: Sequence[str]) -> None:
    """Label the x-axis at 0, 1, 2 ..., aslant where there is no room side by side."""
    room = 0.8 * _room(ax) / len(labels)  # ticks have larger letters
    aslant: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    crowded = max(map(len, labels)) + 1 > room
    lines = [wrapped(label, _LONGEST_TICK) for label in labels]
    ax.set_xticks(range(len(labels)), lines, **(aslant if crowded else {}))


def _room(ax: Axes) -> int:
    """Characters of small text that fit side by side above the axes."""
    figure: Any = ax.figure
    inches = ax.get_window_extent().width / figure.dpi
    return max(int(_CHARACTERS * inches), 1)


def legend_of_names(ax: Axes, names: Sequence[str], handlelength: float = 1) -> None:
    """Put a legend above the axes, so that it hides nothing, if there are two names."""
    if len(names) < 2:
        return
    room = _room(ax)
    width = max(map(len, names)) + 2 * handlelength + 2  # in characters
    legend = ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=max(1, min(len(names), int(room // width))),
        frameon=False,
        fontsize="small",
        handlelength=handlelength,
        columnspacing=1,
        labelspacing=0.3,
        borderaxespad=0,
    )
    for text in legend.get_texts():
        text.set_text(wrapped(text.get_text(), max(room - 4, _SHORTEST_LINE)))


def element_names(group: FiniteGroup, exponent: Callable[[int], str]) -> list[str]:
    """Products of generators such as "1", "r" and "r² s"."""
    return [
        " ".join(
            name + (exponent(power) if power > 1 else "")
            for name, power in zip(group.generator_names, powers, strict=True)
            if power
        )
        or "1"
        for powers in group.powers.tolist()
    ]
