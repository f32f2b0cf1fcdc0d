"""Parameter texts that several public docstrings share, written once."""

import re
from textwrap import indent
from typing import TypeVar

Documented = TypeVar("Documented")

TEXTS = {
    "X": """\
X : array-like of shape (n_rows, n_features)
    Activations.""",
    "y": """\
y : None
    Ignored.""",
    "groups": """\
groups : array-like of shape (n_rows,), default=None
    Orbit id of each row.""",
    "power": """\
power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
    Powers of the generators of each row; 0 is the canonical row.""",
    "symmetry": """\
symmetry : int or FiniteGroup, default=None
    The group: the order of a cyclic group, or one such as ``DihedralGroup(4)``. None
    is the cyclic group of the powers given to `fit`.""",
    "ax": """\
ax : matplotlib Axes, default=None
    Where to draw. None makes a new figure.""",
    "display": """\
Returns
-------
display : display
    The drawn display.""",
    "picture": """\
Attributes
----------
ax_ : matplotlib Axes
    Axes with the picture.
figure_ : matplotlib Figure
    Figure that holds it.""",
    "device": """\
device : str or torch.device, default="auto"
    Where to compute. "auto" uses a GPU when there is one.""",
}


def fill(documented: Documented) -> Documented:
    """Replace each docstring line that is only ``{name}`` by the text of that name."""
    found = documented.__doc__
    if found is not None:  # python -OO leaves none
        documented.__doc__ = re.sub(
            r"^( *)\{(\w+)\}$",
            lambda line: indent(TEXTS[line[2]], line[1]),
            found,
            flags=re.MULTILINE,
        )
    return documented
