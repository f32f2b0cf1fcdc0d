"""Networks that follow the group in part: how many vectors should be free?"""

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from .._markdown import markdown
from . import _networks
from ._store import phone_size, store_figure, store_table

N_LATENTS = 256
METHODS = ("regular", 0, 64, 128, 192)  # numbers: of free vectors
SHARES = (0.0, 0.25, 0.5, 1.0)  # of the batches with turned images
_COLOURS = dict(
    zip(
        METHODS,
        ("black", "#0072B2", "#56B4E9", "#009E73", "#E69F00"),
        strict=True,
    )
)


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Fit all mixtures at equal numbers of latents; store and print the results."""
    n_steps = 50 if quick else 1_000
    cells = [(share, seed, n_steps) for share in SHARES for seed in seeds]
    results = _networks.table_of(_fits, cells, jobs)
    store_table(results, out / "adaptive.csv")
    store_figure(draw(results), out / "adaptive.png")
    print(table(results))


def _fits(augmented: float, seed: int, n_steps: int) -> list[dict]:
    network = _networks.digits(seed, augmented=augmented)
    case = {"augmented": augmented, "seed": seed, **_networks.symmetry(network)}
    return [case | fit for fit in _methods(network, n_steps, seed)]


def _methods(network: _networks.Network, n_steps: int, seed: int) -> Iterator[dict]:
    size = (network, N_LATENTS)
    for method in METHODS:
        if method == "regular":
            fit = _networks.regular(*size, n_steps, seed)
        else:
            fit = _networks.tied(*size, method, n_steps, seed)
        yield {"method": str(method), **fit}


def table(results: pd.DataFrame) -> str:
    """Average over seeds, in Markdown."""
    head = ["augmented", "R2 of M", "unexplained moves", *map(_label, METHODS)]
    lines = []
    for augmented, of_share in results.groupby("augmented"):
        network = of_share[["r2", "unexplained_moves"]].mean()
        cells = [_cell(of_share[of_share.method == str(m)]) for m in METHODS]
        lines.append([f"{augmented:.0%}", *(f"{v:.3f}" for v in network), *cells])
    return markdown(head, lines)


def _label(method: str | int) -> str:
    return f"{method} free" if isinstance(method, int) else method


def _cell(fits: pd.DataFrame) -> str:
    text = f"{fits.fvu.mean():.4f} ± {fits.fvu.std():.4f}"
    if fits.free_used.isna().all():
        return text
    return f"{text} ({fits.free_used.mean():.0%})"


def draw(results: pd.DataFrame) -> plt.Figure:
    """Draw FVU over that of a regular autoencoder, and how much free vectors do."""
    figure, axes = plt.subplots(3, 1, figsize=phone_size(9), layout="constrained")
    keys = ["augmented", "seed"]
    reference = results[results.method == "regular"].set_index(keys).fvu
    for method in METHODS[1:]:
        fits = results[results.method == str(method)].set_index(keys)
        style = {"color": _COLOURS[method], "marker": "o", "label": _label(method)}
        for axis, values in zip(
            axes, (fits.fvu / reference, fits.free_used), strict=False
        ):
            by_share = values.groupby("augmented")
            places = [100 * share for share in by_share.groups]
            axis.errorbar(places, by_share.mean(), by_share.std(), capsize=2, **style)
    axes[0].axhspan(0, 1.05, color="0.9", zorder=0)
    axes[0].set(ylabel="FVU / FVU of a regular SAE", ylim=(0.85, None))
    axes[1].set(ylabel="share of active latents that are free", ylim=(-0.03, 1.03))
    axes[0].legend(title="of 256 latents", fontsize=8, title_fontsize=8)
    _draw_networks(axes[2], results[results.method == "regular"])
    for axis in axes:
        axis.set_xlabel("batches with turned images, %")
        axis.grid(alpha=0.3)
    return figure


def _draw_networks(axis: plt.Axes, networks: pd.DataFrame) -> None:
    lines = {
        "quality": ("accuracy, all turns", "black", "s"),
        "r2": ("R2 of M", "#0072B2", "o"),
        "between_orbits": ("variance between orbits", "#009E73", "^"),
        "unexplained_moves": ("moves that M leaves", "#D55E00", "v"),
    }
    for name, (label, colour, marker) in lines.items():
        by_share = networks.groupby("augmented")[name]
        places = [100 * share for share in by_share.groups]
        style = {"color": colour, "marker": marker, "label": label, "capsize": 2}
        axis.errorbar(places, by_share.mean(), by_share.std(), **style)
    axis.set(ylabel="of the network, held-out images", ylim=(-0.03, 1.03))
    axis.legend(fontsize=8, loc=(0.36, 0.5))
