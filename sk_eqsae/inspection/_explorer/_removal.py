"""What is lost when one feature is switched off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils import gen_batches

from ..._metrics import are_constant, fvu
from ...groups._group import action_powers
from ...sae import EquivariantSAE
from ...sae._base import BaseSAE

_CHUNK = 512  # rows whose active vectors are held at a time


class Removal(NamedTuple):
    """What the reconstruction loses with each latent."""

    error: NDArray  # of a row in which it fires, in the mean; NaN where it never does
    fvu: NDArray  # of all rows
    fvu_with_all: float


def removal(sae: BaseSAE, X: NDArray, Z: csr_array, table: NDArray) -> Removal:
    """Set each latent to zero by itself, and leave all others as they are.

    With r = x - x_hat and d the vector of the latent, moved to where the row is::

        |r + z d|^2 - |r|^2 = 2 z (r . d) + z^2 |d|^2
    """
    X = X.astype(np.float64)
    Z = Z.astype(np.float64)
    reconstruction = np.empty_like(X)
    increase = np.zeros(Z.shape[1])
    for rows, vectors, intercept in _decoders(sae, table):
        latents = Z[rows]
        reconstruction[rows] = latents @ vectors + intercept
        increase += _increase(latents, X[rows] - reconstruction[rows], vectors)
    n_active = np.diff(Z.tocsc().indptr)
    variance = np.square(X - X.mean(axis=0))[:, ~are_constant(X)].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        error, share = increase / n_active, increase / variance
    return Removal(error, share, fvu(X, reconstruction))


def _decoders(
    sae: BaseSAE, table: NDArray
) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """Rows, and the dictionary and the intercept that they are decoded with."""
    vectors = sae.components_.astype(np.float64)
    if not isinstance(sae, EquivariantSAE):
        yield table[table >= 0], vectors, sae.intercept_
        return
    powers = action_powers(sae.symmetry_)
    decoder = np.vstack([vectors, sae.intercept_])
    for rows, power in zip(table.T, powers, strict=True):
        if (rows >= 0).any():
            moved = sae.activation_transform_.act(decoder, power)
            yield rows[rows >= 0], moved[:-1], moved[-1]


def _increase(latents: csr_array, residuals: NDArray, vectors: NDArray) -> NDArray:
    """Increase of the squared error without each latent, summed over rows."""
    increase = np.zeros(len(vectors))
    squares = np.einsum("ij,ij->i", vectors, vectors)
    for rows in gen_batches(latents.shape[0], _CHUNK):
        part = latents[rows].tocoo()
        row, latent = part.coords
        along = np.einsum("ij,ij->i", residuals[rows][row], vectors[latent])
        change = 2 * part.data * along + np.square(part.data) * squares[latent]
        increase += np.bincount(latent, change, minlength=len(vectors))
    return increase
