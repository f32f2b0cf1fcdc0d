"""How many cores one piece of parallel work may use."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS, OpenMP and torch use one thread, and put their limits back.

    The limit of torch is set by itself: whoever has called `torch.set_num_threads` has
    decided for threads that are yet to start, where no limit of OpenMP changes it.

    Threads of one process share limits, so a block that starts threads has to be in
    one of these itself: those inside then find the limit and leave it.
    """
    before = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
