"""Latents of rows, and rows rebuilt from the few latents that are kept."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import _num_samples

from .._estimator import as_entries, unfrozen
from ._mean_difference import MeanDifferenceSelector, row_batches


class Encoded(NamedTuple):
    """What a reconstruction has to know of some rows, whatever their labels."""

    # Latents of shape (n_rows, n_latents), whether the SAE takes them as an ndarray,
    # and the power of each row or None.

    latents: sparse.csr_array
    as_dense: bool
    power: NDArray | None

    def select(
        self, codes: NDArray[np.intp], n_latents: int | None
    ) -> MeanDifferenceSelector:
        """Choose the latents that best separate the classes, numbered from 0."""
        return MeanDifferenceSelector(n_latents)._fit_latents(self.latents, codes)


def rows_for(sae: Any, X: Any, checked: NDArray) -> Any:
    """X with its column names if the SAE knows them, else the checked array."""
    named = hasattr(X, "columns") and hasattr(sae, "feature_names_in_")
    return X if named else checked


def encode(
    sae: Any, rows: Any, *, power: NDArray | None = None, infer_power: bool = False
) -> Encoded:
    """Encode validated rows, with the power given or inferred.

    Dense latents are made of some rows at a time, and those of all kept as CSR.
    """
    infer = infer_power and moves(sae)
    first = sae.transform(_safe_indexing(rows, slice(1)))
    latents, inferred = [], []
    for part in row_batches(_num_samples(rows), first.shape[1]):
        piece = _safe_indexing(rows, part)
        # an ndarray, whatever set_output says
        codes = sae.transform(piece)
        latents.append(
            sparse.csr_array(codes if sparse.issparse(codes) else np.asarray(codes))
        )
        if infer:
            inferred.append(sae.predict_power(piece))
    if infer:
        power = np.concatenate(inferred)
    all_latents = sparse.vstack(latents, format="csr")
    return Encoded(all_latents, not sparse.issparse(first), power)


def decode(
    sae: Any, encoded: Encoded, columns: NDArray[np.intp], out: NDArray
) -> NDArray:
    """Decode the latents named by `columns`, moved by their powers, into `out`."""
    latents, as_dense, power = encoded
    keep = np.zeros(latents.shape[1], dtype=latents.dtype)
    keep[columns] = 1
    kept = sparse.csr_array(latents @ sparse.diags_array(keep))
    for rows in row_batches(*latents.shape):
        Z = kept[rows].toarray() if as_dense else kept[rows]
        moved = {} if power is None else {"power": power[rows]}
        out[rows] = sae.inverse_transform(Z, **moved)
    return out


def moves(sae: Any) -> bool:
    """Whether an SAE rebuilds canonical rows, to be moved by a power."""
    routing = get_routing_for_object(unfrozen(sae))
    request = getattr(routing, "inverse_transform", None)  # a Pipeline has none
    return request is not None and "power" in request.requests


def check_power(sae: Any, power: ArrayLike, n_rows: int) -> NDArray:
    """Powers as an array, one per row, for an SAE that can use them."""
    if not moves(sae):
        raise ValueError(
            f"power was given, but inverse_transform of {sae!r} takes none: it "
            "rebuilds every row as it is; leave power=None"
        )
    powers = as_entries(power, "power")
    if powers.shape[:1] != (n_rows,):
        raise ValueError(
            f"power has shape {powers.shape} for {n_rows} rows of X; give one power "
            "per row, with a column per generator if there are several"
        )
    if getattr(sae, "order_", None) == 1 and powers.any():
        raise ValueError(
            f"power has values other than 0, but {sae!r} was fitted with a group of "
            "one element, which moves nothing; pass groups= and power= to its fit, or "
            "leave power=None"
        )
    return powers
