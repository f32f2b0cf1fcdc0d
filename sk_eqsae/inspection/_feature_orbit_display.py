"""Base vectors along their orbits, as pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_scalar
from sklearn.utils.validation import _num_samples, check_is_fitted

from .._docs import fill
from .._estimator import as_array, as_places
from ..sae import GroupTiedSAE
from ..sae._base import sparse_codes
from ._display import Display, axes_or_new, element_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

_CHARACTERS = 12  # of a heading, per inch
_PICTURE = 0.55  # inches of one of them, so that a row is read on a phone, too
_SHOWN = 6  # base vectors, if none are named


@fill
class FeatureOrbitDisplay(Display):
    """What base vectors of a group-tied dictionary look like, and what fires them.

    One row each: the copies that the group makes of it, decoded by the network, and the
    inputs that fire its first copy most.

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
        Axes with the pictures; `figure_` holds them.

    Examples
    --------
    One pixel of four, seen from four sides; the network's decoder is the identity:

    >>> import numpy as np
    >>> from sk_eqsae import GroupTiedSAE
    >>> from sk_eqsae.inspection import FeatureOrbitDisplay
    >>> X = np.repeat(np.eye(4), 50, axis=0)
    >>> orbits = {"groups": np.tile(np.arange(50), 4), "power": X.argmax(axis=1)}
    >>> sae = GroupTiedSAE(8, k=1, max_epochs=5, random_state=0).fit(X, **orbits)
    >>> as_images = lambda rows: rows.reshape(-1, 2, 2)
    >>> display = FeatureOrbitDisplay.from_estimator(
    ...     sae, X, as_images(X), decode=as_images, n_top=3
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
        sae: GroupTiedSAE,
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
        {X}
        images : array-like of shape (n_rows, height, width)
            Inputs that they belong to.
        decode : callable
            The rest of the network: from an ndarray of activations, float32 and of
            shape (n, n_features), to images of shape (n, height, width).
        features : array-like of shape (n_shown,), default=None
            Base vectors to show. None is the 6 with the largest latents, in sum.
        n_top : int, default=4
            Inputs to show.
        {ax}
            The place of axes that are given is divided among the pictures.

        {display}

        Raises
        ------
        TypeError, ValueError
            If `sae` is no GroupTiedSAE, if there is not one image per row, or no such
            base vector.
        """
        if not isinstance(sae, GroupTiedSAE):
            raise TypeError(
                f"{sae!r} has no base vectors with copies. Pass a fitted GroupTiedSAE."
            )
        check_is_fitted(sae)
        images = _checked_images("images", images, _num_samples(X), "rows of X")
        check_scalar(n_top, "n_top", Integral, min_val=1)
        Z, orbits = sparse_codes(sae, X), sae.latent_orbits_
        if features is None:
            total = np.add.reduceat(Z.sum(axis=0)[: orbits.n_tied], orbits.starts)
            features = np.argsort(-total, kind="stable")[:_SHOWN]
        features = as_places(features, "features", orbits.n_orbits, "base vectors")
        first = Z[:, orbits.starts[features]].toarray()
        strongest = np.argsort(-first, axis=0, kind="stable")[:n_top].T
        elements = element_names(sae.symmetry_, lambda p: f"^{{{p}}}")
        # each copy is decoded as strong as the first one gets, and nothing else
        places = np.array([orbits.places(g) for g in range(sae.order_)])
        copies = sae.components_[places[:, orbits.starts[features]].T]
        rows = sae.intercept_ + first.max(axis=0)[:, None, None] * copies
        flat = rows.reshape(-1, rows.shape[2]).astype(np.float32)
        pictures = _checked_images(
            "what decode returns", decode(flat), len(flat), "rows that it got"
        )
        return cls(
            pictures.reshape(*copies.shape[:2], *pictures.shape[1:]),
            images[strongest],
            names=[f"vector {i}" for i in features],
            powers=[f"${name}$" for name in elements],
        ).plot(ax)

    def _plot(self, ax: Axes | None) -> Self:
        n_shown, order = self.copies.shape[:2]
        n_top = self.top_images.shape[1]
        whole = _place(ax, order + n_top, n_shown)
        left, right = whole.subfigures(1, 2, width_ratios=[order, n_top])
        copies = _grid(left, self.copies, "the vector, decoded")
        top = _grid(right, self.top_images, "inputs that fire it most")
        self.axes_, self.figure_ = np.hstack([copies, top]), whole.figure
        titles = [*self.powers, *" " * n_top]  # as much room on the right
        for above, title in zip(self.axes_[0], titles, strict=True):
            above.set_title(title, fontsize="medium")
        for beside, name in zip(copies[:, 0], self.names, strict=True):
            beside.set_ylabel(name, rotation=0, ha="right", va="center")
        return self


def _checked_images(name: str, images: ArrayLike, n: int, of: str) -> NDArray:
    array: NDArray = np.asarray(as_array(images))
    shape = array.shape
    gray_or_color = len(shape) == 3 or (len(shape) == 4 and shape[3] in (3, 4))
    if not gray_or_color or shape[0] != n:
        raise ValueError(
            f"{name} has shape {shape}, but has to hold one image for each of the {n} "
            f"{of}, of shape (height, width), or (height, width, 3) in color."
        )
    return check_array(array, allow_nd=True, input_name=name)


def _place(ax: Axes | None, n_columns: int, n_rows: int) -> Any:
    """The place of an axes, as scikit-learn's partial dependence does, or a figure."""
    if ax is None:
        import matplotlib.pyplot as plt  # noqa: PLC0415

        size = (_PICTURE * n_columns + 0.8, _PICTURE * n_rows + 0.5)
        return plt.figure(figsize=size, layout="constrained")
    ax = axes_or_new(ax)
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            "ax has no place in a grid that could be divided. Pass axes that "
            "plt.subplots made."
        )
    ax.set_axis_off()
    figure: Any = ax.figure  # by matplotlib's older types there may be none
    return figure.add_subfigure(place)


def _grid(figure: SubFigure, pictures: NDArray, heading: str) -> NDArray:
    axes: NDArray = figure.subplots(*pictures.shape[:2], squeeze=False)
    low, high = pictures.min(), pictures.max()
    for ax, image in zip(axes.flat, np.concatenate(pictures), strict=True):
        ax.imshow(image, cmap="gray", vmin=low, vmax=high)
        ax.set(xticks=[], yticks=[])
    inches = figure.bbox.width / figure.dpi
    lines = textwrap.fill(heading, max(int(_CHARACTERS * inches), 1))
    figure.suptitle(lines, fontsize="medium")
    return axes
