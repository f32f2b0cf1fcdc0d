"""Run the main job: python -m benchmarks.paper --profile quick."""

import argparse
import shutil
import time
from pathlib import Path

import matplotlib as mpl
from joblib import cpu_count

from ._profiles import PROFILES
from ._report import write_report
from ._run import Run


def main() -> None:
    """Compute, write the report, print the summary."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper")
    parser.add_argument("--profile", choices=PROFILES, default="quick")
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    parser.add_argument("--jobs", type=int, default=cpu_count(), help="processes")
    parser.add_argument(
        "--resume", action="store_true", help="keep the finished parts of the last run"
    )
    args = parser.parse_args()
    mpl.use("agg")
    folder = args.reports / args.profile
    if not args.resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    settings = PROFILES[args.profile]
    start = time.perf_counter()
    tables = Run(settings, folder, args.jobs).compute()
    summary = write_report(
        args.profile, settings, tables, folder, time.perf_counter() - start
    )
    print(f"\n{summary}\n\nReport: {folder / 'index.html'}")


if __name__ == "__main__":
    main()
