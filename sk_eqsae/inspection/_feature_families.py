"""Which latents are each other's turned copies, by their codes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, gen_batches

from .._docs import fill
from .._estimator import unfrozen
from ..groups import FiniteGroup
from ..groups._group import generator_elements
from ..groups._orbit_table import as_group, checked_column, orbit_table
from ..sae._base import sparse_codes
from ._checks import check_sae
from ._feature_symmetry import connected, stabilizer_sizes

_CHUNK = 256  # latents whose correlations with all others are held at a time
_MOST_PAIRS = 100_000  # of rows, compared for one element
_LEVEL = 0.95  # share of the shuffled correlations that is below chance
_ROUNDING = 1e-12  # variance below it, over the mean square, is none


@fill
def feature_families(
    sae: BaseEstimator,
    X: ArrayLike,
    *,
    groups: ArrayLike,
    power: ArrayLike,
    site: ArrayLike | None = None,
    symmetry: int | FiniteGroup | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Which latents are each other's turned copies, by their codes.

    The partner of latent i under an element e of the group is the latent j that fires
    at e x where i fires at x: the one with the largest correlation of ``z_i(x)`` and
    ``z_j(e x)`` over all rows x that have a row e x. It is chosen on one half of the
    groups, and the correlation is that of the other half.

    Parameters
    ----------
    {sae}
    X : array-like of shape (n_rows, n_features)
        Activations, best of orbits that were not fitted.
    {orbit_rows}
    symmetry : int or FiniteGroup, default=None
        The group, needed where it has several generators. None is the group of `sae`,
        or if it has none the cyclic group of the powers.
    random_state : int, RandomState instance or None, default=None
        Fixes the halves and the shuffling.

    Returns
    -------
    pandas.DataFrame
        One row per latent:

        - ``kind``: "invariant" (its own partner under every element), "pair",
          "family of n" for latents in orbits of length n, or "none" for one that no
          latent follows beyond chance.
        - ``correlation``: mean over the elements but the identity of the correlation
          with the partner, NaN for a latent that does not fire in both halves.
        - ``shuffled``: the same of orbits whose rows e x were dealt to other orbits at
          random, partner and all: what chance makes of so many latents.
        - ``turns_into_NAME``, ``correlation_NAME``: the partner, -1 where no latent
          fires with this one, and the correlation, for each generator NAME.
        - ``stabilizer_size``, ``orbit_length``: number of elements under which the
          latent is its own partner beyond chance, and the group's order over it.
        - ``family``: number of the family, in the order of first latents. Two latents
          are of one if each is the other's partner, beyond chance.

    Raises
    ------
    TypeError, ValueError
        If `sae` is no fitted autoencoder of this package, groups and power do not
        describe orbits of more than one element, or there are fewer than four groups.

    See Also
    --------
    feature_symmetry : The same by the dictionary's vectors and M, without codes.

    Notes
    -----
    Beyond chance is what exceeds the 0.95 quantile over latents of the shuffled
    correlations. Of each element, up to 100,000 pairs of rows are compared in each
    half, drawn at random.

    Examples
    --------
    A mirror image exchanges two pairs of features and leaves two alone:

    >>> import numpy as np
    >>> from sk_eqsae import TopKSAE
    >>> from sk_eqsae.inspection import feature_families
    >>> rng = np.random.default_rng(0)
    >>> x = rng.exponential(size=(400, 6)) * (rng.random((400, 6)) < 0.2)
    >>> X = np.concatenate([x, x[:, [1, 0, 3, 2, 4, 5]]])
    >>> orbits = {"groups": np.tile(np.arange(400), 2), "power": np.repeat([0, 1], 400)}
    >>> sae = TopKSAE(6, k=2, random_state=0).fit(X)
    >>> table = feature_families(sae, X, **orbits, random_state=0)
    >>> table["kind"].value_counts().to_dict()
    {'pair': 4, 'invariant': 2}
    """
    sae = unfrozen(sae)
    check_sae(sae)
    Z = sparse_codes(sae, X).astype(np.float64)
    known = as_group(symmetry) or getattr(sae, "symmetry_", None)
    group, table = orbit_table(
        groups, power, site=site, symmetry=known, n_rows=Z.shape[0]
    )
    if group.order == 1:
        raise ValueError(
            "power: no row has any other power than 0, so no latent turns into "
            "another. Add the rows of transformed inputs."
        )
    rng = check_random_state(random_state)
    halves = _halves(checked_column(groups, "groups")[table[:, 0]], table, rng)
    found = _Partners.of(Z, halves, halves, group, rng)
    shuffled = [half[rng.permutation(len(half))] for half in halves]
    return _table(found, _Partners.of(Z, halves, shuffled, group, rng), group)


