"""Writing of results."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sk_eqsae.persistence import atomic_write

_WIDTH = 4.6  # inches: what a phone shows at a size that reads


def phone_size(height: float) -> tuple[float, float]:
    """Size of a figure of such a height that reads on a phone."""
    return _WIDTH, height


def store_table(table: pd.DataFrame, path: Path, digits: int = 5) -> None:
    """Write a table as CSV, whole or not at all."""
    with atomic_write(path) as part:
        table.to_csv(part, index=False, float_format=f"%.{digits}g")


def store_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as part:
        figure.savefig(part, dpi=150)
