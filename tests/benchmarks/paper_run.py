"""The main job at its smallest: python -m tests.benchmarks.paper_run FOLDER JOBS."""

import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.paper._profiles import PROFILES, Cell, Model
from benchmarks.paper._run import Run

MODEL = Model("mlp", "upright")
TINY = replace(
    PROFILES["smoke"],
    n_images=100,  # fewer would not determine M
    base_epochs={"mlp": 1},
    adam_epochs=1,
    n_components=32,
    sae_epochs={"default": 1},
    probe_rows=(160, 40, 40),
    cells=(
        Cell(MODEL, "regular", 4, probes=("knn",), truncations=(2, 4)),
        Cell(MODEL, "equivariant", 4, probes=("knn", "xgboost"), truncations=(4,)),
        Cell(MODEL, "group-tied", 4),
    ),
)

if __name__ == "__main__":
    Run(TINY, Path(sys.argv[1]), n_jobs=int(sys.argv[2])).compute()
