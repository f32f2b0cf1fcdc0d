"""Study real networks: python -m benchmarks.real."""

import argparse
from importlib import import_module
from pathlib import Path

import matplotlib as mpl

PARTS = (
    "scan",
    "halves",
    "vision",
    "probes",
    "families",
    "modular",
    "molecules",
    "audio",
    "small",
    "law",
)

NEEDS = {
    "scan": "Install it with pip install '.[real]'",
    "molecules": "Install it with pip install '.[molecules]'",
    "audio": "Install torchcrepe, and a torchaudio that is built for your torch",
}


def main() -> None:
    """Compute what the chosen parts lack, store tables and figures, print them."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    mpl.use("agg")
    for name in args.parts:
        print(f"\n## {name}\n", flush=True)
        try:
            part = import_module(f"._{name}", __package__)
        except (ImportError, OSError) as error:  # torchaudio's, of another torch
            print(f"left out: {error}. {NEEDS.get(name, NEEDS['scan'])}")
        else:
            part.run(args)


def _arguments():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--photographs", type=Path, help="folder of pictures, with folders in it"
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--quick", action="store_true", help="a few small fits")
    parser.add_argument("--out", type=Path, default=Path("reports/real"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
