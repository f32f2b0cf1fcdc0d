"""Autoencoders of the sites of a trained vision network."""

from functools import lru_cache, partial

import pandas as pd

from . import _efficientnet as net
from ._methods import METHODS, Cell, measures, of_matrix, summary
from ._scan import aligned_sizes
from ._tables import grown, store

SEEDED = ("block 4", "block 7")  # with all seeds; the others with one
WIDE = ("block 4",)  # also with other sizes and k


def run(args) -> None:
    """Fit what is missing; store and print the tables."""
    sizes = aligned_sizes(args)
    cells = _cells(args)
    fit = partial(_fit, args=args, sizes=sizes)
    table = grown(fit, cells, args.out / "vision.csv")
    store(_matrices(args, sizes), args.out / "vision_matrix.csv")
    print(summary(table, ["layer", "symmetry"]).to_string())


def _cells(args):
    n_steps = 60 if args.quick else 5_000
    layers = [layer.name for layer in net.LAYERS[1:]]
    if args.quick:
        layers = layers[2:3]
    cells = []
    for symmetry in ("C4", "mirror"):
        for layer in layers:
            for seed in range(args.seeds if layer in SEEDED else 1):
                for n, k in _shapes(layer, args.quick):
                    cells += [
                        Cell(
                            "EfficientNet-Lite0",
                            layer,
                            symmetry,
                            m,
                            n,
                            k,
                            seed,
                            n_steps,
                        )
                        for m in METHODS
                    ]
    return sorted(cells, key=lambda c: (c.seed, (c.n_latents, c.k) != (256, 8)))


def _shapes(layer, quick):
    if quick:
        return [(64, 8)]
    others = [(64, 8), (1024, 8), (256, 16)] if layer in WIDE else []
    return [(256, 8), *others]


def _fit(cell, *, args, sizes):
    layer = next(each for each in net.LAYERS if each.name == cell.layer)
    train, test = parts(layer, cell.symmetry, sizes[layer.name], args)
    return measures(cell, train, test)


def parts(layer, symmetry, size, args):
    """Orbits of a layer for training and of other photographs."""
    return _parts(layer, symmetry, size, args.photographs, args.quick)


@lru_cache(maxsize=2)
def _parts(layer, symmetry, size, photographs, quick):
    images, photograph = net.data(photographs, quick)
    orbits = net.orbits(layer, symmetry, size, images, photograph)
    return orbits.split(0.5 if quick else 0.25, random_state=0)


def _matrices(args, sizes):
    rows = []
    for symmetry in ("C4", "mirror"):
        for layer in net.LAYERS[1:] if not args.quick else net.LAYERS[3:4]:
            train, test = parts(layer, symmetry, sizes[layer.name], args)
            where = {"layer": layer.name, "symmetry": symmetry}
            rows.append({**where, **of_matrix(train, test)})
    return pd.DataFrame(rows)
