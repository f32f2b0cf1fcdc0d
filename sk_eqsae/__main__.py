"""The command line: python -m sk_eqsae info | explore | export."""

import argparse
import inspect
import json
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activations import Orbits
from .groups import (
    AxisRotation,
    ChannelPermutation,
    CubeRotation,
    CyclicShift,
    FiniteGroup,
    GridShift,
    ImageDihedral,
    ImageFlip,
    ImageRotation,
)
from .groups._orbit_table import check_integers
from .inspection import explore
from .persistence import export, load
from .persistence._describe import describe

# From the orders of the generators, and what --axis gives.
_ACTIONS: dict[str, Callable[..., Any]] = {
    "AxisRotation": lambda orders, axis: AxisRotation(axis, orders[0]),
    "ChannelPermutation": lambda orders, axis=1: ChannelPermutation(
        len(orders) + 1, axis
    ),
    "CubeRotation": lambda orders: CubeRotation(),
    "CyclicShift": lambda orders, axis=-1: CyclicShift(axis, orders[0]),
    "GridShift": lambda orders, *axes: GridShift(axes, orders),
    "ImageDihedral": lambda orders: ImageDihedral(orders[0]),
    "ImageFlip": lambda orders, axis=-1: ImageFlip(axis),
    "ImageRotation": lambda orders: ImageRotation(orders[0]),
}
_NEEDED = ("X", "groups", "power")
_OPTIONAL = ("inputs", "labels", "names")

