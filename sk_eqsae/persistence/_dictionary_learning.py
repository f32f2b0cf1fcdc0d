"""The folder that dictionary_learning writes: ae.pt and config.json."""

import io
import json
import os
import pickletools
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._atomic import read_bytes
from .._docs import fill
from .._json import errors_say, printable, shown
from ..sae import TopKSAE
from ._json_file import count, one_of, read_json, section
from ._raw_weights import RawWeights, as_estimator, check_arrays

_SETTINGS = "config.json"
_WEIGHTS = "ae.pt"
_TOPK, _BATCH_TOPK = "AutoEncoderTopK", "BatchTopKSAE"
_MAX_PICKLE = 2**16  # bytes; that of six tensors has 600
_LONGEST = 300  # characters of another library's error
# all that a pickle of such tensors has to name
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch FloatStorage",
    "torch IntStorage",
    "torch LongStorage",
}
# opcodes that look up what to call by other ways than GLOBAL
_OTHER_WAYS = {
    *("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4")
}


def write_dictionary_learning(weights: RawWeights, folder: Path) -> None:
    """Write the two files into a folder."""
    by_threshold = weights.threshold is not None
    trainer = {
        "dict_class": _BATCH_TOPK if by_threshold else _TOPK,
        "k": weights.k,
        "activation_dim": weights.W_dec.shape[1],
        "dict_size": weights.W_dec.shape[0],
        "layer": None,
        "lm_name": None,
        "sk_eqsae_version": version("sk-eqsae"),
    }
    tensors = {
        "encoder.weight": torch.tensor(weights.W_enc.T.copy()),
        "encoder.bias": torch.tensor(weights.b_enc),
        "decoder.weight": torch.tensor(weights.W_dec.T.copy()),
        "b_dec": torch.tensor(weights.b_dec),
        "k": torch.tensor(weights.k, dtype=torch.int32),
        # -1 is theirs for none
        "threshold": torch.tensor(
            weights.threshold if by_threshold else -1.0, dtype=torch.float32
        ),
    }
    text = json.dumps({"trainer": trainer}, indent=2)
    (folder / _SETTINGS).write_bytes(text.encode())
    content = io.BytesIO()  # torch makes a RuntimeError of a full disk
    torch.save(tensors, content)
    (folder / _WEIGHTS).write_bytes(content.getbuffer())


@fill
def from_dictionary_learning(path: str | os.PathLike) -> TopKSAE:
    """Read an autoencoder that dictionary_learning has written.

    Parameters
    ----------
    path : str or path-like
        A folder with ``ae.pt`` and ``config.json``, of the class AutoEncoderTopK or
        BatchTopKSAE.

    Returns
    -------
    sae : TopKSAE
        A fitted one: `transform` and `inverse_transform` equal the other library's
        ``encode`` and ``decode``.

    {unreadable}

    Notes
    -----
    ``ae.pt`` is a pickle. It is refused unless it names nothing but tensors, and is
    then read by torch's own restricted reader, so that no code is run.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_eqsae import TopKSAE, export, from_dictionary_learning
    >>> X = np.random.default_rng(0).normal(size=(100, 8))
    >>> sae = TopKSAE(16, k=2, max_epochs=2, random_state=0).fit(X)
    >>> path = tempfile.mkdtemp() + "/exported"
    >>> export(sae, path, format="dictionary_learning")
    >>> from_dictionary_learning(path)
    TopKSAE(k=2, n_components=16)
    """
    with errors_say(f"cannot read {os.fspath(path)!r} as dictionary_learning's"):
        return as_estimator(_read_weights(Path(path)))


