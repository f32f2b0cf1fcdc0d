"""Named arrays as the bytes of a safetensors file, and back.

The safetensors package writes and parses them. It is given bytes, because a file that
it maps into memory and that is cut short meanwhile kills the process; and the length of
the header is checked before, for it would take one of 100 MB.
"""

import os
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from ._json import is_size, parse_json, printable, shown

MAX_HEADER = 8 * 2**20  # bytes
_MAX_PARTS = 200_000  # values in it: as Python objects each takes 100 bytes
_METADATA = "__metadata__"
DTYPES = {
    f"{kind.upper()}{8 * size}": np.dtype(f"{kind}{size}")
    for kind, sizes in {"f": (8, 4, 2), "i": (8, 4, 2, 1), "u": (8, 4, 2, 1)}.items()
    for size in sizes
}
_OTHER_FORMATS = {b"\x80": "a pickle", b"PK": "a zip archive", b"\x93": "a .npy file"}


def to_bytes(arrays: dict[str, NDArray], metadata: dict[str, str]) -> bytes:
    """Write arrays, of a dtype in DTYPES, and texts."""
    in_order = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = safetensors.numpy.save(in_order, metadata)
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length]
    if length > MAX_HEADER or _n_parts(header) > _MAX_PARTS:
        raise ValueError(
            f"names and parameters take {length} bytes, and a file may have "
            f"{MAX_HEADER} of them, in {_MAX_PARTS} parts. Shorten the feature names, "
            "or remove them"
        )
    return content


def from_bytes(content: bytes) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Read arrays, each in memory of its own, and texts."""
    text = _header_text(content[:8], content[8 : 8 + MAX_HEADER], len(content))
    try:
        found = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        plain = printable(error).removeprefix("Error while deserializing: ")
        raise ValueError(f"it is cut short, or no safetensors file: {plain}") from None
    metadata = parse_json(text, "the header").get(_METADATA) or {}
    return {name: _array(name, entry) for name, entry in found}, metadata


def _array(name: str, entry: dict[str, Any]) -> NDArray:
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"array {shown(name)} is of {entry['dtype']}")
    flat = np.frombuffer(entry["data"], DTYPES[entry["dtype"]])
    return flat.reshape(entry["shape"])


def read_header(file: BinaryIO) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Zeros in place of the arrays of an open file, which take no memory, and texts."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    text = _header_text(file.read(8), file.read(MAX_HEADER), size)
    header = parse_json(text, "the header")
    metadata = header.pop(_METADATA, None) or {}
    if not isinstance(metadata, dict):
        raise ValueError(f"{_METADATA} has to be an object")
    arrays = {name: _zeros(name, entry) for name, entry in header.items()}
    if 8 + len(text) + sum(array.nbytes for array in arrays.values()) != size:
        raise ValueError(f"it is cut short: it has {size} bytes, but says others")
    return arrays, metadata


def _zeros(name: str, entry: Any) -> NDArray:
    entry = entry if isinstance(entry, dict) else {}
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"array {shown(name)} is of {shown(dtype)}")
    if not isinstance(shape, list) or not all(map(is_size, shape)):
        raise ValueError(f"array {shown(name)} has no shape")
    return np.broadcast_to(np.zeros((), DTYPES[dtype]), shape)


def _header_text(first: bytes, rest: bytes, size: int) -> bytes:
    """Check how long a header says that it is, and what it would take to parse it."""
    length = int.from_bytes(first, "little")
    for magic, name in _OTHER_FORMATS.items():
        if first.startswith(magic) and length > MAX_HEADER:
            raise ValueError(f"it looks like {name}, not like a safetensors file")
    if len(first) < 8:
        raise ValueError(f"it is cut short: it has {size} bytes, not even a header")
    if length > MAX_HEADER:
        raise ValueError(
            f"it is no safetensors file of this package: its header would have "
            f"{length} bytes, more than {MAX_HEADER}"
        )
    if length > size - 8:
        raise ValueError(
            f"it is cut short: its header has {length} bytes, but only {size - 8} are "
            "there"
        )
    if _n_parts(rest[:length]) > _MAX_PARTS:
        raise ValueError(f"its header has more than {_MAX_PARTS} parts")
    return rest[:length]


def _n_parts(header: bytes) -> int:
    return sum(map(header.count, (b"[", b"{", b",")))
