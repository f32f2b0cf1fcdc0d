"""Features that are turned copies of each other, and where in pictures they fire."""

import matplotlib.pyplot as plt
import numpy as np

from sk_eqsae import GroupTiedSAE

from . import _efficientnet as net
from ._photographs import centre
from ._scan import aligned_sizes
from ._tables import store_figure
from ._vision import parts

LAYER = net.LAYERS[1]  # hidden channels of block 1
N_FAMILIES, N_PATCHES = 12, 3  # patches of each turned copy
PATCH = 17  # pixels
ORDER = 4


def run(args) -> None:
    """Draw orbits of features with the patches that fire each of them most."""
    size = aligned_sizes(args)[LAYER.name if not args.quick else "block 4"]
    layer = LAYER if not args.quick else net.LAYERS[3]
    train, test = parts(layer, "C4", size, args)
    sae = GroupTiedSAE(
        64 if args.quick else 256,
        k=8,
        symmetry=ORDER,
        max_epochs=1 if args.quick else 30,
        batch_size=256,
        random_state=0,
    ).fit(train.X, **train.metadata)
    images = centre(net.data(args)[0], size)
    store_figure(_drawn(sae, [train, test], images), args.out / "families.png")
    print(f"orbit lengths {sae.orbit_lengths_}, picture in {args.out / 'families.png'}")


def _drawn(sae, parts, images):
    """Patches out of upright pictures, those of training among them."""
    orbits, grid = sae.latent_orbits_, parts[0].grid
    upright = [part.power == 0 for part in parts]

    def joined(name):
        rows = [getattr(p, name)[u] for p, u in zip(parts, upright, strict=True)]
        return np.concatenate(rows)

    codes = sae.transform(joined("X"))
    inputs, positions = joined("inputs"), joined("position")

    def patches_of(latent):
        best = _of_different_inputs(np.argsort(-codes[:, latent]), inputs)
        return [_patch(images[inputs[r]], positions[r], grid) for r in best]

    full = np.flatnonzero(np.asarray(orbits.lengths) == ORDER)
    strength = [codes[:, orbits.orbit == i].max(axis=1).sum() for i in full]
    chosen = full[np.argsort(strength)[::-1][:N_FAMILIES]]
    figure, axes = plt.subplots(3, 4, figsize=(9, 5.4), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, orbit in zip(axes.flat, chosen, strict=False):
        latents = np.flatnonzero(orbits.orbit == orbit)
        latents = latents[np.argsort(orbits.coset[latents])]
        columns = [np.concatenate(patches_of(latent)) for latent in latents]
        axis.imshow(np.concatenate(columns, axis=1), interpolation="nearest")
    return figure


def _of_different_inputs(rows, inputs):
    """The first rows, no two of one input."""
    first = np.sort(np.unique(inputs[rows], return_index=True)[1])
    return rows[first[:N_PATCHES]]


def _patch(image, position, grid):
    """What lies around a site, with a white frame."""
    image, half = image.transpose(1, 2, 0), PATCH // 2
    padded = np.pad(image, ((half, half), (half, half), (0, 0)), mode="reflect")
    site = np.array(np.unravel_index(position, grid)) + 0.5
    row, column = (site * image.shape[:2] / np.array(grid)).astype(int)
    patch = padded[row : row + PATCH, column : column + PATCH]
    return np.pad(patch, ((1, 1), (1, 1), (0, 0)), constant_values=255)
