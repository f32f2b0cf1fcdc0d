"""Compare with other libraries: python -m benchmarks.peers."""

import argparse
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import torch

from sk_eqsae.persistence import atomic_write

from ._adaptors import METHODS, is_installed
from ._data import PROBLEMS
from ._report import write_report
from ._run import Cell, run
from ._speed import reach, speed


def main() -> None:
    """Compute what is missing, write the report, print it."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.time:
        _time(args)
        return
    mpl.use("agg")
    results = run(_cells(args), args.out, args.jobs)
    print(write_report(results, args.out))


def _time(args):
    """Time fits; a table keeps what other numbers of threads took."""
    time = speed if args.time == "speed" else reach
    path = args.out / f"{args.time}.csv"
    table = time(args.methods, args.rounds, args.threads)
    table["threads"] = args.threads
    if path.exists():
        before = pd.read_csv(path)
        table = pd.concat([before[before.threads != args.threads], table])
    with atomic_write(path) as part:
        table.to_csv(part, index=False)
    print(table.round(2).to_string(index=False))


def _arguments():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    installed = [method for method in METHODS if is_installed(method)]
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=installed)
    parser.add_argument("--data", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=16_384, help="training rows")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("reports/peers"))
    parser.add_argument(
        "--time",
        choices=("speed", "reach"),
        help="time whole fits instead: of one epoch, or up to an FVU",
    )
    parser.add_argument("--rounds", type=int, default=5, help="of --time")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def _cells(args):
    return [
        Cell(method, data, seed, args.rows, args.epochs, args.batch_size)
        for seed in range(args.first_seed, args.first_seed + args.seeds)
        for data in args.data
        for method in args.methods
    ]


if __name__ == "__main__":
    main()
