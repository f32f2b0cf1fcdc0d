"""How useful latents are to probes, as a picture."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from .._docs import fill
from ._display import (
    Display,
    bar_styles,
    checked_table,
    ink,
    label_ticks,
    legend_of_names,
    line_styles,
    log_axis_from_zero,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 0.8  # of all bars of one group together, in units of their distance
_CEILING = 0.95  # bars beyond it look alike
_KINDS = {  # of ShapeTasks
    "S": "shape",
    "SP": "shape, position",
    "SO": "shape, orientation",
    "SPO": "shape, position, orientation",
}
_LONGEST_NAME = 16  # characters of a line beside the axes


@fill
class ProbingDisplay(Display):
    """Mean F1 of probes, with standard errors over tasks.

    One group of bars per kind of task, or per probe; in each, one bar per source of
    what the probes were given. Where a bar or its error passes 0.95, bars would look
    alike, so what is missed, 1 - F1, is drawn instead, as dots on a logarithmic axis
    that goes on to 0 by even steps. The kinds of `ShapeTasks` are spelt out.

    Parameters
    ----------
    summary : pandas.DataFrame
        One row per bar: the `group` that it stands in, its `source`, the mean `f1`,
        its standard error `sem` and the number of tasks `n_tasks`.

    {picture}

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_eqsae.inspection import ProbingDisplay
    >>> scores = pd.DataFrame({"task": [0, 1, 0, 1], "source": list("aabb")})
    >>> scores = scores.assign(kind="S", f1=[0.5, 0.7, 0.9, 0.7])
    >>> display = ProbingDisplay.from_scores(scores, source="source")
    >>> display.summary[["source", "f1"]].round(2)
      source   f1
    0      a  0.6
    1      b  0.8
    """

    _table = "summary"
    _labels = ("group", "source")
    _values = ("f1", "sem")
    _origin = "the summary of a ProbingDisplay, or make one by from_scores"

    def __init__(self, summary: pd.DataFrame) -> None:
        self.summary = summary

    @classmethod
    def from_scores(
        cls,
        scores: pd.DataFrame,
        *,
        by: str = "kind",
        source: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Average the scores and plot.

        Parameters
        ----------
        scores : pandas.DataFrame
            Table that :func:`~sk_eqsae.evaluate_probes` returns, or several one below
            the other.
        by : str, default="kind"
            Column that says in which group of bars a row belongs, such as "kind" or
            "probe".
        source : str, default=None
            Column that says which bar of its group, such as the autoencoder that the
            latents are of, or "probe". None is one bar.
        {ax}

        {display}

        Raises
        ------
        ValueError
            If a column is not there, or does not say of every row what it is.

        Notes
        -----
        Several rows of one task in one bar, of several probes or seeds, are averaged
        first: they are not independent, so standard errors are over tasks alone.
        """
        columns = [by] if source in {None, by} else [source, by]
        origin = (
            "the table of evaluate_probes, and one of its columns as by and source. "
            "Kinds are given to evaluate_probes by task_kinds; without, by='probe'"
        )
        scores = checked_table(scores, "scores", (*columns, "task", "f1"), (), origin)
        of_tasks = scores.groupby([*columns, "task"], sort=False)["f1"].mean()
        bars = of_tasks.groupby(columns, sort=False)
        found = bars.agg(f1="mean", sem="sem", n_tasks="count").reset_index()
        found.insert(0, "group", found[by].astype(str))
        found["source"] = found[source].astype(str) if source else ""
        return cls(found[["group", "source", "f1", "sem", "n_tasks"]]).plot(ax)

    def _draw(self, ax: Axes, summary: pd.DataFrame) -> None:
        groups = list(summary["group"].unique())
        sources = list(summary["source"].unique())
        offsets = (np.arange(len(sources)) + 0.5) / len(sources) - 0.5
        apart = summary["source"].map(dict(zip(sources, offsets, strict=True)))
        places = summary["group"].map(groups.index) + _WIDTH * apart
        known = set(groups) <= set(_KINDS)
        names = [_KINDS[name] for name in groups] if known else groups
        reach = summary["f1"] + summary["sem"].fillna(0)
        draw = _draw_dots if reach.max() > _CEILING else _draw_bars
        draw(ax, summary.assign(place=places), names)
        legend_of_names(ax, sources, handlelength=1.4)


def _draw_bars(ax: Axes, summary: pd.DataFrame, names: list[str]) -> None:
    bars = summary.groupby("source", sort=False)
    for (name, of_source), style in zip(bars, bar_styles(), strict=False):
        ax.bar(
            of_source["place"],
            of_source["f1"],
            width=0.94 * _WIDTH / len(bars),
            yerr=of_source["sem"],
            error_kw={"elinewidth": 1, "capsize": 2, "ecolor": ink()},
            label=name,
            **style,
        )
    label_ticks(ax, names)
    ax.set(ylim=(0, 1), ylabel="mean F1 over tasks")


def _draw_dots(ax: Axes, summary: pd.DataFrame, names: list[str]) -> None:
    missed = (1 - summary["f1"]).round(12)  # what is beyond is rounding
    dots = summary.assign(missed=missed).groupby("source", sort=False)
    for (name, of_source), style in zip(dots, line_styles(), strict=False):
        below = np.minimum(of_source["sem"], of_source["missed"])
        ax.errorbar(
            of_source["missed"],
            of_source["place"],
            xerr=[below, of_source["sem"]],
            label=name,
            **style | {"ls": "none", "lw": 1, "capsize": 2},
        )
    lines = ["\n".join(wrap(name, _LONGEST_NAME)) for name in names]
    ax.set_yticks(range(len(names)), lines)
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel="1 - mean F1, left is better")
    log_axis_from_zero(ax, missed)
