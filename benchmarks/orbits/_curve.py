"""Held-out FVU against the number of vectors that are learned."""

from dataclasses import asdict
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sk_eqsae.inspection import dead_latents, fvu

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
from ._store import phone_size, store_figure, store_table

DATA = list(product(("mlp", "cnn"), ("random", "upright")))
KS = (8, 4, 16, 32)
SIZES = (8, 16, 32, 64, 128, 512, 2048)
# the curves fall steeply where the dictionary is as large as the set of true atoms
STEEP = {"regular": (96,), "tied": (24,)}
LEVELS = (0.2, 0.1, 0.03, 0.01)
LINES = {
    ("regular", "plain"): ("regular", "-"),
    ("two-layer", "plain"): ("two-layer", "-"),
    ("equivariant", "inferred power"): ("equivariant, pose inferred", "-"),
    ("equivariant", "true power"): ("equivariant, pose given", ":"),
    ("tied", "plain"): ("tied, one vector an orbit", "-"),
}


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Fit every size of every method, and store a CSV, a table and a figure."""
    results = table(score, cells(seeds, quick), out / "curve.csv", jobs)
    factors = factors_of(results)
    store_table(factors, out / "curve_factors.csv", 4)
    store_figure(figure(results[results.k == KS[0]]), out / "curve.png")
    print(rounded(_wide(results)), rounded(factors), sep="\n\n")


def cells(seeds: list[int], quick: bool) -> list[Cell]:
    """List the autoencoders, those that decide first."""
    ks, sizes = (KS[:1], (16, 64)) if quick else (KS, SIZES)
    return [
        cell
        for k, seed, methods, (base, orientation) in product(
            ks, seeds, (("regular", "tied"), ("two-layer", "equivariant")), DATA
        )
        for method in methods
        for n in sorted({*sizes, *(() if quick else STEEP.get(method, ()))})
        for cell in [
            Cell(
                **settings_of(quick),
                base=base,
                orientation=orientation,
                seed=seed,
                method=method,
                n_vectors=n,
                k=k,
            )
        ]
        if k <= cell.n_latents
    ]


def score(cell: Cell, out: Path) -> list[dict]:
    """Score one autoencoder on test orbits, one row for each way to reconstruct."""
    activations = activations_of(cell, out)
    test = activations.test
    sae, seconds = fit(cell, out)
    shared = asdict(cell) | {
        "n_latents": cell.n_latents,
        "base_epochs": activations.base_epochs,
        "dead": dead_latents(sae.transform(test.X)),
        "seconds": seconds,
        "fvu_of_M": _fvu_of_transform(sae, test),
    }
    return [
        shared | {"reconstruction": name, "fvu": fvu(test.X, decoded)}
        for name, decoded in _reconstructions(cell, sae, test)
    ]


def _fvu_of_transform(sae, test):
    """Share of the variance of moved rows that M misses: what tied vectors cannot."""
    if not hasattr(sae, "activation_transform_"):
        return np.nan
    fitter = sae.activation_transform_
    return 1 - fitter.score(test.X, groups=test.groups, power=test.power)


def _reconstructions(cell, sae, test):
    if cell.method != "equivariant":
        return [("plain", sae.inverse_transform(sae.transform(test.X)))]
    return [
        ("inferred power", sae.reconstruct(test.X)),
        ("true power", sae.reconstruct(test.X, power=test.power)),
    ]


def factors_of(results: pd.DataFrame) -> pd.DataFrame:
    """Divide regular by tied sizes of equal FVU, interpolated in log n and log FVU.

    One row per data and k: mean over seeds at each level of FVU that both curves reach,
    mean and standard deviation over seeds and levels, and what M leaves unexplained.
    """
    rows = []
    for (base, orientation, k), part in results.groupby(["base", "orientation", "k"]):
        factors = np.array([_factors(p) for _, p in part.groupby("seed")])
        known = factors[~np.isnan(factors)]
        rows.append(
            {"base": base, "orientation": orientation, "k": k, "seeds": len(factors)}
            | {
                f"at FVU {level}": column[~np.isnan(column)].mean()
                if not np.isnan(column).all()
                else np.nan
                for level, column in zip(LEVELS, factors.T, strict=True)
            }
            | {
                "mean": known.mean() if len(known) else np.nan,
                "std": known.std(ddof=1) if len(known) > 1 else np.nan,
                "FVU of M": part.fvu_of_M.mean(),
            }
        )
    return pd.DataFrame(rows)


def _factors(of_seed):
    sizes = [
        _sizes_at(LEVELS, of_seed[of_seed.method == method].sort_values("n_vectors"))
        for method in ("regular", "tied")
    ]
    return sizes[0] / sizes[1]


def _sizes_at(levels, curve):
    """Sizes at which a curve first reaches levels; NaN where it starts lower or ends.

    Sizes that do no better than a smaller one are passed over.
    """
    if curve.empty:
        return np.full(len(levels), np.nan)
    best = np.minimum.accumulate(curve.fvu.to_numpy())
    falls = np.diff(best, prepend=np.inf) < 0
    x, y = np.log(curve.n_vectors.to_numpy()[falls]), -np.log(best[falls])
    return np.exp(np.interp(-np.log(levels), y, x, left=np.nan, right=np.nan))


def _wide(results):
    names = {key: label for key, (label, _) in LINES.items()}
    method = [
        names[key] for key in zip(results.method, results.reconstruction, strict=True)
    ]
    wide = results.assign(method=method).pivot_table(
        index=["base", "orientation", "k", "method"],
        columns="n_vectors",
        values="fvu",
        sort=False,
    )
    return wide[sorted(wide.columns)].reset_index()


def figure(results: pd.DataFrame):
    """Draw one panel for each data, mean over seeds and the range of seeds."""
    fig, axes = plt.subplots(
        2, 2, figsize=phone_size(5.2), sharex=True, sharey=True, layout="constrained"
    )
    for (base, orientation), axis in zip(DATA, axes.T.flat, strict=False):
        of_data = results.query("base == @base and orientation == @orientation")
        _panel(axis, of_data)
        axis.set_title(f"{base.upper()}, {orientation}")
    for axis in axes[-1]:
        axis.set_xlabel("vectors that are learned")
    for axis in axes[:, 0]:
        axis.set_ylabel("held-out FVU")
    handles = axes[0, 0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside lower center", ncol=2, fontsize=8)
    return fig


def _panel(axis, results):
    for (method, name), (label, line) in LINES.items():
        of_line = (results.method == method) & (results.reconstruction == name)
        seeds = results[of_line].groupby("n_vectors").fvu.agg(["mean", "min", "max"])
        style = {"color": COLOURS[method], "linestyle": line}
        if len(seeds):
            axis.plot(seeds["mean"], marker=MARKERS[method], ms=5, label=label, **style)
            axis.fill_between(
                seeds.index,
                seeds["min"],
                seeds["max"],
                color=COLOURS[method],
                alpha=0.2,
            )
    sizes = sorted(set(results.n_vectors) - {24, 96})
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(sizes, sizes, rotation=90, fontsize=8)
    axis.minorticks_off()
    axis.grid(alpha=0.3)