class _Partners(NamedTuple):
    """The partner of each latent under each element, and their correlation."""

    latent: NDArray  # (order, n_components), -1 for none
    correlation: NDArray

    @classmethod
    def of(
        cls,
        Z: csr_array,
        halves: list[NDArray],
        moved: list[NDArray],
        group: FiniteGroup,
        rng: np.random.RandomState,
    ) -> _Partners:
        """Find them between rows of orbits (n_orbits, order) and moved rows."""
        latents, correlations = [np.arange(Z.shape[1])], [np.ones(Z.shape[1])]
        for products in group.multiplication_table[1:]:  # element e h of each h
            choose, score = (
                _paired(Z, a, b[:, products], rng)
                for a, b in zip(halves, moved, strict=True)
            )
            latents.append(_strongest(*choose))
            correlations.append(_correlation(*score, latents[-1]))
        return cls(np.array(latents), np.array(correlations))


def _halves(
    groups: NDArray, table: NDArray, rng: np.random.RandomState
) -> list[NDArray]:
    """Orbits of one half of the groups (one for each orbit), and of the other."""
    ids = rng.permutation(np.unique(groups))
    if len(ids) < 4:
        raise ValueError(
            f"groups holds {len(ids)} group(s), but partners are chosen on one half of "
            "them and scored on the other, so give 4 or more."
        )
    first = np.isin(groups, ids[: len(ids) // 2])
    return [table[first], table[~first]]


def _paired(
    Z: csr_array, rows: NDArray, moved: NDArray, rng: np.random.RandomState
) -> tuple[csr_array, csr_array]:
    """Codes of rows and of moved rows, where both are there."""
    both = (rows >= 0) & (moved >= 0)
    before, after = rows[both], moved[both]
    if len(before) > _MOST_PAIRS:
        some = rng.choice(len(before), _MOST_PAIRS, replace=False)
        before, after = before[some], after[some]
    return Z[before], Z[after]


def _moments(Z: csr_array) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation of each latent; infinite where it does not vary."""
    mean, square = (np.asarray(part.mean(axis=0)).ravel() for part in (Z, Z.power(2)))
    variance = square - mean**2
    varies = variance > _ROUNDING * square
    return mean, np.sqrt(np.where(varies, variance, np.inf))


def _strongest(Z: csr_array, moved: csr_array) -> NDArray:
    """The latent that is correlated most with each one, -1 if none is positively."""
    (mean, scale), (mean_of, scale_of) = _moments(Z), _moments(moved)
    by_latent, partner = Z.T.tocsr(), np.full(len(mean), -1)
    for some in gen_batches(len(mean), _CHUNK):
        products = (by_latent[some] @ moved).tocoo()
        i, j = products.coords
        covariance = products.data / Z.shape[0] - mean[some][i] * mean_of[j]
        correlation = covariance / (scale[some][i] * scale_of[j])
        found = csr_array((correlation, (i, j)), shape=products.shape)
        largest = found.max(axis=1).toarray().ravel()
        partner[some] = np.where(largest > 0, found.argmax(axis=1), -1)
    return partner


def _correlation(Z: csr_array, moved: csr_array, partner: NDArray) -> NDArray:
    """Correlation with the partner, 0 without one; NaN where a latent does not vary."""
    (mean, scale), (mean_of, scale_of) = _moments(Z), _moments(moved)
    products = np.asarray(Z.multiply(moved[:, partner]).mean(axis=0)).ravel()
    found = (products - mean * mean_of[partner]) / (scale * scale_of[partner])
    return np.where(np.isfinite(scale), np.where(partner < 0, 0, found), np.nan)


def _table(found: _Partners, shuffled: _Partners, group: FiniteGroup) -> pd.DataFrame:
    n = found.latent.shape[1]
    mean, by_chance = (part.correlation[1:].mean(axis=0) for part in (found, shuffled))
    levels = np.array([-np.inf, *map(_level, shuffled.correlation[1:])])
    beyond = found.correlation > levels[:, np.newaxis]
    stays = beyond & (found.latent == np.arange(n))
    stays[0] = True  # also of a latent that never fires
    sizes = stabilizer_sizes(stays.T, group)
    lengths = group.order // sizes
    columns: dict[str, Any] = {
        "kind": np.where(mean > _level(by_chance), _kinds(lengths), "none"),
        "correlation": mean,
        "shuffled": by_chance,
    }
    for name, element in zip(
        group.generator_names, generator_elements(group), strict=True
    ):
        columns[f"turns_into_{name}"] = found.latent[element]
        columns[f"correlation_{name}"] = found.correlation[element]
    # one turns into the other and that one back, beyond chance
    back = np.take_along_axis(found.latent[group.inverses], found.latent, axis=1)
    e, i = np.nonzero(beyond & (found.latent >= 0) & (back == np.arange(n)))
    columns |= {
        "stabilizer_size": sizes,
        "orbit_length": lengths,
        "family": connected(np.stack([i, found.latent[e, i]]), n),
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(n, name="latent"))


def _level(shuffled: NDArray) -> float:
    """What a correlation has to exceed."""
    found = shuffled[~np.isnan(shuffled)]
    return float(np.quantile(found, _LEVEL)) if len(found) else np.inf


def _kinds(lengths: NDArray) -> NDArray:
    names = {1: "invariant", 2: "pair"}
    return np.array([names.get(n, f"family of {n}") for n in lengths.tolist()], object)
