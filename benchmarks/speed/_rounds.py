"""Interleaved timing: noise of a shared machine hits every contender alike."""

import time
from collections.abc import Callable

import numpy as np
import torch


def interleaved(
    contenders: dict[str, Callable],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Time contenders in turn, round by round.

    Parameters
    ----------
    contenders : dict of callable
        What to time. The first one is what the others are divided by.
    rounds : int
        Timed rounds, after one that is not counted.
    clock : callable, default=time.perf_counter
        What tells the time, in seconds; ``time.process_time`` that of the CPU.

    Returns
    -------
    result : dict of float
        For each contender NAME "NAME_ms", its median time, and for all but the first
        "NAME_ratio", the median over rounds of its time over the first one's.
    """
    times = np.array([_round(contenders, clock) for _ in range(rounds + 1)][1:])
    names = list(contenders)
    result = {f"{n}_ms": 1e3 * np.median(times[:, i]) for i, n in enumerate(names)}
    ratios = np.median(times / times[:, :1], axis=0)
    return result | {f"{n}_ratio": ratios[i] for i, n in enumerate(names) if i}


def _round(contenders, clock):
    times = []
    for run in contenders.values():
        start = clock()
        run()
        _wait_for_gpu()
        times.append(clock() - start)
    return times


def _wait_for_gpu():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
