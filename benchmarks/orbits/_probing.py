"""F1 of XGBoost on the few latents that best separate the classes of a task."""

from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sk_eqsae import MeanDifferenceSelector, evaluate_probes, shape_tasks

from ._cells import (
    COLOURS,
    Cell,
    Settings,
    activations_of,
    fit,
    rounded,
    settings_of,
    table,
)
from ._shapes import images_of
from ._store import phone_size, store_figure, store_table

DATA = (("mlp", "random"), ("cnn", "random"))
KINDS = {
    "S": "shape",
    "SP": "shape and position",
    "SO": "shape and orientation",
    "SPO": "all three",
}
_FLOOR = 1e-4  # 1 - F1 of probes that are always right
WIDTHS = (1, 2, 4, 8, 16, 32)
# method, n_vectors, what transform returns
FEATURES = {
    "regular 512": ("regular", 512, None),
    "regular 2048": ("regular", 2048, None),
    "tied 128": ("tied", 128, "equivariant"),
    "tied 128, pooled": ("tied", 128, "invariant"),
    "activations": None,
}
KEY = ["base", "orientation", "kind", "n_selected"]


@dataclass(frozen=True)
class ProbeCell(Settings):
    """One source of features, seen by the probes of one kind of task.

    Parameters
    ----------
    base, orientation : str
        The activations.
    seed : int
        Seed of the activations and of the autoencoder.
    features : str
        Key of FEATURES.
    kind : str
        Kind of task.
    n_selected : int
        Latents that a probe sees.
    n_tasks : int
        Most tasks of this kind, drawn at random; the same in all cells.
    n_probe_orbits : int
        Training orbits of a probe.
    """

    base: str = "mlp"
    orientation: str = "random"
    seed: int = 0
    features: str = "activations"
    kind: str = "S"
    n_selected: int = 1
    n_tasks: int = 180
    n_probe_orbits: int = 2_000


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Probe every source of features, and store a CSV, two tables and a figure."""
    results = table(score, cells(seeds, quick), out / "probing.csv", jobs)
    means, gaps = means_of(results), gaps_of(results)
    store_table(gaps, out / "probing_gaps.csv", 4)
    store_figure(figure(means), out / "probing.png")
    print(rounded(_wide(means)), rounded(gaps), sep="\n\n")


def cells(seeds: list[int], quick: bool) -> list[ProbeCell]:
    """List what is probed."""
    widths, few = (WIDTHS, {}) if not quick else ((1, 4), {"n_tasks": 4})
    return [
        ProbeCell(
            **settings_of(quick) | few,
            base=base,
            orientation=orientation,
            seed=seed,
            features=features,
            kind=kind,
            n_selected=m,
        )
        for seed, (base, orientation), kind, features, m in product(
            seeds, DATA, KINDS, FEATURES, widths
        )
    ]


def score(cell: ProbeCell, out: Path) -> list[dict]:
    """Probe the tasks of a cell; one row for each."""
    activations = activations_of(cell, out)
    train, test = activations.train, activations.test
    seen = np.isin(train.groups, np.unique(train.groups)[: cell.n_probe_orbits])
    parts = [_labels(cell, part) for part in (train, test)]
    Y = np.vstack([parts[0][seen], parts[1]])
    n_seen = int(seen.sum())
    chosen = _choose_tasks(cell, Y[:n_seen], Y[n_seen:])
    tasks = shape_tasks()
    scores = evaluate_probes(
        _features(cell, np.vstack([train.X[seen], test.X]), out),
        Y[:, chosen],
        train=np.arange(n_seen),
        test=np.arange(n_seen, len(Y)),
        transformer=MeanDifferenceSelector(cell.n_selected),
        probes=["xgboost"],
        task_names=[tasks.names[t] for t in chosen],
    )
    return [
        asdict(cell) | {"task": task, "f1": f1}
        for task, f1 in zip(scores.task, scores.f1, strict=True)
    ]


def _labels(cell, orbits):
    shapes = images_of(cell.orientation, cell.seed, cell.n_images)
    return shape_tasks().label_matrix(shapes, groups=orbits.groups, power=orbits.power)


def _choose_tasks(cell, *labels):
    """Draw tasks that have both classes on both sides."""
    usable = np.array(shape_tasks().kinds) == cell.kind
    for Y in labels:
        usable &= (Y.min(axis=0) == 0) & (Y.max(axis=0) == 1)
    candidates = np.flatnonzero(usable)
    rng = np.random.default_rng(cell.seed)
    n = min(cell.n_tasks, len(candidates))
    return np.sort(rng.permutation(candidates)[:n])


def _features(cell, X, out):
    if FEATURES[cell.features] is None:
        return X
    method, n_vectors, output = FEATURES[cell.features]
    shared = [f.name for f in fields(Settings)] + ["base", "orientation", "seed"]
    settings = {name: getattr(cell, name) for name in shared}
    sae, _ = fit(Cell(**settings, method=method, n_vectors=n_vectors), out)
    return (sae if output is None else sae.set_params(output=output)).transform(X)


def means_of(results: pd.DataFrame) -> pd.DataFrame:
    """Average F1 over tasks and seeds, with the standard error of that mean."""
    groups = results.groupby([*KEY, "features"], sort=False).f1
    return groups.agg(f1="mean", f1_se="sem", n="size").reset_index()


def gaps_of(results: pd.DataFrame) -> pd.DataFrame:
    """Subtract the best regular autoencoder from the better of the tied codes.

    Which one is best is decided by the mean over tasks and seeds; `gap_se` is the
    standard error of the difference, task by task.
    """
    rows = []
    for key, part in results.groupby(KEY, sort=False):
        f1 = part.pivot(index=["seed", "task"], columns="features", values="f1")
        tied, regular = (
            f1[[c for c in f1 if c.startswith(name)]].mean().idxmax()
            for name in ("tied", "regular")
        )
        difference = f1[tied] - f1[regular]
        rows.append(
            dict(zip(KEY, key, strict=True))
            | {"tied": tied, "f1_tied": f1[tied].mean()}
            | {"regular": regular, "f1_regular": f1[regular].mean()}
            | {"gap": difference.mean(), "gap_se": difference.sem()}
            | {"holds": bool(difference.mean() >= -difference.sem())}
        )
    return pd.DataFrame(rows)


def _wide(means):
    text = [f"{m:.3f} ± {s:.3f}" for m, s in zip(means.f1, means.f1_se, strict=True)]
    wide = means.assign(f1=text).pivot(
        index=["base", "orientation", "kind", "features"],
        columns="n_selected",
        values="f1",
    )
    order = [
        (base, orientation, kind, features)
        for (base, orientation), kind, features in product(DATA, KINDS, FEATURES)
    ]
    return wide.reindex([key for key in order if key in wide.index]).reset_index()


STYLES = {  # hollow marks of growing size, so that equal scores are all seen
    "activations": {"color": COLOURS["activations"], "marker": "x", "ls": ":"},
    "regular 512": {"color": COLOURS["regular"], "marker": "o", "ms": 9},
    "regular 2048": {"color": "#56B4E9", "marker": "^", "ms": 6},
    "tied 128": {"color": COLOURS["tied"], "marker": "s", "ms": 3.5},
    "tied 128, pooled": {"color": COLOURS["equivariant"], "marker": "D", "ls": "--"},
}


def figure(means: pd.DataFrame):
    """Draw one row for each data and one column for each kind of task."""
    fig, axes = plt.subplots(
        len(KINDS), len(DATA), figsize=phone_size(8.5), sharex=True, sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for (base, _), row in zip(DATA, axes.T, strict=True):
        for kind, axis in zip(KINDS, row, strict=True):
            _panel(axis, means.query("base == @base and kind == @kind"))
            axis.set_title(f"{base.upper()}: {KINDS[kind]}", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("1 - F1")
    for axis in axes[-1]:
        axis.set_xlabel("latents")
    handles = axes[0, 0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside lower center", ncol=2, fontsize=8)
    return fig


def _panel(axis, means):
    for features, style in STYLES.items():
        rows = means[means.features == features]
        shared = {"label": features, "ms": 4, "mfc": "none", "lw": 1.3}
        missed = (1 - rows.f1).clip(lower=_FLOOR)
        axis.errorbar(rows.n_selected, missed, rows.f1_se, **shared | style)
    widths = sorted(set(means.n_selected))
    axis.set(xscale="log", yscale="log", ylim=(_FLOOR / 2, 1.3))
    axis.set_xticks(widths, widths)
    axis.minorticks_off()
    axis.grid(alpha=0.3)
