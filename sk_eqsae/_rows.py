"""Rows, in memory or in files: read some at a time, and made for training."""

import mmap
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, gen_batches
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from ._estimator import check_not_too_large, is_on_disk

Read = Callable[[int, int], tuple[Tensor, ...]]  # rows from one place to another

MOST_OF_ALL = 0.5  # of the variance; of normal rows a hundredth holds 1 to 4 %
_ROUNDING = 1e-14  # of the mean
_LEAST_SCALE = float(np.finfo(np.float32).tiny)  # below, float32 loses digits
_CHUNK_ENTRIES = 2**20  # read at a time: 8 MiB in float64
_BLOCK_BYTES = 2**18  # read at once: a disk reads so much about as fast as all
_BLOCKS_IN_BUFFER = 256  # at least so many, however small it is


def dtype_in_memory(X: Any) -> np.dtype:
    """Type of rows when they are read: float32 for 16 or 32 bits, else float64."""
    small = X.dtype.kind == "f" and X.dtype.itemsize <= 4
    return np.dtype(np.float32 if small else np.float64)


def read_rows(X: Any, rows: slice | NDArray) -> NDArray:
    """Read rows of what `checked_rows` gave; from a file, only finite ones."""
    if not is_on_disk(X):
        return X[rows]
    chunk = np.array(X[_as_slice(rows)], dtype=dtype_in_memory(X), order="C")
    forget_pages(X)
    with np.errstate(invalid="ignore"):  # scikit-learn's sum may be inf - inf
        assert_all_finite(chunk, input_name="X")
    check_not_too_large(chunk)
    return chunk


def _as_slice(rows: slice | NDArray) -> slice | NDArray:
    """Neighbours as a slice, which takes less to read."""
    if isinstance(rows, slice) or len(rows) == 0 or (np.diff(rows) != 1).any():
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1)


def forget_pages(X: Any) -> None:
    """Let go of the pages that were read of a memory map, or of a view of one."""
    # They would count as this process's memory until the system wants them back, so
    # that a large file would seem not to fit.
    mode = None
    while isinstance(X, np.ndarray):
        mode, X = getattr(X, "mode", mode), X.base
    # A private map ("c") would lose what was written to it.
    if isinstance(X, mmap.mmap) and mode in {"r", "r+"} and sys.platform != "win32":
        X.madvise(mmap.MADV_DONTNEED)


class Spread:
    """Mean of rows and how far they are from it, summed up chunk by chunk."""

    # Chunks are merged as by Chan, Golub and LeVeque (1979), in norms, which neither
    # overflow nor vanish where squares would.

    def __init__(self) -> None:
        self.mean: Any = 0.0  # of shape (n_features,)
        self.norm = 0.0  # root of the sum of squared deviations from the mean
        self.n_rows = 0

    def add(self, chunk: NDArray) -> None:
        """Add rows of shape (n_chunk, n_features)."""
        mean = chunk.mean(axis=0, dtype=np.float64)
        n_before, n = self.n_rows, self.n_rows + len(chunk)
        apart = mean - self.mean
        between = norm(apart) * np.sqrt(n_before * len(chunk) / n)
        within = np.hypot(self.norm, norm(chunk - mean))
        self.mean = self.mean + apart * (len(chunk) / n)
        self.norm = float(np.hypot(within, between))
        self.n_rows = n

    def root_mean_square(self) -> float:
        """Over rows and features; 0 where rows are all the same, but for rounding."""
        found = float(self.norm / np.sqrt(self.n_rows * len(self.mean)))
        return found if found > _ROUNDING * np.abs(self.mean).max() else 0.0


