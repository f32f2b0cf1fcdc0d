"""Compare latent orbits with regular latents: python -m benchmarks.orbits."""

import argparse
from importlib import import_module
from pathlib import Path

import matplotlib as mpl

PARTS = (
    "small",
    "free",
    "lengths",
    "tried",
    "eased",
    "curve",
    "budget",
    "recovery",
    "probing",
    "features",
    "other",
    "adaptive",
)


def main() -> None:
    """Compute what the chosen parts lack, store tables and figures, print them."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    mpl.use("agg")
    for name in args.parts:
        part = import_module(f"._{name}", __package__)
        print(f"\n## {name}\n")
        more = {"photographs": args.photographs} if name == "free" else {}
        part.run(
            seeds=list(range(args.seeds)),
            jobs=args.jobs,
            out=args.out,
            quick=args.quick,
            **more,
        )


def _arguments():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orbits")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument(
        "--photographs", type=Path, help="folder of pictures, for the part free"
    )
    parser.add_argument("--quick", action="store_true", help="a few small fits")
    parser.add_argument("--out", type=Path, default=Path("reports/orbits"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
