"""Pictures of base vectors along their orbits."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from textwrap import fill
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_scalar
from sklearn.utils.validation import _num_samples, check_is_fitted

from ._drawing import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_CHARACTERS = 10  # of a heading, per inch


class FeatureOrbitDisplay:
    """What base vectors of a group-tied dictionary look like, and what fires them.

    One row per base vector: the copies that the group makes of it, decoded by the
    network, and the inputs that fire its first copy most.

    Parameters
    ----------
    copies : ndarray of shape (n_shown, order, height, width)
        Decoded copies of each base vector.
    top_images : ndarray of shape (n_shown, n_top, height, width)
        Inputs that fire the first copy most, the strongest first.
    names : list of str
        Name of each base vector.
    powers : list of str
        Name of each copy.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_shown, order + n_top)
        Axes with the pictures.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    FeatureSymmetryDisplay : The same for all vectors, in numbers.

    Examples
    --------
    One pixel of four, seen from four sides; the network's decoder is the identity:

    >>> import numpy as np
    >>> from sk_eqsae import GroupTiedSAE
    >>> from sk_eqsae.inspection import FeatureOrbitDisplay
    >>> x = np.abs(np.random.default_rng(0).normal(size=(50, 1))) * np.eye(4)[:1]
    >>> X = np.stack([np.roll(x, p, axis=1) for p in range(4)]).reshape(-1, 4)
    >>> groups, power = np.tile(np.arange(50), 4), np.repeat(np.arange(4), 50)
    >>> sae = GroupTiedSAE(2, k=1, max_epochs=5, random_state=0)
    >>> sae = sae.fit(X, groups=groups, power=power)
    >>> images = X.reshape(-1, 2, 2)
    >>> display = FeatureOrbitDisplay.from_estimator(
    ...     sae, X, images, decode=lambda rows: rows.reshape(-1, 2, 2), n_top=3
    ... )
    >>> display.axes_.shape
    (2, 7)
    """

    def __init__(
        self,
        copies: NDArray,
        top_images: NDArray,
        *,
        names: list[str],
        powers: list[str],
    ) -> None:
        self.copies = copies
        self.top_images = top_images
        self.names = names
        self.powers = powers

    @classmethod
    def from_estimator(
        cls,
        sae: BaseEstimator,
        X: ArrayLike,
        images: ArrayLike,
        *,
        decode: Callable[[NDArray], ArrayLike],
        features: ArrayLike | None = None,
        n_top: int = 4,
        ax: Axes | None = None,
    ) -> Self:
        """Decode the copies, look for the strongest inputs, and draw both.

        Parameters
        ----------
        sae : GroupTiedSAE
            Fitted autoencoder.
        X : array-like of shape (n_rows, n_features)
            Activations.
        images : array-like of shape (n_rows, height, width)
            Inputs that they belong to.
        decode : callable
            The rest of the network: from an ndarray of activations, float32 and of
            shape (n, n_features), to images of shape (n, height, width).
        features : array-like of shape (n_shown,), default=None
            Base vectors to show. None is the 6 with the largest latents, in sum.
        n_top : int, default=4
            Inputs to show.
        ax : matplotlib Axes, default=None
            Where to draw: its place is divided among the pictures. None makes a new
            figure.

        Returns
        -------
        display : FeatureOrbitDisplay
            The drawn display.

        Raises
        ------
        TypeError
            If `sae` is no GroupTiedSAE.
        ValueError
            If there is not one image per row, or no such base vector.
        """
        check_is_fitted(sae)
        if not hasattr(sae, "n_components_"):
            raise TypeError(
                f"{sae!r} has no base vectors with copies. Pass a fitted GroupTiedSAE."
            )
        images = check_array(images, allow_nd=True, ensure_min_features=0)
        _check_shape("images", images.shape, _num_samples(X), "rows of X")
        check_scalar(n_top, "n_top", Integral, min_val=1)
        Z = sae._encode_csr(sae._check_rows(X))[:, : sae.n_components_ * sae.order_]
        if features is None:
            total = Z.sum(axis=0).reshape(-1, sae.order_).sum(axis=1)
            features = np.argsort(-total, kind="stable")[:6]
        features = _checked_features(features, sae.n_components_)
        first = Z[:, features * sae.order_].toarray()
        strongest = np.argsort(-first, axis=0, kind="stable")[:n_top].T
        names = sae.symmetry_.generator_names
        return cls(
            _decoded_copies(sae, first.max(axis=0), features, decode),
            images[strongest],
            names=[f"vector {i}" for i in features],
            powers=[_power_label(names, power) for power in sae.symmetry_.powers],
        ).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw: its place is divided among the pictures. None makes a new
            figure.

        Returns
        -------
        self : FeatureOrbitDisplay
            The display, with `axes_` and `figure_`.
        """
        n_rows, order = self.copies.shape[:2]
        n_top = self.top_images.shape[1]
        size = (1.0 * (order + n_top) + 1.2, 1.05 * n_rows + 0.5)
        whole = _new_figure(size) if ax is None else _place_of(axes_or_new(ax))
        widths = [order, n_top]
        copies, top = whole.subfigures(1, 2, squeeze=False, width_ratios=widths)[0]
        self.axes_ = np.hstack(
            [
                _grid(copies, self.copies, self.powers, "the vector, decoded"),
                _grid(top, self.top_images, [" "] * n_top, "inputs that fire it most"),
            ]
        )
        for first, name in zip(self.axes_[:, 0], self.names, strict=True):
            first.set_ylabel(name)
        self.figure_ = whole.figure
        return self


