"""What every display is: a table, checked and drawn in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pandas as pd

from .._docs import fill

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

        Returns
        -------
        self : display
            The same, with the picture in `figure_`.
        """
        return self._plot(ax)

    def _plot(self, ax: Axes | None, **options: Any) -> Self:
        table = self._checked(**options)  # first: an error leaves no empty figure
        self.ax_ = axes_or_new(ax)
        self.figure_ = self.ax_.figure
        self._draw(self.ax_, table, **options)
        return self

    def _checked(self) -> pd.DataFrame:
        table = getattr(self, self._table)
        return checked_table(
            table, self._table, self._labels, self._values, self._origin
        )

    def _draw(self, ax: Axes, table: pd.DataFrame) -> None:
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


def check_mapping(given: Any, name: str, of: str) -> None:
    """Refuse what is no dictionary, or is empty."""
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{name} has to be a dictionary of {of}, found {type(given).__name__}."
        )
    if not given:
        raise ValueError(f"{name} is empty. Pass a dictionary of {of}.")


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
