"""One autoencoder on one draw of the shapes, and tables that can be gone on with."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Memory, Parallel, delayed
from tqdm.auto import tqdm

from sk_eqsae import EquivariantSAE, GroupTiedSAE, TopKSAE

from .._markdown import markdown
from . import _shapes
from ._store import store_table

ORDER = 4
METHODS = {
    "regular": (TopKSAE, {}),
    "two-layer": (TopKSAE, {"hidden_dim": 512}),
    "equivariant": (EquivariantSAE, {"symmetry": ORDER, "hidden_dim": 512}),
    "tied": (GroupTiedSAE, {"symmetry": ORDER}),
}
COLOURS = {  # Okabe and Ito: told apart by colour-blind readers
    "activations": "#999999",
    "regular": "#0072B2",
    "two-layer": "#E69F00",
    "equivariant": "#D55E00",
    "tied": "#009E73",
}
MARKERS = {"regular": "o", "two-layer": "^", "equivariant": "D", "tied": "s"}


@dataclass(frozen=True)
class Settings:
    """How much of everything.

    Parameters
    ----------
    n_images : int
        Canonical images that the base model sees.
    n_orbits : int
        Most training orbits of an autoencoder.
    epochs : int
        Passes over them.
    batch_size : int
        Rows per step.
    """

    n_images: int = 10_000
    n_orbits: int = 4_000
    epochs: int = 40
    batch_size: int = 256


SETTINGS = {"full": Settings(), "quick": Settings(n_images=2_000, epochs=10)}


@dataclass(frozen=True)
class Cell(Settings):
    """One autoencoder.

    Parameters
    ----------
    base, orientation : str
        The activations.
    seed : int
        Seed of the activations and of the autoencoder.
    method : str
        Key of METHODS.
    n_vectors, k : int
        Vectors that are learned, for "tied" one a latent orbit, and latents per row.
    """

    base: str = "mlp"
    orientation: str = "random"
    seed: int = 0
    method: str = "regular"
    n_vectors: int = 128
    k: int = 8

    @property
    def n_latents(self) -> int:
        """Size of the code."""
        return self.n_vectors * (ORDER if self.method == "tied" else 1)


def settings_of(quick: bool) -> dict:
    """Give what all cells of a run share."""
    return asdict(SETTINGS["quick" if quick else "full"])


def activations_of(cell: Cell, out: Path) -> _shapes.Activations:
    """Give the activations of a cell."""
    return _shapes.load(
        cell.base,
        cell.orientation,
        cell.seed,
        n_images=cell.n_images,
        folder=out / "activations",
    )


def fit(cell: Cell, out: Path):
    """Train one autoencoder, or read it if it was trained; also seconds of the fit."""
    memory = Memory(out / "saes", verbose=0)
    return memory.cache(_fit, ignore=["out"])(cell, out)


def _fit(cell, out):
    train = activations_of(cell, out).train
    rows = np.isin(train.groups, np.unique(train.groups)[: cell.n_orbits])
    kind, parameters = METHODS[cell.method]
    if kind is GroupTiedSAE:
        parameters = parameters | {"orbit_lengths": {ORDER: cell.n_vectors}}
    sae = kind(
        cell.n_latents,
        k=cell.k,
        max_epochs=cell.epochs,
        batch_size=cell.batch_size,
        random_state=cell.seed,
        sparse_output=True,
        **parameters,
    )
    seconds = -time.perf_counter()
    sae.fit(train.X[rows], groups=train.groups[rows], power=train.power[rows])
    return sae, seconds + time.perf_counter()


def table(function: Callable, cells: list, path: Path, jobs: int) -> pd.DataFrame:
    """Compute the cells whose rows the file does not hold yet.

    The function is called with a cell and the folder of the file, and gives a list of
    dictionaries, which are appended to the file as they come.
    """
    out = path.parent
    stored = _keys_in(path, cells)
    missing = [cell for cell in cells if _key(cell) not in stored]
    for _ in _parallel(_draw, _first_of_each_draw(missing), out, jobs, "base models"):
        pass
    for rows in _parallel(function, missing, out, jobs, path.stem):
        before = [pd.read_csv(path)] if path.exists() else []
        store_table(pd.concat([*before, pd.DataFrame(rows)]), path, 6)
    wanted = pd.DataFrame([asdict(cell) for cell in cells])
    return wanted.merge(pd.read_csv(path), on=list(wanted.columns))


def _key(cell):
    return tuple(asdict(cell).values())


def _keys_in(path, cells):
    if not path.exists():
        return set()
    columns = list(asdict(cells[0]))
    return set(pd.read_csv(path)[columns].itertuples(index=False, name=None))


def _first_of_each_draw(cells):
    draws = {(c.base, c.orientation, c.seed, c.n_images): c for c in cells}
    return list(draws.values())


def _draw(cell, out):
    activations_of(cell, out)


def _parallel(function, cells, out, jobs, title):
    parallel = Parallel(jobs, return_as="generator")
    todo = (delayed(_single_threaded)(function, cell, out) for cell in cells)
    return tqdm(parallel(todo), total=len(cells), desc=title)


def _single_threaded(function, *args):
    torch.set_num_threads(1)
    return function(*args)


def rounded(frame: pd.DataFrame) -> str:
    """Write a table in markdown, numbers to three digits."""
    return markdown(frame.columns, frame.map(_text).itertuples(index=False))


def _text(value):
    if not isinstance(value, float):
        return str(value)
    return "" if np.isnan(value) else f"{value:.3g}"
