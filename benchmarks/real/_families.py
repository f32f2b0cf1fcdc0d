"""Features that are turned copies of each other, and where in pictures they fire."""

from typing import Any

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from skimage import data

from sk_eqsae import extract_orbits
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import ImageRotation

from . import _efficientnet as net
from ._methods import Cell, fitted
from ._scan import aligned_sizes
from ._tables import store, store_figure
from ._vision import parts

LAYER = net.LAYERS[1]  # hidden channels of block 1, which see 7 pixels
PATCH = 13
# in the public domain or CC0, so that patches of them may be shown
PICTURES = ("astronaut", "chelsea", "coffee", "retina", "rocket")
FACTORS = (1, 1.5, 2, 3)  # by which pictures are larger than inputs
N_FAMILIES, N_PATCHES = 12, 2  # patches of each turned copy
N_MEAN = 300  # patches that a mean is of
ORDER = 4


def run(args) -> None:
    """Draw orbits of features with the patches that fire each of them most."""
    layer = net.LAYERS[3] if args.quick else LAYER
    size = aligned_sizes(args)[layer.name]
    train, _ = parts(layer, "C4", size, args)
    shape = (64, 8, 0, 60) if args.quick else (256, 8, 0, 4_000)
    sae = fitted(Cell(net.NAME, layer.name, "C4", "tied", *shape), train)
    tiles, picture = _tiles(size)
    sites = extract_orbits(
        net.network(),
        net.as_inputs(tiles),
        layer=layer.module,
        call=layer.call,
        action=ImageRotation(1),
        sites="map",
        margin=1,
        batch_size=64,
    )
    codes = sae.transform(sites.X)
    patches = Patches(tiles, sites, PATCH)
    table = agreements(sae.latent_orbits_, codes, patches)
    store(table.drop(columns=["latents", "means"]), args.out / "families.csv")
    figure = _drawn(table.head(N_FAMILIES), codes, patches, picture)
    store_figure(figure, args.out / "families.png")
    print(table.agreement.describe())


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


class Patches:
    """What sites see, as far as it is in their tile."""

    def __init__(self, tiles: np.ndarray, sites: Orbits, size: int) -> None:
        half, self.size, self.inputs = size // 2, size, sites.inputs
        around = ((0, 0), (half, half), (half, half), (0, 0))
        self.tiles = np.pad(tiles.transpose(0, 2, 3, 1), around, mode="reflect")
        places = np.stack(np.unravel_index(sites.position, sites.grid), axis=1) + 0.5
        self.corners = (places * tiles.shape[2] / np.array(sites.grid)).astype(int)

    def __getitem__(self, row: int) -> np.ndarray:
        top, left = self.corners[row]
        tile = self.tiles[self.inputs[row]]
        return tile[top : top + self.size, left : left + self.size].astype(float)


def agreements(orbits: Any, codes: np.ndarray, patches: Patches) -> pd.DataFrame:
    """How alike the means of patches of turned copies are, turned back.

    A row per orbit of full length, the most alike first: the mean correlation.
    """
    by_coset, rows = np.argsort(orbits.coset, kind="stable"), []
    for orbit in np.flatnonzero(orbits.lengths == ORDER):
        latents = by_coset[orbits.orbit[by_coset] == orbit]
        means = [_mean(codes[:, latent], patches) for latent in latents]
        alike = [
            np.corrcoef(np.rot90(means[0], turns).ravel(), mean.ravel())[0, 1]
            for turns, mean in enumerate(means)
        ]
        rows.append((orbit, np.mean(alike[1:]), latents, means))
    table = pd.DataFrame(rows, columns=["orbit", "agreement", "latents", "means"])
    return table.sort_values("agreement", ascending=False)


def _mean(code, patches):
    """Of the patches that fire a latent most, with one mean and contrast, by codes."""
    rows = np.argsort(-code)[:N_MEAN]
    some = np.stack([patches[row] for row in rows])
    some -= some.mean(axis=(1, 2), keepdims=True)
    some /= some.std(axis=(1, 2, 3), keepdims=True) + 1e-6
    return np.average(some, axis=0, weights=code[rows] + 1e-9)


def _drawn(table, codes, patches, picture):
    figure, axes = plt.subplots(3, 4, figsize=(9, 5.4), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, row in zip(axes.flat, table.itertuples(), strict=False):
        columns = [
            _column(mean, codes[:, latent], patches, picture)
            for mean, latent in zip(row.means, row.latents, strict=True)
        ]
        axis.imshow(np.concatenate(columns, axis=1), interpolation="nearest")
    return figure


def _column(mean, code, patches, picture):
    """A mean, and the patches that fire the latent most in different pictures."""
    rows = np.argsort(-code)[: 2 * N_MEAN]
    first = np.sort(np.unique(picture[patches.inputs[rows]], return_index=True)[1])
    shown = [127 * (1 + mean / np.abs(mean).max())]
    shown += [patches[row] for row in rows[first[:N_PATCHES]]]
    shown += [np.full_like(mean, 255)] * (1 + N_PATCHES - len(shown))
    frame = ((1, 1), (1, 1), (0, 0))
    framed = [np.pad(patch, frame, constant_values=255) for patch in shown]
    return np.concatenate(framed).astype(np.uint8)
