"""Which stage runs when, and where its result is kept."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Memory, Parallel, delayed
from tqdm.auto import tqdm

from . import _stages
from ._profiles import Cell, Profile

_SLOW_FIRST = ("wide", "equivariant", "two-layer", "group-tied", "regular")


class Run:
    """All results of a profile, computed in parallel and kept on disk.

    Parameters
    ----------
    profile : Profile
        The settings.
    folder : pathlib.Path
        Where the report goes; finished parts are kept in its folder "cache".
    n_jobs : int
        Processes.
    """

    def __init__(self, profile: Profile, folder: Path, n_jobs: int) -> None:
        self.profile = profile
        self.folder = folder
        self.n_jobs = n_jobs

    def compute(self) -> dict[str, pd.DataFrame]:
        """Run every stage.

        Returns
        -------
        tables : dict of pandas.DataFrame
            "base", "transform", "sae", "curves" and "probes".
        """
        models = self.profile.models
        bases = self._parallel("base models", _base_part, models)
        parts = self._parallel("M and activations", _model_part, models)
        parts += self._parallel("autoencoders", _cell_part, self.profile.cells)
        return {
            name: pd.concat([p[name] for p in bases + parts if name in p])
            for name in ("base", "transform", "sae", "curves", "probes")
        }

    def _parallel(self, title, function, items):
        memory = Memory(self.folder / "cache", verbose=0)
        kept = memory.cache(function, ignore=["cache"])
        todo = [
            delayed(_single_threaded)(kept, i, (self.profile, items[i], memory))
            for i in sorted(range(len(items)), key=lambda i: _speed(items[i]))
        ]
        parallel = Parallel(n_jobs=self.n_jobs, return_as="generator_unordered")
        done = dict(tqdm(parallel(todo), desc=title, total=len(todo)))
        return [done[i] for i in range(len(items))]


def _speed(item):
    """Rank of a base model or cell: slow ones first, so that no core idles later."""
    if isinstance(item, Cell):
        return _SLOW_FIRST.index(item.sae)
    return item[0] != "cnn"


def _single_threaded(function, i, args):
    torch.set_num_threads(1)
    return i, function(*args)


def _load_base(profile, name, cache):
    return cache.cache(_stages.base_model)(profile, *name)


def _base_part(profile: Profile, name: tuple, cache: Memory):
    """Train a base model; report its loss on test images."""
    model, _, test = _load_base(profile, name, cache)
    shapes = _stages.images_of(profile, name[1])
    row = {
        "base": name[0],
        "orientation": name[1],
        "test_loss": _stages.spliced_loss(model, test.X, shapes, test),
        "epochs": len(model.loss_curve_),
        "active_directions": np.linalg.matrix_rank(test.X - test.X.mean(axis=0)),
        "image_variance": shapes.images.var(),
    }
    return {"base": pd.DataFrame([row])}


def _model_part(profile: Profile, name: tuple, cache: Memory):
    """Fit M and probe the activations."""
    _, train, test = _load_base(profile, name, cache)
    part = {
        "transform": pd.DataFrame(_stages.transform_rows(profile, name, train, test))
    }
    cells = [c for c in profile.cells if (c.base, c.orientation) == name]
    if any(c.probed for c in cells):
        scores = _stages.probe_table(
            profile, name, sae=None, train=train, test=test, memory=cache
        )
        part["probes"] = _labelled(scores, name, sae="none", k=0)
    return part


def _cell_part(profile: Profile, cell: Cell, cache: Memory):
    """Train, judge and probe one autoencoder."""
    name = (cell.base, cell.orientation)
    model, train, test = _load_base(profile, name, cache)
    sae, seconds = _stages.fit_cell(profile, cell, train)
    rows = _stages.sae_rows(
        profile, cell, sae=sae, seconds=seconds, model=model, test=test
    )
    curve = pd.DataFrame(
        {
            "epoch": np.arange(1, sae.n_iter_ + 1),
            "train_fvu": _train_fvu(sae, cell, train),
        }
    )
    labels = {"sae": cell.sae, "k": cell.k, "recipe": cell.recipe}
    part = {
        "sae": pd.DataFrame(rows),
        "curves": _labelled(curve, name, **labels),
    }
    if cell.probed:
        scores = _stages.probe_table(
            profile, name, sae=sae, train=train, test=test, memory=cache
        )
        part["probes"] = _labelled(scores, name, sae=cell.sae, k=cell.k)
    return part


def _train_fvu(sae, cell, train):
    """Loss curve over the variance of what is to be reconstructed."""
    target = train.X
    if cell.sae == "equivariant":
        target = target[train.power == 0]
    variance = np.square(target - target.mean(axis=0)).sum() / len(target)
    return sae.loss_curve_ * sae.scale_**2 / variance


def _labelled(table, name, **labels):
    labels = {"base": name[0], "orientation": name[1]} | labels
    return table.assign(**labels)[[*labels, *table.columns]]
