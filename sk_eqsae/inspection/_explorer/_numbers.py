"""What each feature does, in numbers."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from scipy.stats import rankdata
from sklearn.utils import gen_batches

from ..._metrics import are_constant, fvu
from ...groups._group import action_powers
from ...sae import EquivariantSAE
from ...sae._base import BaseSAE
from ._seen import Seen

_CHUNK = 512  # rows whose active vectors are held at a time
_N_BINS = 20


def activity(Z: csr_array) -> pd.DataFrame:
    """How often and how strongly each latent fires; NaN if it never does."""
    n_active = np.diff(Z.tocsc().indptr)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.asarray(Z.sum(axis=0)).ravel() / n_active
    largest = np.where(n_active > 0, Z.max(axis=0).toarray().ravel(), np.nan)
    shares = {"density": n_active / Z.shape[0]}
    return pd.DataFrame(shares | {"mean": mean, "max": largest})


def histograms(Z: csc_array) -> list[list[int]]:
    """Rows per bin of equal width, from 0 to the largest activation of each latent."""
    bins: dict[str, Any] = {"bins": _N_BINS}
    return [
        np.histogram(values, range=(0, values.max()), **bins)[0].tolist()
        if len(values)
        else []
        for _, values in columns(Z)
    ]


def columns(Z: csc_array) -> list[tuple[NDArray, NDArray]]:
    """Rows and values of each column."""
    slices = [slice(*ends) for ends in pairwise(Z.indptr)]
    return [(Z.indices[part], Z.data[part]) for part in slices]


def mean_by_power(Z: csr_array, table: NDArray) -> NDArray:
    """Mean activation at each place of an orbit, zeros included: (n_latents, order)."""
    means = np.full((Z.shape[1], table.shape[1]), np.nan)
    for element, rows in enumerate(table.T):
        if (rows >= 0).any():
            means[:, element] = np.asarray(Z[rows[rows >= 0]].mean(axis=0)).ravel()
    return means


def removal(seen: Seen) -> tuple[pd.DataFrame, float]:
    """What is lost when one latent is zero and all others stay, and FVU with all."""
    X, Z = seen.orbits.X.astype(np.float64), seen.Z.astype(np.float64)
    reconstruction = np.empty_like(X)
    increase = np.zeros(Z.shape[1])
    for rows, vectors, intercept in _decoders(seen.sae, seen.table):
        reconstruction[rows] = Z[rows] @ vectors + intercept
        increase += _increase(Z[rows], X[rows] - reconstruction[rows], vectors)
    variance = np.square(X - X.mean(axis=0))[:, ~are_constant(X)].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = {
            "fvu_without": increase / variance,
            "error_without": increase / np.diff(Z.tocsc().indptr),
        }
    return pd.DataFrame(lost), fvu(X, reconstruction)


def _decoders(
    sae: BaseSAE, table: NDArray
) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """Rows, and the dictionary and the intercept that they are decoded with."""
    vectors = sae.components_.astype(np.float64)
    if not isinstance(sae, EquivariantSAE):
        yield table[table >= 0], vectors, sae.intercept_
        return
    decoder = np.vstack([vectors, sae.intercept_])
    for rows, power in zip(table.T, action_powers(sae.symmetry_), strict=True):
        if (rows >= 0).any():
            moved = sae.activation_transform_.act(decoder, power)
            yield rows[rows >= 0], moved[:-1], moved[-1]


def _increase(latents: csr_array, residuals: NDArray, vectors: NDArray) -> NDArray:
    """Increase of the squared error without each latent, summed over rows."""
    # r = x - x_hat, d the latent's vector where the row is:
    # |r + z d|^2 - |r|^2 = 2 z (r . d) + z^2 |d|^2
    increase = np.zeros(len(vectors))
    squares = np.einsum("ij,ij->i", vectors, vectors)
    for rows in gen_batches(latents.shape[0], _CHUNK):
        part = latents[rows].tocoo()
        row, latent = part.coords
        along = np.einsum("ij,ij->i", residuals[rows][row], vectors[latent])
        change = 2 * part.data * along + np.square(part.data) * squares[latent]
        increase += np.bincount(latent, change, minlength=len(vectors))
    return increase


def separation(Z: csc_array, members: NDArray) -> tuple[NDArray, NDArray]:
    """AUC of each latent for each class against the rest, and where it fires."""
    # members (n_rows, n_classes) may overlap. With R the ranks of n rows among N,
    # summed, AUC = (R - n (n + 1) / 2) / (n (N - n))
    n_rows, size = len(members), members.sum(axis=0)
    n_zero = n_rows - np.diff(Z.indptr)[:, np.newaxis]
    above = Z.copy()  # how far the rank of an active row is above that of the others
    above.data = np.concatenate(
        [rankdata(v) + (n_rows - len(v) - 1) / 2 for _, v in columns(Z)] or [Z.data]
    )
    fires = (Z > 0).astype(np.float64).T @ members
    ranks = above.T @ members + size * (n_zero + 1) / 2
    auc = (ranks - size * (size + 1) / 2) / (size * (n_rows - size))
    return auc, fires / size
