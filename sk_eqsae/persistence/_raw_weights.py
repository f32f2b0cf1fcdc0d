"""What the formats of other libraries can say of an autoencoder."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ..sae import EquivariantSAE, GroupTiedSAE, TopKSAE
from ..sae._torch_module import in_float32, raw_biases
from ._check import check_estimator


class RawWeights(NamedTuple):
    """A linear autoencoder of activations as they are.

    ::

        z = ReLU(TopK((x - b_dec) W_enc + b_enc))
        x_hat = z W_dec + b_dec

    W_enc is of shape (n_features, n_latents), W_dec of (n_latents, n_features). A row
    keeps `k` latents, or those above `threshold`, which are `k` on average.
    """

    W_enc: NDArray
    b_enc: NDArray
    W_dec: NDArray
    b_dec: NDArray
    k: int
    threshold: float | None


def fold(sae: Any) -> RawWeights:
    """Weights in float32 that hold the mean and the scale of the activations, too."""
    if type(sae) not in (TopKSAE, EquivariantSAE, GroupTiedSAE):
        raise ValueError(
            f"it is a {type(sae).__name__}, but only a TopKSAE, a GroupTiedSAE and an "
            "EquivariantSAE of a trivial group can be"
        )
    check_is_fitted(sae)
    check_estimator(sae)
    _check_expressible(sae)
    b_dec = in_float32(sae.intercept_)
    [b_enc] = raw_biases(sae, b_dec)
    threshold = sae.threshold_ if sae.activation == "batch_topk" else None
    return RawWeights(
        sae.coefs_[0], b_enc, sae.components_, b_dec, int(sae.k), threshold
    )


def _check_expressible(sae: Any) -> None:
    if len(sae.coefs_) > 1:
        raise ValueError(
            f"its encoder has a hidden layer of {sae.coefs_[0].shape[1]} units, which "
            "the format has no place for. Keep it with save(), run it in torch with "
            "to_module(), or fit it with hidden_dim=None"
        )
    if type(sae) is EquivariantSAE and sae.order_ > 1:
        raise ValueError(
            "it decodes to canonical activations, and M, which moves them to where "
            "they were, has no place in the format. Keep it with save() or run it in "
            "torch with to_module()"
        )
    if type(sae) is GroupTiedSAE and sae.output == "invariant":
        raise ValueError(
            "invariant latents cannot be decoded. Set output='equivariant', which "
            "exports all copies of each vector"
        )


def as_estimator(weights: RawWeights, *, mean: NDArray | None = None) -> TopKSAE:
    """Fitted TopKSAE that encodes and decodes to the same.

    `mean`, of shape (n_features,), is subtracted from rows before they are encoded;
    None is b_dec.
    """
    by_threshold = weights.threshold is not None
    sae = TopKSAE(
        len(weights.W_dec),
        k=weights.k,
        activation="batch_topk" if by_threshold else "topk",
    )
    sae.n_components_, sae.n_features_in_ = weights.W_dec.shape
    sae.coefs_ = [np.asfortranarray(weights.W_enc)]
    sae.intercepts_ = [weights.b_enc]
    sae.components_ = np.ascontiguousarray(weights.W_dec)
    sae.intercept_ = weights.b_dec.astype(np.float64)
    sae.mean_ = (weights.b_dec if mean is None else mean).astype(np.float64)
    sae.scale_ = 1.0
    sae.loss_curve_, sae.error_curve_, sae.n_iter_ = np.empty(0), np.empty(0), 0
    if weights.threshold is not None:
        # latents are above zero, too
        sae.threshold_ = max(weights.threshold, 0.0)
        sae._threshold_k = weights.k
    check_estimator(sae)
    return sae
