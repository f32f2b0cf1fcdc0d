"""The public function of the room, and what it puts on the page."""

from __future__ import annotations

import os
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.utils import check_scalar
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from ..._atomic import atomic_write
from ..._fitting import unfrozen
from ..._rows import checked_rows, read_rows
from ...activations import Orbits
from ...groups import FiniteGroup
from ...groups._orbit_table import as_group, orbit_table
from ...sae._base import BaseSAE, kept_latents, sparse_codes
from .._element_names import element_names
from .._feature_symmetry import feature_symmetry
from .._transform_checks import check_transform
from ._page import page
from ._pictures import Action, Inputs, check_ids, pictures
from ._removal import removal
from ._usage import class_separation, histograms, mean_by_power, top_orbits, usage

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


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
        row. Drawn are images (height, width), (channels, height, width) or (height,
        width, channels) with 1 or 3 channels, signals (length,) or (channels, length)
        with up to 4 channels, and points (n_points, 2) or (n_points, 3). A pixel that
        is no number is magenta, a point or sample left out. None shows ids alone.
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
      another class, where equal ones count half.
    - Without a feature (z = 0, all others as they are) the squared error of a row
      grows by ``2 z (r . d) + z^2 |d|^2``, with r the error of the reconstruction and
      d the vector of the feature: a mean over rows with z > 0, and the FVU that it
      adds to all rows. Vectors of an EquivariantSAE are moved by the true powers.

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
    sae, fitter = _checked(sae, activation_transform)
    check_scalar(n_top, "n_top", Integral, min_val=0)
    check_scalar(max_picture_bytes, "max_picture_bytes", Integral, min_val=0)
    given: Any = orbits.X if isinstance(orbits, Orbits) else orbits
    if given is orbits and inputs is not None:  # each row has an input of its own
        check_consistent_length(given, inputs)
    Z = sparse_codes(sae, given)
    orbits = _in_orbits(sae, orbits, fitter)
    group, table = orbit_table(
        orbits.groups, orbits.power, symmetry=orbits.symmetry, n_rows=len(orbits)
    )
    top = top_orbits(Z.tocsc(), table, n_top)
    shown = _most_needed_first(top)
    ids = orbits.groups[table[:, 0]]
    data = {
        "title": f"Features of {type(sae).__name__}",
        "names": _names(sae, names),
        "elements": element_names(group, lambda p: str(p).translate(_SUPERSCRIPTS)),
        **_numbers(sae, group, orbits.X, Z, table),
        **({} if fitter is None else _symmetry(sae, fitter)),
        **({} if labels is None else _classes(Z.tocsc(), labels)),
        "top": _by_place(top, shown),
        "inputs": [str(orbit_id) for orbit_id in ids[shown]],
        "pictures": None,
    }
    if inputs is not None:
        _check_action(action, group)
        check_ids(ids, len(inputs))
        data["pictures"] = pictures(
            inputs, ids[shown], action, group, max_picture_bytes
        )
    with atomic_write(path) as part:
        part.write_text(page(data), encoding="utf-8", newline="\n")
    return Path(path)


def _checked(sae: Any, activation_transform: Any) -> tuple[BaseSAE, Any]:
    """A fitted autoencoder and its M, or None."""
    sae = unfrozen(sae)
    if not isinstance(sae, BaseSAE):
        raise TypeError(
            "sae has to be a fitted TopKSAE, EquivariantSAE or GroupTiedSAE, found "
            f"{type(sae).__name__}."
        )
    check_is_fitted(sae)
    if activation_transform is None:
        activation_transform = getattr(sae, "activation_transform_", None)
    if activation_transform is not None:
        check_transform(activation_transform)
    return sae, activation_transform


def _in_orbits(sae: BaseSAE, orbits: Orbits | ArrayLike, fitter: Any) -> Orbits:
    """Checked rows in memory; each one of an array is an orbit's canonical row."""
    given: Any = orbits.X if isinstance(orbits, Orbits) else orbits
    X = read_rows(checked_rows(sae, given, reset=False), slice(None))
    group = None if fitter is None else fitter.symmetry_
    if isinstance(orbits, Orbits):
        return replace(orbits, X=X, symmetry=group or orbits.symmetry)
    power = np.zeros((len(X), group.n_generators if group else 1), dtype=np.int64)
    return Orbits(X, np.arange(len(X)), power, group)


