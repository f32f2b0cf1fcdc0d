"""How a training step grows with the cores, found out on a few of them.

Steps and operations of torch are timed in the processor time of the thread that asks
for them: on one thread, and on eight that sleep while they wait. What eight threads
share costs this one an eighth, and the time to wake them, which is measured and taken
away: with a core for each they spin. So eight cores are not needed.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode

from sk_eqsae import ActivationTransformFitter, GroupTiedSAE, OrbitSAE, TopKSAE
from sk_eqsae.sae import Recipe

from ._cases import N_FEATURES, DenseLoop

NETWORKS = ("paper", "default", "two_layers", "tied", "orbit")  # and a dense loop
SIZES = list(product((2048, 8192), (256, 1024), (8, 32)))  # latents, batch size, k
_SHARED = 0.75  # of its time on one thread, at most, that an operation takes on many
_MANY = 8
_PRODUCTS, _LARGE = ("aten.mm ", "aten.addmm "), 1e-3  # s
_BATCHES, _EPOCHS = 4, 3
_WAKES = 500
_LISTED = 0.003  # share of the step from which an operation may count as shared


def cores(n_components: int, batch_size: int, k: int, rounds: int) -> dict:
    """Parts of steps in a process of its own, whose threads sleep while they wait."""
    sizes = {"n_components": n_components, "batch_size": batch_size, "k": k}
    command = [sys.executable, "-m", "benchmarks.speed._cores"]
    command += [str(size) for size in (*sizes.values(), rounds)]
    limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # which would bound products
    environment = {key: os.environ[key] for key in os.environ if key not in limits}
    environment |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    output = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    )
    return sizes | json.loads(output.stdout)


def parts(n_components: int, batch_size: int, k: int, rounds: int) -> dict:
    """Serial and parallel time, in ms, of the steps of each network."""
    X = np.random.default_rng(0).normal(size=(_BATCHES * batch_size, N_FEATURES))
    X = X.astype(np.float32)
    loop = DenseLoop(X, n_components, k, batch_size)
    training = {"dense": lambda epochs: loop.run(fused=True, epochs=epochs)}
    training |= {
        network: _training(network, X, n_components, batch_size, k)
        for network in NETWORKS
    }
    wake = _time_to_wake()
    with as_if_of_many_threads():
        return {"wake_ms": _ms(wake)} | {
            network: split(*_timed(train, rounds), wake)
            for network, train in training.items()
        }


def _time_to_wake() -> float:
    """Seconds that an operation takes to wake threads and to wait for the last one."""
    # on a machine with as many cores they spin between operations, and none sleeps
    table, taken = torch.ones(2**20), []
    for threads in (1, _MANY):
        _set_threads(threads)
        seen = []
        for _ in range(_WAKES):
            start = time.thread_time()
            table.mul_(1.0)
            seen.append(time.thread_time() - start)
        taken.append(float(np.quantile(seen, 0.25)))
    return taken[1] - taken[0] / _MANY


def _as_many() -> int:
    return _MANY  # no Mock: calls of one are half a millisecond of a step


def _ignored(n_threads: int) -> None:
    pass


@contextmanager
def as_if_of_many_threads() -> Iterator[None]:
    """Let the package choose what it chooses where there are many threads."""
    with (
        mock.patch.object(torch, "get_num_threads", _as_many),
        mock.patch.object(torch, "set_num_threads", _ignored),
    ):
        yield


def _training(
    network: str, X: Any, n_components: int, batch_size: int, k: int
) -> Callable[[int], Any]:
    """Training of a few epochs more of a fitted autoencoder."""
    settings = {"k": k, "batch_size": batch_size, "random_state": 0}
    # latents die at once, so that the auxiliary loss has some to revive
    settings["recipe"] = "paper" if network == "paper" else Recipe(dead_after=0.1)
    metadata = {}
    if network in {"tied", "orbit"}:
        X, metadata = _in_orbits(X)
    if network == "tied":
        M = ActivationTransformFitter(4).fit(X, **metadata)
        settings["activation_transform"] = FrozenEstimator(M)
        sae = GroupTiedSAE(orbit_lengths={4: n_components // 4}, **settings)
    elif network == "orbit":
        lengths = {4: n_components // 4}
        sae = OrbitSAE(orbit_lengths=lengths, equivariance=1.0, **settings)
    else:
        hidden_dim = 512 if network == "two_layers" else None
        sae = TopKSAE(n_components, hidden_dim=hidden_dim, **settings)
    sae.set_params(max_epochs=1).fit(X, **metadata)
    sae.set_params(warm_start=True)
    return lambda epochs: sae.set_params(max_epochs=epochs).fit(X, **metadata)


def _in_orbits(X: Any) -> tuple[Any, dict]:
    """As many rows in orbits of C4, which rolls features, and their metadata."""
    n_orbits = len(X) // 4
    rows = [np.roll(X[:n_orbits], p * N_FEATURES // 4, axis=1) for p in range(4)]
    power, groups = np.indices((4, n_orbits)).reshape(2, -1)
    return np.concatenate(rows), {"groups": groups, "power": power}


def _timed(
    train: Callable[[int], Any], rounds: int
) -> tuple[dict[int, Counter], dict[int, Counter]]:
    """Times of a step and of each operation in it, on one thread and on many."""
    bare: dict[int, list[Counter]] = {1: [], _MANY: []}
    operations: dict[int, list[Counter]] = {1: [], _MANY: []}
    for _ in range(rounds):
        for threads in (1, _MANY):
            _set_threads(threads)
            bare[threads] += _of_steps(train, _Clocks())
            with Stopwatch() as watch:
                operations[threads] += _of_steps(train, watch)
    return tuple(
        {threads: _usual(seen) for threads, seen in found.items()}
        for found in (bare, operations)
    )


_set_threads = torch.set_num_threads  # which `as_if_of_many_threads` replaces


def _of_steps(train: Callable[[int], Any], watch: Any) -> list[Counter]:
    """What a watch has seen in each step but the first."""
    seen = []
    hook = register_optimizer_step_post_hook(lambda *_: seen.append(watch.lap()))
    try:
        train(_EPOCHS)
    finally:
        hook.remove()
    return seen[1:]


def _usual(steps: list[dict]) -> dict[str, Any]:
    """Lower quartile over steps: where others use the cores, most steps are hit."""
    keys = set().union(*steps)
    zero = 0 * next(iter(steps[0].values()))
    return {k: np.quantile([s.get(k, zero) for s in steps], 0.25, axis=0) for k in keys}


class _Clocks:
    """Seconds by the clock and of this thread's processor time."""

    def __init__(self) -> None:
        self.last = self._now()

    def _now(self) -> Counter:
        return Counter(wall=time.perf_counter(), cpu=time.thread_time())

    def lap(self) -> Counter:
        """Give what was spent since the last lap."""
        now, before = self._now(), self.last
        self.last = now
        return Counter({key: now[key] - before[key] for key in now})


