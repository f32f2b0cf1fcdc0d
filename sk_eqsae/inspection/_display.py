"""What every display is: a table, checked and drawn in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Display:
    """A picture of one table. A subclass says which one, and how it is drawn."""

    _table: ClassVar[str]  # name of the attribute that holds it
    _columns: ClassVar[tuple[str, ...]]  # that it needs
    _origin: ClassVar[str]  # where such a table comes from, for errors

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        self : display
            The same, with the picture in `figure_`.
        """
        return self._plot(ax)

    def _plot(self, ax: Axes | None, *args: Any, **options: Any) -> Self:
        self._check(**options)  # first: an error should leave no empty figure
        self.ax_ = axes_or_new(ax)
        self.figure_ = self.ax_.figure
        self._draw(self.ax_, **options)
        return self

    def _check(self, *args: Any, **options: Any) -> None:
        table = getattr(self, self._table)
        check_table(table, self._table, self._columns, self._origin)

    def _draw(self, ax: Axes, *args: Any, **options: Any) -> None:
        raise NotImplementedError


def check_table(table: Any, name: str, columns: Sequence[str], origin: str) -> None:
    """Refuse what is no table, lacks a column or has no rows."""
    if not isinstance(table, pd.DataFrame):
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
