"""How many cores one piece of work may use."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from threading import Lock
from typing import Any

import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController, threadpool_limits

# multiplications, about half a second of one thread
_BLAS_SHARED_FROM = 2**33


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


def blas_threads_that_pay(n_products: int) -> AbstractContextManager:
    """Let BLAS use one thread for work that is too small to share, else as many."""
    # Its threads spin while they wait for each other: where other programs have the
    # cores, small decompositions take 30 times as long on two threads as on one.
    return nullcontext() if n_products >= _BLAS_SHARED_FROM else _one_of_blas


def product(rows: Any, matrix: NDArray) -> NDArray:
    """Product (n_rows, n) of rows (n_rows, m), dense or sparse, and a matrix (m, n)."""
    with blas_threads_that_pay(rows.size * matrix.shape[1]):
        return rows @ matrix


class _OneOfBlas(AbstractContextManager):
    """One thread of BLAS for a block, or for blocks that overlap in several threads."""

    def __init__(self) -> None:
        self.lock, self.n_blocks = Lock(), 0

    @cached_property
    def libraries(self) -> ThreadpoolController:
        """Those of numpy and scipy, which are looked for once."""
        return ThreadpoolController()

    def __enter__(self) -> None:
        with self.lock:
            if self.n_blocks == 0:
                self.limits = self.libraries.limit(limits=1, user_api="blas")
            self.n_blocks += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:  # limits are the process's: the last one to leave lifts them
            self.n_blocks -= 1
            if self.n_blocks == 0:
                self.limits.restore_original_limits()


_one_of_blas = _OneOfBlas()
