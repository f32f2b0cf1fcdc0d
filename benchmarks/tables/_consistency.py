"""The table of benchmarks.consistency."""

from pathlib import Path

import pandas as pd

from ..consistency.__main__ import table

_RESULTS = Path(__file__).parents[1] / "consistency" / "results.csv"


def weights() -> str:
    """FVU and how invariant codes are, by the weight of the consistency loss."""
    return table(pd.read_csv(_RESULTS))
