"""What each feature does under the group."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from sklearn.utils import check_scalar, gen_batches
from sklearn.utils.validation import check_is_fitted

from .._docs import fill
from .._estimator import unfrozen
from .._metrics import are_constant
from .._rows import read_rows
from .._warnings import warn
from ..groups import FiniteGroup
from ..groups._element_matrices import element_matrices
from ..groups._group import generator_elements
from ._checks import check_transform, checked_rows

_CHUNK = 1024  # latents whose cosines with all others are held at a time
_ROUNDING = 1e-6  # cosines are compared in single precision
_LAW_BROKEN = 1e-3  # order_error_ from which irreps are no longer what they say
_N_DIRECTIONS = 1000  # random ones that energies are compared with
_N_ROWS = 4096  # that they are mixed from, at most
_LEVEL = 0.95  # share of them that is beyond chance in no irrep


@fill
def feature_symmetry(
    sae: BaseEstimator,
    activation_transform: BaseEstimator | None = None,
    *,
    X: ArrayLike | None = None,
    threshold: float = 0.9,
) -> pd.DataFrame:
    r"""What each vector of a dictionary does under the group.

    M carries a dictionary vector d to M_e d. Its energy in an irrep rho with
    character chi, dimension n and commutant of dimension c (1, 2 or 4: real, complex
    or quaternionic) is that of its isotypic projection:

    .. math::

        P_\rho = \frac{n}{c |G|} \sum_e \chi(e) M_e,
        \qquad \text{energy} = \frac{\|P_\rho d\|^2}{\|d\|^2}

    Lengths and cosines are those of the metric that the group keeps, the mean over e
    of (M_e a) . (M_e b), so that energies sum to 1 even if M stretches.

    Parameters
    ----------
    sae : estimator
        Fitted autoencoder with a dictionary in `components_`.
    {sae_transform}
    X : array-like of shape (n_rows, n_features), default=None
        Activations whose spectrum says what chance is. None takes the spectrum of
        the dictionary's vectors.
    threshold : float, default=0.9
        Cosine from which two directions are taken for one: for the stabilizer and
        for the orbits.

    Returns
    -------
    pandas.DataFrame
        One row per latent, NaN where the dictionary vector is zero:

        - ``invariance``: energy in the trivial irrep, from 0 (the vector's mean over
          the group is zero) to 1 (the group leaves it alone).
        - ``energy NAME``: energy in each irrep of the group, the first the invariance.
        - ``irrep``: name of the irrep with most energy.
        - ``chance NAME``: energy in each irrep that a random direction may have, NaN
          without a spectrum.
        - ``beyond_chance``: whether the energy in `irrep` is larger than that.
        - ``turns_into_NAME``, ``cosine_NAME``: latent whose vector is nearest to
          M d, and the cosine, for each generator NAME of the group.
        - ``stabilizer_size``, ``orbit_length``: number of elements that leave the
          vector alone, and of different vectors that the group makes of it.
        - ``orbit``: number of the orbit of features, those connected by ``turns_into``
          with a cosine of at least `threshold`.

    Raises
    ------
    TypeError, ValueError
        If there is no M, or it has another number of features than the dictionary.

    Notes
    -----
    Chance is what 1,000 directions d ~ N(0, S) have, with a fixed seed and S the
    covariance of up to 4,096 rows of X (or the second moment of the dictionary's unit
    vectors). With F_rho the distribution of their energies E_rho in rho:

    .. math::

        \text{chance of } \rho = F_\rho^{-1}(u)

    where u is the quantile at 0.95 of the largest F_rho(E_rho) over all rho, so that
    5 % of the directions exceed chance in any irrep. A feature of one orientation,
    whose copies are orthogonal to each other, has the energy ``n^2 / (c |G|)`` in each
    irrep, and so has a random direction; but the dictionary holds the feature's copies,
    ``cosine_NAME``.

    Leave out latents that no activation uses: their vectors are near where they
    started. Directions without variance count as invariant.

    Examples
    --------
    Two features that a swap of coordinates exchanges, and one that it leaves alone:

    >>> import numpy as np
    >>> from sk_eqsae import EquivariantSAE
    >>> from sk_eqsae.inspection import feature_symmetry
    >>> x = np.sort(np.random.default_rng(0).normal(size=(50, 2)))
    >>> X = np.concatenate([x, x[:, ::-1]])
    >>> orbits = {"groups": np.tile(np.arange(50), 2), "power": np.repeat([0, 1], 50)}
    >>> sae = EquivariantSAE(3, k=1, max_epochs=1, random_state=0).fit(X, **orbits)
    >>> sae.components_ = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> table = feature_symmetry(sae, X=X)
    >>> table[["invariance", "beyond_chance", "turns_into_g", "orbit_length"]].round(2)
            invariance  beyond_chance  turns_into_g  orbit_length
    latent
    0              0.5          False             1             2
    1              0.5          False             0             2
    2              1.0           True             2             1
    """
    check_is_fitted(sae, "components_")
    check_scalar(threshold, "threshold", Real, min_val=0, max_val=1)
    least = threshold - _ROUNDING
    fitter = _checked_transform(sae, activation_transform)
    group = fitter.symmetry_
    matrices = element_matrices(fitter)
    # in coordinates U x the group is orthogonal: <a, b> = (U a) . (U b)
    upper = cholesky(np.mean([M.T @ M for M in matrices], axis=0))
    turned = [solve_triangular(upper, (upper @ M).T, trans="T").T for M in matrices]
    matrices = np.array(turned)
    vectors = normalize(sae.components_.astype(np.float64) @ upper.T)
    overlaps = _overlaps(vectors, matrices)
    rows = vectors if X is None else _centred_rows(X, len(upper)) @ upper.T
    generators = matrices[generator_elements(group)]
    matches = {
        name: _best_matches(vectors, matrix)
        for name, matrix in zip(group.generator_names, generators, strict=True)
    }
    stabilizers = stabilizer_sizes(overlaps >= least, group)
    columns = _energy_columns(
        _energies(overlaps, group), _chance(rows, matrices, group), group
    )
    links = []
    for name, (match, cosine) in matches.items():
        columns |= {f"turns_into_{name}": match, f"cosine_{name}": cosine}
        near = np.flatnonzero(cosine >= least)
        links.append(np.stack([near, match[near]]))
    columns |= {
        "stabilizer_size": stabilizers,
        "orbit_length": group.order // stabilizers,
        "orbit": connected(np.concatenate(links, axis=1), len(vectors)),
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(len(vectors), name="latent"))


def _checked_transform(
    sae: BaseEstimator, activation_transform: BaseEstimator | None
) -> BaseEstimator:
    fitter = activation_transform
    if fitter is None:
        fitter = getattr(sae, "activation_transform_", None)
    if fitter is None:
        raise ValueError(
            f"{type(sae).__name__} has no M: give activation_transform=, an "
            "ActivationTransformFitter fitted on the orbits of the same layer."
        )
    check_transform(fitter)
    if fitter.n_features_in_ != sae.components_.shape[1]:
        raise ValueError(
            f"activation_transform was fitted on {fitter.n_features_in_} features, but "
            f"the dictionary has {sae.components_.shape[1]}. Fit both on activations "
            "of the same layer."
        )
    if fitter.order_error_ > _LAW_BROKEN:
        warn(
            f"M obeys the law of the group up to {fitter.order_error_:.2g} only, so "
            "energies, stabilizers and orbits are rough. Fit it with "
            "group_law='exact'."
        )
    return unfrozen(fitter)


def _overlaps(vectors: NDArray, matrices: NDArray) -> NDArray:
    """Cosine of each vector and what each element makes of it, (n, order)."""
    return np.stack(
        [np.einsum("ij,ij->i", vectors @ M.T, vectors) for M in matrices], axis=1
    )


def _energies(overlaps: NDArray, group: FiniteGroup) -> NDArray:
    """Share of each irrep, (n, n_irreps); NaN for a zero vector."""
    weights = np.array([irrep.dim / irrep.commutant_dim for irrep in group.irreps])
    energies = overlaps @ (weights[:, np.newaxis] * group.character_table).T
    energies = np.clip(energies / group.order, 0.0, 1.0)
    energies[overlaps[:, 0] == 0] = np.nan
    return energies


def _centred_rows(X: ArrayLike, n_features: int) -> NDArray:
    """So many rows of X as directions are mixed from, without their mean."""
    X = checked_rows(X, n_features)
    places = np.arange(len(X))
    if len(X) > _N_ROWS:
        places = np.sort(np.random.default_rng(0).permutation(len(X))[:_N_ROWS])
    rows = read_rows(X, places).astype(np.float64)
    return np.where(are_constant(rows), 0, rows - rows.mean(axis=0))


def _chance(rows: NDArray, matrices: NDArray, group: FiniteGroup) -> NDArray:
    """Energies (n_irreps,) of which 5 % of random mixtures of rows exceed any."""
    if not rows.any():  # no spectrum, no chance
        return np.full(len(group.irreps), np.nan)
    mixtures = np.random.default_rng(0).normal(size=(_N_DIRECTIONS, len(rows)))
    energies = _energies(_overlaps(normalize(mixtures @ rows), matrices), group)
    shares = rankdata(energies, axis=0) / _N_DIRECTIONS  # F_rho of each energy
    return np.quantile(energies, np.quantile(shares.max(axis=1), _LEVEL), axis=0)


def _best_matches(vectors: NDArray, matrix: NDArray) -> tuple[NDArray, NDArray]:
    """Nearest dictionary vector to each moved one, and the cosine."""
    moved, vectors = (vectors @ matrix.T).astype(np.float32), vectors.astype(np.float32)
    match = np.empty(len(vectors), dtype=np.int64)
    cosine = np.empty(len(vectors))
    for rows in gen_batches(len(vectors), _CHUNK):
        cosines = moved[rows] @ vectors.T
        match[rows] = cosines.argmax(axis=1)
        cosine[rows] = np.clip(cosines.max(axis=1), -1.0, 1.0)
    cosine[~vectors.any(axis=1)] = np.nan
    return match, cosine


def stabilizer_sizes(same: NDArray, group: FiniteGroup) -> NDArray:
    """Size (n,) of the subgroup that leaves each vector alone."""
    patterns, which = np.unique(same, axis=0, return_inverse=True)
    sizes = []
    for pattern in patterns:
        inside = np.flatnonzero(pattern)
        products = group.multiplication_table[np.ix_(inside, inside)]
        sizes.append(max(pattern[products].all(axis=1).sum(), 1))
    return np.array(sizes)[which.ravel()]


def connected(links: NDArray, n: int) -> NDArray:
    """Number (n,) of what hangs together by links (2, n_links), by first latents."""
    graph = coo_array((np.ones(links.shape[1]), links), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    _, first, label = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[label.ravel()]


def _energy_columns(
    energies: NDArray, chance: NDArray, group: FiniteGroup
) -> dict[str, Any]:
    names = np.array([irrep.name for irrep in group.irreps], dtype=object)
    known = ~np.isnan(energies[:, 0])
    main = np.nan_to_num(energies).argmax(axis=1)
    most = energies[np.arange(len(energies)), main]
    return {
        "invariance": energies[:, 0],
        **{f"energy {n}": e for n, e in zip(names, energies.T, strict=True)},
        "irrep": np.where(known, names[main], None),
        **{f"chance {n}": c for n, c in zip(names, chance, strict=True)},
        "beyond_chance": known & (most > chance[main] + _ROUNDING),
    }
