"""What the formats of other libraries can say of an autoencoder."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from .._json import shown
from ..sae import EquivariantSAE, GroupTiedSAE, OrbitSAE, TopKSAE
from ..sae._base import kept_latents
from ..sae._torch_module import in_float32, raw_biases
from ._check import check_estimator


class RawWeights(NamedTuple):
    """A linear autoencoder of activations as they are."""

    # z = ReLU(TopK((x - b_dec) W_enc + b_enc)),  x_hat = z W_dec + b_dec
    W_enc: NDArray  # (n_features, n_latents)
    b_enc: NDArray
    W_dec: NDArray  # (n_latents, n_features)
    b_dec: NDArray
    k: int  # latents of a row: the largest, or, on average, those above
    threshold: float | None


def fold(sae: Any) -> RawWeights:
    """Weights in float32 that hold the mean and the scale of the activations, too."""
    if type(sae) not in (TopKSAE, EquivariantSAE, GroupTiedSAE, OrbitSAE):
        raise ValueError(
            f"it is a {type(sae).__name__}, but only a TopKSAE, a GroupTiedSAE, "
            "an OrbitSAE and an EquivariantSAE of a trivial group can be"
        )
    check_is_fitted(sae)
    check_estimator(sae)
    _check_expressible(sae)
    sae._selection()  # an error where k was set after a fit by a threshold
    b_dec = in_float32(sae.intercept_)
    [b_enc] = raw_biases(sae, b_dec)
    k = int(kept_latents(sae))
    threshold = sae.threshold_ if sae.activation == "batch_topk" else None
    return RawWeights(sae.coefs_[0], b_enc, sae.components_, b_dec, k, threshold)


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
    if getattr(sae, "output", None) == "invariant":
        raise ValueError(
            "invariant latents cannot be decoded. Set output='equivariant', which "
            "exports all latents"
        )


def as_estimator(weights: RawWeights, *, mean: NDArray | None = None) -> TopKSAE:
    """Fitted TopKSAE that does the same, or subtracts another `mean` at first."""
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
        sae.threshold_ = max(weights.threshold, 0.0)  # latents are above zero, too
        sae._threshold_k = weights.k
    check_estimator(sae)
    return sae


def check_arrays(
    arrays: dict[str, NDArray], shapes: dict[str, tuple[int, ...]], file: str
) -> None:
    """Raise a ValueError unless a file holds float32 in these shapes and no more."""
    if set(arrays) != set(shapes):
        names = ", ".join(map(shown, sorted(arrays)))
        raise ValueError(
            f"{file} has to hold {', '.join(shapes)}, not {names or 'nothing'}"
        )
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != np.float32 or array.shape != shape:
            raise ValueError(
                f"{name} has to be of float32 and shape {shape}, as the settings say, "
                f"found {array.dtype} and {array.shape}"
            )
