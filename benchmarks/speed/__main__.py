"""Time the package: python -m benchmarks.speed."""

import argparse
import json
import os
import platform
from pathlib import Path

import torch

from . import _cases


def main() -> None:
    """Run the cases, print them and store them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("reports/speed.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = {"machine": _machine(args)}
    for name, case in _all_cases(args.rounds):
        results[name] = case()
        print(name, json.dumps(results[name], default=float), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=2, default=float) + "\n")


def _all_cases(rounds):
    sizes = [(2048, 64, 32), (2048, 64, 8), (2048, 256, 32), (8192, 64, 32)]
    for n, batch_size, k in sizes:
        yield (
            f"step_{n}_{batch_size}_{k}",
            lambda n=n, b=batch_size, k=k: _cases.training_step(n, b, k, rounds),
        )
    yield "import", lambda: _cases.import_time(rounds)
    yield "activation_transform", lambda: _cases.activation_transform(2_000, 1)


def _machine(args):
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": args.threads,
        "rounds": args.rounds,
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
