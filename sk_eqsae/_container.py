"""The safetensors format: named arrays behind a JSON header.

The format is read and written here, in numpy, because the safetensors package maps
the file into memory, where a file that is cut short meanwhile kills the process,
accepts headers of 100 MB, and writes without fsync and by a temporary file of its own.

    8 bytes     length of the header, little-endian
    header      {"__metadata__": {...}, NAME: {"dtype", "shape", "data_offsets"}, ...}
    data        the arrays in C order, one after the other, without gaps
"""

import json
import math
import os
from collections import Counter
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_HEADER = 8 * 2**20  # bytes; as Python objects, JSON takes 20 times as much
_MAX_NDIM = 8
_MAX_DEPTH = 64
_METADATA = "__metadata__"
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
DTYPES = frozenset(_NAMES)
_OTHER_FORMATS = {b"\x80": "a pickle", b"PK": "a zip archive", b"\x93": "a .npy file"}


class Entry(NamedTuple):
    """Where an array is in a file.

    Attributes
    ----------
    dtype : numpy.dtype
        Its type.
    shape : tuple of int
        Its shape.
    start : int
        Its first byte in the file.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int


def write_arrays(
    file: BinaryIO, arrays: dict[str, NDArray], metadata: dict[str, str]
) -> None:
    """Write a safetensors file.

    Parameters
    ----------
    file : binary file
        Where to write.
    arrays : dict of ndarray
        Arrays in C order, of a dtype in DTYPES.
    metadata : dict of str
        What else the header holds.

    Raises
    ------
    ValueError
        If the header would be too long.
    """
    # wide types first, so that each array begins at a multiple of its item size
    names = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    header: dict[str, Any] = {_METADATA: metadata}
    end = 0
    for name in names:
        array, start = arrays[name], end
        end += array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"names and parameters take {len(text)} bytes, more than the {MAX_HEADER} "
            "that a file may have before its arrays. Shorten the feature names."
        )
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        file.write(arrays[name].data if arrays[name].size else b"")


def read_header(file: BinaryIO) -> tuple[dict[str, Entry], dict[str, str]]:
    """Read where the arrays are, without reading them.

    Parameters
    ----------
    file : binary file
        A file at its beginning.

    Returns
    -------
    entries : dict of Entry
        The arrays.
    metadata : dict of str
        What else the header holds.

    Raises
    ------
    ValueError
        If this is no safetensors file, or not a whole one.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    first = file.read(8)
    text = file.read(_header_length(first, size))
    if not text.startswith(b"{"):
        raise ValueError("it is no safetensors file: its header is no JSON object")
    header = parse_json(text, "the header")
    metadata = _checked_metadata(header.pop(_METADATA, {}))
    entries = {
        name: _entry(name, value, 8 + len(text)) for name, value in header.items()
    }
    _check_layout(entries, 8 + len(text), size)
    return entries, metadata


def _header_length(first: bytes, size: int) -> int:
    for magic, name in _OTHER_FORMATS.items():
        if first.startswith(magic) and int.from_bytes(first, "little") > MAX_HEADER:
            raise ValueError(f"it looks like {name}, not like a safetensors file")
    if len(first) < 8:
        raise ValueError(f"it is cut short: it has {size} bytes, not even a header")
    length = int.from_bytes(first, "little")
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
    return length


def parse_json(text: bytes | str, name: str) -> dict[str, Any]:
    """Read a JSON object strictly.

    Parameters
    ----------
    text : bytes or str
        The JSON, in UTF-8.
    name : str
        What it is, for errors.

    Returns
    -------
    value : dict
        The object.

    Raises
    ------
    ValueError
        If this is no JSON object, has a name twice or NaN in it, or is nested deep.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        value = json.loads(
            decoded,
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError(f"{name} is nested too deep for Python") from None
    except ValueError as error:
        raise ValueError(f"{name} is no valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no JSON object")
    _check_depth(value, name)
    return value


def _check_depth(value: Any, name: str) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise ValueError(f"{name} is nested too deep, more than {_MAX_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise ValueError(f"{shown(twice)} is there twice")
    return value


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{shown(digits)} is no finite number")
    return value


def shown(value: Any) -> str:
    """Repr of something from a file, cut off where it gets long.

    Parameters
    ----------
    value : object
        Anything that came out of JSON.

    Returns
    -------
    text : str
        At most 80 characters.
    """
    plain = isinstance(value, str | int | float | None)
    text = repr(value) if plain else type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def _checked_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise ValueError(f"{_METADATA} has to be an object of strings")
    return metadata


def is_size(value: Any) -> bool:
    """Say if a JSON value is a whole number from 0.

    Parameters
    ----------
    value : object
        The value.

    Returns
    -------
    is_size : bool
        False for booleans, and for what no 64 bits hold.
    """
    return type(value) is int and 0 <= value < 2**63


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_size, value))


def _entry(name: str, value: Any, data_start: int) -> Entry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(
            f"array {shown(name)} needs a dtype, a shape and data_offsets, only those"
        )
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"array {shown(name)} has the unknown dtype {shown(dtype)}")
    if not _sizes(shape) or len(shape) > _MAX_NDIM:
        raise ValueError(f"array {shown(name)} has no valid shape")
    if not _sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"array {shown(name)} has no valid data_offsets")
    entry = Entry(np.dtype(_DTYPES[dtype]), tuple(shape), data_start + offsets[0])
    if _n_bytes(entry) != offsets[1] - offsets[0]:
        raise ValueError(
            f"array {shown(name)} of dtype {dtype} and {len(shape)} dimensions does "
            f"not fill its {offsets[1] - offsets[0]} bytes"
        )
    return entry


def _n_bytes(entry: Entry) -> int:
    return entry.dtype.itemsize * math.prod(entry.shape)


def _check_layout(entries: dict[str, Entry], start: int, size: int) -> None:
    """Arrays have to follow one another, to the end of the file."""
    by_place = sorted(
        entries.items(), key=lambda item: (item[1].start, _n_bytes(item[1]))
    )
    for name, entry in by_place:
        if entry.start != start:
            raise ValueError(
                f"array {shown(name)} begins at byte {entry.start}, but the one before "
                f"it ends at {start}"
            )
        start += _n_bytes(entry)
    if start > size:
        raise ValueError(f"it is cut short: it has {size} bytes instead of {start}")
    if start < size:
        raise ValueError(f"it has {size - start} bytes after its last array")


def read_array(file: BinaryIO, entry: Entry) -> NDArray:
    """Read one array.

    Parameters
    ----------
    file : binary file
        The file that the entry came from.
    entry : Entry
        Which array.

    Returns
    -------
    array : ndarray
        In C order, in memory of its own.

    Raises
    ------
    ValueError
        If the file ends before the array does.
    """
    array = np.empty(entry.shape, entry.dtype)
    file.seek(entry.start)
    if array.nbytes and file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
        raise ValueError("it is cut short: it ended while it was read")
    if entry.dtype == bool and (array.view(np.uint8) > 1).any():
        raise ValueError("an array of booleans holds other bytes than 0 and 1")
    return array
