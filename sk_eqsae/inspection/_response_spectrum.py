"""How responses along orbits are spread over the irreps of a group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.utils import check_array, gen_batches

from .._docs import fill
from .._estimator import as_array, is_on_disk
from .._metrics import are_constant
from .._rows import read_rows
from ..groups import FiniteGroup
from ..groups._orbit_table import orbit_table

_CHUNK_ENTRIES = 2**22  # of whole orbits, transformed at a time


@fill
def response_spectrum(
    X: ArrayLike | csr_array,
    *,
    groups: ArrayLike,
    power: ArrayLike,
    site: ArrayLike | None = None,
    symmetry: int | FiniteGroup | None = None,
) -> pd.DataFrame:
    r"""How the responses of features along orbits are spread over a group's irreps.

    What a feature, or a latent, does along an orbit is a function f(e) = psi(e x) on
    the group. Its energy in an irrep rho of dimension n and commutant of dimension c
    (1, 2 or 4: real, complex or quaternionic) is, with the feature's mean taken off:

    .. math::

        E_\rho = \frac{n}{c |G|} \sum_{\text{orbits}}
        \left\| \sum_e f(e) \rho(e) \right\|^2

    These are energies of the rows themselves, so no M is needed. Of a cyclic group they
    are those of the discrete Fourier transform, frequency by frequency: of a network
    on a + b mod p, the frequencies that it computes with.

    Parameters
    ----------
    X : array-like or sparse array of shape (n_rows, n_features)
        Activations, or latents as `transform` gives them. Rows of orbits that lack an
        element are left out.
    {orbit_rows}
    symmetry : int or FiniteGroup, default=None
        The group, needed where it has several generators. None is the cyclic group of
        the powers.

    Returns
    -------
    pandas.DataFrame
        One row per feature:

        - ``variance``: mean over rows of (f - mean)^2.
        - ``energy NAME``: share of it in each irrep, NaN for a feature that does not
          vary. The first, of the trivial irrep, is the share that lies between orbits:
          an invariant feature has 1 there.
        - ``irrep``: name of the irrep with most energy.

        The spectrum of all features together is the mean of the shares, weighted by
        ``variance``.

    Raises
    ------
    ValueError
        If groups and power do not describe orbits, or none of them is whole.

    Notes
    -----
    Energies add up to ``sum f^2`` by Plancherel's theorem. Rows that have nothing to
    do with each other have ``n^2 / (c |G|)`` of their variance in each irrep.

    Examples
    --------
    A feature of frequency 2 of the shifts of five inputs, and one that stays:

    >>> import numpy as np
    >>> from sk_eqsae.inspection import response_spectrum
    >>> groups, power = np.repeat(np.arange(4), 5), np.tile(np.arange(5), 4)
    >>> X = np.column_stack([np.cos(4 * np.pi * (power + groups) / 5), groups])
    >>> table = response_spectrum(X, groups=groups, power=power)
    >>> table[["variance", "energy trivial", "irrep"]].round(2)
             variance  energy trivial       irrep
    feature
    0            0.50             0.0  rotation 2
    1            1.25             1.0     trivial
    """
    names = getattr(X, "columns", None)
    rows: Any = X
    if not is_on_disk(X):
        rows = check_array(as_array(X), accept_sparse="csr")
    group, table = orbit_table(
        groups, power, site=site, symmetry=symmetry, n_rows=rows.shape[0]
    )
    table = table[(table >= 0).all(axis=1)]
    if not len(table):
        raise ValueError(
            f"power: no orbit has rows of all {group.order} elements of {group!r}. Add "
            "the rows that are missing."
        )
    energies, variance = _energies(rows, table, group)
    shares = energies / np.where(variance > 0, variance, np.nan)[:, np.newaxis]
    irreps = np.array([irrep.name for irrep in group.irreps], dtype=object)
    main = irreps[np.nan_to_num(shares).argmax(axis=1)]
    columns = {f"energy {n}": e for n, e in zip(irreps, shares.T, strict=True)}
    index = pd.RangeIndex(len(shares)) if names is None else pd.Index(names)
    return pd.DataFrame(
        {"variance": variance, **columns, "irrep": np.where(variance > 0, main, None)},
        index=index.rename("feature"),
    )


def _energies(X: Any, table: NDArray, group: FiniteGroup) -> tuple[NDArray, NDArray]:
    """Energies (n_features, n_irreps) over the number of rows, and their sum."""
    found = np.array(
        [
            [part.min(axis=(0, 1)), part.max(axis=(0, 1)), part.sum(axis=(0, 1))]
            for part in _parts(X, table)
        ]
    )
    mean = found[:, 2].sum(axis=0) / table.size
    varies = ~are_constant(found[:, :2].reshape(-1, len(mean)))
    energies = np.zeros((len(group.irreps), len(mean)))
    for part in _parts(X, table):
        responses = np.where(varies, part - mean, 0.0).transpose(2, 0, 1)
        for r, irrep in enumerate(group.irreps):
            sums = responses @ irrep.matrices.reshape(group.order, -1)
            weight = irrep.dim / (irrep.commutant_dim * group.order)
            energies[r] += weight * np.square(sums).sum(axis=(1, 2))
    return energies.T / table.size, energies.sum(axis=0) / table.size


def _parts(X: Any, table: NDArray) -> Iterator[NDArray]:
    """Some whole orbits (n, order, n_features) at a time, in float64."""
    size = max(1, _CHUNK_ENTRIES // (table.shape[1] * X.shape[1]))
    for orbits in gen_batches(len(table), size):
        rows = table[orbits].ravel()
        part = X[rows].toarray() if issparse(X) else read_rows(X, rows)
        yield part.astype(np.float64).reshape(-1, table.shape[1], X.shape[1])
