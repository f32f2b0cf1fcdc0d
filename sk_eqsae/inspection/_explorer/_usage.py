"""When each feature fires, and for which inputs most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from scipy.stats import rankdata

N_BINS = 20


def usage(Z: csr_array) -> dict[str, NDArray]:
    """Density, and mean and max of the activations above 0, of each latent.

    The latter are NaN where there are none.
    """
    n_active = np.diff(Z.tocsc().indptr)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.asarray(Z.sum(axis=0)).ravel() / n_active
    largest = Z.max(axis=0).toarray().ravel()
    return {
        "density": n_active / Z.shape[0],
        "mean": mean,
        "max": np.where(n_active > 0, largest, np.nan),
    }


def histograms(Z: csc_array) -> list[list[int]]:
    """Rows per bin of equal width, from 0 to the largest activation of each latent."""
    return [
        list(map(int, np.histogram(values, bins=N_BINS, range=(0, values.max()))[0]))
        if len(values)
        else []
        for _, values in columns(Z)
    ]


def columns(Z: csc_array) -> list[tuple[NDArray, NDArray]]:
    """Rows and values of each column."""
    slices = [slice(*ends) for ends in zip(Z.indptr[:-1], Z.indptr[1:], strict=True)]
    return [(Z.indices[part], Z.data[part]) for part in slices]


def mean_by_power(Z: csr_array, table: NDArray) -> NDArray:
    """Mean activation at each place of an orbit, zeros included: (n_latents, order)."""
    means = np.full((Z.shape[1], table.shape[1]), np.nan)
    for element, rows in enumerate(table.T):
        if (rows >= 0).any():
            means[:, element] = np.asarray(Z[rows[rows >= 0]].mean(axis=0)).ravel()
    return means


def top_orbits(
    Z: csc_array, table: NDArray, n_top: int
) -> list[tuple[NDArray, NDArray]]:
    """Strongest orbits of each latent, and its activations there: (n,), (n, order)."""
    orbit_of_row = np.empty(Z.shape[0], dtype=np.int64)
    orbits, elements = np.nonzero(table >= 0)
    orbit_of_row[table[orbits, elements]] = orbits
    return [
        _top_of_one(rows, values, orbit_of_row, table, n_top)
        for rows, values in columns(Z)
    ]


def _top_of_one(
    rows: NDArray, values: NDArray, orbit_of_row: NDArray, table: NDArray, n_top: int
) -> tuple[NDArray, NDArray]:
    strongest_first = orbit_of_row[rows[np.argsort(-values, kind="stable")]]
    _, first = np.unique(strongest_first, return_index=True)
    top = strongest_first[np.sort(first)[:n_top]]
    column = np.zeros(len(orbit_of_row))
    column[rows] = values
    return top, np.where(table[top] >= 0, column[table[top]], np.nan)


def class_separation(
    Z: csc_array, codes: NDArray, n_classes: int
) -> tuple[NDArray, NDArray]:
    """AUC of each class against the rest, and share of its rows that fire.

    Both are of shape (n_latents, n_classes). With R the sum of the ranks of the n rows
    of a class among all N, equal ones sharing theirs::

        AUC = (R - n (n + 1) / 2) / (n (N - n))
    """
    size = np.bincount(codes, minlength=n_classes)
    auc = np.empty((Z.shape[1], n_classes))
    density = np.empty_like(auc)
    for latent, (rows, values) in enumerate(columns(Z)):
        n_zero = Z.shape[0] - len(rows)
        fires = np.bincount(codes[rows], minlength=n_classes)
        ranks = (
            np.bincount(codes[rows], n_zero + rankdata(values), minlength=n_classes)
            + (size - fires) * (n_zero + 1) / 2
        )
        auc[latent] = (ranks - size * (size + 1) / 2) / (size * (Z.shape[0] - size))
        density[latent] = fires / size
    return auc, density
