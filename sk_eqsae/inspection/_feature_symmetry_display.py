"""The energies of dictionary vectors in the irreps of a group, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from .._docs import fill
from ..sae._base import BaseSAE, sparse_codes
from ._display import Display, legend_of_names, shades
from ._feature_symmetry import feature_symmetry

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@fill
class FeatureSymmetryDisplay(Display):
    """How the energy of each dictionary vector is spread over the group's irreps.

    One column per latent, ordered by invariance; the shares add up to 1. Pale ones are
    not beyond chance: their main irrep is no more than a random direction has. The
    dashed line is the invariance of a vector whose copies under the group are
    orthogonal to each other, such as a feature of one orientation.

    Parameters
    ----------
    symmetry : pandas.DataFrame
        Table that :func:`~sk_eqsae.feature_symmetry` returns, or some of its
        rows.

    {picture}

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae import ActivationTransformFitter, TopKSAE
    >>> from sk_eqsae.inspection import FeatureSymmetryDisplay
    >>> x = np.abs(np.random.default_rng(0).normal(size=(100, 2)))
    >>> X = np.concatenate([x, x[:, ::-1]])
    >>> orbits = {"groups": np.tile(np.arange(100), 2), "power": np.repeat([0, 1], 100)}
    >>> fitter = ActivationTransformFitter().fit(X, **orbits)
    >>> sae = TopKSAE(4, k=2, max_epochs=5, random_state=0).fit(X)
    >>> display = FeatureSymmetryDisplay.from_estimator(sae, fitter, X=X)
    >>> display.ax_.get_ylabel()
    'share of energy'
    """

    _table = "symmetry"
    _labels = ("stabilizer_size", "orbit_length", "beyond_chance")
    _values = ("invariance",)
    _origin = (
        "the table of feature_symmetry; of the latents that fire for X there may be "
        "none, so leave X out to see all"
    )

    def __init__(self, symmetry: pd.DataFrame) -> None:
        self.symmetry = symmetry

    @classmethod
    def from_estimator(
        cls,
        sae: BaseEstimator,
        activation_transform: BaseEstimator | None = None,
        *,
        X: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Compute the table and plot it.

        Parameters
        ----------
        {sae}
        {sae_transform}
        X : array-like of shape (n_rows, n_features), default=None
            Activations, whose spectrum says what chance is; latents that no row uses
            are left out. None shows all, also those that training never moved.
        {ax}

        {display}
        """
        symmetry = feature_symmetry(sae, activation_transform, X=X)
        if X is not None:  # pooled latents stand for several vectors
            is_own = isinstance(sae, BaseSAE)
            Z: Any = sparse_codes(sae, X) if is_own else sae.transform(X)
            symmetry = symmetry[np.asarray((Z > 0).sum(axis=0)).ravel() > 0]
        return cls(symmetry).plot(ax=ax)

    def _checked(self) -> pd.DataFrame:
        table = super()._checked().dropna(subset=["invariance"])
        if not len(table):
            raise ValueError("symmetry has no latent to show: all vectors are zero.")
        return table.sort_values("invariance", ascending=False, kind="stable")

    def _draw(self, ax: Axes, table: pd.DataFrame) -> None:
        edges, bottom = np.arange(len(table) + 1), np.zeros(len(table))
        energies = table.filter(regex="^energy ")
        names = energies.columns.str.removeprefix("energy ").tolist()
        for name, energy, color in zip(
            names, energies.to_numpy().T, shades(len(names)), strict=True
        ):
            top = bottom + energy
            ax.stairs(top, edges, baseline=bottom, fill=True, color=color, label=name)
            bottom = top
        ax.set(xlim=(0, len(table)), ylim=(0, 1), ylabel="share of energy")
        self._mark_free(ax)
        self._mark_chance(ax, table["beyond_chance"].to_numpy(dtype=bool))
        legend_of_names(ax, names)

    def _mark_free(self, ax: Axes) -> None:
        """Invariance of a vector whose copies under the group are orthogonal."""
        sizes = self.symmetry[["stabilizer_size", "orbit_length"]].to_numpy()
        order = int(sizes[0].prod())
        ax.axhline(1 / order, color="white", lw=1, ls="--")
        ax.annotate(
            "1/|G|",
            (1.01, 1 / order),
            xycoords=ax.get_yaxis_transform(),
            va="center",
            fontsize="small",
        )

    def _mark_chance(self, ax: Axes, beyond: NDArray) -> None:
        """Lay a veil over latents of which the energies say nothing."""
        label, color = "latents, most invariant first", ax.get_facecolor()
        if not beyond.all():
            ends = np.repeat(np.arange(len(beyond) + 1), 2)[1:-1]
            where = np.repeat(~beyond, 2)
            ax.fill_between(ends, 0, 1, where=where, color=color, alpha=0.6, lw=0)
            label += "\n(pale: not beyond chance)"
        ax.set_xlabel(label)
