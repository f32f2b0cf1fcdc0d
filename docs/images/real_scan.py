"""Draw the scan of EfficientNet-Lite0: python docs/images/real_scan.py."""

from pathlib import Path

import pandas as pd

from sk_eqsae.inspection import SymmetryScanDisplay

SCAN = Path(__file__).parents[2] / "benchmarks" / "real" / "results" / "scan.csv"


def depth(layer: str) -> float:
    """Where a layer is: the stem, then blocks, each behind its hidden channels."""
    if layer == "stem":
        return -1
    return int(layer.split()[1].strip(",")) - 0.5 * layer.endswith("hidden")


def main() -> None:
    """Draw each value by itself, so that phones can read it."""
    scan = pd.read_csv(SCAN).query("weights == 'trained'")
    scan = scan.sort_values("layer", key=lambda of: of.map(depth), kind="stable")
    for value in ("r2", "moves"):
        figure = SymmetryScanDisplay(scan).plot(value=value).figure_
        figure.savefig(Path(__file__).with_name(f"real_scan_{value}.png"), dpi=150)


if __name__ == "__main__":
    main()
