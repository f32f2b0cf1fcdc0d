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
from .._json import shown
from .._tensors import from_bytes, to_bytes
from ..sae import TopKSAE
from ._json_file import count, one_of, read_json, setting
from ._raw_weights import RawWeights, as_estimator

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
    arrays = weights._asdict()
    del arrays["k"]
    if arrays.pop("threshold") is not None:
        threshold = np.full(len(weights.W_dec), weights.threshold, np.float32)
        arrays["threshold"] = threshold
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

    Raises
    ------
    ValueError
        If the folder holds anything else, or anything of which this would not be
        true; the message says what.
    OSError
        If it cannot be read.

    See Also
    --------
    export : The way there.

    Notes
    -----
    No code is run, whatever the files hold. What SAELens would fill in silently,
    such as k = 100, has to be there.

    Norms of the dictionary are folded into the latents where
    ``rescale_acts_by_decoder_norm`` asks for it.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_eqsae import TopKSAE, export, from_saelens
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> sae = TopKSAE(16, k=2, max_epochs=2, random_state=0).fit(X)
    >>> path = tempfile.mkdtemp() + "/exported"
    >>> export(sae, path, format="saelens")
    >>> from_saelens(path)
    TopKSAE(k=2, n_components=16)
    """
    folder = Path(path)
    try:
        settings = read_json(folder / _SETTINGS)
        _check_settings(settings)
        return _read(folder, settings)
    except ValueError as error:
        name = os.fspath(path)
        raise ValueError(f"cannot read {name!r} as SAELens': {error}.") from error


def _check_settings(settings: dict[str, Any]) -> None:
    """Check all that decides what the weights mean, but sizes and k."""
    _check_version(settings)
    architecture = one_of(settings, "architecture", ["topk", "jumprelu"])
    known = _KEYS | (_TOPK_KEYS if architecture == "topk" else set())
    if unknown := set(settings) - known:
        raise ValueError(f"nothing is known of {shown(min(unknown))} in {_SETTINGS}")
    one_of(settings, "dtype", ["float32", "torch.float32"])
    one_of(settings, "apply_b_dec_to_input", [True, False])
    one_of(settings, "normalize_activations", ["none"])
    one_of(settings, "reshape_activations", ["none"])


def _metadata(settings: dict[str, Any]) -> dict[str, Any]:
    metadata = setting(settings, "metadata")
    if not isinstance(metadata, dict):
        raise ValueError("metadata has to be an object")
    return metadata


def _check_version(settings: dict[str, Any]) -> None:
    found = _metadata(settings).get("sae_lens_version")
    major = found.split(".")[0] if isinstance(found, str) else ""
    if not major.isdecimal() or int(major) < _VERSION:
        raise ValueError(
            f"sae_lens_version has to be {_VERSION}.0.0 or later, not {shown(found)}. "
            "Load it with SAELens 6 and save it again"
        )


def _read(folder: Path, settings: dict[str, Any]) -> TopKSAE:
    d_in, d_sae = count(settings, "d_in"), count(settings, "d_sae")
    shapes = {
        "W_enc": (d_in, d_sae),
        "b_enc": (d_sae,),
        "W_dec": (d_sae, d_in),
        "b_dec": (d_in,),
    }
    if settings["architecture"] == "jumprelu":
        k = _batch_k(settings)
        arrays = _read_arrays(folder / _WEIGHTS, shapes | {"threshold": (d_sae,)})
        threshold = _one_threshold(arrays.pop("threshold"))
        return _estimator(RawWeights(**arrays, k=k, threshold=threshold), settings)
    k = count(settings, "k")
    arrays = _read_arrays(folder / _WEIGHTS, shapes)
    if "rescale_acts_by_decoder_norm" in settings and one_of(
        settings, "rescale_acts_by_decoder_norm", [True, False]
    ):
        arrays |= _with_unit_rows(**arrays)
    return _estimator(RawWeights(**arrays, k=k, threshold=None), settings)


def _estimator(weights: RawWeights, settings: dict[str, Any]) -> TopKSAE:
    if settings["apply_b_dec_to_input"]:
        return as_estimator(weights)
    return as_estimator(weights, mean=np.zeros_like(weights.b_dec))


def _batch_k(settings: dict[str, Any]) -> int:
    """Give the k of training, which a threshold has taken the place of."""
    metadata = _metadata(settings)
    details = metadata.get("training_architecture_details")
    if metadata.get("training_architecture") not in _BATCH_TOPK or not isinstance(
        details, dict
    ):
        raise ValueError(
            "a jumprelu has to be one that was trained as batchtopk, as metadata's "
            "training_architecture says, with k in training_architecture_details"
        )
    return count(details, "k")


def _one_threshold(thresholds: NDArray) -> float:
    if not (thresholds == thresholds[0]).all():
        raise ValueError("threshold has to be the same for all latents")
    return float(thresholds[0])


def _with_unit_rows(
    W_enc: NDArray, b_enc: NDArray, W_dec: NDArray, b_dec: NDArray
) -> dict[str, NDArray]:
    norms = np.linalg.norm(W_dec.astype(np.float64), axis=1)
    if not (norms > 0).all():
        raise ValueError("W_dec has a row of norm 0, which cannot be rescaled")
    arrays = (W_enc * norms, b_enc * norms, W_dec / norms[:, np.newaxis])
    names = ("W_enc", "b_enc", "W_dec")
    return {n: a.astype(np.float32) for n, a in zip(names, arrays, strict=True)}


def _read_arrays(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray]:
    arrays, _ = from_bytes(read_bytes(path))
    if set(arrays) != set(shapes):
        names = ", ".join(map(shown, sorted(arrays)))
        raise ValueError(
            f"{_WEIGHTS} has to hold {', '.join(shapes)}, not {names or 'nothing'}"
        )
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != np.float32 or array.shape != shape:
            raise ValueError(
                f"{name} has to be of float32 and shape {shape}, as {_SETTINGS} says, "
                f"found {array.dtype} and {array.shape}"
            )
    return arrays
