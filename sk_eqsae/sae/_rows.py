"""What an autoencoder is trained on: rows, in memory or on the disk, and targets."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches
from torch import Tensor

from .._rows import is_on_disk, read_rows
from .._streams import Stream

_ROUNDING = 1e-14  # of the mean
_CHUNK_ENTRIES = 2**20  # read at a time: 8 MiB in float64


def row_chunks(X: Any) -> Iterator[slice]:
    """Cut rows into chunks whose size depends on their width alone.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Rows.

    Yields
    ------
    chunk : slice
        Neighbouring rows.
    """
    yield from gen_batches(len(X), max(1, _CHUNK_ENTRIES // X.shape[1]))


class Spread:
    """Mean of rows and how far they are from it, summed up chunk by chunk.

    Chunks are merged as by Chan, Golub and LeVeque (1979), in norms, which neither
    overflow nor vanish where squares would.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
        Mean of all rows so far.
    norm : float
        Root of the sum of squared deviations from the mean.
    n_rows : int
        Rows so far.
    """

    def __init__(self) -> None:
        self.mean: Any = 0.0
        self.norm = 0.0
        self.n_rows = 0

    def add(self, chunk: NDArray) -> None:
        """Add rows.

        Parameters
        ----------
        chunk : ndarray of shape (n_chunk, n_features)
            The rows.
        """
        mean = chunk.mean(axis=0, dtype=np.float64)
        n_before, n = self.n_rows, self.n_rows + len(chunk)
        apart = mean - self.mean
        between = _norm(apart) * np.sqrt(n_before * len(chunk) / n)
        within = np.hypot(self.norm, _norm(chunk - mean))
        self.mean = self.mean + apart * (len(chunk) / n)
        self.norm = float(np.hypot(within, between))
        self.n_rows = n

    def root_mean_square(self) -> float:
        """Root of the mean squared deviation, over rows and features.

        Returns
        -------
        root_mean_square : float
            0 where rows are all the same, but for rounding.
        """
        found = float(self.norm / np.sqrt(self.n_rows * len(self.mean)))
        return found if found > _ROUNDING * np.abs(self.mean).max() else 0.0


def _norm(values: NDArray) -> float:
    largest = np.abs(
        values
    ).max()  # keeps squares of very large or small entries finite
    if largest == 0:
        return 0.0
    return float(largest * np.sqrt(np.square(values / largest).sum(dtype=np.float64)))


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Rows of X in the order of training, and the rows that should come out.

    Attributes
    ----------
    X : ndarray, memmap or Shards of shape (n_rows, n_features)
        All rows.
    inputs : ndarray of shape (n_training_rows,) or None
        Which of them go in; None is all.
    targets : ndarray of shape (n_training_rows,) or None
        Which should come out for each; None is those that go in.
    """

    X: Any
    inputs: NDArray | None = None
    targets: NDArray | None = None

    def __len__(self) -> int:
        return len(self.X) if self.inputs is None else len(self.inputs)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows that go in, and of features."""
        return len(self), self.X.shape[1]

    def read(self, first: int, last: int) -> tuple[NDArray, ...]:
        """Read neighbouring rows.

        Parameters
        ----------
        first, last : int
            Place of the first one and of the one after the last.

        Returns
        -------
        arrays : tuple of ndarray of shape (last - first, n_features)
            What goes in and, if that is not the same, what should come out.
        """
        if self.inputs is None:
            return (read_rows(self.X, slice(first, last)),)
        rows = self.inputs[first:last]
        if self.targets is None:
            return (read_rows(self.X, rows),)
        both = np.concatenate([rows, self.targets[first:last]])
        once, places = np.unique(both, return_inverse=True)
        return tuple(read_rows(self.X, once)[places].reshape(2, last - first, -1))

    def spreads(self, digest: Any = None) -> list[Spread]:
        """Read all rows once, for their means and scales.

        Parameters
        ----------
        digest : hash object or None
            Gets all rows.

        Returns
        -------
        spreads : list of Spread
            Of what goes in and, if that is not the same, of what should come out.
        """
        spreads = [Spread() for _ in range(1 if self.targets is None else 2)]
        for chunk in row_chunks(self):
            for spread, rows in zip(spreads, self._read(chunk), strict=True):
                spread.add(rows)
                if digest is not None:
                    digest.update(rows.tobytes())
        return spreads

    def _read(self, chunk: slice) -> tuple[NDArray, ...]:
        return self.read(chunk.start, chunk.stop)

    def _read_normalized(
        self, normalize: Callable[..., tuple[Tensor, ...]], first: int, last: int
    ) -> tuple[Tensor, ...]:
        return normalize(*self.read(first, last))

    def normalized(
        self, normalize: Callable[..., tuple[Tensor, ...]], buffer_bytes: float
    ) -> tuple[Any, ...]:
        """Make what training takes its batches from.

        Parameters
        ----------
        normalize : callable
            Turns arrays as of :meth:`read` into tensors.
        buffer_bytes : float
            Bytes of rows from the disk that may be held in memory.

        Returns
        -------
        tensors : tuple of torch.Tensor, or of one Stream
            All rows, or a stream of those that are on the disk and too many.
        """
        n_rows, n_features = self.shape
        n_tensors = 1 if self.targets is None else 2
        row_bytes = 4 * n_features * n_tensors
        read = partial(self._read_normalized, normalize)
        if is_on_disk(self.X) and n_rows * row_bytes > buffer_bytes:
            return (Stream(read, n_rows, row_bytes, buffer_bytes),)
        tensors = tuple(
            torch.empty(n_rows, n_features, dtype=torch.float32)
            for _ in range(n_tensors)
        )
        for chunk in row_chunks(self):
            parts = read(chunk.start, chunk.stop)
            for tensor, part in zip(tensors, parts, strict=True):
                tensor[chunk] = part
        return tensors


def new_digest() -> Any:
    """Hash of rows, which tells one training set from another.

    Returns
    -------
    digest : hash object
        SHA-256.
    """
    return hashlib.sha256()
