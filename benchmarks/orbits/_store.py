"""Writing of results."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sk_eqsae.persistence import atomic_write

_WIDTH = 4.6  # inches: what a phone shows at a size that reads


def phone_size(height: float) -> tuple[float, float]:
    """Size of a figure of such a height that reads on a phone."""
    return _WIDTH, height


def stacked_panels(n: int, height: float = 7) -> tuple[Figure, NDArray]:
    """Figure of panels below each other, which have their axes in common."""
    size = phone_size(height)
    shared = {"sharex": True, "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(n, 1, figsize=size, squeeze=False, **shared)
    return figure, axes.ravel()


def store_table(table: pd.DataFrame, path: Path, digits: int = 5) -> None:
    """Write a table as CSV, whole or not at all."""
    with atomic_write(path) as part:
        table.to_csv(part, index=False, float_format=f"%.{digits}g")


def store_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as part:
        figure.savefig(part, dpi=150)