def norm(values: NDArray) -> float:
    """Root of the sum of squares, which extreme entries do not overflow."""
    largest = np.abs(values).max()
    if largest == 0 or not np.isfinite(largest):
        return float(largest)
    return float(largest * np.sqrt(np.square(values / largest).sum(dtype=np.float64)))


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Rows of X in the order of training, and the rows that should come out."""

    X: Any  # ndarray, memmap or Shards of shape (n_rows, n_features)
    inputs: NDArray | None = None  # numbers of the rows that go in; None is all
    targets: NDArray | None = None  # which should come out; None is those that go in
    canonical: NDArray | None = None  # those of power 0, where there is a symmetry
    elements: NDArray | None = None  # of the group, that made each row that goes in
    projection: Callable | None = None  # onto what the group leaves alone
    poses_are_alike: bool = False  # where M leaves rows as they are
    is_interrupted: bool = False  # by Ctrl-C, before there was a network

    def __len__(self) -> int:
        return len(self.X) if self.inputs is None else len(self.inputs)

    @property
    def n_features(self) -> int:
        """Width of a row."""
        return self.X.shape[1]

    def read(self, first: int, last: int) -> tuple[NDArray, ...]:
        """Neighbouring rows that go in and, if not the same, that should come out."""
        if self.inputs is None:
            return (read_rows(self.X, slice(first, last)),)
        rows = self.inputs[first:last]
        if self.targets is None:
            return (read_rows(self.X, rows),)
        both = np.concatenate([rows, self.targets[first:last]])
        once, places = np.unique(both, return_inverse=True)
        return tuple(read_rows(self.X, once)[places].reshape(2, last - first, -1))

    def fixed(self, mean: NDArray) -> NDArray:
        """The part of a mean of rows that the group leaves alone, or all of it."""
        return mean if self.projection is None else self.projection(mean)

    def spreads(self, digest: Any = None) -> list[Spread]:
        """Means and scales of what goes in and of what should come out.

        A hash object gets all rows.
        """
        spreads = [Spread() for _ in range(1 if self.targets is None else 2)]
        for chunk in self._chunks():
            for spread, rows in zip(spreads, self._read(chunk), strict=True):
                spread.add(rows)
                if digest is not None:
                    digest.update(rows.tobytes())
        return spreads

    def _chunks(self) -> Iterator[slice]:
        """Slices whose size depends on the width of a row alone."""
        yield from gen_batches(len(self), max(1, _CHUNK_ENTRIES // self.n_features))

    def _read(self, chunk: slice) -> tuple[NDArray, ...]:
        return self.read(chunk.start, chunk.stop)

    def dataset(
        self,
        means: tuple[NDArray, NDArray],
        scale: float,
        coordinates: Callable[[Tensor], Tensor] | None,
        buffer_bytes: float,
    ) -> Dataset:
        """What training takes its batches from: all rows, or a stream from the disk."""
        # Rows that go in and rows that should come out have their own mean, and are
        # normalised, in the coordinates that the network takes.

        def read(first: int, last: int) -> tuple[Tensor, ...]:
            pairs = zip(self.read(first, last), means, strict=False)
            tensors = tuple(normalized(rows, mean, scale) for rows, mean in pairs)
            return tensors if coordinates is None else tuple(map(coordinates, tensors))

        n_tensors = 1 if self.targets is None else 2
        row_bytes = 4 * self.n_features * n_tensors
        return self._dataset(read, len(self), row_bytes, buffer_bytes)

    def _dataset(
        self, read: Read, n_items: int, item_bytes: int, buffer_bytes: float
    ) -> Dataset:
        if is_on_disk(self.X) and n_items * item_bytes > buffer_bytes:
            return Stream(read, n_items, item_bytes, buffer_bytes)
        tensors: list[Tensor] = []
        for chunk in gen_batches(n_items, max(1, 4 * _CHUNK_ENTRIES // item_bytes)):
            parts = read(chunk.start, chunk.stop)
            if not tensors:
                tensors = [part.new_empty(n_items, *part.shape[1:]) for part in parts]
            for tensor, part in zip(tensors, parts, strict=True):
                tensor[chunk] = part
        return TensorDataset(*tensors)


@dataclass(frozen=True, eq=False, kw_only=True)
class OrbitRows(TrainingRows):
    """Rows that are trained orbit by orbit."""

    table: NDArray  # row of each orbit and element, -1 where there is none
    n_held_out: int = 0  # orbits at its end that are not trained on at first

    def dataset(
        self,
        means: tuple[NDArray, NDArray],
        scale: float,
        coordinates: Callable[[Tensor], Tensor] | None,
        buffer_bytes: float,
    ) -> Dataset:
        """Orbits (n_orbits, order, n_features), and which of their rows there are."""

        def read(first: int, last: int) -> tuple[Tensor, ...]:
            rows = self.table[first:last]
            seen = torch.from_numpy(rows >= 0)
            orbits = torch.zeros(*rows.shape, self.n_features, dtype=torch.float32)
            there = read_rows(self.X, rows[rows >= 0])
            orbits[seen] = normalized(there, means[0], scale)
            return orbits, seen

        item_bytes = self.table.shape[1] * (4 * self.n_features + 1)
        return self._dataset(read, len(self.table), item_bytes, buffer_bytes)


def normalized(X: NDArray, mean: NDArray, scale: float) -> Tensor:
    """Centred and scaled rows in float32, which has to hold them."""
    if X.dtype == np.float32 and scale >= _LEAST_SCALE:
        # in float64 it takes a sixth of an encoder's time
        with np.errstate(over="ignore", invalid="ignore"):
            high = mean.astype(np.float32)  # twice: what is far from 0 loses nothing
            rows = X - high
            rows -= (mean - high).astype(np.float32)
            rows /= np.float32(scale)
        if np.isfinite(rows).all():
            return torch.from_numpy(rows)
    with np.errstate(over="ignore"):
        rows = ((X - mean) / scale).astype(np.float32)
    if not np.isfinite(rows).all():
        raise ValueError(
            f"X has entries as large as {np.abs(X).max():.0e}, too large for "
            f"float32 in units of the training data (scale_={scale:.0e}). "
            "Look at the units of X."
        )
    return torch.from_numpy(rows)


class Stream(Dataset):
    """Rows that are read again in each epoch."""

    # `read(first, last)` gives these rows as tensors: what goes in and, where it is not
    # the same, what should come out.

    def __init__(
        self,
        read: Callable[[int, int], tuple[Tensor, ...]],
        n_rows: int,
        row_bytes: int,
        buffer_bytes: float,
    ) -> None:
        self.read = read
        self.n_rows = n_rows
        self.buffer_rows = max(1, int(buffer_bytes / row_bytes))
        in_buffer = self.buffer_rows // _BLOCKS_IN_BUFFER
        self.block_rows = max(1, min(in_buffer, _BLOCK_BYTES // row_bytes))

    def __len__(self) -> int:
        return self.n_rows


def shorter_rows(rows: NDArray) -> tuple[NDArray, float]:
    """Rows but the longest hundredth (n_others,), and its share of the variance."""
    n_long = len(rows) // 100
    unit = rows / (np.abs(rows).max() or 1.0)  # keeps squares finite
    squares = np.square(unit - unit.mean(axis=0), dtype=np.float64).sum(axis=1)
    order = np.argsort(squares)
    others = order[: len(rows) - n_long]
    total = squares.sum()
    return others, float(1 - squares[others].sum() / total) if total else 0.0
