"""Activations of the paper's base models, trained once for each seed and kept."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.paper import fit_autoencoder
from benchmarks.paper._base_models import BASE_MODELS
from sk_eqsae import extract_orbits, make_shapes
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import ImageRotation

BASE_EPOCHS = {"mlp": 100, "cnn": 20}
TEST_SIZE = 0.2


class Activations(NamedTuple):
    """Orbits of activations of one base model, split by base image."""

    train: Orbits
    test: Orbits
    base_epochs: int


def images_of(orientation: str, seed: int, n_images: int):
    """Draw the images that both base models of a seed see."""
    return make_shapes(n_images, orientation=orientation, random_state=seed)


@cache
def load(
    base: str,
    orientation: str,
    seed: int,
    *,
    n_images: int,
    folder: Path,
    n_epochs: int | None = None,
) -> Activations:
    """Read the activations of one base model, or train it and store them."""
    path = folder / f"{base}-{orientation}-{seed}-{n_images}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        n_epochs = n_epochs or BASE_EPOCHS[base]
        _store(path, _compute(base, orientation, seed, n_images, n_epochs))
    with np.load(path) as stored:
        parts = [
            Orbits(*(stored[f"{side}_{name}"] for name in ("X", "groups", "power")))
            for side in ("train", "test")
        ]
        return Activations(*parts, int(stored["base_epochs"]))


def _compute(base, orientation, seed, n_images, n_epochs):
    shapes = images_of(orientation, seed, n_images)
    model = fit_autoencoder(
        BASE_MODELS[base](), shapes.images, max_epochs=n_epochs, random_state=seed
    )
    orbits = extract_orbits(
        model,
        shapes.images,
        layer="encoder",
        action=ImageRotation(order=4),
        base=shapes.base_id,
    )
    parts = orbits.split(TEST_SIZE, random_state=seed)
    # an orbit is an image, also where several are of one base
    train, test = (Orbits(part.X, part.inputs, part.power) for part in parts)
    return Activations(train, test, n_epochs)


def _store(path, activations):
    arrays = {
        f"{side}_{name}": getattr(orbits, name)
        for side, orbits in zip(("train", "test"), activations[:2], strict=True)
        for name in ("X", "groups", "power")
    }
    partial = path.with_suffix(".part.npz")  # so that a killed run leaves no half file
    np.savez(partial, **arrays, base_epochs=activations.base_epochs)
    partial.rename(path)
