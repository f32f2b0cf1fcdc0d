"""Rows in several files, read when they are asked for."""

import os
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ._atomic import open_regular

_IF_CUT_SHORT = (
    "If a full disk or a copy has cut it short, copy it again, or remove it and call "
    "extract_orbits with the same out= again, which computes what is missing."
)


class _File(NamedTuple):
    """Where the rows of one file are."""

    path: str
    offset: int  # bytes before the first row
    shape: tuple[int, int]
    dtype: np.dtype


class Shards:
    """Rows in several .npy files, read when they are asked for.

    Looks like an array of all rows, one file's after another's. Estimators read them
    some at a time; :func:`~sk_eqsae.extract_orbits` writes them with ``out=``.

    Parameters
    ----------
    files : path, or iterable of paths
        A folder, whose .npy files are taken in the order of their names (numbers in
        names count as numbers), or the files themselves. Each holds an array of shape
        (n_rows, n_features) in C order, all of one dtype and width.

    Attributes
    ----------
    shape : tuple of int
        Number of rows and of features.
    dtype : numpy.dtype
        Type of the entries.

    Raises
    ------
    ValueError
        If there are no files, or one is no such array or differs from the others.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_eqsae.activations import Shards
    >>> folder = tempfile.mkdtemp()
    >>> for i in range(3):
    ...     np.save(f"{folder}/{i}.npy", np.full((100, 8), i, dtype=np.float16))
    >>> rows = Shards(folder)
    >>> rows
    <Shards: 300 rows of 8 features in 3 files, float16>
    >>> rows[98:102, 0]
    array([0., 0., 1., 1.], dtype=float16)
    """

    ndim = 2

    def __init__(self, files: str | os.PathLike | Iterable[str | os.PathLike]) -> None:
        self._files = [_opened(path) for path in _paths(files)]
        first = self._files[0]
        for file in self._files:
            if (file.shape[1], file.dtype) != (first.shape[1], first.dtype):
                raise ValueError(
                    f"{file.path} holds {file.shape[1]} features of {file.dtype}, but "
                    f"{first.path} {first.shape[1]} of {first.dtype}. Write all files "
                    "from one layer, with one dtype."
                )
        self._ends = np.cumsum([file.shape[0] for file in self._files])
        self.shape = (int(self._ends[-1]), first.shape[1])
        self.dtype = first.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        n_rows, n_features = self.shape
        return (
            f"<Shards: {n_rows} rows of {n_features} features in "
            f"{len(self._files)} files, {self.dtype}>"
        )

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"{self!r} would take {self.nbytes / 1e9:.3g} GB as one array. Read some "
            "of its rows, as shards[first:last], or all of them with shards[:]."
        )

    @property
    def nbytes(self) -> int:
        """Number of bytes of all rows."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __getitem__(self, key: Any) -> NDArray:
        """Rows in memory of their own, by a key as of an array; also a column key."""
        if isinstance(key, tuple):
            return self[key[0]][(slice(None), *key[1:])]
        if isinstance(key, slice):
            first, last, step = key.indices(len(self))
            if step == 1:
                return self._between(first, max(first, last))
            return self._at(np.arange(first, last, step))
        places = np.asarray(key)
        if places.dtype == bool and places.ndim:  # a mask
            places = np.arange(len(self))[places]
        rows = self._at(_checked(np.atleast_1d(places), len(self)))
        return rows if places.ndim else rows[0]

    def _at(self, places: NDArray) -> NDArray:
        """Rows in any order; neighbours are read together."""
        rows = np.empty((len(places), self.shape[1]), dtype=self.dtype)
        order = np.argsort(places, kind="stable")
        in_turn = places[order]
        cuts = [0, *(np.flatnonzero(np.diff(in_turn) != 1) + 1), len(order)]
        for start, stop in pairwise(cuts):
            if start < stop:
                first, last = in_turn[start], in_turn[stop - 1] + 1
                rows[order[start:stop]] = self._between(int(first), int(last))
        return rows

    def _between(self, first: int, last: int) -> NDArray:
        rows = np.empty((last - first, self.shape[1]), dtype=self.dtype)
        start = first
        while start < last:
            index = int(np.searchsorted(self._ends, start, side="right"))
            stop = min(last, int(self._ends[index]))
            before = int(self._ends[index]) - self._files[index].shape[0]
            part = _read(self._files[index], start - before, stop - before)
            rows[start - first : stop - first] = part
            start = stop
        return rows


def _paths(files: Any) -> list[str]:
    if not isinstance(files, str | os.PathLike):
        paths = [os.fspath(file) for file in files]
    elif os.path.isdir(files):
        paths = [os.fspath(path) for path in Path(files).glob("[!.]*.npy")]
        paths.sort(key=_with_numbers)
    else:
        paths = [os.fspath(files)]
    if not paths:
        raise ValueError(
            f"files={files!r} holds no .npy files. Give a folder with some, or a list "
            "of their paths."
        )
    return paths


def _with_numbers(path: str) -> list[tuple[int, str]]:
    """Key by which "rows-10" comes after "rows-9"."""
    parts = re.split(r"(\d+)", os.path.basename(path))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _opened(path: str) -> _File:
    """Read the header of a file."""
    open_regular(path).close()
    try:
        rows = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise ValueError(
            f"{path} is no whole .npy file of numbers: {error}. {_IF_CUT_SHORT}"
        ) from None
    if rows.dtype.kind not in "fiu" or rows.ndim != 2:
        raise ValueError(
            f"{path} has to hold an array of numbers of shape (n_rows, n_features), "
            f"found {rows.dtype} of shape {rows.shape}."
        )
    if not rows.flags.c_contiguous:
        raise ValueError(
            f"{path} is in Fortran order, where a row lies in many places. Save it "
            "again from np.ascontiguousarray(rows)."
        )
    n_rows, n_features = rows.shape
    return _File(path, rows.offset, (n_rows, n_features), rows.dtype)


def _read(file: _File, first: int, last: int) -> NDArray:
    n_features = file.shape[1]
    n_entries = (last - first) * n_features
    offset = file.offset + first * n_features * file.dtype.itemsize
    with open_regular(file.path) as opened:
        rows = np.fromfile(opened, file.dtype, n_entries, offset=offset)
    if rows.size != n_entries:
        raise ValueError(
            f"{file.path} has become shorter since it was opened. {_IF_CUT_SHORT}"
        )
    return rows.reshape(last - first, n_features)


def _checked(places: NDArray, n_rows: int) -> NDArray:
    if places.ndim != 1 or (places.size and places.dtype.kind not in "iu"):
        raise IndexError("rows are read by a slice, a number, or an array of numbers.")
    places = places.astype(np.int64)
    outside = (places < -n_rows) | (places >= n_rows)
    if outside.any():
        raise IndexError(f"row {places[outside][0]} of {n_rows} rows does not exist.")
    return np.where(places < 0, places + n_rows, places)
