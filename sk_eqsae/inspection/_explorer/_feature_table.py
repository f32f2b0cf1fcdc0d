"""The numbers of the page, as a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from ..._docs import fill
from ...activations import Orbits
from ...groups import FiniteGroup
from .._feature_families import feature_families
from .._feature_symmetry import feature_symmetry
from ._classes import members_of
from ._numbers import activity, removal, separation
from ._seen import Seen

_MIN_GROUPS = 4  # that families of features are found from


@fill
def feature_table(
    sae: BaseEstimator,
    orbits: Orbits | ArrayLike,
    y: ArrayLike | pd.DataFrame | None = None,
    *,
    activation_transform: BaseEstimator | None = None,
) -> pd.DataFrame:
    """What each feature of an autoencoder does: the numbers of the page of `explore`.

    Parameters
    ----------
    sae : TopKSAE, EquivariantSAE, GroupTiedSAE or OrbitSAE
        Fitted autoencoder. All latents are in the table, whatever its `output`.
    orbits : Orbits or array-like of shape (n_rows, n_features)
        Activations to look at, best ones that were not fitted. Each row of an array is
        that of an input by itself, canonical under the group of M.
    y : array-like of shape (n_rows,) or (n_rows, n_classes), default=None
        Class of each row, or 1 for each class that the row is of and 0 for the others;
        the columns of a DataFrame name the classes.
    {sae_transform}
        A TopKSAE has none, and gets no columns of the symmetry then.

    Returns
    -------
    pandas.DataFrame
        One row per latent, NaN where it never fires:

        - ``name``: of ``get_feature_names_out``.
        - ``orbit``, ``copy``: number of its latent orbit, and number of the element
          that makes it of the orbit's first latent. Of dictionaries without latent
          orbits it is the family of :func:`~sk_eqsae.feature_families`.
        - ``density``, ``mean``, ``max``: share of rows in which it fires, and the mean
          and the largest activation in these.
        - ``fvu_without``, ``error_without``: what FVU of all rows, and the squared
          error of a row in which it fires, grow by when it is set to zero.
        - the columns of :func:`~sk_eqsae.feature_symmetry` but ``orbit``, if there is
          an M.
        - ``class``, ``auc``: the class that it separates best from other rows.
        - ``auc NAME``, ``fires in NAME``: AUC of each class, where equal activations
          count half, and share of the class in which the latent fires.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit together, or a label is missing.

    Notes
    -----
    Without the feature (z = 0) the squared error of a row grows by ``2 z (r . d) + z^2
    |d|^2``, with r the error of the reconstruction and d the feature's vector, of an
    EquivariantSAE moved by the true power.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae import TopKSAE, feature_table
    >>> X = np.random.default_rng(0).normal(size=(40, 6))
    >>> sae = TopKSAE(12, k=2, max_epochs=2, random_state=0).fit(X)
    >>> table = feature_table(sae, X, y=X[:, 0] > 0)
    >>> list(table)[:5], table.shape
    (['name', 'orbit', 'copy', 'density', 'mean'], (12, 14))
    """
    return table_of(Seen.of(sae, orbits, activation_transform), y)[0]


def table_of(
    seen: Seen, y: Any = None, argument: str = "y"
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table, and what is about all features: FVU, names of irreps and classes."""
    lost, fvu_with_all = removal(seen)
    parts = [_copies(seen), activity(seen.Z), lost]
    about: dict[str, Any] = {"fvu": fvu_with_all}
    if seen.fitter is not None:
        found = feature_symmetry(seen.sae, seen.fitter, X=seen.orbits.X)
        parts.append(found.drop(columns="orbit").reset_index(drop=True))
        about["irreps"] = [irrep.name for irrep in seen.fitter.symmetry_.irreps]
    if y is not None:
        classes = _of_classes(seen, y, argument)
        about["classes"] = classes.pop("classes")
        parts.append(pd.DataFrame(classes))
    table = pd.concat(parts, axis=1).rename_axis("latent")
    table.insert(0, "name", seen.names)
    return table, about


def _of_classes(seen: Seen, y: Any, argument: str) -> dict[str, Any]:
    """AUC and density of each class that some rows are of, and others are not."""
    names, members = members_of(y, seen.Z.shape[0], argument)
    share = members.mean(axis=0)
    told = np.flatnonzero((share > 0) & (share < 1))
    names = [names[c] for c in told]
    if not names:
        raise ValueError(f"{argument} has no class that some rows are of, and not all.")
    auc, fires = separation(seen.Z.tocsc(), members[:, told])
    live = np.diff(seen.Z.tocsc().indptr) > 0
    best = np.array(names, dtype=object)[auc.argmax(axis=1)]
    return {
        "classes": names,
        "class": np.where(live, best, None),
        "auc": np.where(live, auc.max(axis=1), np.nan),
        **{f"auc {name}": auc[:, c] for c, name in enumerate(names)},
        **{f"fires in {name}": fires[:, c] for c, name in enumerate(names)},
    }


def _copies(seen: Seen) -> pd.DataFrame:
    """Number of the latent orbit of each latent, and the element it is the copy by."""
    n_latents, order = seen.Z.shape[1], seen.group.order
    own = getattr(seen.sae, "latent_orbits_", None)
    if own is not None and own.group == seen.group:
        orbit = np.where(own.orbit < 0, own.n_orbits + np.arange(n_latents), own.orbit)
        moved = np.stack([own.places(element) for element in range(order)])
    elif seen.n_moved >= _MIN_GROUPS:
        families = feature_families(
            seen.sae,
            seen.orbits.X,
            **seen.orbits.metadata,
            symmetry=seen.group,
            random_state=0,
        )
        orbit, moved = families["family"].to_numpy(), _moved(families, seen.group)
    else:
        orbit, moved = np.arange(n_latents), np.arange(n_latents)[np.newaxis]
    # orbits are numbered in the order of their first latents
    _, first, orbit = np.unique(orbit, return_index=True, return_inverse=True)
    return pd.DataFrame(
        {
            "orbit": np.argsort(np.argsort(first))[orbit],
            # smallest element that makes a latent of its orbit's first; 0 if none
            "copy": (moved[:, first[orbit]] == np.arange(n_latents)).argmax(axis=0),
        }
    )


def _moved(families: pd.DataFrame, group: FiniteGroup) -> NDArray:
    """Latent that each element makes of each latent, or itself: (order, n_latents)."""
    itself = np.arange(len(families))
    moved = np.tile(itself, (group.order, 1))
    for name, powers in zip(
        group.generator_names[::-1], group.powers.T[::-1], strict=True
    ):
        partner = families[f"turns_into_{name}"].to_numpy()
        partner = np.where(partner < 0, itself, partner)
        for step in range(powers.max()):
            further = powers > step
            moved[further] = partner[moved[further]]
    return moved
