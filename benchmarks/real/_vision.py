"""Autoencoders of the sites of a trained vision network."""

from functools import partial
from itertools import product

import pandas as pd
from joblib import Memory

from . import _efficientnet as net
from ._methods import METHODS, Cell, measures, of_matrix, summary
from ._scan import aligned_sizes
from ._tables import grown, store

FIRST = ("block 4", "block 7")
# where 4,000 steps are too few: 16 of 24 directions hold all but a fiftieth
LONG, LONG_STEPS = ("block 2", 256, 16), 12_000


def run(args) -> None:
    """Fit what is missing; store and print the tables."""
    sizes = aligned_sizes(args)
    cells = _cells(args)
    fit = partial(_fit, args=args, sizes=sizes)
    table = grown(fit, cells, args.out / "vision.csv")
    if not args.quick:
        grown(fit, _long_cells(args), args.out / "vision_long.csv")
    store(_matrices(args, sizes), args.out / "vision_matrix.csv")
    print(summary(table, ["layer", "symmetry"]).to_string())


def _cells(args):
    n_steps = 60 if args.quick else 4_000
    layers = [layer.name for layer in net.LAYERS[1:]]
    if args.quick:
        layers = layers[2:3]
    cells = [
        Cell(net.NAME, layer, symmetry, method, n, k, seed, n_steps)
        for symmetry in ("C4", "mirror")
        for layer in layers
        for seed in range(args.seeds)
        for n, k in _shapes(layer, seed, args.quick)
        for method in METHODS
    ]
    is_other = {c: (c.n_latents, c.k) != (256, 8) for c in cells}
    return sorted(cells, key=lambda c: (c.layer not in FIRST, is_other[c], c.seed))


def _shapes(layer, seed, quick):
    if quick:
        return [(64, 8)]
    others = [(64, 8), (1024, 8), (256, 16)] if seed == 0 or layer in FIRST else []
    return [(256, 8), *others]


def _long_cells(args):
    layer, n, k = LONG
    cases = product(("C4", "mirror"), range(args.seeds), METHODS)
    return [
        Cell(net.NAME, layer, symmetry, method, n, k, seed, LONG_STEPS)
        for symmetry, seed, method in cases
    ]


def _fit(cell, *, args, sizes):
    layer = next(each for each in net.LAYERS if each.name == cell.layer)
    train, test = parts(layer, cell.symmetry, sizes[layer.name], args)
    return measures(cell, train, test)


def parts(layer, symmetry, size, args, seed=0):
    """Orbits of a layer for training and of other photographs."""
    kept = Memory(args.out / "activations", verbose=0).cache(net.orbits)
    orbits = kept(layer, symmetry, size, *net.data(args))
    return orbits.split(0.5 if args.quick else 0.25, random_state=seed)


def _matrices(args, sizes):
    rows = []
    for symmetry in ("C4", "mirror"):
        for layer in net.LAYERS[1:] if not args.quick else net.LAYERS[3:4]:
            train, test = parts(layer, symmetry, sizes[layer.name], args)
            where = {"layer": layer.name, "symmetry": symmetry}
            rows.append({**where, **of_matrix(train, test)})
    return pd.DataFrame(rows)
