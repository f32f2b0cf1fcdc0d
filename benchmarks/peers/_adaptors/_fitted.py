"""What every adaptor returns, and what several of them need."""

import contextlib
import io
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

_CHUNK = 2048


class Fitted(NamedTuple):
    """A trained dictionary.

    Parameters
    ----------
    encode : callable
        Rows -> dense latents of shape (n_rows, n_components).
    decode : callable
        Latents -> rows.
    dictionary : ndarray of shape (n_components, n_features)
        Row i is the direction of latent i.
    """

    encode: Callable[[NDArray], NDArray]
    decode: Callable[[NDArray], NDArray]
    dictionary: NDArray


def from_torch(encode, decode, dictionary) -> Fitted:
    """Make functions of tensors into functions of arrays."""
    return Fitted(
        _over_arrays(encode), _over_arrays(decode), dictionary.detach().numpy()
    )


def _over_arrays(function):
    @torch.no_grad()
    def apply(rows):
        chunks = torch.from_numpy(rows).split(_CHUNK)
        return np.concatenate([function(chunk).numpy() for chunk in chunks])

    return apply


class Batches:
    """Shuffled batches of rows, in a new order each time they are gone through.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Rows, float32.
    batch_size : int
        Rows per batch.
    seed : int
        Seed of the order.
    """

    def __init__(self, X: NDArray, batch_size: int, seed: int) -> None:
        self.X = torch.from_numpy(X)
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return math.ceil(len(self.X) / self.batch_size)

    def indices(self):
        """Split the rows of one epoch."""
        order = torch.randperm(len(self.X), generator=self.generator)
        return order.split(self.batch_size)

    def __iter__(self):
        return (self.X[rows] for rows in self.indices())

    def epochs(self, n: int):
        """Go through the rows n times."""
        for _ in range(n):
            yield from self


@contextlib.contextmanager
def isolated(seed: int):
    """Seed torch, silence the library, and put both back afterwards."""
    precision = torch.get_float32_matmul_precision()
    silent = io.StringIO()
    with (
        torch.random.fork_rng(devices=[]),
        contextlib.redirect_stdout(silent),
        contextlib.redirect_stderr(silent),
    ):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
