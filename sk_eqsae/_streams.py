"""Rows that do not fit into memory, shuffled as they are read."""

import math
from collections.abc import Callable, Iterator
from copy import copy
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

_BLOCK_BYTES = 2**18  # read at once: a disk reads so much about as fast as all
_BLOCKS_IN_BUFFER = 256  # at least so many, however small it is


class Stream(Dataset):
    """Rows that are read again in each epoch.

    Parameters
    ----------
    read : callable
        ``read(first, last)`` gives these rows as tensors: what goes in and, where it is
        not the same, what should come out.
    n_rows : int
        How many there are.
    row_bytes : int
        Bytes of one row of all tensors.
    buffer_bytes : float
        Bytes of rows to be held at a time.

    Attributes
    ----------
    device : torch.device
        Where they are needed.
    """

    device = torch.device("cpu")

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

    def __getitem__(self, rows: slice) -> Tensor:
        """Read what goes in.

        Parameters
        ----------
        rows : slice
            Which rows.

        Returns
        -------
        inputs : torch.Tensor of shape (n_rows, n_features)
            The rows.
        """
        first, last, _ = rows.indices(self.n_rows)
        return self.read(first, last)[0]

    def to(self, device: torch.device) -> Self:
        """Have the rows on a device when they are used.

        Parameters
        ----------
        device : torch.device
            Where to.

        Returns
        -------
        self : Stream
            This stream.
        """
        self.device = device
        return self

    def map(self, function: Callable[[Tensor], Tensor]) -> "Stream":
        """Change what goes in and what should come out.

        Parameters
        ----------
        function : callable
            Of rows.

        Returns
        -------
        stream : Stream
            The changed rows, held in a buffer of the same size.
        """
        changed = copy(self)
        changed.read = lambda first, last: tuple(map(function, self.read(first, last)))
        return changed


class StreamedBatches:
    """Iterate over a stream in batches, in a new order each time.

    Blocks of neighbouring rows are drawn without replacement until the buffer is full,
    and the rows in the buffer are shuffled. So rows of a batch come from hundreds of
    random places, and each row is used once in an epoch.

    Parameters
    ----------
    dataset : Stream
        The rows.
    batch_size : int
        Rows per batch; the last batch may be smaller.
    seed : int
        Seed of the order.
    """

    def __init__(self, dataset: Stream, batch_size: int, seed: int) -> None:
        self.stream = dataset
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)
        # whole batches, so that there are as many as without a buffer
        self.fill_rows = max(1, dataset.buffer_rows // batch_size) * batch_size
        self.buffer: list[Tensor] = []

    def __len__(self) -> int:
        return math.ceil(len(self.stream) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self.beginning_at(0)

    def beginning_at(self, batch: int) -> Iterator[tuple[Tensor, ...]]:
        """Leave out the first batches of an epoch, without reading them.

        Parameters
        ----------
        batch : int
            The first batch that is wanted.

        Yields
        ------
        tensors : tuple of torch.Tensor
            A batch.
        """
        blocks = self._blocks()
        for first in range(0, len(self.stream), self.fill_rows):
            last = min(first + self.fill_rows, len(self.stream))
            order = torch.randperm(last - first, generator=self.generator)
            batches = order.split(self.batch_size)
            if batch < len(batches):
                rows_read = self._fill(blocks, first, last)
                for rows in order.to(self.stream.device).split(self.batch_size)[batch:]:
                    yield tuple(tensor.index_select(0, rows) for tensor in rows_read)
            batch = max(0, batch - len(batches))

    def _blocks(self) -> NDArray:
        """First and last row of all blocks, in a random order."""
        starts = np.arange(0, len(self.stream), self.stream.block_rows)
        stops = np.minimum(starts + self.stream.block_rows, len(self.stream))
        order = torch.randperm(len(starts), generator=self.generator).numpy()
        return np.column_stack([starts, stops])[order]

    def _fill(self, blocks: NDArray, first: int, last: int) -> list[Tensor]:
        """Read what lies from one place to another in a row of blocks."""
        ends = np.cumsum(blocks[:, 1] - blocks[:, 0])
        place = first
        while place < last:
            block = int(np.searchsorted(ends, place, side="right"))
            n_rows = min(last, int(ends[block])) - place
            start = int(blocks[block, 1] - (ends[block] - place))
            self._keep(self.stream.read(start, start + n_rows), place - first)
            place += n_rows
        return [whole[: last - first].to(self.stream.device) for whole in self.buffer]

    def _keep(self, tensors: tuple[Tensor, ...], place: int) -> None:
        """Copy rows into the buffer, whose memory serves all epochs."""
        if not self.buffer:
            n_rows = min(self.fill_rows, len(self.stream))
            self.buffer = [t.new_empty(n_rows, *t.shape[1:]) for t in tensors]
        for whole, part in zip(self.buffer, tensors, strict=True):
            whole[place : place + len(part)] = part
