"""Which kinds of data there are, what is asked of them, and where they are kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sk_eqsae.persistence import atomic_write

from ._digits import digits
from ._shapes import cnn_shapes, mlp_shapes
from ._superposition import superposition
from ._transformer import transformer


@dataclass(frozen=True)
class Problem:
    """One kind of data and the dictionary that is asked for.

    Parameters
    ----------
    make : callable
        ``make(n_train, n_test, seed)`` -> train, test, directions or None.
    n_components : int
        Latents.
    k : int
        Latents kept per row.
    """

    make: Callable
    n_components: int
    k: int


PROBLEMS = {
    "superposition": Problem(superposition, n_components=1024, k=10),
    "mlp-shapes": Problem(mlp_shapes, n_components=1024, k=8),
    "cnn-shapes": Problem(cnn_shapes, n_components=1024, k=8),
    "digits-conv": Problem(digits, n_components=512, k=16),
    "transformer": Problem(transformer, n_components=1024, k=16),
}


def load(name: str, seed: int, *, n_train: int, n_test: int, folder: Path) -> tuple:
    """Draw a kind of data, or read it if it was drawn before.

    Training rows, test rows and the directions that they are made of, or None where
    these are not known. No image or stretch of text is on both sides.
    """
    path = folder / f"{name}-{n_train}-{n_test}-{seed}.npz"
    if not path.exists():
        train, test, directions = PROBLEMS[name].make(n_train, n_test, seed)
        known = {} if directions is None else {"directions": directions}
        _store(path, train=train, test=test, **known)
    with np.load(path) as stored:
        return stored["train"], stored["test"], stored.get("directions")


def _store(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        np.savez(part, **{name: np.float32(array) for name, array in arrays.items()})
