"""The public function of the room."""

import os
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ..._atomic import atomic_write
from ..._fitting import unfrozen
from ..._rows import checked_rows, read_rows
from ...activations import Orbits
from ...sae._base import BaseSAE, sparse_codes
from .._transform_checks import check_transform
from ._content import content
from ._page import page
from ._pictures import Action, Inputs


def explore(
    sae: BaseEstimator,
    orbits: Orbits | ArrayLike,
    inputs: Inputs | None = None,
    *,
    action: Action | None = None,
    labels: ArrayLike | None = None,
    names: ArrayLike | None = None,
    activation_transform: BaseEstimator | None = None,
    path: str | os.PathLike = "features.html",
    n_top: int = 8,
    max_picture_bytes: int = 4_000_000,
) -> Path:
    """Write a page on which the features of an autoencoder can be looked at.

    The page is one HTML file that needs no server and no network. It lists all
    features, to search, filter and sort, and shows for each one how often and how
    strongly it fires, what the group does to it, which inputs fire it most, and what
    is lost without it.

    Parameters
    ----------
    sae : TopKSAE, EquivariantSAE or GroupTiedSAE
        Fitted autoencoder. Of a GroupTiedSAE all latents are shown, whatever its
        `output`.
    orbits : Orbits or array-like of shape (n_rows, n_features)
        Activations to look at, best ones that were not fitted. Each row of an array is
        that of an input by itself, canonical under the group of M.
    inputs : ndarray or tensor of shape (n_inputs, ...), default=None
        Canonical inputs, indexed by orbit id: what went into
        :func:`~sk_eqsae.extract_orbits`; of an array of activations the input of each
        row. Drawn are images (height, width),
        (channels, height, width) or (height, width, channels) with 1 or 3 channels,
        signals (length,) or (channels, length) with up to 4 channels, and points
        (n_points, 2) or (n_points, 3); where a number is missing, pixels are magenta,
        and points and samples left out. None shows orbit ids alone.
    action : callable, default=None
        ``action(inputs, power)``, as it went into
        :func:`~sk_eqsae.extract_orbits`, so that inputs are shown at all places of
        their orbits. None shows canonical inputs alone.
    labels : array-like of shape (n_rows,), default=None
        Class of each row of the activations, such as ``y[orbits.groups]``.
    names : array-like of shape (n_latents,), default=None
        Name of each feature. None takes those of `get_feature_names_out`.
    activation_transform : estimator, default=None
        Fitted M. None takes the `activation_transform_` of `sae`; a TopKSAE has
        none, and is shown without symmetry then.
    path : str or path-like, default="features.html"
        Where to write. A file that is there is replaced in one step.
    n_top : int, default=8
        Inputs to show for each feature, at most.
    max_picture_bytes : int, default=4_000_000
        Room for pictures. Each input is kept once, first those that fire a feature
        most of all; those that find no room are named and not drawn.

    Returns
    -------
    path : pathlib.Path
        Where the page is.

    Raises
    ------
    TypeError
        If `sae` is none of the three autoencoders.
    ValueError
        If orbits, inputs, labels, names and M do not fit together, or if a label or a
        name is missing.

    See Also
    --------
    sk_eqsae.inspection.feature_symmetry : What the group does to features.
    sk_eqsae.inspection.FeatureOrbitDisplay : Base vectors of a GroupTiedSAE, decoded.

    Notes
    -----
    The numbers of a feature, with z its activation in a row:

    - Density is the share of rows with z > 0; the mean activation is over those.
    - Invariance, irreps, orbits and what the feature turns into are those of
      :func:`~sk_eqsae.inspection.feature_symmetry`, for the feature's vector.
    - An input counts by its strongest place in the orbit.
    - AUC of a class: the chance that a row of the class has a larger z than a row of
      another class, where equal ones count half. A feature that fires in a share q of
      its class alone has (1 + q) / 2.
    - Without a feature (z = 0, all others as they are) the squared error of a row
      grows by ``2 z (r . d) + z^2 |d|^2``, with r the error of the reconstruction and
      d the vector of the feature. It is shown as a mean over rows with z > 0, and as
      the FVU that it adds to all rows. Reconstructions of an EquivariantSAE are
      moved by the true powers, and its vectors with them.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_eqsae import TopKSAE, explore
    >>> from sk_eqsae.activations import Orbits
    >>> X = np.random.default_rng(0).normal(size=(40, 6))
    >>> groups, power = np.repeat(np.arange(20), 2), np.tile([0, 1], 20)
    >>> orbits = Orbits(X, groups, power)
    >>> sae = TopKSAE(12, k=2, max_epochs=2, random_state=0).fit(X)
    >>> path = explore(sae, orbits, path=tempfile.mkdtemp() + "/features.html")
    >>> "<title>Features of TopKSAE</title>" in path.read_text(encoding="utf-8")
    True
    """
    sae = unfrozen(sae)
    if not isinstance(sae, BaseSAE):
        raise TypeError(
            "sae has to be a fitted TopKSAE, EquivariantSAE or GroupTiedSAE, found "
            f"{type(sae).__name__}."
        )
    check_is_fitted(sae)
    check_scalar(n_top, "n_top", Integral, min_val=0)
    check_scalar(max_picture_bytes, "max_picture_bytes", Integral, min_val=0)
    if activation_transform is None:
        activation_transform = getattr(sae, "activation_transform_", None)
    if activation_transform is not None:
        check_transform(activation_transform)
    rows = orbits.X if isinstance(orbits, Orbits) else orbits
    if inputs is not None and rows is orbits:  # each row has an input of its own
        check_consistent_length(rows, inputs)
    data = content(
        sae,
        _with_checked_rows(orbits, sae, activation_transform),
        sparse_codes(sae, rows),
        inputs,
        action=action,
        labels=labels,
        names=names,
        activation_transform=activation_transform,
        n_top=n_top,
        max_picture_bytes=max_picture_bytes,
    )
    with atomic_write(path) as part:
        part.write_text(page(data), encoding="utf-8", newline="\n")
    return Path(path)


def _with_checked_rows(
    orbits: Orbits | ArrayLike, sae: BaseSAE, activation_transform: Any
) -> Orbits:
    """Rows in memory; those of an array are the canonical ones of their own orbits."""
    if isinstance(orbits, Orbits):
        X = read_rows(checked_rows(sae, orbits.X, reset=False), slice(None))
        return replace(orbits, X=X)
    X = read_rows(checked_rows(sae, orbits, reset=False), slice(None))
    group = getattr(activation_transform, "symmetry_", None)
    n_generators = 1 if group is None else group.n_generators
    power = np.zeros((len(X), n_generators), dtype=np.int64)
    return Orbits(X, np.arange(len(X)), power, group)
