"""Which layers of a trained vision network follow which symmetry."""

from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pandas as pd

from sk_eqsae import scan_symmetry, site_alignment
from sk_eqsae.inspection import SymmetryScanDisplay

from . import _efficientnet as net
from ._photographs import centre
from ._tables import grown, store, store_figure

N_ROWS = 8_000  # of a layer
SYMMETRIES = ("C4", "mirror", "180", "D4", "shift")
SIZE_OF_SHIFTS = 128  # a multiple of all strides
SIZE_OF_RANDOM = 127  # at which strides and padding map all grids onto themselves


@dataclass(frozen=True)
class Cell:
    """One symmetry of one layer."""

    layer: str
    symmetry: str
    weights: str


def run(args) -> None:
    """Scan the layers, also those of a network of random weights; store and print."""
    sizes = aligned_sizes(args)
    layers = net.SCANNED[3:4] if args.quick else net.SCANNED
    names = SYMMETRIES[:2] if args.quick else SYMMETRIES
    cells = [
        Cell(layer.name, symmetry, weights)
        for weights, symmetries in (("trained", names), ("random", SYMMETRIES[:2]))
        for layer in layers
        for symmetry in symmetries
    ]
    row = partial(_row, args=args, sizes=sizes)
    table = grown(row, cells, args.out / "scan.csv")
    print(table.to_string(index=False))
    shown = table[table.weights == "trained"].drop(columns="weights")
    for value in ("r2", "moves"):  # apart, so that phones can show them
        figure = SymmetryScanDisplay(shown).plot(value=value).figure_
        store_figure(figure, args.out / f"scan_{value}.png")


def _row(cell, *, args, sizes):
    layer = next(each for each in net.SCANNED if each.name == cell.layer)
    size = SIZE_OF_RANDOM if cell.weights == "random" else sizes[layer.name]
    size = SIZE_OF_SHIFTS if cell.symmetry == "shift" else size
    images, photograph = net.data(args)
    table = scan_symmetry(
        net.network(cell.weights == "trained"),
        net.as_inputs(centre(images, size)),
        layers=[layer.module],
        call=layer.call,
        actions={cell.symmetry: net.ACTIONS[cell.symmetry]},
        sites="map",
        n_sites=net.N_SITES,
        n_rows=N_ROWS,
        base=photograph,
        batch_size=64,
        random_state=0,
    )
    return {**table.iloc[0].to_dict(), **asdict(cell)}


def aligned_sizes(args) -> dict[str, int]:
    """Size of the inputs at which D4 maps the grid of each layer onto itself."""
    path = args.out / "sizes.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame({"layer": []})
    layers = net.SCANNED[3:4] if args.quick else net.SCANNED
    missing = [layer for layer in layers if layer.name not in set(table.layer)]
    if missing:
        store(pd.concat([table, *_alignments(missing, args)]), path)
        table = pd.read_csv(path)
    return {
        row.layer: int(row.size) for row in table[table.best].itertuples(index=False)
    }


def _alignments(layers, args):
    """Alignment of each layer's grid by the size of the inputs."""
    images, _ = net.data(args)
    some = np.random.default_rng(1).permutation(len(images))[:32]
    for layer in layers:
        table = site_alignment(
            net.network(),
            net.as_inputs(images[some]),
            layer=layer.sized,
            action=net.ACTIONS["D4"],
            sizes=range(126, 131) if args.quick else net.SIZES,
        )
        offset = table.offset.map(lambda o: " ".join(f"{x:.2f}" for x in o))
        yield table.assign(layer=layer.name, offset=offset)