class Stopwatch(TorchDispatchMode):
    """Seconds of processor time, and calls, of each operation, by its size."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, NDArray] = {}

    def lap(self) -> dict[str, NDArray]:
        """Give what was spent since the last lap."""
        seen, self.seen = self.seen, {}
        return seen

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        start = time.thread_time()
        result = func(*args, **(kwargs or {}))
        took = time.thread_time() - start
        sizes = [each.numel() for each in args if isinstance(each, torch.Tensor)]
        lists = [each for each in args if isinstance(each, (list, tuple)) and each]
        sizes += [t.numel() for each in lists for t in each if torch.is_tensor(t)]
        size = 2 ** max(sizes, default=0).bit_length()
        key = f"{func.overloadpacket} < {size}"
        self.seen[key] = self.seen.get(key, np.zeros(2)) + np.array([took, 1])
        return result


def split(whole: dict[int, dict], seen: dict[int, dict], wake: float) -> dict:
    """Tell serial from parallel time, by Amdahl's law.

    Parameters
    ----------
    whole : dict of dict
        Seconds of a step by the clock and of the processor of the thread that asks for
        it, on one thread and on many.
    seen : dict of dict
        Seconds and calls of each operation in a step, likewise.
    wake : float
        Seconds that a call takes to wake the other threads.

    Returns
    -------
    result : dict
        In ms; "parts" are the operations that take long, on one thread and on many. Of
        an operation whose work is cut into fewer parts than there are threads, some is
        serial.
    """
    one, many, total = seen[1], seen[_MANY], whole[1]["cpu"]
    listed = [key for key in one if one[key][0] >= _LISTED * total]
    listed.sort(key=lambda key: -one[key][0])
    late = sum(_late(key, one[key][0], *many[key], wake) for key in listed)
    serial = (_MANY * (whole[_MANY]["cpu"] - late) - total) / (_MANY - 1)
    return {
        "wall_ms": _ms(whole[1]["wall"]),
        "cpu_ms": _ms(total),
        "parallel_ms": _ms(total - serial),
        "serial_ms": _ms(serial),
        "serial_share": round(serial / total, 4),
        "parts": {key: [_ms(one[key][0]), _ms(many[key][0])] for key in listed},
    }


def _late(operation: str, one: float, many: float, calls: float, wake: float) -> float:
    """Seconds that an operation was longer since the others had to wake up."""
    too_long = many - one / _MANY
    if many <= _SHARED * one:
        return min(too_long, calls * wake)
    # MKL shares large products, as it says itself (MKL_VERBOSE=1), but by and by
    is_product = operation.startswith(_PRODUCTS) and one >= _LARGE
    return too_long if is_product else 0.0


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 4)


if __name__ == "__main__":
    print(json.dumps(parts(*map(int, sys.argv[1:]))))
