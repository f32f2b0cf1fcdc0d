"""Tables that can be gone on with."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from sk_eqsae.persistence import atomic_write


def grown(function: Callable, cells: list, path: Path) -> pd.DataFrame:
    """Compute the cells whose rows the file does not hold yet, one after another."""
    columns = list(asdict(cells[0]))
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=columns)
    stored = set(table[columns].astype(str).itertuples(index=False, name=None))
    for cell in tqdm(cells, desc=path.stem):
        if tuple(map(str, asdict(cell).values())) in stored:
            continue
        row = pd.DataFrame([function(cell)])
        table = row if table.empty else pd.concat([table, row], ignore_index=True)
        store(table, path)
    return table


def store(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all."""
    with atomic_write(path) as part:
        table.to_csv(part, index=False, float_format="%.5g")


def store_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as part:
        figure.savefig(part, dpi=150)