_ORBITS = """\
ORBITS.npz is a file of numpy.savez, without pickled objects, that holds
  X        activations, (n_rows, n_features)
  groups   orbit id of each row, (n_rows,)
  power    power of the generator of each row, (n_rows,); one column for each
           generator if there are several
and may hold
  inputs   canonical inputs, indexed by orbit id: images, signals or points
  labels   class of each row, (n_rows,)
  names    name of each feature, (n_latents,)

--action is one of
  ImageRotation       images turn
  ImageFlip           they are mirrored along --axis (default: -1, left and right)
  ImageDihedral       both
  CyclicShift         inputs are shifted along --axis (default: -1, the last)
  GridShift           along several; needs one --axis for each, such as --axis -2 -1
  ChannelPermutation  entries along --axis (default: 1) are swapped
  AxisRotation        points turn; needs --axis 0, 1 or 2, for x, y or z
  CubeRotation        points turn about all three
Axis 0 of inputs numbers them. Orders are those of M, or else the powers say them.

If power has several columns, they are those of M's group. Where there is no M, they
are those of the action's, so name it even without inputs.

example:
  >>> numpy.savez("orbits.npz", X=orbits.X, groups=orbits.groups,
  ...             power=orbits.power, inputs=images)
  $ python -m sk_eqsae explore sae.safetensors orbits.npz \\
        --action ImageRotation --out features.html
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, default=None
        The arguments. None takes those of the process.

    Returns
    -------
    status : int
        0, or 1 after an error, which is one line on stderr. Arguments that make no
        sense exit with 2.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (OSError, ValueError, TypeError) as error:
        print(f"sk_eqsae {arguments.command}: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    return " ".join(str(error).split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sk_eqsae",
        description="Look at autoencoders that sk_eqsae.save has written.",
        epilog="'python -m sk_eqsae COMMAND --help' says more of a command. The exit "
        "status is 0, 1 after an error, 2 if the arguments make no sense.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_info(commands)
    _add_explore(commands)
    _add_export(commands)
    return parser


def _add_command(
    commands: Any, run: Callable, name: str, help: str, epilog: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="a file of sk_eqsae.save")
    command.set_defaults(run=run)
    return command


def _add_info(commands: Any) -> None:
    command = _add_command(
        commands,
        _info,
        "info",
        "say what a saved file holds, without running anything of it",
        "example:\n  $ python -m sk_eqsae info sae.safetensors",
    )
    command.add_argument("--json", action="store_true", help="write JSON")


def _add_explore(commands: Any) -> None:
    command = _add_command(
        commands,
        _explore,
        "explore",
        "write a page on which the features can be looked at",
        _ORBITS,
    )
    command.add_argument("orbits", metavar="ORBITS.npz", help="activations, see below")
    command.add_argument(
        "--out",
        default="features.html",
        metavar="PATH",
        help="where to write (default: %(default)s)",
    )
    command.add_argument(
        "--action",
        choices=list(_ACTIONS),
        help="how the group acts on the inputs, to show them at all places of their "
        "orbits, see below",
    )
    command.add_argument(
        "--axis",
        type=int,
        nargs="+",
        default=(),
        metavar="AXIS",
        help="the axis of the action, or several, see below",
    )
    command.add_argument(
        "--activation-transform",
        metavar="FILE",
        help="saved ActivationTransformFitter, for an autoencoder that has no M",
    )


def _add_export(commands: Any) -> None:
    command = _add_command(
        commands,
        _export,
        "export",
        "write an autoencoder in the format of another library",
        "example:\n  $ python -m sk_eqsae export sae.safetensors folder",
    )
    command.add_argument("folder", metavar="FOLDER", help="the folder to make")
    command.add_argument(
        "--format",
        choices=["saelens", "dictionary_learning"],
        default="saelens",
        help="which library (default: %(default)s)",
    )


def _info(arguments: argparse.Namespace) -> None:
    found = describe(arguments.file)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(
        f"{found['class']}, {'fitted' if found['fitted'] else 'not fitted'}: "
        f"{found['bytes']:,} bytes, format version {found['format_version']}"
    )
    for part in ("parameters", "attributes"):
        lines = list(_lines(found[part]))
        width = max((len(name) for name, _ in lines), default=0)
        print(part)
        for name, text in lines:
            print(f"  {name:{width}}  {text}")


def _lines(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values; JSON keeps control characters of a file off the terminal."""
    for name, value in values.items():
        path = prefix + json.dumps(name)[1:-1]
        kind = set(value) if isinstance(value, dict) else set()
        if kind == {"dtype", "shape"}:
            size = " x ".join(map(str, value["shape"]))
            yield path, f"{value['dtype']} array, {size}"
        elif "class" in kind:
            yield path, value["class"]
            yield from _lines(value["attributes"], f"{path}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            items = {str(i): item for i, item in enumerate(value)}
            yield from _lines(items, f"{path}.")
        else:
            yield path, json.dumps(value)


def _explore(arguments: argparse.Namespace) -> None:
    sae = load(arguments.file)
    fitter = getattr(sae, "activation_transform_", None)
    if arguments.activation_transform is not None:
        fitter = load(arguments.activation_transform)
    arrays = _read_npz(arguments.orbits)
    group = getattr(fitter, "symmetry_", None)
    action = _action(arguments.action, arguments.axis, arrays["power"], group)
    orbits = _orbits(
        arrays, getattr(action, "symmetry", None) if group is None else group
    )
    path = explore(
        sae,
        orbits,
        arrays.get("inputs"),
        action=action,
        labels=arrays.get("labels"),
        names=arrays.get("names"),
        activation_transform=fitter,
        path=arguments.out,
    )
    print(path)


def _action(
    name: str | None, axes: Sequence[int], power: NDArray, group: FiniteGroup | None
) -> Any:
    if name is None:
        if axes:
            raise ValueError("--axis was given without --action. Give both or none.")
        return None
    make, orders = _ACTIONS[name], _orders(power, group)
    try:
        inspect.signature(make).bind(orders, *axes)
    except TypeError as error:
        found = f"--axis {' '.join(map(str, axes))}" if axes else "no --axis"
        raise ValueError(
            f"{name} got {found}: {error}. See 'python -m sk_eqsae explore --help'."
        ) from error
    return make(orders, *axes)


def _orders(power: NDArray, group: FiniteGroup | None) -> tuple[int, ...]:
    """Orders of the generators."""
    if group is not None:
        return group.generator_orders
    columns = power.reshape(len(power), -1).T
    return tuple(int(check_integers(one).max(initial=0)) + 1 for one in columns)


def _orbits(arrays: dict[str, NDArray], group: FiniteGroup | None) -> Orbits:
    power = arrays["power"]
    if power.shape[1:] in ((), (1,)):
        return Orbits(arrays["X"], arrays["groups"], power)
    if group is None:
        raise ValueError(
            f"power has {power.shape[1]} columns, one for each generator, and nothing "
            "says of which group. Give --action or --activation-transform."
        )
    return Orbits(arrays["X"], arrays["groups"], power, group)


def _read_npz(path: str) -> dict[str, NDArray]:
    if not zipfile.is_zipfile(path):
        with open(path, "rb"):  # that it is not there is another error
            raise ValueError(f"{path!r} is no file of numpy.savez.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"cannot read {path!r}: {error}") from error
    missing = set(_NEEDED) - set(arrays)
    unknown = set(arrays) - {*_NEEDED, *_OPTIONAL}
    if missing or unknown:
        raise ValueError(
            f"{path!r} has to hold {', '.join(_NEEDED)} and may hold "
            f"{', '.join(_OPTIONAL)}; found {', '.join(sorted(arrays)) or 'nothing'}."
        )
    return arrays


def _export(arguments: argparse.Namespace) -> None:
    export(load(arguments.file), arguments.folder, format=arguments.format)
    print(arguments.folder)


if __name__ == "__main__":
    sys.exit(main())
