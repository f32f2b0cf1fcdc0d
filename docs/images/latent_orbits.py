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
    """A row a base vector, a column an element of the group."""
    figure, axes = plt.subplots(3, 5, figsize=(7.4, 4.4), layout="constrained")
    for row, (length, image) in zip(axes, vectors().items(), strict=True):
        largest = np.abs(image).max()
        for q, axis in enumerate(row[:ORDER]):
            is_new = q < length
            style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
            turned = np.rot90(image, q)
            axis.imshow(turned, alpha=1 if is_new else 0.25, **style)
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(color=GREEN if is_new else GREY, lw=2 if is_new else 1)
            name = ["d", "M d", "M² d", "M³ d"][q]
            same = ["d", "M d"][q % length] if not is_new else ""
            axis.set_xlabel(f"{name} = {same}" if same else name, fontsize=10)
        _say(row[ORDER], length)
    for q, axis in enumerate(axes[0, :ORDER]):
        axis.set_title(["as it is", "turned once", "twice", "three times"][q], size=10)
    return figure


def _say(axis: plt.Axes, length: int) -> None:
    axis.axis("off")
    kept = {4: "No turn", 2: "A half-turn", 1: "Every turn"}[length]
    latents = "1 latent" if length == 1 else f"{length} latents"
    text = f"{latents},\n1 vector to learn.\n{kept} leaves\nd as it is."
    style = {"va": "center", "fontsize": 9.5, "transform": axis.transAxes}
    axis.text(0.05, 0.5, text, **style)


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_name("latent_orbits.png"), dpi=130)
