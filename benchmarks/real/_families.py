"""Features that are turned copies of each other, and where in pictures they fire."""

import cv2
import matplotlib.pyplot as plt
import numpy as np
from skimage import data

from sk_eqsae import extract_orbits
from sk_eqsae.groups import ImageRotation

from . import _efficientnet as net
from ._methods import Cell, fitted
from ._scan import aligned_sizes
from ._tables import store_figure
from ._vision import parts

LAYER = net.LAYERS[2]  # block 2
PATCH = 19  # pixels that a site of it sees
# in the public domain or CC0, so that patches of them may be shown
PICTURES = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "retina", "rocket")
FACTORS = (1, 1.5, 2, 3)  # by which pictures are larger than inputs
N_FAMILIES, N_PATCHES = 12, 3  # patches of each turned copy
N_MEAN = 50  # patches that a mean is of
ORDER = 4


def run(args) -> None:
    """Draw orbits of features with the patches that fire each of them most."""
    layer = net.LAYERS[3] if args.quick else LAYER
    size = aligned_sizes(args)[layer.name]
    train, test = parts(layer, "C4", size, args)
    shape = (64, 8, 0, 60) if args.quick else (256, 8, 0, 4_000)
    sae = fitted(Cell(net.NAME, layer.name, "C4", "tied", *shape), train)
    tiles, picture = _tiles(size)
    sites = extract_orbits(
        net.network(),
        net.as_inputs(tiles),
        layer=layer.module,
        action=ImageRotation(1),
        sites="map",
        margin=1,
        batch_size=64,
    )
    chosen = best_families(sae, test)
    figure = _drawn(sae, chosen, sites, tiles, picture)
    store_figure(figure, args.out / "families.png")
    print(f"orbit lengths {sae.orbit_lengths_}, picture in {args.out / 'families.png'}")


def _tiles(size):
    """Cut pictures into inputs, at several sizes; and the number of each one's."""
    tiles, picture = [], []
    for i, name in enumerate(PICTURES):
        whole = getattr(data, name)()
        for factor in FACTORS:
            ratio = factor * size / min(whole.shape[:2])
            shape = [max(size, round(ratio * n)) for n in whole.shape[:2]]
            small = cv2.resize(whole, shape[::-1], interpolation=cv2.INTER_AREA)
            tops, lefts = (np.arange(0, n - size + 1, size) for n in shape)
            cut = [small[t : t + size, u : u + size] for t in tops for u in lefts]
            tiles += cut
            picture += [i] * len(cut)
    return np.stack(tiles).transpose(0, 3, 1, 2), np.array(picture)


def best_families(sae, test) -> list[np.ndarray]:
    """Latents of the orbits of full length whose codes move most as they should."""
    codes, orbits = sae.transform(test.X).astype(float), sae.latent_orbits_
    upright = np.flatnonzero(test.power == 0)
    left = np.zeros(codes.shape[1])
    for power in range(1, ORDER):  # rows of an orbit lie in the order of powers
        moved = orbits.permute(codes[upright], power)
        left += np.square(codes[upright + power] - moved).mean(axis=0) / (ORDER - 1)
    sums = [np.bincount(orbits.orbit, weights=w) for w in (left, codes.var(axis=0))]
    followed = 1 - sums[0] / np.maximum(sums[1], 1e-12)
    followed[(orbits.lengths < ORDER) | (sums[1] == 0)] = -np.inf
    first = np.argsort(-followed)[:N_FAMILIES]
    by_coset = np.argsort(orbits.coset, kind="stable")
    return [by_coset[orbits.orbit[by_coset] == i] for i in first]


def _drawn(sae, families, sites, tiles, picture):
    codes = sae.transform(sites.X)
    figure, axes = plt.subplots(3, 4, figsize=(9, 6.9), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, latents in zip(axes.flat, families, strict=False):
        columns = [_column(codes[:, i], sites, tiles, picture) for i in latents]
        axis.imshow(np.concatenate(columns, axis=1), interpolation="nearest")
    return figure


def _column(code, sites, tiles, picture):
    """The mean of the patches that fire a latent most, and the first of them."""
    rows = np.argsort(-code)[:N_MEAN]
    mean = np.mean([_patch(tiles, sites, row) for row in rows], axis=0)
    mean = 255 * (mean - mean.min()) / max(np.ptp(mean), 1e-9)
    rows = np.argsort(-code)[: 20 * N_MEAN]
    first = np.sort(np.unique(picture[sites.inputs[rows]], return_index=True)[1])
    shown = [mean, *(_patch(tiles, sites, row) for row in rows[first[:N_PATCHES]])]
    shown += [np.full_like(mean, 255)] * (1 + N_PATCHES - len(shown))
    return np.concatenate([_framed(patch) for patch in shown])


def _patch(tiles, sites, row):
    """What a site sees."""
    image, half = tiles[sites.inputs[row]].transpose(1, 2, 0), PATCH // 2
    padded = np.pad(image, ((half, half), (half, half), (0, 0)), mode="reflect")
    site = np.array(np.unravel_index(sites.position[row], sites.grid)) + 0.5
    top, left = (site * image.shape[:2] / np.array(sites.grid)).astype(int)
    return padded[top : top + PATCH, left : left + PATCH].astype(float)


def _framed(patch):
    framed = np.pad(patch, ((1, 1), (1, 1), (0, 0)), constant_values=255)
    return framed.astype(np.uint8)
