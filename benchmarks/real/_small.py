"""Our own networks, from such as follow the group exactly to such that hardly do."""

from functools import lru_cache, partial

import pandas as pd

from benchmarks.group_tied import _networks

from ._methods import METHODS, Cell, measures, of_matrix, summary
from ._tables import grown, store

NETWORKS = {
    "digits, all turned": _networks.digits,
    "digits, half turned": partial(_networks.digits, augmented=0.5),
    "digits, a quarter turned": partial(_networks.digits, augmented=0.25),
    "digits, none turned": partial(_networks.digits, augmented=0.0),
    "digits, D4": partial(_networks.digits, flips=True),
    "points": _networks.points,
    "signals": _networks.signals,
    "free shapes": _networks.free_shapes,
}


def run(args) -> None:
    """Fit what is missing; store and print the tables."""
    names = list(NETWORKS)[:1] if args.quick else list(NETWORKS)
    n_steps = 60 if args.quick else 2_500
    cells = [
        Cell(name, "hidden", "", method, 256, 8, seed, n_steps)
        for seed in range(args.seeds)
        for name in names
        for method in METHODS
    ]
    table = grown(_fit, cells, args.out / "small.csv")
    matrices = [
        {"network": name, "seed": seed, **of_matrix(*_network(name, seed)[:2])}
        for name in names
        for seed in range(args.seeds)
    ]
    store(pd.DataFrame(matrices), args.out / "small_matrix.csv")
    print(summary(table, ["network"]).to_string())


def _fit(cell):
    train, test, _ = _network(cell.network, cell.seed)
    return measures(cell, train, test)


@lru_cache(maxsize=2)
def _network(name, seed):
    return NETWORKS[name](seed)
