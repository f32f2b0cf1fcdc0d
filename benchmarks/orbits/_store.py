"""Writing of results."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sk_eqsae.persistence import atomic_write


def store_table(table: pd.DataFrame, path: Path, digits: int = 5) -> None:
    """Write a table as CSV, whole or not at all."""
    with atomic_write(path) as part:
        table.to_csv(part, index=False, float_format=f"%.{digits}g")


def store_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as part:
        figure.savefig(part, dpi=150)
