"""Run the main job: python -m benchmarks.paper --profile quick."""

import argparse
import shutil
from pathlib import Path

import matplotlib as mpl
from joblib import cpu_count

from ._profiles import PROFILES
from ._report import SMOKE, write_report
from ._run import Run


def main() -> None:
    """Compute what is missing, write the report, print the summary."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper",
        description="Reproduce the paper. A run that was cut off goes on where it was.",
    )
    parser.add_argument("--profile", choices=PROFILES, default="quick")
    parser.add_argument("--out", type=Path, help="folder, default reports/PROFILE")
    parser.add_argument("--jobs", type=int, default=cpu_count(), help="processes")
    parser.add_argument("--device", default="auto", help="such as cpu or cuda")
    parser.add_argument(
        "--only",
        default="*",
        metavar="PATTERN",
        help="parts to compute, such as 'cnn-upright-s0*'; they are listed by --list",
    )
    parser.add_argument("--list", action="store_true", help="list parts and stop")
    parser.add_argument("--fresh", action="store_true", help="delete results first")
    args = parser.parse_args()
    mpl.use("agg")
    folder = args.out or Path("reports") / args.profile
    if args.fresh:
        for name in ("parts", "cache"):
            shutil.rmtree(folder / name, ignore_errors=True)
    run = Run(PROFILES[args.profile], folder, args.jobs, args.only, args.device)
    if args.list:
        for part in run.parts:
            print(f"{'done   ' if part.name in run.store else 'missing'} {part.name}")
        return
    if not run.missing:
        print(f"All parts are in {folder}; --fresh deletes and computes them again.")
    if args.profile == "smoke":  # before the first figure of a part is shown
        print(f"{SMOKE}\n", flush=True)
    tables = run.compute()
    if tables["transform"].empty:
        print(f"No report without a base model, such as {run.profile.models[0].name}.")
        return
    print(f"\n{write_report(args.profile, run, tables, folder)}")
    print(f"\nReport: {folder / 'index.html'}")


if __name__ == "__main__":
    main()
