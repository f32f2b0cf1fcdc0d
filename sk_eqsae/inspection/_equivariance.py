"""How much of the way activations move a matrix explains."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from .._docs import fill
from .._metrics import are_constant
from .._rows import read_rows
from ..groups._group import action_powers
from ..groups._orbit_table import orbit_table
from ._checks import check_transform, checked_rows


class Pairs(NamedTuple):
    """Canonical rows, and the rows that one element of the group makes of them."""

    element: int
    power: int | tuple[int, ...]
    orbits: NDArray  # which of all have both rows
    inputs: NDArray  # (n_orbits,): number of the input that each of all is of
    canonical: NDArray
    moved: NDArray


@fill
def r2_per_feature(
    activation_transform: BaseEstimator,
    X: ArrayLike,
    *,
    groups: ArrayLike,
    power: ArrayLike,
    site: ArrayLike | None = None,
) -> pd.DataFrame:
    """Share of the variance of each feature that M explains, for each power.

    Parameters
    ----------
    activation_transform : estimator
        Fitted M.
    X : array-like of shape (n_rows, n_features)
        Activations, of orbits that M was not fitted on.
    {orbit_rows}

    Returns
    -------
    pandas.DataFrame of shape (n_powers, n_features)
        R2, one row per power other than 0. NaN for a feature without variance. The
        mean of a row, weighted by the features' variances, is the R2 of that power.

    Raises
    ------
    ValueError
        If groups and power do not describe orbits, or no row is moved.

    Examples
    --------
    A feature that M moves well and one that it cannot know:

    >>> import numpy as np
    >>> from sk_eqsae import ActivationTransformFitter
    >>> from sk_eqsae.inspection import r2_per_feature
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 2))
    >>> X = np.concatenate([x, np.column_stack([-x[:, 0], rng.normal(size=200)])])
    >>> orbits = {"groups": np.tile(np.arange(200), 2), "power": np.repeat([0, 1], 200)}
    >>> fitter = ActivationTransformFitter().fit(X, **orbits)
    >>> r2_per_feature(fitter, X, **orbits).loc[1].round(1).tolist()
    [1.0, -0.8]
    """
    pairs = pairs_by_element(
        activation_transform, X, groups=groups, power=power, site=site
    )
    r2 = np.full((len(pairs), pairs[0].moved.shape[1]), np.nan)
    for row, p in zip(r2, pairs, strict=True):
        error = np.square(p.moved - predicted(activation_transform, p)).sum(axis=0)
        variance = np.square(p.moved - p.moved.mean(axis=0)).sum(axis=0)
        varies = (variance > 0) & ~are_constant(p.moved)
        row[varies] = 1 - error[varies] / variance[varies]
    columns = getattr(activation_transform, "feature_names_in_", None)
    index = pd.Index([p.power for p in pairs], name="power", tupleize_cols=False)
    return pd.DataFrame(r2, index=index, columns=columns)


def pairs_by_element(
    activation_transform: Any, X: ArrayLike, **metadata: Any
) -> list[Pairs]:
    """Pairs of rows for each element of the group but the identity."""
    check_transform(activation_transform)
    X = checked_rows(X, activation_transform.n_features_in_)
    group = activation_transform.symmetry_
    _, table = orbit_table(**metadata, symmetry=group, n_rows=len(X))
    canonical = table[:, 0]
    inputs, _ = pd.factorize(np.asarray(metadata["groups"])[canonical])
    pairs = []
    for element, name in enumerate(action_powers(group)):
        orbits = np.flatnonzero(table[:, element] >= 0)
        if element and len(orbits):
            moved = table[orbits, element]
            rows = (read_rows(X, r) for r in (canonical[orbits], moved))
            rows = (part.astype(np.float64) for part in rows)
            pairs.append(Pairs(element, name, orbits, inputs, *rows))
    if not pairs:
        raise ValueError(
            "power: no row has any other power than 0, so there is nothing that M "
            "could explain. Add the rows of transformed inputs."
        )
    return pairs


def predicted(activation_transform: Any, pairs: Pairs) -> NDArray:
    """What M makes of the canonical rows."""
    return pairs.canonical @ activation_transform.matrix(pairs.power).T