def _new_figure(size: tuple[float, float]) -> Figure:
    import matplotlib.pyplot as plt  # noqa: PLC0415

    return plt.figure(figsize=size, layout="constrained")


def _place_of(ax: Axes) -> SubFigure:
    """Give the place of an axes to many, as scikit-learn's partial dependence does."""
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            "ax has no place in a grid that could be divided. Pass axes that "
            "plt.subplots made."
        )
    ax.set_axis_off()
    figure: Any = ax.figure  # by matplotlib's older types there may be none
    whole: SubFigure = figure.add_subfigure(place)
    return whole


def _decoded_copies(
    sae: BaseEstimator,
    strengths: NDArray,
    features: NDArray,
    decode: Callable[[NDArray], ArrayLike],
) -> NDArray:
    """Decode each copy as strong as its first one gets, and nothing else."""
    dictionary = sae.components_[: sae.n_components_ * sae.order_]
    copies = dictionary.reshape(sae.n_components_, sae.order_, -1)[features]
    rows = sae.intercept_ + strengths[:, None, None] * copies
    flat = rows.reshape(-1, rows.shape[2]).astype(np.float32)
    pictures = np.asarray(decode(flat))
    _check_shape("what decode returns", pictures.shape, len(flat), "rows that it got")
    return pictures.reshape(*copies.shape[:2], *pictures.shape[1:])


def _checked_features(features: ArrayLike, n_vectors: int) -> NDArray:
    array = np.asarray(features)
    is_list = array.ndim == 1 and array.dtype.kind in "iu"
    if not is_list or not np.isin(array, np.arange(n_vectors)).all():
        raise ValueError(
            f"features={array.tolist()} has to list base vectors, from 0 to "
            f"{n_vectors - 1}."
        )
    return array


def _check_shape(name: str, shape: tuple[int, ...], n: int, of: str) -> None:
    gray_or_color = len(shape) == 3 or (len(shape) == 4 and shape[3] in (3, 4))
    if not gray_or_color or shape[0] != n:
        raise ValueError(
            f"{name} has shape {shape}, but has to hold one image for each of the {n} "
            f"{of}, of shape (height, width), or (height, width, 3) in color."
        )


def _power_label(names: tuple[str, ...], power: NDArray) -> str:
    """Mathtext of an element, such as r^3 s."""
    parts = [
        name if p == 1 else f"{name}^{{{p}}}"
        for name, p in zip(names, power, strict=True)
        if p
    ]
    return f"${' '.join(parts)}$" if parts else "$1$"


def _grid(
    figure: SubFigure, pictures: NDArray, titles: list[str], heading: str
) -> NDArray:
    axes: NDArray = figure.subplots(*pictures.shape[:2], squeeze=False)
    low, high = pictures.min(), pictures.max()
    for row, images in zip(axes, pictures, strict=True):
        for ax, image in zip(row, images, strict=True):
            _show(ax, image, low, high)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    inches = figure.bbox.width / figure.dpi
    figure.suptitle(fill(heading, max(int(_CHARACTERS * inches), 1)))
    return axes


def _show(ax: Axes, image: NDArray, low: float, high: float) -> None:
    ax.imshow(image, cmap="gray", vmin=low, vmax=high)
    ax.set(xticks=[], yticks=[])
