"""What each feature does, in numbers that JSON has."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from scipy.stats import rankdata
from sklearn.utils import gen_batches
from sklearn.utils.multiclass import check_classification_targets

from ..._metrics import are_constant, fvu
from ...groups._group import action_powers
from ...sae import EquivariantSAE
from ...sae._base import BaseSAE
from .._feature_symmetry import feature_symmetry

_CHUNK = 512  # rows whose active vectors are held at a time
_N_BINS = 20


def activity(Z: csr_array, table: NDArray) -> dict[str, Any]:
    """When each latent fires and how strongly; NaN if it never does."""
    n_active = np.diff(Z.tocsc().indptr)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.asarray(Z.sum(axis=0)).ravel() / n_active
    largest = np.where(n_active > 0, Z.max(axis=0).toarray().ravel(), np.nan)
    return {
        "columns": {
            "density": rounded(n_active / Z.shape[0]),
            "mean": rounded(mean),
            "max": rounded(largest),
        },
        "histograms": [_histogram(values) for _, values in columns(Z.tocsc())],
        "by_power": rounded(_mean_by_power(Z, table)),
    }


def _histogram(values: NDArray) -> list[int]:
    """Rows per bin of equal width, from 0 to the largest activation."""
    if not len(values):
        return []
    return np.histogram(values, bins=_N_BINS, range=(0, values.max()))[0].tolist()


def columns(Z: csc_array) -> list[tuple[NDArray, NDArray]]:
    """Rows and values of each column."""
    slices = [slice(*ends) for ends in zip(Z.indptr[:-1], Z.indptr[1:], strict=True)]
    return [(Z.indices[part], Z.data[part]) for part in slices]


def _mean_by_power(Z: csr_array, table: NDArray) -> NDArray:
    """Mean activation at each place of an orbit, zeros included: (n_latents, order)."""
    means = np.full((Z.shape[1], table.shape[1]), np.nan)
    for element, rows in enumerate(table.T):
        if (rows >= 0).any():
            means[:, element] = np.asarray(Z[rows[rows >= 0]].mean(axis=0)).ravel()
    return means


def removal(
    sae: BaseSAE, X: NDArray, Z: csr_array, table: NDArray
) -> tuple[dict[str, Any], Any]:
    """What is lost when one latent is zero and all others stay, and FVU with all."""
    X, Z = X.astype(np.float64), Z.astype(np.float64)
    reconstruction = np.empty_like(X)
    increase = np.zeros(Z.shape[1])
    for rows, vectors, intercept in _decoders(sae, table):
        reconstruction[rows] = Z[rows] @ vectors + intercept
        increase += _increase(Z[rows], X[rows] - reconstruction[rows], vectors)
    variance = np.square(X - X.mean(axis=0))[:, ~are_constant(X)].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = {
            "removal_error": rounded(increase / np.diff(Z.tocsc().indptr)),
            "removal_fvu": rounded(increase / variance),
        }
    return lost, rounded(fvu(X, reconstruction))


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


def symmetry(sae: BaseSAE, fitter: Any, X: NDArray) -> dict[str, Any]:
    """The table of feature_symmetry."""
    found, group = feature_symmetry(sae, fitter, X=X), fitter.symmetry_
    irreps = [irrep.name for irrep in group.irreps]
    chance = found[[f"chance {name}" for name in irreps]].to_numpy()
    properties = ["invariance", "stabilizer_size", "orbit_length", "orbit"]
    return {
        "irreps": irreps,
        "irrep": found["irrep"].where(found["irrep"].notna(), None).tolist(),
        "energies": rounded(found[[f"energy {name}" for name in irreps]].to_numpy()),
        "chance": rounded(chance[0]),
        "beyond_chance": found["beyond_chance"].tolist(),
        "symmetry": {name: rounded(found[name].to_numpy()) for name in properties},
        "turns_into": [
            {
                "name": name,
                "latent": found[f"turns_into_{name}"].tolist(),
                "cosine": rounded(found[f"cosine_{name}"].to_numpy()),
            }
            for name in group.generator_names
        ],
    }


def separation(Z: csc_array, labels: NDArray) -> dict[str, Any]:
    """AUC of each latent for each class against the rest, and where it fires."""
    check_classification_targets(labels)
    classes, codes, size = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"labels has to hold two classes or more, found {classes}.")
    auc = np.empty((Z.shape[1], len(classes)))
    density = np.empty_like(auc)
    for latent, (rows, values) in enumerate(columns(Z)):
        n_zero = Z.shape[0] - len(rows)
        fires = np.bincount(codes[rows], minlength=len(classes))
        ranks = np.bincount(codes[rows], n_zero + rankdata(values), len(classes))
        ranks = ranks + (size - fires) * (n_zero + 1) / 2
        # AUC = (R - n (n + 1) / 2) / (n (N - n)), R the ranks of n rows among N, summed
        auc[latent] = (ranks - size * (size + 1) / 2) / (size * (Z.shape[0] - size))
        density[latent] = fires / size
    return {
        "classes": [str(name) for name in classes],
        "auc": rounded(auc, 3),
        "class_density": rounded(density, 3),
    }


def rounded(values: Any, digits: int = 4) -> Any:
    """Numbers that JSON has, as short as will do; None for what is not finite."""
    if isinstance(values, np.ndarray | list):
        return [rounded(value, digits) for value in values]
    if not np.isfinite(values):
        return None
    short = float(f"{values:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short
