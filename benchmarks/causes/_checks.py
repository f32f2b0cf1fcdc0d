"""All checks, their cases computed one by one and kept."""

from pathlib import Path

import pandas as pd
from joblib import Memory, Parallel, delayed
from tqdm.auto import tqdm

from ..paper._profiles import PROFILES
from ..paper._run import Run, single_threaded
from . import _canonical_rows, _codes, _gradient_descent, _latents_kept

CHECKS = {
    "gradient_descent": _gradient_descent,
    "latents_kept": _latents_kept,
    "codes": _codes,
    "canonical_rows": _canonical_rows,
}


def compute(name: str, profile: str, folder: Path, n_jobs: int, device: str):
    """Compute all cases of a check, those that are not there yet."""
    kept = Memory(folder / "cache", verbose=0).cache(_case, ignore=["folder", "device"])
    cases = CHECKS[name].CASES
    jobs = Parallel(n_jobs, return_as="generator")(
        delayed(single_threaded)(kept, name, profile, folder, device, case)
        for case in cases
    )
    bar = tqdm(jobs, total=len(cases), desc=name, unit="case")
    return pd.DataFrame(bar)


def _case(name, profile, folder, device, case):
    run = Run(PROFILES[profile], folder, n_jobs=1, device=device)
    return CHECKS[name].measure(run, *case)
