"""How useful latents are to probes, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import f1_score
from sklearn.utils import check_array

from .._docs import fill
from .._rows import as_array
from ._checks import check_mapping
from ._display import (
    Display,
    bar_styles,
    checked_table,
    ink,
    label_ticks,
    legend_of_names,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 0.8  # of all bars of one group together, in units of their distance


@fill
class ProbingDisplay(Display):
    """Mean F1 of probes, with standard errors over tasks.

    One group of bars per kind of task, or per probe; in each, one bar per source of
    what the probes were given.

    Parameters
    ----------
    summary : pandas.DataFrame
        One row per bar: the `group` that it stands in, its `source`, the mean `f1`,
        its standard error `sem` and the number of tasks `n_tasks`.

    {picture}

    See Also
    --------
    sk_eqsae.evaluate_probes : The scores.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.inspection import ProbingDisplay
    >>> Y = np.array([[1, 0], [1, 1], [0, 0], [0, 1]])
    >>> predictions = {"right": Y, "always yes": np.ones_like(Y)}
    >>> display = ProbingDisplay.from_predictions(Y, predictions)
    >>> display.summary[["source", "f1"]].round(2)
           source    f1
    0       right  1.00
    1  always yes  0.67
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

    @classmethod
    def from_predictions(
        cls,
        Y: ArrayLike,
        predictions: Mapping[str, ArrayLike],
        *,
        task_kinds: Sequence[str] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Score predictions that were made elsewhere, and plot.

        Parameters
        ----------
        Y : array-like of shape (n_rows, n_tasks), dtype bool
            True answers of binary tasks.
        predictions : dict of array-like of shape (n_rows, n_tasks), dtype bool
            What was predicted, by source: one bar each.
        task_kinds : sequence of str of length n_tasks, default=None
            Kind of each task: one group of bars each. None is one group.
        {ax}

        {display}

        Raises
        ------
        TypeError, ValueError
            If `predictions` is no dictionary of binary arrays that fit together.
        """
        Y = _binary("Y", Y)
        check_mapping(predictions, "predictions", "arrays by source")
        kinds = ["all tasks"] * Y.shape[1] if task_kinds is None else list(task_kinds)
        if len(kinds) != Y.shape[1]:
            raise ValueError(
                f"task_kinds has {len(kinds)} entries for {Y.shape[1]} tasks."
            )
        tables = [
            pd.DataFrame({"source": name, "kind": kinds, "f1": _f1(name, Y, predicted)})
            for name, predicted in predictions.items()
        ]
        scores = pd.concat(tables).rename_axis("task").reset_index()
        return cls.from_scores(scores, source="source", ax=ax)

    def _draw(self, ax: Axes, summary: pd.DataFrame) -> None:
        groups = list(summary["group"].unique())
        sources = list(summary["source"].unique())
        offsets = (np.arange(len(sources)) + 0.5) / len(sources) - 0.5
        for name, offset, style in zip(sources, offsets, bar_styles(), strict=False):
            bars = summary[summary["source"] == name]
            ax.bar(
                bars["group"].map(groups.index) + _WIDTH * offset,
                bars["f1"],
                width=0.94 * _WIDTH / len(sources),
                yerr=bars["sem"],
                error_kw={"elinewidth": 1, "capsize": 2, "ecolor": ink()},
                label=name,
                **style,
            )
        label_ticks(ax, groups)
        ax.set(ylim=(0, 1), ylabel="mean F1 over tasks")
        legend_of_names(ax, sources, handlelength=1.4)


def _binary(name: str, Y: ArrayLike) -> NDArray:
    array: NDArray = check_array(as_array(Y), dtype=None, input_name=name)
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} has to hold 0 and 1, or False and True, alone.")
    return array.astype(bool)


def _f1(name: str, Y: NDArray, predicted: ArrayLike) -> NDArray:
    """F1 of each task, as evaluate_probes has it: 0 where nothing is found."""
    argument = f"predictions[{name!r}]"
    made = _binary(argument, predicted)
    if made.shape != Y.shape:
        raise ValueError(f"{argument} has shape {made.shape}, but Y has {Y.shape}.")
    found = [
        f1_score(answers, guesses, zero_division=0.0)
        for answers, guesses in zip(Y.T, made.T, strict=True)
    ]
    return np.array(found)
