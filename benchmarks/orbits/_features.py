"""Vectors of a CNN's dictionary along their latent orbits, decoded by the CNN."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.paper import CNNAutoencoder, fit_autoencoder
from sk_eqsae import GroupTiedSAE, extract_orbits
from sk_eqsae.groups import ImageRotation
from sk_eqsae.inspection import FeatureOrbitDisplay

from . import _shapes
from ._store import store_figure

N_IMAGES = {False: 10_000, True: 400}
EPOCHS = {False: 20, True: 1}


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Train a CNN and a dictionary of 28 latent orbits, as many as the atoms have.

    Only the first seed is drawn, in one process.
    """
    seed = seeds[0]
    train = _shapes.images_of("random", seed, N_IMAGES[quick])
    model = fit_autoencoder(
        CNNAutoencoder(), train.images, max_epochs=EPOCHS[quick], random_state=seed
    )
    shapes = _shapes.images_of("random", seed + 1, 3_000 if not quick else 100)
    action = ImageRotation(order=4)
    orbits = extract_orbits(model, shapes.images, layer="encoder", action=action)
    epochs = 2 if quick else 30
    sae = GroupTiedSAE(
        orbit_lengths={4: 28}, symmetry=4, k=8, max_epochs=epochs, random_state=seed
    )
    sae.fit(orbits.X, groups=orbits.groups, power=orbits.power)
    display = FeatureOrbitDisplay.from_estimator(
        sae, orbits.X, _turned(shapes, orbits), decode=_decoder(model), n_top=5
    )
    store_figure(display.figure_, out / "features.png")
    print(f"FVU {1 - sae.score(orbits.X):.2g}")


def _turned(shapes, orbits):
    pairs = zip(shapes.images[orbits.groups, 0], orbits.power, strict=True)
    return np.stack([np.rot90(image, p) for image, p in pairs])


def _decoder(model):
    @torch.no_grad()
    def decode(rows):
        return model.eval().decoder(torch.from_numpy(rows))[:, 0].numpy()

    return decode
