"""Save and load an estimator as one file of arrays and plain values."""

import inspect
import json
import os
from importlib.metadata import version
from typing import Any, BinaryIO

from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._atomic import atomic_write
from .._container import parse_json, read_array, read_header, shown, write_arrays
from . import _instance
from ._classes import check_estimator, kind_named, kind_of
from ._values import Packer, Unpacker

FORMAT_VERSION = 1
_KEY = "sk_eqsae"  # of this package's part of the header


def save(estimator: BaseEstimator, path: str | os.PathLike) -> None:
    """Write an estimator to a file that holds data and no code.

    The file is a safetensors file: the arrays, and a header in JSON with the version
    of the format and of the package, the class, the parameters, the names of the
    features and the other attributes. It replaces an older file in one step.

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
        package, a RandomState, an attribute that `fit` has not set. Nothing is
        written then.
    OSError
        If the file cannot be written; the older file is whole then.

    See Also
    --------
    load : The way back.

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
    packer = Packer(_packed)
    try:
        header = {
            "format_version": FORMAT_VERSION,
            "package_version": version("sk-eqsae"),
            "estimator": _packed(estimator, packer, ""),
        }
        text = json.dumps(header, allow_nan=False, separators=(",", ":"))
        parse_json(text, "what is to be written")
        with atomic_write(path) as part, open(part, "wb") as file:
            write_arrays(file, packer.arrays, {_KEY: text})
    except ValueError as error:
        name = type(estimator).__name__
        raise ValueError(f"cannot save this {name}: {error}.") from error


def _packed(estimator: Any, packer: Packer, path: str) -> dict[str, Any]:
    kind_of(estimator, path)
    prefix = f"{path}." if path else ""
    parameters = estimator.get_params(deep=False)
    attributes = {k: v for k, v in vars(estimator).items() if k not in parameters}
    if request := attributes.get(_instance.REQUESTS):
        attributes[_instance.REQUESTS] = _instance.requests_as_data(request)
    packed = {
        "class": type(estimator).__name__,
        "parameters": {k: packer.pack(v, prefix + k) for k, v in parameters.items()},
        "attributes": {k: packer.pack(v, prefix + k) for k, v in attributes.items()},
    }
    _check(estimator, path)
    return packed


def _check(estimator: BaseEstimator, path: str) -> None:
    try:
        check_estimator(estimator)
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if path else str(error)) from None


def load(path: str | os.PathLike) -> Any:
    """Read an estimator from a file.

    No code is run, whatever the file holds: it can only name this package's classes,
    and its parameters and arrays are checked before anything is made of them.

    Parameters
    ----------
    path : str or path-like
        A file that :func:`save` has written, also with an older version.

    Returns
    -------
    estimator : estimator
        What was saved: all parameters and attributes, and results that are equal to
        the bit on the same machine.

    Raises
    ------
    ValueError
        If the file is not whole, is of another kind, or holds what no estimator
        could; the message says what is wrong.
    OSError
        If it cannot be read.

    See Also
    --------
    save : The way here.

    Notes
    -----
    Arrays are read only if the file is long enough for them. Loading takes as much
    memory as the file is long, a quarter of the largest array while that is checked,
    and what the header needs, which may have 8 MiB.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sk_eqsae import ActivationTransformFitter, load, save
    >>> from sk_eqsae.groups import DihedralGroup
    >>> path = Path(tempfile.mkdtemp()) / "fitter.safetensors"
    >>> save(ActivationTransformFitter(DihedralGroup(4)), path)
    >>> load(path)
    ActivationTransformFitter(symmetry=DihedralGroup(n=4))
    """
    with open(path, "rb") as file:
        try:
            return read_estimator(file)
        except ValueError as error:
            name = os.fspath(path)
            raise ValueError(f"cannot load {name!r}: {error}.") from error


def read_estimator(file: BinaryIO) -> Any:
    """Read an estimator from an open file.

    Parameters
    ----------
    file : binary file
        What `save` has written.

    Returns
    -------
    estimator : estimator
        The estimator.

    Raises
    ------
    ValueError
        As `load` does, without the name of the file.
    """
    entries, metadata = read_header(file)
    description = _described(metadata)

    def _take(name: str) -> NDArray:
        if name not in entries:
            raise ValueError(f"array {shown(name)} is missing")
        return read_array(file, entries.pop(name))

    estimator = _built(description, Unpacker(_take, _built), "")
    if entries:
        raise ValueError(f"array {shown(min(entries))} belongs to nothing")
    return estimator


def _described(metadata: dict[str, str]) -> Any:
    if _KEY not in metadata:
        raise ValueError("it is a safetensors file, but not of this package")
    header = parse_json(metadata[_KEY], "the description of the estimator")
    found = header.get("format_version")
    if type(found) is not int or found != FORMAT_VERSION:
        raise ValueError(
            f"it has format version {shown(found)}, but sk-eqsae {version('sk-eqsae')} "
            f"reads version {FORMAT_VERSION}. Install a newer sk-eqsae"
        )
    if set(header) != {"format_version", "package_version", "estimator"}:
        raise ValueError(
            "the description of the estimator has other parts than it should"
        )
    return header["estimator"]


def _built(description: Any, unpacker: Unpacker, path: str) -> Any:
    where = path or "the estimator"
    names = {"class", "parameters", "attributes"}
    if not isinstance(description, dict) or set(description) != names:
        raise ValueError(f"{where} has to have {', '.join(sorted(names))}, only those")
    kind = kind_named(description["class"])
    prefix = f"{path}." if path else ""
    parameters, attributes = (
        _entries(description[part], unpacker, prefix, f"{part} of {where}")
        for part in ("parameters", "attributes")
    )
    estimator = _constructed(kind.type, parameters, where)
    for name, value in attributes.items():
        if name in _instance.NAMES:
            _instance.restore(estimator, name, value)
        elif name in kind.required | kind.optional:
            vars(estimator)[name] = value
        else:
            raise ValueError(f"{shown(prefix + name)} is no attribute that fit sets")
    _check(estimator, path)
    return estimator


def _entries(
    values: Any, unpacker: Unpacker, prefix: str, where: str
) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"the {where} have to be an object")
    return {name: unpacker.unpack(v, prefix + name) for name, v in values.items()}


def _constructed(kind: Any, parameters: dict[str, Any], where: str) -> Any:
    """Make an instance; a parameter that the file does not have gets its default."""
    signature = inspect.signature(kind)
    if unknown := set(parameters) - set(signature.parameters):
        raise ValueError(
            f"{where} has the unknown parameter {shown(min(unknown))}. If the file was "
            "written with a newer sk-eqsae, install that"
        )
    try:
        signature.bind(**parameters)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None
    return kind(**parameters)
