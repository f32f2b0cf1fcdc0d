"""Which layers of a trained vision network follow which symmetry."""

import numpy as np
import pandas as pd

from sk_eqsae import scan_symmetry, site_alignment
from sk_eqsae.inspection import SymmetryScanDisplay

from . import _efficientnet as net
from ._photographs import centre
from ._tables import store, store_figure

N_ROWS = 8_000  # of a layer
SYMMETRIES = ("C4", "mirror", "180", "D4")


def run(args) -> None:
    """Scan the layers, a network of random weights and a wrong M; store and print."""
    sizes = aligned_sizes(args)
    images, photograph = net.data(args)
    layers = net.LAYERS[3:4] if args.quick else net.LAYERS
    tables = []
    for weights in ("trained", "random"):
        model = net.network(weights == "trained")
        for layer in layers:
            table = _scan(
                model, layer, centre(images, sizes[layer.name]), photograph, args
            )
            tables.append(table.assign(layer=layer.name, weights=weights))
            store(pd.concat(tables), args.out / "scan.csv")
    table = pd.concat(tables)
    print(table.to_string(index=False))
    shown = table[table.weights == "trained"].drop(columns="weights")
    display = SymmetryScanDisplay(shown)
    store_figure(display.plot().figure_, args.out / "scan.png")


def _scan(model, layer, images, photograph, args):
    names = SYMMETRIES[:2] if args.quick else SYMMETRIES
    return scan_symmetry(
        model,
        net.as_inputs(images),
        layers=[layer.module],
        call=layer.call,
        actions={name: net.ACTIONS[name] for name in names},
        sites="map",
        n_sites=net.N_SITES,
        n_rows=N_ROWS,
        base=photograph,
        batch_size=64,
        random_state=0,
    )


def aligned_sizes(args) -> dict[str, int]:
    """Size of the inputs at which D4 maps the grid of each layer onto itself."""
    path = args.out / "sizes.csv"
    if not path.exists():
        images, _ = net.data(args)
        some = np.random.default_rng(1).permutation(len(images))[:32]
        layers = net.LAYERS[3:4] if args.quick else net.LAYERS
        tables = [
            site_alignment(
                net.network(),
                net.as_inputs(images[some]),
                layer=layer.sized,
                action=net.ACTIONS["D4"],
                sizes=range(126, 131) if args.quick else net.SIZES,
            ).assign(layer=layer.name)
            for layer in layers
        ]
        table = pd.concat(tables)
        table["offset"] = table.offset.map(lambda o: " ".join(f"{x:.2f}" for x in o))
        store(table, path)
    table = pd.read_csv(path)
    return {
        row.layer: int(row.size) for row in table[table.best].itertuples(index=False)
    }
