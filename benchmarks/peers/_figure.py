"""The plot: reconstruction error and dead latents of every method."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import FixedLocator, NullFormatter

from ._adaptors import METHODS, OURS

_SCORES = {"fvu": "held-out FVU", "dead": "share of dead latents"}


def draw(results: pd.DataFrame):
    """Draw one column per kind of data; a point is a seed, a bar the mean."""
    kinds = list(dict.fromkeys(results.data))
    methods = [m for m in METHODS if m in set(results.method)][::-1]
    figure, axes = plt.subplots(
        2,
        len(kinds),
        figsize=(1.6 + 2.3 * len(kinds), 5.2),
        squeeze=False,
        layout="constrained",
    )
    for row, (score, label) in zip(axes, _SCORES.items(), strict=True):
        for axis, data in zip(row, kinds, strict=True):
            _panel(axis, results[results.data == data], methods, score)
            axis.set_xlabel(label)
            axis.set_yticks(range(len(methods)), methods if axis is row[0] else [])
    for axis, data in zip(axes[0], kinds, strict=True):
        axis.set(xscale="log", title=data)
        axis.xaxis.set_major_locator(FixedLocator(_ticks(*axis.get_xlim())))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    for axis in axes[1]:
        axis.set_xlim(-0.03, 1.03)
    return figure


def _ticks(low, high):
    """Powers of ten, and three times those where few would be in sight."""
    steps = (1,) if high > 100 * low else (1, 2, 3, 5)
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
    axis.tick_params(axis="x", labelsize=8)
