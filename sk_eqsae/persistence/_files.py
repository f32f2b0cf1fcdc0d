"""Save and load an estimator as one file of arrays and plain values."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from typing import Any

from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._atomic import atomic_write, read_bytes
from .._docs import fill
from .._json import errors_say, parse_json, shown
from .._tensors import from_bytes, to_bytes
from ._pack import pack_estimator
from ._unpack import Unpacker

FORMAT_VERSION = 1
_KEY = "sk_eqsae"  # of this package's part of the header


def save(estimator: BaseEstimator, path: str | os.PathLike) -> None:
    """Write an estimator to a file that holds data and no code.

    The file is a safetensors file: the arrays, and a header in JSON with versions,
    class, parameters and the other attributes. It replaces an older file in one step.

    Parameters
    ----------
    estimator : estimator
        One of this package's, fitted or not; also in a
        :class:`sklearn.frozen.FrozenEstimator`.
    path : str or path-like
        Where to.

    Raises
    ------
    ValueError
        If the estimator holds what such a file cannot: an estimator of another
        package, a RandomState, an attribute that `fit` has not set.
    OSError
        If the file cannot be written; the older file is whole then.

    Notes
    -----
    A Pipeline, or an estimator with others inside, can be kept with
    `skops <https://skops.readthedocs.io>`_, pickle or joblib.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_eqsae import TopKSAE, load, save
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> sae = TopKSAE(16, k=2, max_epochs=2, random_state=0).fit(X)
    >>> path = tempfile.mkdtemp() + "/sae.safetensors"
    >>> save(sae, path)
    >>> bool((load(path).transform(X) == sae.transform(X)).all())
    True
    """
    arrays: dict[str, NDArray] = {}
    with errors_say(f"cannot save this {type(estimator).__name__}"):
        header = {
            "format_version": FORMAT_VERSION,
            "package_version": version("sk-eqsae"),
            "estimator": pack_estimator(estimator, arrays),
        }
        content = to_bytes(arrays, {_KEY: json.dumps(header, separators=(",", ":"))})
    with atomic_write(path) as part:
        part.write_bytes(content)


@fill
def load(path: str | os.PathLike) -> Any:
    """Read an estimator from a file.

    No code is run, whatever the file holds: what it says is checked before anything is
    made of it. That takes twice as much memory as the file is long.

    Parameters
    ----------
    path : str or path-like
        A file that :func:`save` has written.

    Returns
    -------
    estimator : estimator
        What was saved, with results that are equal to the bit on the same machine. The
        parameters `checkpoint` and `device`, which say where and on what to compute,
        are as by default.

    {unreadable}

    Examples
    --------
    >>> import tempfile
    >>> from sk_eqsae import ActivationTransformFitter, load, save
    >>> path = tempfile.mkdtemp() + "/fitter.safetensors"
    >>> save(ActivationTransformFitter(4), path)
    >>> load(path)
    ActivationTransformFitter(symmetry=4)
    """
    content = read_bytes(path)
    with errors_say(f"cannot load {os.fspath(path)!r}"):
        return from_content(content)


def from_content(content: bytes) -> Any:
    """Estimator that the bytes of a file hold."""
    return estimator_of(*from_bytes(content))


def estimator_of(arrays: dict[str, NDArray], metadata: dict[str, str]) -> Any:
    """Estimator that is described in a text, of all these arrays."""
    unpacker = Unpacker(arrays)
    try:
        estimator = unpacker.estimator(_described(metadata))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if arrays:
        raise ValueError(f"array {shown(min(arrays))} belongs to nothing")
    return estimator


def _described(metadata: dict[str, str]) -> Any:
    """Description of the estimator in a file of the present format."""
    if _KEY not in metadata:
        raise ValueError("it is a safetensors file, but not of this package")
    header = parse_json(metadata[_KEY], "the description of the estimator")
    found = header.get("format_version")
    if type(found) is not int or found != FORMAT_VERSION:
        raise ValueError(
            f"it has format version {shown(found)}, but sk-eqsae {version('sk-eqsae')} "
            f"reads version {FORMAT_VERSION}"
        )
    if set(header) != {"format_version", "package_version", "estimator"}:
        raise ValueError(
            "the description of the estimator has other parts than it should"
        )
    return header["estimator"]
