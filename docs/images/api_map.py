"""Draw the map of the public names: python docs/images/api_map.py."""

from pathlib import Path

import matplotlib.pyplot as plt

ROOMS = (  # name, colour, public names
    ("your network and inputs", "#666666", ("any torch.nn.Module", "any inputs")),
    (
        "activations",
        "#0072B2",
        ("extract_orbits", "site_alignment", "Orbits", "Tokens, Nodes"),
    ),
    (
        "groups",
        "#E69F00",
        ("ImageRotation, ...", "ActivationTransformFitter", "PoseCanonicalizer"),
    ),
    (
        "sae",
        "#009E73",
        ("TopKSAE", "EquivariantSAE", "GroupTiedSAE", "OrbitSAE", "fit_many"),
    ),
    (
        "probing",
        "#CC79A7",
        ("MeanDifferenceSelector", "make_probe", "evaluate_probes"),
    ),
    (
        "inspection",
        "#D55E00",
        ("explore, splice", "scan_symmetry", "feature_symmetry", "feature_families"),
    ),
    ("persistence", "#56B4E9", ("save, load", "export", "from_saelens, ...")),
)
PLACES = ((0, 2), (0, 1), (1, 1), (0, 0), (0, -1), (1, -1), (1, 0))
ARROWS = ((0, 1), (1, 2), (1, 3), (2, 3), (3, 4), (3, 5), (3, 6))
WIDTH, HEIGHT = 0.86, 0.66


def draw():
    """One box a room, arrows as data flows."""
    figure, axis = plt.subplots(figsize=(5, 6.4), layout="constrained")
    for (name, colour, names), (x, y) in zip(ROOMS, PLACES, strict=True):
        box = plt.Rectangle(
            (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, fc="white", ec=colour, lw=2
        )
        axis.add_patch(box)
        style = {"ha": "center", "va": "top", "fontsize": 9}
        top = y + HEIGHT / 2 - 0.04
        axis.text(x, top, name, weight="bold", color=colour, **style)
        axis.text(x, top - 0.11, "\n".join(names), linespacing=1.25, **style)
    for start, end in ARROWS:
        (x, y), (u, v) = PLACES[start], PLACES[end]
        if y == v:
            ends = (x + WIDTH / 2, y), (u - WIDTH / 2, v)
        else:
            ends = (x, y - HEIGHT / 2), (u, v + HEIGHT / 2)
        style = {"arrowstyle": "->", "color": "#555555", "lw": 1.5}
        axis.annotate("", ends[1], ends[0], arrowprops=style)
    axis.set(xlim=(-0.5, 1.5), ylim=(-1.4, 2.4))
    axis.set_axis_off()
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_name("api_map.png"), dpi=160)
