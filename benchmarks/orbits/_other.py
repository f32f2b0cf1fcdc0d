"""Other networks and groups: group-tied against regular autoencoders."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, NullFormatter

from .._markdown import markdown
from . import _networks
from ._store import phone_size, store_figure, store_table

N_BASE = 32  # vectors of the small and of the tied dictionary
_N_BASE_OF_SIGNALS = (8, N_BASE)
_ORDERS = (2, 4, 8, 16)
_NETWORKS: dict[str, Callable] = {
    "digits, C4": _networks.digits,
    "digits, D4": partial(_networks.digits, flips=True),
    "points, C4": _networks.points,
    "free shapes, C4": _networks.free_shapes,
    **{f"signals, C{n}": partial(_networks.signals, order=n) for n in _ORDERS},
}
_STYLES = {  # colour, marker
    "regular, n": ("0.5", "s"),
    "regular, n |G|": ("black", "D"),
    "tied, n": ("#0072B2", "o"),
}


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Fit all networks; store and print the results."""
    n_steps = 50 if quick else 1_000
    cells = [(name, seed, n_steps) for seed in seeds for name in _NETWORKS]
    results = _networks.table_of(_fits, cells, jobs)
    store_table(results, out / "other.csv")
    store_figure(draw(results), out / "other.png")
    print(table(results))


def _fits(name: str, seed: int, n_steps: int) -> list[dict]:
    network = _NETWORKS[name](seed)
    case = {"network": name, "order": network.train.order, "seed": seed}
    case |= _networks.symmetry(network)
    sizes = _N_BASE_OF_SIGNALS if name.startswith("signals") else (N_BASE,)
    return [
        {**case, "n_base": n_base, "method": method, **fit}
        for n_base in sizes
        for method, fit in _methods(network, n_base, n_steps, seed).items()
    ]


def _methods(
    network: _networks.Network, n_base: int, n_steps: int, seed: int
) -> dict[str, dict]:
    n_latents, budget = n_base * network.train.order, (n_steps, seed)
    return {
        "regular, n": _networks.regular(network, n_base, *budget),
        "regular, n |G|": _networks.regular(network, n_latents, *budget),
        "tied, n": _networks.tied(network, n_latents, 0, *budget),
    }


def table(results: pd.DataFrame) -> str:
    """Average over seeds, in Markdown."""
    facts = ["quality", "r2", "between_orbits", "unexplained_moves"]
    names = ["quality", "R2 of M", "between orbits", "unexplained moves"]
    head = ["network", "n", *names, *_STYLES]
    lines = []
    for key, of_network in results.groupby(["network", "n_base"], sort=False):
        cells = [f"{value:.3f}" for value in of_network[facts].mean()]
        by_method = of_network.groupby("method").fvu
        mean, std = by_method.mean(), by_method.std()
        cells += [f"{mean[method]:.4f} ± {std[method]:.4f}" for method in _STYLES]
        lines.append([*map(str, key), *cells])
    return markdown(head, lines)


def draw(results: pd.DataFrame) -> plt.Figure:
    """Draw the FVU of every network, and over the order of the group on signals."""
    figure, axes = plt.subplots(
        3, 1, figsize=phone_size(10), layout="constrained", height_ratios=(1.4, 1, 1)
    )
    signals = results.network.str.startswith("signals")
    alike = (results.n_base == N_BASE) & (~signals | (results.order == 8))
    _draw_networks(axes[0], results[alike])
    for axis, n_base in zip(axes[1:], _N_BASE_OF_SIGNALS, strict=True):
        _draw_orders(axis, results[signals & (results.n_base == n_base)])
        axis.set(title=f"signals, n = {n_base}", ylim=(0, 0.85))
        axis.set_ylabel("held-out FVU")
    axes[2].legend(fontsize=8)
    return figure


def _draw_networks(axis: plt.Axes, results: pd.DataFrame) -> None:
    names = list(dict.fromkeys(results.network))[::-1]
    for shift, (method, (colour, marker)) in zip(
        np.linspace(0.2, -0.2, len(_STYLES)), _STYLES.items(), strict=True
    ):
        fits = results[results.method == method]
        places = np.array([names.index(name) for name in fits.network]) + shift
        style = {"color": colour, "marker": marker, "ms": 5, "alpha": 0.7}
        axis.plot(fits.fvu, places, ls="", label=method, **style)
    axis.set(xscale="log", xlabel="held-out FVU", ylim=(-0.6, len(names) - 0.4))
    axis.set_title(f"n = {N_BASE} vectors, group of order |G|")
    axis.xaxis.set_major_locator(FixedLocator([0.001, 0.003, 0.01, 0.03, 0.1, 0.3]))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(range(len(names)), names)
    axis.grid(axis="x", which="both", alpha=0.3)
    for place in range(1, len(names)):
        axis.axhline(place - 0.5, color="0.8", lw=0.8)


def _draw_orders(axis: plt.Axes, results: pd.DataFrame) -> None:
    for shift, (method, (colour, marker)) in zip(
        (0.95, 1, 1.05), _STYLES.items(), strict=True
    ):
        by_order = results[results.method == method].groupby("order").fvu
        style = {"color": colour, "marker": marker, "label": method, "capsize": 2}
        places = [shift * order for order in by_order.groups]
        axis.errorbar(places, by_order.mean(), by_order.std(), **style)
    axis.set(xscale="log", xlabel="order of the group |G|")
    axis.set_xticks(_ORDERS, _ORDERS)
    axis.minorticks_off()
    axis.grid(alpha=0.3)
