"""How far each layer follows each symmetry, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from .._docs import fill
from ._display import Display, checked_table, label_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEANINGS = {
    "r2": "R2 of M, held out",
    "moves": "share of the moves that M explains",
    "r2_free": "R2 of M without a law",
    "r2_identity": "R2 of M = I",
    "r2_shuffled": "R2 of M, orbits shuffled",
}
_WIDTH, _HEAD, _ROW = 3.5, 0.8, 0.24  # inches
_LONGEST = 20  # letters of a layer's name, of which the last are shown
_BRIGHT = 0.5  # from which black can be read on a colour


@fill
class SymmetryScanDisplay(Display):
    """How far each layer follows each symmetry: a heat map over depth.

    One row per layer, the first on top, and one column per symmetry. What is below 0 is
    coloured as 0; an asterisk says that the symmetry does not map the grid onto itself.

    Parameters
    ----------
    scan : pandas.DataFrame
        Table that :func:`~sk_eqsae.scan_symmetry` returns.

    {picture}

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_eqsae.inspection import SymmetryScanDisplay
    >>> scan = pd.DataFrame(
    ...     {
    ...         "layer": ["0", "0", "2", "2"],
    ...         "symmetry": ["turn", "mirror", "turn", "mirror"],
    ...         "r2": [0.9, 0.95, 0.4, 0.8],
    ...     }
    ... )
    >>> display = SymmetryScanDisplay(scan).plot()
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['0', '2']
    """

    _table = "scan"
    _labels = ("layer", "symmetry")
    _values = ("r2",)
    _origin = "the table of scan_symmetry"

    def __init__(self, scan: pd.DataFrame) -> None:
        self.scan = scan

    def plot(self, ax: Axes | None = None, *, value: str = "r2") -> Self:
        """Draw.

        Parameters
        ----------
        {ax}
        value : str, default="r2"
            Column of the table that is drawn, such as "moves".

        {display}
        """
        self._plot(ax, value=value)
        if ax is None:  # as high as there are layers
            figure: Any = self.figure_
            height = _HEAD + _ROW * self.scan["layer"].nunique()
            figure.set_size_inches(_WIDTH, height)
        return self

    def _checked(self, value: str) -> pd.DataFrame:
        table = checked_table(self.scan, "scan", self._labels, (value,), self._origin)
        twice = table.duplicated([*self._labels])
        if twice.any():
            where = table.loc[twice, [*self._labels]].iloc[0].tolist()
            raise ValueError(f"scan has {where} twice. Pass {self._origin}.")
        return table

    def _draw(self, ax: Axes, table: pd.DataFrame, value: str) -> None:
        layers, symmetries = (list(dict.fromkeys(table[c])) for c in self._labels)
        off = ~table.get("aligned", pd.Series(True, table.index)).fillna(True)
        cells = table.assign(mark=np.where(off, "*", "")).pivot(
            index="layer", columns="symmetry", values=[value, "mark"]
        )
        shown, marks = (
            cells[name].loc[layers, symmetries].to_numpy() for name in (value, "mark")
        )
        shown = shown.astype(float)
        ax.imshow(shown, vmin=0, vmax=1, cmap="cividis", aspect="auto")
        for (row, column), number in np.ndenumerate(shown):
            if np.isfinite(number):
                color = "black" if number > _BRIGHT else "white"
                label = f"{number:.2f}{marks[row, column]}"
                ax.text(column, row, label, c=color, ha="center", va="center", size=8)
        names = [n if len(n) <= _LONGEST else f"…{n[1 - _LONGEST :]}" for n in layers]
        ax.set_yticks(range(len(layers)), names, fontsize="small")
        label_ticks(ax, [str(symmetry) for symmetry in symmetries])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(_MEANINGS.get(value, value), fontsize="medium")
