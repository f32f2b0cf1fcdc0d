"""Export an autoencoder to the formats of other libraries."""

import os
from typing import Any

from .._atomic import atomic_folder
from .._estimator import unfrozen
from .._json import errors_say
from ._dictionary_learning import write_dictionary_learning
from ._raw_weights import fold
from ._saelens import write_saelens

_WRITERS = {"saelens": write_saelens, "dictionary_learning": write_dictionary_learning}


def export(sae: Any, path: str | os.PathLike, format: str = "saelens") -> None:
    """Write a fitted autoencoder as another library's.

    Mean and scale go into the weights, so that the other library gives what
    `transform` and `inverse_transform` give.

    Parameters
    ----------
    sae : TopKSAE, GroupTiedSAE or OrbitSAE
        A fitted one with a linear encoder. A GroupTiedSAE becomes a regular
        autoencoder with all copies of its vectors.
    path : str or path-like
        The folder to make. It is there whole or not at all.
    format : {"saelens", "dictionary_learning"}, default="saelens"
        "saelens": for ``SAE.load_from_disk`` of SAELens 6. "dictionary_learning":
        for ``utils.load_dictionary`` of dictionary_learning.

    Raises
    ------
    ValueError
        If the format has no place for what the autoencoder does: a hidden layer, moving
        by M, invariant latents.
    FileExistsError
        If there is something at `path`, but for an empty folder.

    Notes
    -----
    Feature names, parameters of training and nested prefixes are not kept.
    ``activation="batch_topk"`` becomes latents above a threshold. Dictionary vectors
    keep their norms, of which dictionary_learning expects 1.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_eqsae import TopKSAE, export, from_saelens
    >>> X = np.random.default_rng(0).normal(5, 2, size=(100, 8))
    >>> sae = TopKSAE(16, k=2, max_epochs=2, random_state=0).fit(X)
    >>> path = tempfile.mkdtemp() + "/exported"
    >>> export(sae, path, format="saelens")
    >>> bool(np.allclose(from_saelens(path).transform(X), sae.transform(X), atol=1e-5))
    True
    """
    if format not in _WRITERS:
        raise ValueError(
            f"format={format!r} is unknown. Choose one of {', '.join(_WRITERS)}."
        )
    sae = unfrozen(sae)
    with errors_say(f"cannot export this {type(sae).__name__} to {format}"):
        weights = fold(sae)
    with atomic_folder(path) as part:
        _WRITERS[format](weights, part)
