"""What a good reconstruction costs, as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._docs import fill
from ..sae import GroupTiedSAE
from ..sae._base import sparse_codes
from ._checks import check_sae
from ._display import Display, checked_table, draw_lines, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_X_LABELS = {
    "l0": "active latents per row",
    "l1": "sum of the latents per row",
    "n_components": "learned vectors",
}
_WIDE = 4  # largest over smallest; below it a linear axis reads better


@fill
class FrontierDisplay(Display):
    """What reconstructions leave unexplained, against what they cost.

    One line per kind of autoencoder, one point each: its sparsity, or the size of its
    dictionary, and its FVU on a logarithmic axis. Lower and further left is better.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per autoencoder: the `name` of its line; `l0` and `l1`, the number of
        active latents and their sum, means over rows; `n_components`, the number of
        learned vectors (of a GroupTiedSAE base and free ones, not copies); `fvu`.

    {picture}

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_eqsae import TopKSAE, fit_many
    >>> from sk_eqsae.inspection import FrontierDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> saes = {
    ...     n: fit_many([TopKSAE(n, k=k, max_epochs=10) for k in (2, 8)], X[:1500])
    ...     for n in (32, 128)
    ... }
    >>> display = FrontierDisplay.from_estimator(saes, X[1500:])
    >>> display.table[["name", "n_components"]].tail(2)
      name  n_components
    2  128           128
    3  128           128
    >>> display.plot(x="n_components").ax_.get_xlabel()
    'learned vectors'
    """

    _origin = "the table of a FrontierDisplay, or make one by from_estimator"

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    @classmethod
    def from_estimator(
        cls,
        saes: Iterable[BaseEstimator] | Mapping[str, Iterable[BaseEstimator]],
        X: ArrayLike,
        *,
        x: str = "l0",
        ax: Axes | None = None,
    ) -> Self:
        """Reconstruct the rows and plot.

        Parameters
        ----------
        saes : list or dict of lists of estimators
            Fitted autoencoders, or several lists of them by name.
        X : array-like of shape (n_rows, n_features)
            Held-out activations.
        {frontier_x}
        {ax}

        {display}

        Raises
        ------
        TypeError, ValueError
            If `saes` holds no lists of autoencoders, or there is no such `x`.

        Notes
        -----
        FVU is 1 minus the ``score`` of each.
        """
        _check_x(x)
        rows = [_measures(*named, X) for named in _named_saes(saes)]
        if not rows:
            raise ValueError("saes is empty. Pass what is to be compared.")
        return cls(pd.DataFrame(rows)).plot(ax, x=x)

    def plot(self, ax: Axes | None = None, *, x: str = "l0") -> Self:
        """Draw.

        Parameters
        ----------
        {ax}
        {frontier_x}

        {display}
        """
        return self._plot(ax, x=x)

    def _checked(self, x: str) -> pd.DataFrame:
        _check_x(x)
        return checked_table(self.table, "table", ("name",), ("fvu", x), self._origin)

    def _draw(self, ax: Axes, table: pd.DataFrame, x: str) -> None:
        draw_lines(ax, table, x, "fvu")
        if table[x].max() > _WIDE * table[x].min() > 0:
            log_axis(ax, "x", table[x], base=2)  # as k and sizes often are
        ax.set(xlabel=_X_LABELS[x], ylabel="FVU on held-out rows")


def _check_x(x: str) -> None:
    if x not in _X_LABELS:
        raise ValueError(f"x={x!r} has to be one of {list(_X_LABELS)}.")


def _named_saes(saes: Any) -> Iterator[tuple[str, Any]]:
    """Each autoencoder, and the name that it shares with others."""
    lists = saes if isinstance(saes, Mapping) else {"": saes}
    for name, several in lists.items():
        place = f"saes[{name!r}]" if name else "saes"
        if isinstance(several, BaseEstimator):
            raise TypeError(
                f"{place} is one estimator, {several!r}. Pass a list of fitted "
                "autoencoders, or a dictionary of lists by name."
            )
        for sae in several:
            check_sae(sae, f"what {place} holds")
            yield str(name), sae


def _measures(name: str, sae: Any, X: ArrayLike) -> dict[str, Any]:
    Z, n_components = sparse_codes(sae, X), len(sae.components_)
    if isinstance(sae, GroupTiedSAE):  # copies are not learned
        n_components = sae.n_orbits_ + sae.n_free_
    return {
        "name": name,
        "l0": Z.count_nonzero() / Z.shape[0],
        "l1": float(abs(Z).sum(dtype=np.float64) / Z.shape[0]),
        "n_components": n_components,
        "fvu": 1 - sae.score(X),
    }
