"""Held-out FVU after an eighth, a quarter, half and all of the steps."""

from pathlib import Path

import pandas as pd

from . import _curve
from ._cells import COLOURS, MARKERS, Cell, rounded, settings_of, table
from ._store import stacked_panels, store_figure

SHARES = (8, 4, 2, 1)
DATA = (("mlp", "random"), ("cnn", "random"))
SIZES = (("tied", 32), ("regular", 128), ("tied", 128), ("regular", 512))


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Fit with several numbers of epochs, and store a CSV, a table and a figure.

    Each budget is a fit of its own, so that the learning rate decays within it.
    """
    results = table(_curve.score, cells(seeds, quick), out / "budget.csv", jobs)
    store_figure(figure(results), out / "budget.png")
    print(rounded(_wide(results)))


def cells(seeds: list[int], quick: bool) -> list[Cell]:
    """List the autoencoders."""
    settings = settings_of(quick)
    return [
        Cell(
            **settings | {"epochs": settings["epochs"] // share},
            base=base,
            orientation=orientation,
            seed=seed,
            method=method,
            n_vectors=n,
        )
        for seed in seeds
        for base, orientation in DATA
        for method, n in SIZES
        for share in SHARES
    ]


def _wide(results):
    wide = results.pivot_table(
        index=["base", "orientation", "method", "n_vectors", "n_latents"],
        columns="epochs",
        values="fvu",
        aggfunc=["mean", "std"] if results.seed.nunique() > 1 else ["mean"],
        sort=False,
    )
    wide.columns = [f"{epochs} epochs, {name}" for name, epochs in wide.columns]
    return wide.reset_index()


def figure(results: pd.DataFrame):
    """Draw one panel for each data, mean over seeds and the range of seeds."""
    fig, axes = stacked_panels(len(DATA))
    for (base, orientation), axis in zip(DATA, axes, strict=True):
        of_data = results.query("base == @base and orientation == @orientation")
        for method, n in SIZES:
            _line(axis, of_data, method, n)
        epochs = sorted(set(of_data.epochs))
        axis.set(xscale="log", yscale="log", xlabel="epochs, each a fit of its own")
        axis.set_xticks(epochs, epochs)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.set_title(f"{base.upper()}, {orientation}")
    axes[0].set_ylabel("held-out FVU")
    handles = axes[0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside lower center", ncol=2, fontsize=8)
    return fig


def _line(axis, results, method, n):
    rows = results.query("method == @method and n_vectors == @n")
    seeds = rows.groupby("epochs").fvu.agg(["mean", "min", "max"])
    large = n == max(size for name, size in SIZES if name == method)
    axis.plot(
        seeds["mean"],
        label=f"{method} {n}",
        color=COLOURS[method],
        marker=MARKERS[method],
        linestyle="--" if large else "-",
        markerfacecolor="white" if large else COLOURS[method],
    )
    axis.fill_between(
        seeds.index, seeds["min"], seeds["max"], color=COLOURS[method], alpha=0.15
    )