def _read_weights(folder: Path) -> RawWeights:
    settings = section(read_json(folder / _SETTINGS), "trainer")
    dict_class = one_of(settings, "dict_class", [_TOPK, _BATCH_TOPK])
    k = count(settings, "k")
    arrays = {n: _as_array(n, t) for n, t in _read_tensors(folder / _WEIGHTS).items()}
    found = arrays.pop("k", None)  # in 32 bits, and in 64 by older versions
    if found is None or found.shape or found.dtype not in (np.int32, np.int64):
        raise ValueError(f"{_WEIGHTS} has to hold k, a whole number")
    if found != k:
        raise ValueError(f"k is {found} in {_WEIGHTS}, but {k} beside it")
    d_sae, d_in = _sizes(arrays, settings)
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.weight": (d_sae, d_in),
        "encoder.bias": (d_sae,),
        "decoder.weight": (d_in, d_sae),
        "b_dec": (d_in,),
        "threshold": (),
    }
    check_arrays(arrays, shapes, _WEIGHTS)
    return RawWeights(
        arrays["encoder.weight"].T,
        arrays["encoder.bias"],
        arrays["decoder.weight"].T,
        arrays["b_dec"],
        k,
        float(arrays["threshold"]) if dict_class == _BATCH_TOPK else None,
    )


def _read_tensors(path: Path) -> dict[str, Any]:
    parts = io.BytesIO()  # an archive of what was checked, so that torch reads this
    with zipfile.ZipFile(parts, "w") as archive:
        for name, member in _checked_members(read_bytes(path)).items():
            archive.writestr(name, member)
    parts.seek(0)
    try:
        tensors = torch.load(parts, map_location="cpu", weights_only=True)
    except Exception as error:  # torch names no types of its own
        raise ValueError(
            f"torch cannot read {_WEIGHTS}: {printable(error)[:_LONGEST]}"
        ) from error
    if not isinstance(tensors, dict):
        raise ValueError(f"{_WEIGHTS} has to hold a dict of tensors")
    return tensors


def _as_array(name: Any, tensor: Any) -> NDArray:
    if type(name) is not str or type(tensor) is not torch.Tensor:
        raise ValueError(f"{shown(name)} is no tensor")
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} has more entries than there are numbers for it")
    return tensor.detach().numpy()


def _checked_members(content: bytes) -> dict[str, bytes]:
    """Members of an archive that holds tensors alone, of which none is loaded."""
    if not content.startswith(b"PK"):  # torch would read it as a pickle
        raise ValueError(f"{_WEIGHTS} is no file of torch.save")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_archive(archive, len(content))
            members = {name: archive.read(name) for name in archive.namelist()}
    except ValueError:
        raise
    except Exception as error:  # zipfile raises many kinds of them
        raise ValueError(
            f"{_WEIGHTS} is no file of torch.save, or not a whole one: "
            f"{printable(error)[:_LONGEST]}"
        ) from error
    [pickle] = [name for name in members if name.endswith("/data.pkl")]
    _check_pickle(members[pickle])
    return members


def _check_archive(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    pickles = [member for member in members if member.filename.endswith("/data.pkl")]
    if (
        # torch does not tell upper case from lower case
        len({member.filename.lower() for member in members}) < len(members)
        # compressed or overlapping members may be far longer than the file
        or any(member.compress_type != zipfile.ZIP_STORED for member in members)
        or sum(member.file_size for member in members) > size
        or min((member.header_offset for member in members), default=1) > 0
        or [pickle.file_size > _MAX_PICKLE for pickle in pickles] != [False]
    ):
        raise ValueError(f"{_WEIGHTS} is no file of torch.save")


def _check_pickle(content: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in _OTHER_WAYS or (
            opcode.name == "GLOBAL" and argument not in _GLOBALS
        ):
            raise ValueError(
                f"{_WEIGHTS} holds other things than float32 weights and their k: "
                f"{shown(argument or opcode.name)}"
            )


def _sizes(arrays: dict[str, NDArray], settings: dict[str, Any]) -> tuple[int, ...]:
    """Sizes (d_sae, d_in) of the weights, which the settings may not contradict."""
    sizes = getattr(arrays.get("encoder.weight"), "shape", ())
    if len(sizes) != 2:
        raise ValueError(f"{_WEIGHTS} has no encoder.weight of two dimensions")
    for name, size in zip(("dict_size", "activation_dim"), sizes, strict=True):
        if name in settings and count(settings, name) != size:
            raise ValueError(f"{name} does not fit the {size} of encoder.weight")
    return sizes
