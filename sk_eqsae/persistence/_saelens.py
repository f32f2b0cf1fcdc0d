"""The folder that SAELens 6 writes: cfg.json and sae_weights.safetensors."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._atomic import read_bytes
from .._docs import fill
from .._json import errors_say, shown
from .._tensors import from_bytes, to_bytes
from ..sae import TopKSAE
from ._json_file import count, one_of, read_json, section
from ._raw_weights import RawWeights, as_estimator, check_arrays

_SETTINGS = "cfg.json"
_WEIGHTS = "sae_weights.safetensors"
_VERSION = 6
_BATCH_TOPK = ("batchtopk", "matryoshka_batchtopk")
_KEYS = {
    "architecture",
    "d_in",
    "d_sae",
    "dtype",
    "device",
    "apply_b_dec_to_input",
    "normalize_activations",
    "reshape_activations",
    "metadata",
}
_TOPK_KEYS = {
    "k",
    "rescale_acts_by_decoder_norm",
    # of checkpoints; training alone uses them
    "aux_loss_coefficient",
    "decoder_init_norm",
    "use_sparse_activations",
}


def write_saelens(weights: RawWeights, folder: Path) -> None:
    """Write the two files into a folder."""
    names = ("W_enc", "b_enc", "W_dec", "b_dec")
    arrays = {name: getattr(weights, name) for name in names}
    if weights.threshold is not None:
        arrays["threshold"] = np.full_like(weights.b_enc, weights.threshold)
    text = json.dumps(_settings(weights), indent=2)
    (folder / _SETTINGS).write_bytes(text.encode())
    (folder / _WEIGHTS).write_bytes(to_bytes(arrays, {}))


def _settings(weights: RawWeights) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "architecture": "topk",
        "d_in": weights.W_dec.shape[1],
        "d_sae": weights.W_dec.shape[0],
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": f"{_VERSION}.0.0",
            "sae_lens_training_version": None,
            "sk_eqsae_version": version("sk-eqsae"),
        },
    }
    if weights.threshold is None:
        return settings | {"k": weights.k, "rescale_acts_by_decoder_norm": False}
    # as SAELens itself keeps BatchTopK
    settings["architecture"] = "jumprelu"
    settings["metadata"]["training_architecture"] = _BATCH_TOPK[0]
    settings["metadata"]["training_architecture_details"] = {"k": weights.k}
    return settings


@fill
def from_saelens(path: str | os.PathLike) -> TopKSAE:
    """Read an autoencoder that SAELens has written.

    Parameters
    ----------
    path : str or path-like
        A folder of SAELens 6, with ``cfg.json`` and ``sae_weights.safetensors``, of
        the architecture "topk", or "jumprelu" where that was trained as BatchTopK.

    Returns
    -------
    sae : TopKSAE
        A fitted one: `transform` and `inverse_transform` equal SAELens' ``encode``
        and ``decode``.

    {unreadable}

    Notes
    -----
    No code is run, whatever the files hold. What SAELens would fill in has to be there.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_eqsae import TopKSAE, export, from_saelens
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> sae = TopKSAE(16, k=2, max_epochs=2, random_state=0).fit(X)
    >>> path = tempfile.mkdtemp() + "/exported"
    >>> export(sae, path)
    >>> from_saelens(path)
    TopKSAE(k=2, n_components=16)
    """
    folder = Path(path)
    with errors_say(f"cannot read {os.fspath(path)!r} as SAELens'"):
        settings = read_json(folder / _SETTINGS)
        _check_settings(settings)
        return _read(folder, settings)


def _check_settings(settings: dict[str, Any]) -> None:
    """Check all that decides what the weights mean, but sizes and k."""
    found = section(settings, "metadata").get("sae_lens_version")
    major = str(found).partition(".")[0]
    if not major.isdecimal() or int(major) < _VERSION:
        raise ValueError(
            f"sae_lens_version has to be {_VERSION}.0.0 or later, not {shown(found)}. "
            "Load it with SAELens 6 and save it again"
        )
    architecture = one_of(settings, "architecture", ["topk", "jumprelu"])
    known = _KEYS | (_TOPK_KEYS if architecture == "topk" else set())
    if unknown := set(settings) - known:
        raise ValueError(f"nothing is known of {shown(min(unknown))} in {_SETTINGS}")
    one_of(settings, "dtype", ["float32", "torch.float32"])
    one_of(settings, "apply_b_dec_to_input", [True, False])
    one_of(settings, "normalize_activations", ["none"])
    one_of(settings, "reshape_activations", ["none"])


def _read(folder: Path, settings: dict[str, Any]) -> TopKSAE:
    d_in, d_sae = count(settings, "d_in"), count(settings, "d_sae")
    by_threshold = settings["architecture"] == "jumprelu"
    k = _batch_k(settings) if by_threshold else count(settings, "k")
    shapes = {
        "W_enc": (d_in, d_sae),
        "b_enc": (d_sae,),
        "W_dec": (d_sae, d_in),
        "b_dec": (d_in,),
    }
    shapes |= {"threshold": (d_sae,)} if by_threshold else {}
    arrays, _ = from_bytes(read_bytes(folder / _WEIGHTS))
    check_arrays(arrays, shapes, _WEIGHTS)
    threshold = None
    if by_threshold:
        threshold, *others = set(arrays.pop("threshold").tolist())
        if others:
            raise ValueError("threshold has to be the same for all latents")
    if "rescale_acts_by_decoder_norm" in settings and one_of(
        settings, "rescale_acts_by_decoder_norm", [True, False]
    ):
        arrays = _with_unit_rows(arrays)
    weights = RawWeights(**arrays, k=k, threshold=threshold)
    if settings["apply_b_dec_to_input"]:
        return as_estimator(weights)
    return as_estimator(weights, mean=np.zeros_like(weights.b_dec))


def _batch_k(settings: dict[str, Any]) -> int:
    """Give the k of training, which a threshold has taken the place of."""
    metadata = section(settings, "metadata")
    details = metadata.get("training_architecture_details")
    if metadata.get("training_architecture") not in _BATCH_TOPK or not isinstance(
        details, dict
    ):
        raise ValueError(
            "a jumprelu has to be one that was trained as batchtopk, as metadata's "
            "training_architecture says, with k in training_architecture_details"
        )
    return count(details, "k")


def _with_unit_rows(arrays: dict[str, NDArray]) -> dict[str, NDArray]:
    norms = np.linalg.norm(arrays["W_dec"].astype(np.float64), axis=1)
    if not (norms > 0).all():
        raise ValueError("W_dec has a row of norm 0, which cannot be rescaled")
    W_dec = arrays["W_dec"] / norms[:, np.newaxis]
    scaled = {name: arrays[name] * norms for name in ("W_enc", "b_enc")}
    scaled |= {"W_dec": W_dec, "b_dec": arrays["b_dec"]}
    return {name: array.astype(np.float32) for name, array in scaled.items()}
