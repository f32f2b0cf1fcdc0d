"""Draw latent orbits of every length: python docs/images/latent_orbits.py."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

SIZE, ORDER = 41, 4
GREEN, GREY = "#009E73", "0.8"


def vectors() -> dict[int, np.ndarray]:
    """A vector of each orbit length, drawn as the image that fires it most."""
    y, x = np.mgrid[1 : -1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    near = np.exp(-3 * (x**2 + y**2))
    return {
        4: np.exp(-30 * (y - 0.45) ** 2) * np.exp(-8 * x**2)
        - np.exp(-30 * (y - 0.05) ** 2) * np.exp(-8 * x**2),
        2: near * np.cos(9 * y),
        1: near * np.cos(9 * np.hypot(x, y)),
    }


def draw() -> plt.Figure:
    """A row a base vector, a column an element of the group; phones can read it."""
    figure = plt.figure(figsize=(4.4, 4.9), layout="constrained")
    rows = figure.subfigures(3, 1, hspace=0.04)
    for row, (length, image) in zip(rows, vectors().items(), strict=True):
        row.suptitle(_said(length), fontsize=10)
        for q, axis in enumerate(row.subplots(1, ORDER)):
            _show(axis, image, q, length)
    return figure


def _show(axis: plt.Axes, image: np.ndarray, q: int, length: int) -> None:
    """Draw an image turned q times, in grey where an earlier one is the same."""
    is_new, largest = q < length, np.abs(image).max()
    style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    axis.imshow(np.rot90(image, q), alpha=1 if is_new else 0.25, **style)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color=GREEN if is_new else GREY, lw=2 if is_new else 1)
    name, first = ["d", "M d", "M² d", "M³ d"][q], ["d", "M d"][q % length % 2]
    axis.set_xlabel(name if is_new else f"{name} = {first}", fontsize=9)


def _said(length: int) -> str:
    kept = {4: "no turn", 2: "a half-turn", 1: "every turn"}[length]
    latents = "1 latent" if length == 1 else f"{length} latents"
    return f"{latents}: {kept} leaves d as it is"


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_name("latent_orbits.png"), dpi=130)
