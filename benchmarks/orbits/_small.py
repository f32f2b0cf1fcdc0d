"""Our own networks, from such as follow the group exactly to such that hardly do."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from sk_eqsae import shape_tasks

from ..real._methods import METHODS, Cell, measures, of_matrix, summary
from . import _networks, _shapes
from ._beside import beside
from ._networks import Network
from ._store import store_table

N_LATENTS, K = 256, 8
N_IMAGES, EPOCHS = 4_000, {"mlp": 60, "cnn": 15}  # of the networks of shapes
NETWORKS: dict[str, Callable[[int], Network]] = {
    "digits, all turned": _networks.digits,
    "digits, half turned": partial(_networks.digits, augmented=0.5),
    "digits, a quarter turned": partial(_networks.digits, augmented=0.25),
    "digits, none turned": partial(_networks.digits, augmented=0.0),
    "digits, D4": partial(_networks.digits, flips=True),
    "points": _networks.points,
    "signals": _networks.signals,
    "free shapes": _networks.free_shapes,
}
SHAPES = {
    f"shapes, {base.upper()}, {orientation}": (base, orientation)
    for base in ("mlp", "cnn")
    for orientation in ("random", "upright")
}


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Fit all methods on the networks that are missing; store and print tables."""
    names = [*NETWORKS, *SHAPES] if not quick else [*NETWORKS][:1]
    for seed in seeds:
        for name in names:
            if not _is_stored(out / "small.csv", name, seed):
                network = network_of(name, seed, out)
                matrix = {"network": name, "seed": seed, "quality": network.quality}
                matrix |= of_matrix(network.train, network.test)
                rows = compared(network, name, seed, 60 if quick else 2_500)
                _put([matrix], out / "small_matrix.csv")
                _put(rows, out / "small.csv")
    print(summary(pd.read_csv(out / "small.csv"), ["network"]).to_string())


def compared(network: Network, name: str, seed: int, n_steps: int) -> list[dict]:
    """A row per method, the regular one first."""
    rows: list[dict] = []
    for method in METHODS:
        cell = Cell(name, "hidden", "", method, N_LATENTS, K, seed, n_steps)
        fvu = rows[0]["fvu"] if rows else None
        more = partial(beside, network=network, fvu=fvu)
        rows.append(measures(cell, network.train, network.test, more))
    return rows


def network_of(name: str, seed: int, out: Path) -> Network:
    """Network of a name, trained or read."""
    if name in NETWORKS:
        return NETWORKS[name](seed)
    base, orientation = SHAPES[name]
    train, test, _ = _shapes.load(
        base,
        orientation,
        seed,
        n_images=N_IMAGES,
        n_epochs=EPOCHS[base],
        folder=out / "activations",
    )
    images, tasks = _shapes.images_of(orientation, seed, N_IMAGES), shape_tasks()
    is_shape = [kind == "S" for kind in tasks.kinds]
    answers = (
        tasks.label_matrix(images, groups=part.groups, power=part.power)[:, is_shape]
        for part in (train, test)
    )
    return Network(train, test, float("nan"), tuple(answers))


def _is_stored(path: Path, name: str, seed: int) -> bool:
    """Whether there are rows with all columns; older ones have no probes."""
    if not path.exists():
        return False
    table = pd.read_csv(path)
    rows = table[(table.network == name) & (table.seed == seed)]
    return len(rows) > 0 and "auc_1" in rows and bool(rows.auc_1.notna().all())


def _put(rows: list[dict], path: Path) -> None:
    """Add the rows of one network and seed, in the place of those that there were."""
    table, keys = pd.DataFrame(rows), ["network", "seed"]
    if path.exists():
        before = pd.read_csv(path)
        others = (before[keys] != table[keys].iloc[0]).any(axis=1)
        table = pd.concat([before[others], table])
    store_table(table, path)
