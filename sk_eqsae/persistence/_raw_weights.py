"""What the formats of other libraries can say of an autoencoder."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ..sae import EquivariantSAE, GroupTiedSAE, TopKSAE
from ..sae._torch_module import in_float32, raw_biases
from ._classes import check_estimator


class RawWeights(NamedTuple):
    """A linear autoencoder of activations as they are.

    ::

        z = ReLU(TopK((x - b_dec) W_enc + b_enc))
        x_hat = z W_dec + b_dec

    Attributes
    ----------
    W_enc : ndarray of shape (n_features, n_latents)
        Encoder weights.
    b_enc : ndarray of shape (n_latents,)
        Encoder biases.
    W_dec : ndarray of shape (n_latents, n_features)
        Dictionary.
    b_dec : ndarray of shape (n_features,)
        Decoder bias.
    k : int
        Latents that a row keeps, on average if there is a threshold.
    threshold : float or None
        Keeps the latents above it in place of the k largest.
    """

    W_enc: NDArray
    b_enc: NDArray
    W_dec: NDArray
    b_dec: NDArray
    k: int
    threshold: float | None


def fold(sae: Any) -> RawWeights:
    """Fold the mean and the scale of the activations into the weights.

    Parameters
    ----------
    sae : TopKSAE or GroupTiedSAE
        A fitted one.

    Returns
    -------
    weights : RawWeights
        Weights in float32.

    Raises
    ------
    ValueError
        If it is another estimator, does what such weights cannot, or is of
        activations that float32 cannot hold.
    """
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
    """Make a fitted TopKSAE that encodes and decodes to the same.

    Parameters
    ----------
    weights : RawWeights
        Weights in float32.
    mean : ndarray of shape (n_features,), default=None
        What is subtracted from rows before they are encoded; None is b_dec.

    Returns
    -------
    sae : TopKSAE
        The estimator, checked as one from a file of this package.

    Raises
    ------
    ValueError
        If the weights do not fit together or are not finite.
    """
    by_threshold = weights.threshold is not None
    sae = TopKSAE(
        len(weights.W_dec),
        k=weights.k,
        activation="batch_topk" if by_threshold else "topk",
    )
    sae.n_features_in_ = weights.W_dec.shape[1]
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
    check_estimator(sae)
    return sae
