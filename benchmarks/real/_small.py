"""Our own networks, by the same methods."""

from ..orbits import _small


def run(args) -> None:
    """Fit what is missing; store and print the tables."""
    seeds = list(range(args.seeds))
    _small.run(seeds=seeds, jobs=1, out=args.out, quick=args.quick)