def _numbers(
    sae: BaseSAE, group: FiniteGroup, X: NDArray, Z: csr_array, table: NDArray
) -> dict[str, Any]:
    """What each feature does, and all of them together."""
    lost = removal(sae, X, Z, table)
    columns = usage(Z) | {"removal_error": lost.error, "removal_fvu": lost.fvu}
    about = {
        "estimator": type(sae).__name__,
        "n_rows": len(X),
        "n_orbits": len(table),
        "n_activations": X.shape[1],
        "k": kept_latents(sae),
        "group": repr(group),
        "fvu": _rounded(lost.fvu_with_all),
    }
    return {
        "about": about,
        "columns": {name: _rounded(column) for name, column in columns.items()},
        "histograms": histograms(Z.tocsc()),
        "by_power": _rounded(mean_by_power(Z, table)),
    }


def _rounded(values: Any, digits: int = 4) -> Any:
    """Numbers that JSON has, as short as will do; None for what is not finite."""
    if isinstance(values, np.ndarray | list):
        return [_rounded(value, digits) for value in values]
    if not np.isfinite(values):
        return None
    short = float(f"{values:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def _names(sae: BaseSAE, names: ArrayLike | None) -> list[str]:
    n_latents = len(sae.components_)
    if names is not None:
        given = _complete(names, "names", "name", "feature")
        if len(given) != n_latents:
            raise ValueError(
                f"names has {len(given)} entries, but the dictionary has {n_latents} "
                "vectors. Give one name for each."
            )
        return [str(name) for name in given]
    own = sae.get_feature_names_out()
    if len(own) != n_latents:  # pooled latents
        return [f"latent{i}" for i in range(n_latents)]
    return own.tolist()


def _complete(values: ArrayLike, argument: str, what: str, of: str) -> NDArray:
    """Entries of one axis, none of them missing: NaN, NaT, None, or masked."""
    given: NDArray = column_or_1d(values)
    missing = np.flatnonzero(pd.isna(given) | np.ravel(np.ma.getmask(values)))
    if len(missing):
        raise ValueError(
            f"{argument} has no {what} for {len(missing)} {of}(s), such as "
            f"{missing[0]}. Give these a {what} of their own, such as 'none'."
        )
    return given


def _symmetry(sae: BaseSAE, fitter: Any) -> dict[str, Any]:
    found, group = feature_symmetry(sae, fitter), fitter.symmetry_
    columns = ["invariance", "stabilizer_size", "orbit_length", "orbit"]
    irreps = [irrep.name for irrep in group.irreps]
    return {
        "irreps": irreps,
        "irrep": found["irrep"].where(found["irrep"].notna(), None).tolist(),
        "energies": _rounded(found[[f"energy {name}" for name in irreps]].to_numpy()),
        "symmetry": {name: _rounded(found[name].to_numpy()) for name in columns},
        "turns_into": [
            {
                "name": name,
                "latent": found[f"turns_into_{name}"].tolist(),
                "cosine": _rounded(found[f"cosine_{name}"].to_numpy()),
            }
            for name in group.generator_names
        ],
    }


def _classes(Z: Any, labels: ArrayLike) -> dict[str, Any]:
    check_consistent_length(Z, labels)
    given = _complete(labels, "labels", "class", "row")
    check_classification_targets(given)
    classes, codes = np.unique(given, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"labels has to hold two classes or more, found {classes}.")
    auc, density = class_separation(Z, codes, len(classes))
    return {
        "classes": [str(name) for name in classes],
        "auc": _rounded(auc, 3),
        "class_density": _rounded(density, 3),
    }


def _most_needed_first(top: list[tuple[NDArray, NDArray]]) -> NDArray:
    """All orbits that are shown: the strongest of each feature before the others."""
    ranked = [(rank, orbit) for orbits, _ in top for rank, orbit in enumerate(orbits)]
    return np.array(
        list(dict.fromkeys(int(orbit) for _, orbit in sorted(ranked))), dtype=np.int64
    )


def _by_place(top: list[tuple[NDArray, NDArray]], shown: NDArray) -> list[Any]:
    """Strongest orbits of each feature, by their place among those that are shown."""
    place = {orbit: i for i, orbit in enumerate(shown.tolist())}
    return [
        [[place[orbit], _rounded(z, 3)] for orbit, z in zip(*one, strict=True)]
        for one in top
    ]


def _check_action(action: Action | None, group: FiniteGroup) -> None:
    own = as_group(getattr(action, "symmetry", None))
    if own not in {None, group}:
        raise ValueError(
            f"action has symmetry {own!r}, but the orbits {group!r}. Give the action "
            "that extract_orbits was given."
        )
