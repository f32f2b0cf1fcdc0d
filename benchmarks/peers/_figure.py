"""The plot: reconstruction error and dead latents of every method."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import FixedLocator, NullFormatter

from ._adaptors import METHODS, OURS

_SCORES = {"fvu": "held-out FVU", "dead": "share of dead latents"}


NAMES = {  # as the tables have them
    "ours": "this package",
    "dense": "plain dense loop",
    "sparsify": "sparsify (sign descent)",
    "sparsify-adam": "sparsify (Adam)",
    "sae-lens": "SAELens",
    "overcomplete": "overcomplete",
    "dictionary-learning": "dictionary_learning",
}
DATA = {
    "superposition": "superposition",
    "mlp-shapes": "MLP, shapes",
    "cnn-shapes": "CNN, shapes",
    "digits-conv": "conv net, digits",
    "transformer": "transformer",
}


def draw(results: pd.DataFrame):
    """Draw one row per kind of data; a point is a seed, a bar the mean."""
    kinds = list(dict.fromkeys(results.data))
    methods = [m for m in METHODS if m in set(results.method)][::-1]
    figure, axes = plt.subplots(
        len(kinds),
        2,
        figsize=(4.6, 2.1 * len(kinds)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for data, row in zip(kinds, axes, strict=True):
        for axis, (score, label) in zip(row, _SCORES.items(), strict=True):
            _panel(axis, results[results.data == data], methods, score)
            axis.set_xlabel(label, fontsize=8)
        row[0].set_title(DATA.get(data, data), loc="left", fontsize=10)
        row[0].set_xscale("log")
        row[0].xaxis.set_major_locator(FixedLocator(_ticks(*row[0].get_xlim())))
        row[0].xaxis.set_major_formatter("{x:g}")
        row[0].xaxis.set_minor_formatter(NullFormatter())
        row[0].set_yticks(range(len(methods)), [NAMES.get(m, m) for m in methods])
        row[1].set_xlim(-0.03, 1.03)
    return figure


def _ticks(low, high):
    """Powers of ten, and two and five times those where few would be in sight."""
    steps = (1,) if high > 100 * low else (1, 2, 5)
    return [m * 10.0**e for e in range(-6, 3) for m in steps]


def _panel(axis, results, methods, score):
    for place, method in enumerate(methods):
        values = results[results.method == method][score]
        colour = "#D55E00" if method == OURS else "#0072B2"
        axis.plot(values, [place] * len(values), "o", ms=4, alpha=0.5, color=colour)
        axis.plot(values.mean(), place, "|", ms=16, mew=2, color=colour)
    axis.set_ylim(-0.6, len(methods) - 0.4)
    axis.grid(axis="x", alpha=0.3)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(labelsize=8)
