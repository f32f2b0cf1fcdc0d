"""When each feature fires, and for which inputs most."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from scipy.stats import rankdata

N_BINS = 20


def usage(Z: csr_array) -> dict[str, NDArray]:
    """How often and how strongly each latent fires.

    Parameters
    ----------
    Z : csr_array of shape (n_rows, n_latents)
        Latents.

    Returns
    -------
    columns : dict of ndarray of shape (n_latents,)
        ``density``, the share of rows in which it is not zero; ``mean`` and ``max``
        of its activations, in rows where it is not zero. NaN where there are none.
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
    """Count the activations of each latent in bins of equal width.

    Parameters
    ----------
    Z : csc_array of shape (n_rows, n_latents)
        Latents.

    Returns
    -------
    counts : list of list of int
        From 0 to the largest activation; empty for a latent that never fires.
    """
    return [
        list(map(int, np.histogram(values, bins=N_BINS, range=(0, values.max()))[0]))
        if len(values)
        else []
        for _, values in columns(Z)
    ]


def columns(Z: csc_array) -> list[tuple[NDArray, NDArray]]:
    """Take a matrix apart into its columns.

    Parameters
    ----------
    Z : csc_array of shape (n_rows, n_latents)
        Latents.

    Returns
    -------
    columns : list of (rows, values)
        One pair per latent.
    """
    slices = [slice(*ends) for ends in zip(Z.indptr[:-1], Z.indptr[1:], strict=True)]
    return [(Z.indices[part], Z.data[part]) for part in slices]


def mean_by_power(Z: csr_array, table: NDArray) -> NDArray:
    """Mean activation of each latent at each place of an orbit, zeros included.

    Parameters
    ----------
    Z : csr_array of shape (n_rows, n_latents)
        Latents.
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element, or -1.

    Returns
    -------
    means : ndarray of shape (n_latents, order)
        NaN at a place that no orbit has.
    """
    means = np.full((Z.shape[1], table.shape[1]), np.nan)
    for element, rows in enumerate(table.T):
        if (rows >= 0).any():
            means[:, element] = np.asarray(Z[rows[rows >= 0]].mean(axis=0)).ravel()
    return means


def top_orbits(
    Z: csc_array, table: NDArray, n_top: int
) -> list[tuple[NDArray, NDArray]]:
    """Find the orbits that hold the largest activations of each latent.

    Parameters
    ----------
    Z : csc_array of shape (n_rows, n_latents)
        Latents.
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element, or -1.
    n_top : int
        Orbits per latent, at most.

    Returns
    -------
    top : list of (orbits, activations)
        For each latent the numbers of the orbits, of shape (n,) and the strongest
        first, and their activations, of shape (n, order), NaN where there is no row.
    """
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
    """How well each latent alone tells each class from the others.

    Parameters
    ----------
    Z : csc_array of shape (n_rows, n_latents)
        Latents.
    codes : ndarray of shape (n_rows,)
        Class of each row, from 0 to n_classes - 1; each has a row.
    n_classes : int
        Number of classes, at least 2.

    Returns
    -------
    auc : ndarray of shape (n_latents, n_classes)
        Area under the ROC curve of the activation, class against rest: the chance
        that a row of the class has a larger activation than another row, where equal
        ones count half.
    density : ndarray of shape (n_latents, n_classes)
        Share of the rows of the class in which the latent fires.
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
