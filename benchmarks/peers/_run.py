"""Every method on every kind of data with every seed, each result kept at once."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from sk_eqsae.persistence import atomic_write

from . import _adaptors
from ._data import PROBLEMS, load
from ._metrics import quality

# So slow that it gets less than the others: rows and epochs at most.
LIMITS = {"scikit-learn": (1024, 1)}
_KEY = ["method", "data", "seed", "n_train", "epochs", "batch_size"]


@dataclass(frozen=True)
class Cell:
    """One method on one draw of the data.

    Parameters
    ----------
    method : str
        One of METHODS.
    data : str
        Key of PROBLEMS.
    seed : int
        Seed of the data and of the method.
    n_train : int
        Training rows; a quarter as many are held out.
    epochs : int
        Passes over them.
    batch_size : int
        Rows per step.
    """

    method: str
    data: str
    seed: int
    n_train: int
    epochs: int
    batch_size: int


def run(cells: list[Cell], out: Path, n_jobs: int) -> pd.DataFrame:
    """Compute the cells that `out` does not hold yet."""
    path = out / "results.csv"
    stored = _stored(path)
    missing = [cell for cell in cells if _key(cell) not in stored]
    for _ in _parallel("data", _draw, _first_of_each_draw(missing), out, n_jobs):
        pass
    for row in _parallel("methods", _compute, missing, out, n_jobs):
        _append(row, path)
    wanted = pd.DataFrame([asdict(cell) for cell in cells])
    return wanted.merge(pd.read_csv(path), on=_KEY)


def _key(cell):
    return tuple(asdict(cell)[name] for name in _KEY)


def _stored(path):
    if not path.exists():
        return set()
    return set(pd.read_csv(path)[_KEY].itertuples(index=False, name=None))


def _append(row, path):
    """Add a row; the rows before it are copied as they are, to the last digit."""
    before = path.read_text() if path.exists() else ""
    with atomic_write(path) as part:
        part.write_text(before + row.to_csv(header=not before, index=False))


def _first_of_each_draw(cells):
    return list({(c.data, c.seed, c.n_train): c for c in cells}.values())


def _parallel(title, function, cells, out, n_jobs):
    parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    todo = (delayed(_single_threaded)(function, cell, out) for cell in cells)
    return tqdm(parallel(todo), desc=title, total=len(cells))


def _single_threaded(function, *args):
    torch.set_num_threads(1)
    return function(*args)


def _draw(cell, out):
    return load(
        cell.data,
        cell.seed,
        n_train=cell.n_train,
        n_test=cell.n_train // 4,
        folder=out / "data",
    )


def _compute(cell, out):
    train, test, directions = _draw(cell, out)
    max_rows, max_epochs = LIMITS.get(cell.method, (cell.n_train, cell.epochs))
    train, epochs = train[:max_rows], min(cell.epochs, max_epochs)
    problem = PROBLEMS[cell.data]
    fit = _adaptors.load(cell.method)  # the library's import is not timed
    start = time.perf_counter()
    fitted = fit(
        train,
        n_components=problem.n_components,
        k=problem.k,
        batch_size=cell.batch_size,
        epochs=epochs,
        seed=cell.seed,
    )
    seconds = time.perf_counter() - start
    seen = len(train) * epochs
    training = {"rows_seen": seen, "seconds": seconds, "rows_per_s": seen / seconds}
    scores = quality(fitted, train, test, directions)
    # all columns in every row, so that rows can be appended
    columns = [*_KEY, *training, "fvu", "l0", "dead", "mmcs", "recall", "precision"]
    row = pd.DataFrame([asdict(cell) | training | scores])
    return row.reindex(columns=columns)
