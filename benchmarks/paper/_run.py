"""Which part runs when, and where its result is kept."""

import time
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import torch
from joblib import Memory, Parallel, delayed
from tqdm.auto import tqdm

from . import _autoencoders, _figures, _models, _probing
from ._autoencoders import labelled
from ._profiles import Cell, Model, Profile
from ._store import Store

TABLES = ("base", "transform", "sae", "curves", "symmetry", "probes")


class Run:
    """All results of a profile, computed in parallel and kept on disk.

    Parameters
    ----------
    profile : Profile
        The settings.
    folder : pathlib.Path
        Where the report goes. Finished parts are kept in its folder "parts", trained
        networks and finished probes in its folder "cache".
    n_jobs : int
        Processes.
    only : str, default="*"
        Pattern of the parts to compute, such as ``cnn-upright-*``.
    device : str, default="auto"
        Where networks are trained.

    Raises
    ------
    ValueError
        If the folder holds results of other settings.
    """

    def __init__(
        self,
        profile: Profile,
        folder: Path,
        n_jobs: int,
        only: str = "*",
        device: str = "auto",
    ) -> None:
        self.profile = profile
        self.store = Store(folder / "parts", profile.settings, profile.probed)
        self.memory = Memory(folder / "cache", verbose=0)
        self.log = folder / "run.log"
        self.n_jobs = n_jobs
        self.only = only
        self.device = device

    @property
    def parts(self) -> list:
        """Everything that the profile names."""
        return [*self.profile.models, *self.profile.cells]

    @property
    def missing(self) -> list:
        """Parts that were asked for and are not there."""
        return [
            part
            for part in self.parts
            if fnmatch(part.name, self.only) and part.name not in self.store
        ]

    def compute(self) -> dict[str, pd.DataFrame]:
        """Compute what is missing."""
        self.store.sweep()
        missing = self.missing
        with tqdm(total=len(missing), desc="parts", unit="part", smoothing=0) as bar:
            for wave in _waves(missing):
                # first, so that no two cells train the same base model at once
                models = dict.fromkeys(_model_of(part) for part in wave)
                list(self._parallel(self.load, models))
                for line in self._parallel(self._compute, wave):
                    self._report(bar, line)
        return {table: self._read(table) for table in TABLES}

    def _read(self, table):
        return self.store.read(table, [part.name for part in self.parts])

    def _parallel(self, function, items):
        parallel = Parallel(n_jobs=self.n_jobs, return_as="generator_unordered")
        return parallel(delayed(single_threaded)(function, item) for item in items)

    def _report(self, bar, line):
        bar.update()
        bar.write(line)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%F %T')} {line}\n")

    def load(self, model: Model):
        """Train a base model, or take it from the cache: see `base_model`."""
        profile = self.profile
        kept = self.memory.cache(_models.base_model, ignore=["device"])
        return kept(
            model,
            profile.n_images,
            profile.base_epochs[model.base],
            profile.test_size,
            self.device,
        )

    def _compute(self, part: Model | Cell) -> str:
        seconds = -time.perf_counter()
        compute = self._model_part if isinstance(part, Model) else self._cell_part
        tables, figures, result = compute(part)
        self.store.write(part.name, tables, figures)
        return f"{part.name}: {result}, {seconds + time.perf_counter():.0f} s"

    def _model_part(self, model: Model):
        """Judge a base model, fit M, probe the activations."""
        network, train, test, seconds = self.load(model)
        shapes = _models.images_of(self.profile.n_images, model)
        tables = {
            "base": _models.base_table(model, network, test, shapes, seconds),
            "transform": _models.transform_table(self.profile, model, train, test),
        }
        if probes := self.profile.probes_of(model):
            scores = self._probe(None, probes, (), model)
            tables["probes"] = labelled(scores, model, sae="none", recipe="none", k=0)
        r2 = tables["transform"].set_index("solver").r2
        return tables, {}, f"R2 {r2['exact law']:.4f}, Adam {r2['adam']:.4f}"

    def _cell_part(self, cell: Cell):
        """Train, judge and probe one autoencoder."""
        network, train, test, _ = self.load(cell.model)
        sae, seconds = self.fit(cell, train)
        shapes = _models.images_of(self.profile.n_images, cell.model)
        tables = {
            "sae": _autoencoders.sae_table(
                cell,
                sae=sae,
                seconds=seconds,
                network=network,
                test=test,
                shapes=shapes,
            ),
            "curves": _autoencoders.curve_table(cell, sae, train),
            "symmetry": _autoencoders.symmetry_table(cell, sae, train, test),
        }
        if cell.probes:
            scores = self._probe(sae, cell.probes, cell.truncations, cell.model)
            labels = _autoencoders.cell_labels(cell)
            tables["probes"] = labelled(scores, cell.model, **labels)
        row = tables["sae"].iloc[-1]
        result = f"FVU {row.fvu:.4f}, {row.dead:.0%} dead"
        return tables, self._pictures(cell, sae, network, train, test), result

    def fit(self, cell: Cell, train):
        """Train an autoencoder, or take it from the cache: see `fit_cell`."""
        profile = self.profile
        kept = self.memory.cache(_autoencoders.fit_cell, ignore=["train", "device"])
        return kept(
            replace(cell, probes=(), truncations=()),
            train,
            n_components=profile.n_components,
            epochs=profile.sae_epochs[cell.recipe],
            batch_size=profile.batch_sizes[cell.recipe],
            device=self.device,
        )

    def _probe(self, sae, probes, truncations, model):
        _, train, test, _ = self.load(model)
        return _probing.probe_table(
            self.profile,
            sae=sae,
            probes=probes,
            truncations=truncations,
            train=train,
            test=test,
            shapes=_models.images_of(self.profile.n_images, model),
            memory=self.memory,
        )

    def _pictures(self, cell, sae, network, train, test):
        if cell.sae != "equivariant":
            return {}
        mpl.use("agg")
        pictures = _autoencoders.feature_pictures(sae, network, train, test)
        return {"features": _figures.features(*pictures)}


def _model_of(part):
    return part.model if isinstance(part, Cell) else part


def _waves(parts):
    """Parts of the same images, whose base models are trained together."""
    waves: dict = {}
    for part in parts:
        model = _model_of(part)
        waves.setdefault((model.orientation, model.seed), []).append(part)
    return [
        sorted(wave, key=lambda part: isinstance(part, Cell)) for wave in waves.values()
    ]


def single_threaded(function, *arguments):
    """Call a function in a process of which each has a core."""
    torch.set_num_threads(1)
    return function(*arguments)
