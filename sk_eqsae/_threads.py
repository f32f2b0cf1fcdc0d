"""How many cores one piece of work may use."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from types import SimpleNamespace
from typing import Any

import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController, threadpool_limits

# Multiplications below which threads cost more than they bring: of BLAS, about half a
# second of one thread. Torch's wait for each other some fifty times in a training step,
# busily, and where other programs have the cores, each wait takes a time slice
# (``python -m benchmarks.speed --cases threads``).
_BLAS_SHARED_FROM = 2**33
_SHARED_FROM = 2**26
DECOMPOSITION = 10  # products of matrices that one costs
# blocks that want one thread of BLAS, which overlap where there are several threads
_BLOCKS = SimpleNamespace(lock=Lock(), n=0, limits=None)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS, OpenMP and torch use one thread, and put their limits back.

    A block that starts threads has to be in one itself: they share the limits.
    """
    # Whoever has called torch.set_num_threads has decided for threads that are yet to
    # start, where no limit of OpenMP changes it: so torch's is set by itself.
    before = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def threads_that_pay(n_products: int) -> Iterator[None]:
    """Let torch use one thread for work that is too small to share, else as many."""
    before = torch.get_num_threads()
    if before == 1 or n_products >= _SHARED_FROM:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def blas_threads_that_pay(n_products: int) -> Iterator[None]:
    """Let BLAS use one thread for work that is too small to share, else as many."""
    # Its threads spin while they wait for each other: where other programs have the
    # cores, small decompositions take 30 times as long on two threads as on one.
    # Limits are the process's: the first block sets them, the last one lifts them.
    if n_products >= _BLAS_SHARED_FROM:
        yield
        return
    with _BLOCKS.lock:
        if _BLOCKS.n == 0:
            _BLOCKS.limits = _libraries().limit(limits=1, user_api="blas")
        _BLOCKS.n += 1
    try:
        yield
    finally:
        with _BLOCKS.lock:
            _BLOCKS.n -= 1
            if _BLOCKS.n == 0:
                _BLOCKS.limits.restore_original_limits()


def product(rows: Any, matrix: NDArray) -> NDArray:
    """Product (n_rows, n) of rows (n_rows, m), dense or sparse, and a matrix (m, n)."""
    with blas_threads_that_pay(rows.size * matrix.shape[1]):
        return rows @ matrix


@cache
def _libraries() -> ThreadpoolController:
    """Those of numpy and scipy, which are looked for once."""
    return ThreadpoolController()
