"""Check why results differ from the paper's: python -m benchmarks.causes."""

import argparse
from pathlib import Path

from sk_eqsae.persistence import atomic_write

from ..paper._profiles import PROFILES
from ._checks import CHECKS, compute


def main() -> None:
    """Compute what is missing, print and store one table per check."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.causes")
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--run", type=Path, help="of the main job, to take its fits")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="auto", help="such as cpu or cuda")
    parser.add_argument("--out", type=Path, default=Path("reports/causes"))
    args = parser.parse_args()
    folder = args.run or Path("reports") / args.profile
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        table = compute(name, args.profile, folder, args.jobs, args.device)
        with atomic_write(args.out / f"{name}.csv") as part:
            table.to_csv(part, index=False, float_format="%.5g")
        print(f"\n{name}\n{table.to_string(index=False)}", flush=True)


if __name__ == "__main__":
    main()
