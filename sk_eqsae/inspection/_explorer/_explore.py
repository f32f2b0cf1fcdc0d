"""The public function of the room, and what it puts on the page."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_consistent_length

from ..._atomic import atomic_write
from ..._docs import fill
from ...activations import Orbits
from ...groups import FiniteGroup
from ...groups._orbit_table import as_group
from ...sae._base import kept_latents
from .._display import element_names
from ._classes import complete, read_notes
from ._examples import Examples
from ._feature_table import table_of
from ._numbers import histograms, mean_by_power
from ._page import packed, page, rounded
from ._pictures import Action, Inputs, check_ids, pictures, vector_pictures
from ._plane import nearest, plane
from ._seen import Seen

_N_CLASSES = 20  # that are listed of a feature
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@fill
def explore(
    sae: BaseEstimator,
    orbits: Orbits | ArrayLike,
    inputs: Inputs | None = None,
    *,
    action: Action | None = None,
    labels: ArrayLike | pd.DataFrame | None = None,
    names: ArrayLike | None = None,
    activation_transform: BaseEstimator | None = None,
    render: Callable[[Any], Any] | None = None,
    decode: Callable[[NDArray], ArrayLike] | None = None,
    notes: pd.DataFrame | str | os.PathLike | None = None,
    path: str | os.PathLike = "features.html",
    n_top: int = 8,
    max_picture_bytes: int = 6_000_000,
) -> Path:
    """Write a page on which the features of an autoencoder can be looked at.

    One HTML file that needs no server and no network lists all latent orbits and shows
    which inputs fire each feature, how often and how strongly, what the group does to
    it, which others are near, and what is lost without it.

    Parameters
    ----------
    sae : TopKSAE, EquivariantSAE, GroupTiedSAE or OrbitSAE
        Fitted autoencoder. All latents are shown, whatever its `output`.
    orbits : Orbits or array-like of shape (n_rows, n_features)
        Activations to look at, best ones that were not fitted. Each row of an array is
        that of an input by itself, canonical under the group of M.
    inputs : ndarray, tensor or list of n_inputs entries, default=None
        Canonical inputs, indexed by ``orbits.inputs``; of an array of activations the
        input of each row. Drawn are images of 1 or 3 channels, first or last, signals
        (length,) or (channels, length) of up to 4, and points (n_points, 2) or
        (n_points, 3), and texts, or whatever `render` draws. Of a layer with sites on a
        grid a frame marks the one that fired. None shows ids alone.
    action : callable, default=None
        ``action(inputs, power)`` of :func:`~sk_eqsae.extract_orbits`, to show inputs
        at all places of their orbits. None shows canonical inputs alone.
    labels : array-like of shape (n_rows,) or (n_rows, n_classes), default=None
        Class of each row of the activations, such as ``y[orbits.inputs]``, or 1 for
        each class that the row is of and 0 for the others; the columns of a DataFrame
        name the classes.
    names : array-like of shape (n_latents,), default=None
        Name of each feature. None takes those of `get_feature_names_out`.
    {sae_transform}
        A TopKSAE has none, and is shown without symmetry then.
    render : callable, default=None
        Draws one input, such as a molecule: ``render(x)`` is an image of 1, 3 or 4
        channels (integers up to 255 or floats up to 1), a text, or a list of tokens, of
        which the one that fired is marked.
    decode : callable, default=None
        The rest of the network, from activations (n, n_features) in float32 to images,
        signals or points (n, ...), to draw what each vector adds to the mean.
    notes : DataFrame, str or path-like, default=None
        Labels and notes, with the columns ``latent``, ``label`` and ``note``, or a JSON
        or CSV file of them that the page wrote. What is written on the page comes
        before them.
    path : str or path-like, default="features.html"
        Where to write. A file that is there is replaced in one step.
    n_top : int, default=8
        Inputs to show for each feature, at most.
    max_picture_bytes : int, default=6_000_000
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
    :func:`~sk_eqsae.feature_table` explains the numbers, and gives them as a table. An
    input counts by its strongest site and place in the orbit. Beside the strongest
    inputs are some that are stronger than 75, 50 and 25 % of those that fire the
    feature, and some at random. Near features are those of largest cosine, of their
    vectors and of their activations in all rows; the map shows vectors by UMAP where
    umap-learn is installed, and else by their two main directions. What is written on
    the page stays in the browser, by the dictionary's hash.

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
    check_scalar(n_top, "n_top", Integral, min_val=0)
    check_scalar(max_picture_bytes, "max_picture_bytes", Integral, min_val=0)
    if not isinstance(orbits, Orbits) and inputs is not None:
        check_consistent_length(orbits, inputs)  # each row has an input of its own
    seen = Seen.of(sae, orbits, activation_transform)
    table, about = table_of(seen, labels, "labels")
    if names is not None:
        table["name"] = _given_names(names, len(table))
    examples, largest = Examples(seen, n_top), table["max"].to_numpy()
    data = _numbers(seen, table, about) | {
        "top": examples.top,
        "others": examples.others,
        "turned": examples.turned(table[["orbit", "copy"]]),
        "inputs": [str(number) for number in examples.ids],
        "grid": examples.grid,
        "fires": examples.features(largest),
        "notes": read_notes(notes, len(table)),
        "pictures": None,
        "vectors": None,
    }
    if decode is not None:
        drawn = vector_pictures(seen.sae, largest, decode, max_picture_bytes // 4)
        data["vectors"] = drawn
    if inputs is not None:
        _check_action(action, seen.group)
        check_ids(seen.inputs, len(inputs))
        shown, room = examples.ids, max_picture_bytes
        data["pictures"] = pictures(
            inputs, shown, action, seen.group, room, render=render
        )
    with atomic_write(path) as part:
        part.write_text(page(data), encoding="utf-8", newline="\n")
    return Path(path)


def _given_names(names: ArrayLike, n_latents: int) -> list[str]:
    given = complete(names, "names", "name", "feature")
    if len(given) != n_latents:
        raise ValueError(
            f"names has {len(given)} entries, but the dictionary has {n_latents} "
            "vectors. Give one name for each."
        )
    return [str(name) for name in given]


def _numbers(seen: Seen, table: pd.DataFrame, about: dict[str, Any]) -> dict[str, Any]:
    """What each feature does, and all of them together."""
    sae, orbits, vectors = seen.sae, seen.orbits, seen.sae.components_
    found = {
        "key": hashlib.sha256(vectors.tobytes()).hexdigest()[:16],
        "title": f"Features of {type(sae).__name__}",
        "about": {
            "estimator": type(sae).__name__,
            "n_rows": len(orbits),
            "n_orbits": len(seen.table),
            "n_activations": orbits.X.shape[1],
            "k": kept_latents(sae),
            "group": repr(orbits.symmetry),
            "fvu": rounded(about["fvu"]),
        },
        "names": table["name"].tolist(),
        "elements": element_names(
            seen.group, lambda p: str(p).translate(_SUPERSCRIPTS)
        ),
        "columns": _columns(table, _COLUMNS),
        "histograms": histograms(seen.Z.tocsc()),
        "by_power": rounded(mean_by_power(seen.Z, seen.table)),
        "near": [nearest(vectors), nearest(seen.Z.T.tocsr())],
        "map": plane(vectors, (table["density"] > 0).to_numpy()),
    }
    if "irreps" in about:
        found |= _symmetry(table, about["irreps"], seen.fitter.symmetry_)
    if "classes" in about:
        found |= _of_classes(table, about["classes"])
    return found


_COLUMNS = ["orbit", "copy", "density", "mean", "max", "fvu_without", "error_without"]
_SYMMETRY = ["invariance", "stabilizer_size", "orbit_length"]


def _columns(table: pd.DataFrame, names: list[str]) -> dict[str, list[Any]]:
    return {name: rounded(table[name].to_numpy()) for name in names}


def _symmetry(
    table: pd.DataFrame, irreps: list[str], group: FiniteGroup
) -> dict[str, Any]:
    """The columns of feature_symmetry."""
    return {
        "irreps": irreps,
        "irrep": [name if isinstance(name, str) else None for name in table["irrep"]],
        "energies": rounded(table[[f"energy {name}" for name in irreps]].to_numpy()),
        "chance": rounded(table[[f"chance {name}" for name in irreps]].to_numpy()[0]),
        "beyond_chance": table["beyond_chance"].tolist(),
        "symmetry": _columns(table, _SYMMETRY),
        "turns_into": [
            {
                "name": name,
                "latent": table[f"turns_into_{name}"].tolist(),
                "cosine": rounded(table[f"cosine_{name}"].to_numpy()),
            }
            for name in group.generator_names
        ],
    }


def _of_classes(table: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    auc = table[[f"auc {name}" for name in classes]].to_numpy()
    fires = table[[f"fires in {name}" for name in classes]].to_numpy()
    best = np.argsort(-auc, axis=1, kind="stable")[:, :_N_CLASSES]
    return {
        "classes": classes,
        "auc": packed(auc),
        "best": best.tolist(),
        "fires_in": packed(np.take_along_axis(fires, best, axis=1)),
    }


def _check_action(action: Action | None, group: FiniteGroup) -> None:
    own = as_group(getattr(action, "symmetry", None))
    if own not in {None, group}:
        raise ValueError(
            f"action has symmetry {own!r}, but the orbits {group!r}. Give the action "
            "that extract_orbits was given."
        )
