"""How far R2 of M depends on how many photographs it is found from."""

from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from sk_eqsae import scan_symmetry

from . import _efficientnet as net
from ._photographs import centre
from ._scan import N_ROWS, aligned_sizes
from ._tables import grown

LAYER = next(layer for layer in net.LAYERS if layer.name == "block 4")


@dataclass(frozen=True)
class Cell:
    """A symmetry, and some of the photographs."""

    symmetry: str
    photographs: str


def run(args) -> None:
    """Scan one layer of all photographs and of each half; store and print."""
    halves = () if args.quick else ("first half", "second half")  # of two are none
    cells = [Cell("C4", part) for part in ("all", *halves)]
    row = partial(_row, args=args, size=aligned_sizes(args)[LAYER.name])
    print(grown(row, cells, args.out / "halves.csv").to_string(index=False))


def _row(cell, *, args, size):
    images, photograph = net.data(args)
    ids = np.random.default_rng(0).permutation(np.unique(photograph))
    halves = np.array_split(ids, 2)
    parts = {"all": ids, "first half": halves[0], "second half": halves[1]}
    some = np.isin(photograph, parts[cell.photographs])
    table = scan_symmetry(
        net.network(),
        net.as_inputs(centre(images[some], size)),
        layers=[LAYER.module],
        actions=[net.ACTIONS[cell.symmetry]],
        sites="map",
        n_sites=net.N_SITES,
        n_rows=N_ROWS,
        base=photograph[some],
        batch_size=64,
        random_state=0,
    )
    return {**table.iloc[0].to_dict(), **asdict(cell), "layer": LAYER.name}
