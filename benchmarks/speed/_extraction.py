"""Extraction beside the bare forward passes of the same batches."""

import ctypes
import platform
import tempfile
import time

import numpy as np
import torch
from torch import nn

from sk_eqsae import extract_orbits
from sk_eqsae.groups import CyclicShift, ImageRotation

from ._rounds import interleaved

N_INPUTS, BATCH_SIZE = 512, 64


def cnn() -> dict:
    """Images of 32 pixels, pooled after three convolutions."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(64, 64, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    images = np.random.default_rng(0).random((N_INPUTS, 3, 32, 32), np.float32)
    return {
        "model": model,
        "inputs": images,
        "action": ImageRotation(4),
        "layer": ["6", "8"],
    }


class Block(nn.Module):
    """A block of a transformer; torch's own runs another code where it is read."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        """Tokens of shape (n_inputs, n_tokens, width)."""
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = qkv.transpose(1, 3).unbind(2)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


def transformer() -> dict:
    """Sequences of 16 vectors, and four blocks."""
    tokens = np.random.default_rng(0).normal(size=(N_INPUTS, 16, 128))
    return {
        "model": nn.Sequential(*(Block(128, 4) for _ in range(4))),
        "inputs": tokens.astype(np.float32),
        "action": CyclicShift(axis=1, order=4),
        "layer": ["1", "3"],
    }


def sites() -> dict:
    """Some places of two maps of the first network."""
    return cnn() | {"layer": ["1", "3"], "sites": "map", "n_sites": 12}


MODELS = {"cnn": cnn, "transformer": transformer, "sites": sites}


def extraction(name: str, rounds: int) -> dict:
    """Compare ``extract_orbits`` of two layers, in memory and to a disk, with passes.

    "passes" runs the model on the same batches, moved and made tensors before the clock
    runs. "rate" is the share of the rate of the bare passes, which is to be 0.85, and
    "cpu_rate" the same in the time of the CPU, which waits for no disk.
    """
    _keep_memory()
    case = MODELS[name]()
    passes = Passes(**case)
    settings = case | {"batch_size": BATCH_SIZE, "device": "cpu"}

    def to_disk():
        with tempfile.TemporaryDirectory() as folder:
            extract_orbits(**settings, out=folder)

    contenders = {
        "passes": passes,
        "extract": lambda: extract_orbits(**settings),
        "to_disk": to_disk,
    }
    result = interleaved(contenders, rounds)
    cpu = interleaved(contenders, rounds, time.process_time)
    for each in ("extract", "to_disk"):
        result[f"{each}_rate"] = 1 / result[f"{each}_ratio"]
        result[f"{each}_cpu_rate"] = 1 / cpu[f"{each}_ratio"]
    return result


def _keep_memory():
    """Let glibc give no memory back, which costs any contender a half, by chance."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, the largest
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


class Passes:
    """The bare forward passes."""

    def __init__(self, model, inputs, action, **_):
        self.model = model.eval()
        moved = [action(inputs, p) for p in range(action.symmetry.order)]
        self.batches = [
            torch.tensor(x[i : i + BATCH_SIZE].copy())
            for x in moved
            for i in range(0, len(inputs), BATCH_SIZE)
        ]

    def __call__(self):
        with torch.no_grad():
            for batch in self.batches:
                self.model(batch)
