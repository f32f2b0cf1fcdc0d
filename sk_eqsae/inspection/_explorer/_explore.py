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
from scipy.sparse import csc_array, csr_array
from sklearn.base import BaseEstimator
from sklearn.utils import check_scalar
from sklearn.utils.validation import (
    check_consistent_length,
    column_or_1d,
)

from ..._atomic import atomic_write
from ..._docs import fill
from ..._fitting import unfrozen
from ..._rows import as_array, checked_rows, read_rows
from ...activations import Orbits
from ...groups import FiniteGroup
from ...groups._orbit_table import as_group, orbit_table
from ...sae._base import BaseSAE, kept_latents, sparse_codes
from .._checks import check_sae, check_transform
from .._display import element_names
from ._numbers import activity, columns, removal, rounded, separation, symmetry
from ._page import page
from ._pictures import Action, Inputs, check_ids, pictures

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@fill
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

    One HTML file that needs no server and no network lists all features and shows how
    often and how strongly each fires, what the group does to it, which inputs fire it
    most, and what is lost without it.

    Parameters
    ----------
    sae : TopKSAE, EquivariantSAE, GroupTiedSAE or OrbitSAE
        Fitted autoencoder. All latents are shown, whatever its `output`.
    orbits : Orbits or array-like of shape (n_rows, n_features)
        Activations to look at, best ones that were not fitted. Each row of an array is
        that of an input by itself, canonical under the group of M.
    inputs : ndarray or tensor of shape (n_inputs, ...), default=None
        Canonical inputs, indexed by ``orbits.inputs``; of an array of activations the
        input of each row. Drawn are images of 1 or 3 channels, first or last, signals
        (length,) or (channels, length) of up to 4, and points (n_points, 2) or
        (n_points, 3). Of a layer with sites on a grid a frame marks the one that fired.
        None shows ids alone.
    action : callable, default=None
        ``action(inputs, power)`` of :func:`~sk_eqsae.extract_orbits`, to show inputs
        at all places of their orbits. None shows canonical inputs alone.
    labels : array-like of shape (n_rows,), default=None
        Class of each row of the activations, such as ``y[orbits.inputs]``.
    names : array-like of shape (n_latents,), default=None
        Name of each feature. None takes those of `get_feature_names_out`.
    {sae_transform}
        A TopKSAE has none, and is shown without symmetry then.
    path : str or path-like, default="features.html"
        Where to write. A file that is there is replaced in one step.
    n_top : int, default=8
        Inputs to show for each feature, at most.
    max_picture_bytes : int, default=4_000_000
        Room for pictures; inputs that find none are named and not drawn.

    Returns
    -------
    path : pathlib.Path
        Where the page is.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit together, or a label or a name is missing.

    Notes
    -----
    The numbers of a feature, with z its activation in a row:

    - Density is the share of rows with z > 0; the mean activation is over those.
    - What the group does is what :func:`~sk_eqsae.feature_symmetry` says.
    - An input counts by its strongest site and place in the orbit.
    - AUC of a class is of its rows against all others, where equal z count half.
    - Without the feature (z = 0) the squared error of a row grows by ``2 z (r . d) +
      z^2 |d|^2``, with r the error of the reconstruction and d the feature's vector,
      of an EquivariantSAE moved by the true power.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_eqsae import TopKSAE, explore
    >>> from sk_eqsae.activations import Orbits
    >>> X = np.random.default_rng(0).normal(size=(40, 6))
    >>> orbits = Orbits(X, np.repeat(np.arange(20), 2), np.tile([0, 1], 20))
    >>> sae = TopKSAE(12, k=2, max_epochs=2, random_state=0).fit(X)
    >>> explore(sae, orbits, path=tempfile.mkdtemp() + "/features.html").name
    'features.html'
    """
    sae, fitter = _checked(sae, activation_transform)
    check_scalar(n_top, "n_top", Integral, min_val=0)
    check_scalar(max_picture_bytes, "max_picture_bytes", Integral, min_val=0)
    given: Any = orbits.X if isinstance(orbits, Orbits) else orbits
    if given is orbits and inputs is not None:  # each row has an input of its own
        check_consistent_length(given, inputs)
    Z = sparse_codes(sae, given)
    orbits = _in_orbits(sae, orbits, given, fitter)
    group, table = orbit_table(
        **orbits.metadata, symmetry=orbits.symmetry, n_rows=len(orbits)
    )
    ids = orbits.inputs[table[:, 0]]
    data = _numbers(sae, orbits, Z, table) | {
        "title": f"Features of {type(sae).__name__}",
        "names": _names(sae, names),
        "elements": element_names(group, lambda p: str(p).translate(_SUPERSCRIPTS)),
        "pictures": None,
    }
    if fitter is not None:
        data |= symmetry(sae, fitter, orbits.X)
    if labels is not None:
        check_consistent_length(Z, labels)
        data |= separation(Z.tocsc(), _complete(labels, "labels", "class", "row"))
    grid, cells = _cells(orbits, table)
    top, shown = _top(Z.tocsc(), table, ids, cells, n_top)
    data |= {"top": top, "inputs": [str(number) for number in shown], "grid": grid}
    if inputs is not None:
        _check_action(action, group)
        check_ids(ids, len(inputs))
        data["pictures"] = pictures(inputs, shown, action, group, max_picture_bytes)
    with atomic_write(path) as part:
        part.write_text(page(data), encoding="utf-8", newline="\n")
    return Path(path)


def _checked(sae: Any, activation_transform: Any) -> tuple[BaseSAE, Any]:
    """A fitted autoencoder and its M, or None."""
    sae = unfrozen(sae)
    check_sae(sae)
    if activation_transform is None:
        activation_transform = getattr(sae, "activation_transform_", None)
    if activation_transform is not None:
        check_transform(activation_transform)
    return sae, activation_transform


def _in_orbits(sae: BaseSAE, orbits: Any, given: Any, fitter: Any) -> Orbits:
    """Checked rows in memory; each one of an array is an orbit's canonical row."""
    X = read_rows(checked_rows(sae, given, reset=False), slice(None))
    group = None if fitter is None else fitter.symmetry_
    if isinstance(orbits, Orbits):
        return replace(orbits, X=X, symmetry=group or orbits.symmetry)
    power = np.zeros((len(X), group.n_generators if group else 1), dtype=np.int64)
    return Orbits(X, np.arange(len(X)), power, group)


