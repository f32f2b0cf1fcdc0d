"""How many of the 112 true atoms are vectors of the dictionary."""

from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from sk_eqsae import shape_tasks
from sk_eqsae.datasets import ShapeTasks

from ._cells import (
    COLOURS,
    MARKERS,
    Cell,
    activations_of,
    fit,
    rounded,
    settings_of,
    table,
)
from ._shapes import images_of
from ._store import stacked_panels, store_figure

DATA = (("mlp", "random"), ("cnn", "random"))
SIZES = {"regular": (32, 64, 96, 128, 512, 2048), "tied": (8, 16, 24, 32, 128, 512)}
FOUND = 0.95
KINDS = {"atoms_shifted": "-", "atoms_correlated": ":"}
LABELS = {
    "atoms_shifted": f"cosine > {FOUND} up to a shift",
    "atoms_correlated": f"correlation > {FOUND}",
}


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Compare dictionaries with the atoms, and store a CSV, a table and a figure."""
    results = table(score, cells(seeds, quick), out / "recovery.csv", jobs)
    store_figure(figure(results), out / "recovery.png")
    print(rounded(_means(results)))


def cells(seeds: list[int], quick: bool) -> list[Cell]:
    """List the autoencoders."""
    return [
        Cell(
            **settings_of(quick),
            base=base,
            orientation=orientation,
            seed=seed,
            method=method,
            n_vectors=n,
        )
        for seed in seeds
        for base, orientation in DATA
        for method, sizes in SIZES.items()
        for n in sizes[: 3 if quick else None]
    ]


def score(cell: Cell, out: Path) -> list[dict]:
    """Compare the live vectors of one dictionary with the atoms."""
    activations = activations_of(cell, out)
    atoms, unexplained = true_atoms(cell, activations)
    sae, _ = fit(cell, out)
    Z = sae.transform(activations.test.X)
    labels = one_hot(cell, activations.test)
    fires = (Z > 0).sum(axis=0) > 0
    cosines = np.abs(_unit(sae.components_) @ _unit(atoms).T)
    cosines[~fires] = 0
    correlations = _correlations(Z, labels)
    shifted = cosines_after_shift(
        Z, labels, sae.components_, atoms, correlations.argmax(axis=0)
    )
    return [
        asdict(cell)
        | {
            "n_latents": cell.n_latents,
            "base_epochs": activations.base_epochs,
            "fvu_of_atoms": unexplained,
            "live_vectors": fires.reshape(cell.n_vectors, -1).any(axis=1).sum(),
        }
        | _found("as_is", cosines.max(axis=0))
        | _found("shifted", shifted)
        | _found("correlated", correlations.max(axis=0))
    ]


def _found(name, similarity):
    missed = np.bincount(orbits_of_atoms(), weights=similarity <= FOUND)
    return {
        f"atoms_{name}": (similarity > FOUND).mean(),
        f"orbits_{name}": (missed == 0).mean(),
        f"median_{name}": np.median(similarity),
    }


def _correlations(Z, labels):
    """Correlation of each latent with the presence of each atom; 0 where dead."""
    means = np.asarray(Z.mean(axis=0)).ravel()
    deviations = np.sqrt(np.asarray(Z.power(2).mean(axis=0)).ravel() - means**2)
    together = Z.T @ labels / len(labels) - np.outer(means, labels.mean(axis=0))
    scale = np.outer(np.maximum(deviations, 1e-12), labels.std(axis=0))
    return np.where(deviations[:, np.newaxis] > 0, together / scale, 0.0)


def cosines_after_shift(Z, labels, components, atoms, best) -> np.ndarray:
    """Cosine of each atom with its latent's vector, with one shift for a position.

    The activations fix the atoms of a position only up to a vector that is added to
    all of them and taken from the intercept. So the shift is taken out that the
    dictionary has, the median over the atoms of the position.
    """
    strength = np.asarray(Z[:, best].multiply(labels).sum(axis=0)) / labels.sum(axis=0)
    vectors = strength.reshape(-1, 1) * components[best]
    position = np.array([task.position for task in atom_tasks()])
    for p in set(position):
        of_p = position == p
        vectors[of_p] -= np.median(vectors[of_p] - atoms[of_p], axis=0)
    return (_unit(vectors) * _unit(atoms)).sum(axis=1)


def true_atoms(cell: Cell, activations):
    """Fit the activations by one vector for each shape, position and orientation.

    Vectors of one position are free up to a shared shift; here their mean over the
    training rows is 0, as where the autoencoder subtracts the mean of the rows.
    """
    train, test = activations.train, activations.test
    labels = one_hot(cell, train)
    frequency = labels.mean(axis=0)
    mean = train.X.mean(axis=0, dtype=np.float64)
    atoms = np.linalg.lstsq(labels - frequency, train.X - mean)[0]
    position = np.array([task.position for task in atom_tasks()])
    for p in set(position):
        of_p = position == p
        atoms[of_p] -= frequency[of_p] @ atoms[of_p] / frequency[of_p].sum()
    residual = test.X - mean - (one_hot(cell, test) - frequency) @ atoms
    unexplained = np.square(residual).sum() / np.square(test.X - test.X.mean(0)).sum()
    return atoms, unexplained


def atom_tasks() -> ShapeTasks:
    """Give the tasks that ask for one atom each."""
    return ShapeTasks([task for task in shape_tasks() if task.kind == "SPO"])


def one_hot(cell: Cell, orbits) -> np.ndarray:
    """Mark the four atoms of each row."""
    shapes = images_of(cell.orientation, cell.seed, cell.n_images)
    labels = atom_tasks().label_matrix(shapes, groups=orbits.groups, power=orbits.power)
    return labels.astype(np.float64)


def orbits_of_atoms() -> np.ndarray:
    """Number the orbit of each atom: a quarter-turn moves and turns the shape."""
    tasks = list(atom_tasks())
    positions = list(dict.fromkeys(task.position for task in tasks))
    n_turns = {t.shape: 1 + max(u.orientation for u in tasks if u.shape == t.shape)
               for t in tasks}  # fmt: skip
    keys = [
        (t.shape, (t.orientation - positions.index(t.position)) % n_turns[t.shape])
        for t in tasks
    ]
    return np.unique(np.array(keys, dtype=str), axis=0, return_inverse=True)[1].ravel()


def _unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


_SCORES = ["live_vectors", "atoms_as_is", "atoms_shifted", "atoms_correlated",
           "orbits_shifted", "median_shifted"]  # fmt: skip


def _means(results):
    groups = results.groupby(["base", "method", "n_vectors", "n_latents"])
    means = groups[_SCORES].mean()
    return groups.agg(seeds=("seed", "size")).join(means).reset_index()


def figure(results: pd.DataFrame):
    """Draw the share of atoms found against the vectors that are learned."""
    fig, axes = stacked_panels(len(DATA))
    for (base, orientation), axis in zip(DATA, axes, strict=True):
        for method, (kind, line) in product(SIZES, KINDS.items()):
            rows = results.query("base == @base and method == @method")
            seeds = 100 * rows.groupby("n_vectors")[kind].agg(["mean", "min", "max"])
            style = {"color": COLOURS[method], "linestyle": line}
            label = f"{method}, {LABELS[kind]}"
            axis.plot(seeds["mean"], marker=MARKERS[method], label=label, **style)
            axis.fill_between(
                seeds.index, seeds["min"], seeds["max"], color=style["color"], alpha=0.2
            )
        sizes = sorted(set(results.n_vectors) - {24, 96})
        axis.set(xscale="log", xlabel="vectors that are learned")
        axis.set_xticks(sizes, sizes)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.set_title(f"{base.upper()}, {orientation}")
    axes[0].set_ylabel("% of the 112 atoms")
    handles = axes[0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside lower center", ncol=1, fontsize=8)
    return fig
