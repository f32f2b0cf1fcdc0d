"""How far codes permute when inputs are moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.utils import gen_batches

from .._docs import fill
from .._metrics import fvu_of_chunks
from .._rows import read_rows
from ..groups._group import action_powers
from ..groups._orbit_table import orbit_table
from ..sae._base import sparse_codes
from ._checks import check_sae, checked_rows

_CHUNK = 4_096  # pairs of rows at a time


@fill
def code_equivariance(
    sae: Any,
    X: ArrayLike,
    *,
    groups: ArrayLike,
    power: ArrayLike,
    site: ArrayLike | None = None,
) -> pd.DataFrame:
    r"""How far the codes of an autoencoder with latent orbits move as they should.

    For each element g of the group but the identity, over all rows x of which there is
    a row gx, with P_g how the group permutes latents and D the decoder:

    .. math::

        \text{code equivariance} &=
        1 - \frac{\text{mean of } \|z(gx) - P_g z(x)\|^2}{\text{variance of } z} \\
        \text{cross FVU} &=
        \frac{\sum \|gx - D(P_g z(x))\|^2}{\sum \|gx - \text{mean of } gx\|^2}

    Parameters
    ----------
    sae : GroupTiedSAE or OrbitSAE
        Fitted autoencoder.
    X : array-like of shape (n_rows, n_features)
        Activations, best of orbits that were not fitted.
    {orbit_rows}

    Returns
    -------
    pandas.DataFrame
        One row per power (0 aside), then one of their means, whose `power` is "mean":
        `power`, `code_equivariance` (1 is exact, -1 what unrelated codes have) and
        `cross_fvu` (at best the FVU of the reconstruction).

    Raises
    ------
    TypeError, ValueError
        If `sae` has no latent orbits, or no row is moved.

    See Also
    --------
    sk_eqsae.feature_families : The same for autoencoders without latent orbits.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae import OrbitSAE
    >>> from sk_eqsae.inspection import code_equivariance
    >>> x = np.abs(np.random.default_rng(0).normal(size=(200, 3))) @ np.eye(3, 12)
    >>> X = np.concatenate([np.roll(x, 3 * p, axis=1) for p in range(4)])
    >>> groups, power = np.tile(np.arange(200), 4), np.repeat(np.arange(4), 200)
    >>> orbits = {"groups": groups, "power": power}
    >>> settings = {"max_epochs": 60, "batch_size": 64, "lr": 0.01, "random_state": 0}
    >>> sae = OrbitSAE(12, k=3, **settings)
    >>> report = code_equivariance(sae.fit(X, **orbits), X, **orbits)
    >>> report.power.tolist()
    [1, 2, 3, 'mean']
    >>> bool(report.code_equivariance.min() > 0.9)
    True
    """
    check_orbited(sae)
    X = checked_rows(X, sae.n_features_in_)
    group = sae.symmetry_
    metadata = {"power": power, "site": site}
    _, table = orbit_table(groups, symmetry=group, n_rows=len(X), **metadata)
    Z = sparse_codes(sae, X).astype(np.float64)
    variance = Z.power(2).sum() / len(X) - np.square(Z.mean(axis=0)).sum()
    rows = []
    for element, name in enumerate(action_powers(group)):
        moved = table[:, group.multiplication_table[element]]
        both = (table >= 0) & (moved >= 0)
        before, after = table[both], moved[both]
        if element and len(before):
            codes = sae.latent_orbits_.permute(Z[before], name)
            left = (Z[after] - codes).power(2).sum() / len(after)
            equivariance = 1 - left / variance if left else 1.0
            rows.append((name, equivariance, _fvu(sae, X, after, codes)))
    if not rows:
        raise ValueError(
            "power: no row has any other power than 0, so that no code moves. Add the "
            "rows of transformed inputs."
        )
    rows.append(("mean", *np.mean([row[1:] for row in rows], axis=0)))
    return pd.DataFrame(rows, columns=["power", "code_equivariance", "cross_fvu"])


def check_orbited(sae: Any) -> None:
    """Refuse what is no fitted autoencoder with latent orbits."""
    check_sae(sae)
    if not hasattr(sae, "latent_orbits_"):
        raise TypeError(
            f"{type(sae).__name__} has no latent orbits. Pass a GroupTiedSAE or an "
            "OrbitSAE, or see feature_families."
        )


def rebuilt(sae: Any, Z: csr_array) -> NDArray:
    """Rows that codes are decoded to."""
    return Z @ sae.components_ + sae.intercept_


def _fvu(sae: Any, X: Any, rows: NDArray, Z: csr_array) -> float:
    """FVU of rows that codes are decoded to."""
    return fvu_of_chunks(
        (read_rows(X, rows[chunk]), rebuilt(sae, Z[chunk]))
        for chunk in gen_batches(len(rows), _CHUNK)
    )