def _numbers(
    sae: BaseSAE, orbits: Orbits, Z: csr_array, table: NDArray
) -> dict[str, Any]:
    """What each feature does, and all of them together."""
    found = activity(Z, table)
    lost, fvu_with_all = removal(sae, orbits.X, Z, table)
    found["columns"] |= lost
    found["about"] = {
        "estimator": type(sae).__name__,
        "n_rows": len(orbits),
        "n_orbits": len(table),
        "n_activations": orbits.X.shape[1],
        "k": kept_latents(sae),
        "group": repr(orbits.symmetry),
        "fvu": fvu_with_all,
    }
    return found


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
    # in an array of strings, the NaN of a list would be the text "nan"
    given: Any = values
    if not hasattr(values, "dtype"):
        given = np.asarray(values, dtype=object)
    missing = np.flatnonzero(pd.isna(given) | np.ravel(np.ma.getmask(values)))
    if len(missing):
        raise ValueError(
            f"{argument} has no {what} for {len(missing)} {of}(s), such as "
            f"{missing[0]}. Give these a {what} of their own, such as 'none'."
        )
    # an array of strings drops NUL at their end
    are_texts = all(isinstance(value, str) for value in np.ravel(given))
    return column_or_1d(given if are_texts else as_array(values))


def _cells(orbits: Orbits, table: NDArray) -> tuple[Any, NDArray | None]:
    """Rows and columns of the grid of sites, and the cell of each row of the table."""
    if orbits.grid is None or len(orbits.grid) > 2:
        return None, None
    grid = [1, *orbits.grid][-2:]
    return grid, np.where(table >= 0, orbits.position[table], -1)


def _top(
    Z: csc_array, table: NDArray, ids: NDArray, cells: NDArray | None, n_top: int
) -> tuple[list[Any], NDArray]:
    """Strongest inputs of each latent, by place among all that are shown, and those."""
    orbit_of_row = np.empty(Z.shape[0], dtype=np.int64)
    orbits, elements = np.nonzero(table >= 0)
    orbit_of_row[table[orbits, elements]] = orbits
    known, input_of = np.unique(ids, return_inverse=True)
    top = [
        _top_of_one(column, orbit_of_row, input_of, table, n_top)
        for column in columns(Z)
    ]
    # the strongest of each latent before the others
    ranked = sorted((rank, input_of[o]) for one in top for rank, o in enumerate(one[0]))
    place = {number: i for i, number in enumerate(dict.fromkeys(n for _, n in ranked))}
    by_place = [
        [
            [place[input_of[orbit]], rounded(z, 3)]
            + ([] if cells is None else [cells[orbit].tolist()])
            for orbit, z in zip(*one, strict=True)
        ]
        for one in top
    ]
    return by_place, known[list(place)]


def _top_of_one(
    latent: tuple[NDArray, NDArray],
    orbit_of_row: NDArray,
    input_of: NDArray,
    table: NDArray,
    n_top: int,
) -> tuple[list[int], NDArray]:
    """Orbits in which a latent is strongest (n,), and what it is there (n, order)."""
    # each of another input: of one with several sites it is the strongest
    rows, values = latent
    strongest_first = orbit_of_row[rows[np.argsort(-values, kind="stable")]]
    first = np.unique(input_of[strongest_first], return_index=True)[1]
    top = strongest_first[np.sort(first)[:n_top]]
    column = np.zeros(len(orbit_of_row))
    column[rows] = values
    return top.tolist(), np.where(table[top] >= 0, column[table[top]], np.nan)


def _check_action(action: Action | None, group: FiniteGroup) -> None:
    own = as_group(getattr(action, "symmetry", None))
    if own not in {None, group}:
        raise ValueError(
            f"action has symmetry {own!r}, but the orbits {group!r}. Give the action "
            "that extract_orbits was given."
        )
