"""Features that are turned copies of each other, and where in pictures they fire."""

import matplotlib.pyplot as plt
import numpy as np

from sk_eqsae import OrbitSAE

from . import _efficientnet as net
from ._photographs import centre
from ._scan import aligned_sizes
from ._tables import store_figure
from ._vision import parts

LAYER = net.LAYERS[2]  # block 2
N_FAMILIES, N_PATCHES = 12, 3  # patches of each turned copy
PATCH = 33  # pixels
ORDER = 4


def run(args) -> None:
    """Draw orbits of features with the patches that fire each of them most."""
    size = aligned_sizes(args)[LAYER.name if not args.quick else "block 4"]
    layer = LAYER if not args.quick else net.LAYERS[3]
    train, test = parts(layer, "C4", size, args)
    sae = OrbitSAE(
        64 if args.quick else 256,
        k=8,
        symmetry=ORDER,
        max_epochs=1 if args.quick else 30,
        batch_size=256,
        random_state=0,
    ).fit(train.X, **train.metadata)
    images = centre(net.data(args.photographs, args.quick)[0], size)
    store_figure(_drawn(sae, test, images), args.out / "families.png")
    print(f"orbit lengths {sae.orbit_lengths_}, picture in {args.out / 'families.png'}")


def _drawn(sae, test, images):
    upright = test.power == 0
    codes = sae.transform(test.X[upright])
    inputs, positions = test.inputs[upright], test.position[upright]
    orbits = sae.latent_orbits_
    full = np.flatnonzero(np.asarray(orbits.lengths) == ORDER)
    strength = [codes[:, orbits.orbit == i].max(axis=1).sum() for i in full]
    chosen = full[np.argsort(strength)[::-1][:N_FAMILIES]]
    blocks = [
        _block(sae, codes, images, inputs, positions, np.flatnonzero(orbits.orbit == i))
        for i in chosen
    ]
    figure, axes = plt.subplots(3, 4, figsize=(9, 5.4), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, block in zip(axes.flat, blocks, strict=False):
        axis.imshow(block, interpolation="nearest")
    return figure


def _block(sae, codes, images, inputs, positions, latents):
    """Columns of patches, a turned copy each, the strongest on top."""
    latents = latents[np.argsort(sae.latent_orbits_.coset[latents])]
    columns = []
    for latent in latents:
        best = _of_different_inputs(np.argsort(-codes[:, latent]), inputs)
        patches = [_patch(images, inputs[row], positions[row]) for row in best]
        columns.append(np.concatenate(patches, axis=0))
    return np.concatenate(columns, axis=1)


def _of_different_inputs(rows, inputs):
    kept = []
    for row in rows:
        if inputs[row] not in inputs[kept]:
            kept.append(row)
        if len(kept) == N_PATCHES:
            return kept
    return kept


def _patch(images, number, position):
    """What lies around a site, with a white frame."""
    image = images[number].transpose(1, 2, 0)
    n = _grid_side(images.shape[-1])
    half = PATCH // 2
    padded = np.pad(image, ((half, half), (half, half), (0, 0)), mode="reflect")
    row, column = ((np.array(divmod(position, n)) + 0.5) * len(image) / n).astype(int)
    patch = padded[row : row + PATCH, column : column + PATCH]
    return np.pad(patch, ((1, 1), (1, 1), (0, 0)), constant_values=255)


def _grid_side(size, strides=2):
    """Sites along a side of the map of block 2 or, with 3 strides, block 4."""
    for _ in range(strides):
        size = -(-size // 2)
    return size
