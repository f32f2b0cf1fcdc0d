"""How many cores one piece of parallel work may use."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


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
