"""The figures of the report; each function draws one."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

COLOURS = {  # Okabe and Ito: told apart by colour-blind readers
    "none": "#999999",
    "regular": "#0072B2",
    "wide": "#56B4E9",
    "two-layer": "#E69F00",
    "equivariant": "#D55E00",
    "group-tied": "#009E73",
}
MARKERS = {
    "regular": "o",
    "wide": "s",
    "two-layer": "^",
    "equivariant": "D",
    "group-tied": "v",
}
HATCHES = {
    "none": "",
    "regular": "",
    "wide": "//",
    "two-layer": "..",
    "equivariant": "",
    "group-tied": "xx",
}
KINDS = ["S", "SP", "SO", "SPO"]


def samples(shapes, n_images=5):
    """Draw images of the data and their four rotations (Figure 2)."""
    figure, axes = plt.subplots(4, n_images, figsize=(1.35 * n_images, 5.7))
    for p, row in enumerate(axes):
        for image, axis in zip(shapes.rotate(p).images, row, strict=False):
            axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"power {p}")
    figure.suptitle("Base images and their orbits under quarter-turns", fontsize=11)
    return figure


def transform_fidelity(transform: pd.DataFrame):
    """Draw the R2 of M per power (Result 1)."""
    names = transform[["base", "orientation"]].drop_duplicates().to_numpy()
    figure, axes = plt.subplots(
        1, len(names), figsize=(3.3 * len(names), 3.1), sharey=True, squeeze=False
    )
    styles = {
        "exact law": ("#D55E00", "D"),
        "least squares": ("#0072B2", "o"),
        "adam": ("#E69F00", "s"),
    }
    for (base, orientation), axis in zip(names, axes[0], strict=True):
        rows = transform.query("base == @base and orientation == @orientation")
        for solver, (colour, marker) in styles.items():
            r2 = rows[rows.solver == solver].filter(regex="r2_power_").to_numpy()[0]
            axis.plot([1, 2, 3], r2, marker=marker, color=colour, label=solver)
        identity = rows[rows.solver == "identity"].r2.item()
        axis.set_title(f"{base}, {orientation}\n(M = I: {identity:.2f})", fontsize=10)
        axis.set(xticks=[1, 2, 3], xlabel="power p")
        axis.grid(axis="y", alpha=0.3)
    axes[0, 0].set_ylabel(r"test $R^2$ of $M^p \psi(x)$")
    axes[0, 0].legend(frameon=False)
    return figure


def probing(scores: pd.DataFrame, base: str, k: int, probe: str):
    """Draw F1 per kind of task for latents and truncated reconstructions (Figure 3)."""
    rows = scores.query("base == @base and k in (0, @k) and probe == @probe")
    panels = {"latents": ["latents"], "truncated reconstructions": ["reconstruction"]}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    saes = [s for s in COLOURS if s in set(rows.sae)]
    for (title, features), axis in zip(panels.items(), axes, strict=True):
        for i, sae in enumerate(saes):
            chosen = rows[rows.sae == sae]
            if sae != "none":
                chosen = chosen[chosen.features.isin(features)]
            by_kind = chosen.groupby("kind").f1
            place = np.arange(len(KINDS)) + (i - (len(saes) - 1) / 2) * 0.16
            axis.bar(
                place,
                by_kind.mean().reindex(KINDS),
                width=0.15,
                yerr=by_kind.sem().reindex(KINDS),
                error_kw={"elinewidth": 0.8},
                color=COLOURS[sae],
                hatch=HATCHES.get(sae),
                edgecolor="white",
                label="activations" if sae == "none" else sae,
            )
        axis.set(xticks=range(len(KINDS)), xticklabels=KINDS, title=title)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
    axes[0].set_ylabel("test F1")
    axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.suptitle(f"{base}, k = {k}, {probe} probe", fontsize=11)
    return figure


def frontier(sae: pd.DataFrame, base_losses: pd.DataFrame):
    """Draw L1 of the latents against the spliced loss (Figure 4)."""
    rows = sae.query("orientation == 'upright' and recipe == 'default'")
    bases = list(dict.fromkeys(rows.base))
    figure, axes = plt.subplots(1, len(bases), figsize=(4.2 * len(bases), 3.4))
    for base, axis in zip(bases, np.atleast_1d(axes), strict=True):
        of_base = rows[rows.base == base]
        for (name, kind), line in of_base.groupby(["sae", "reconstruction"]):
            style = {"marker": MARKERS[name], "color": COLOURS[name]}
            axis.plot(
                line.spliced_loss,
                line.l1,
                **style,
                ms=4,
                linestyle=":" if kind == "invariant" else "-",
                fillstyle="none" if kind == "inferred power" else "full",
                label=name if kind == "plain" else f"{name}, {kind}",
            )
            if kind != "inferred power":
                axis.scatter(line.spliced_loss, line.l1, s=4 * line.k, **style)
        unspliced = base_losses.query("base == @base and orientation == 'upright'")
        axis.axvline(
            unspliced.test_loss.item(),
            color="black",
            lw=0.8,
            ls="--",
            label="unspliced",
        )
        axis.set(xscale="log", title=f"{base}; larger marks, larger k")
        axis.set_ylim(0, 1.08 * of_base.l1.max())
        axis.margins(x=0.2)
        axis.set_xlabel("loss with the SAE spliced in")
        axis.grid(alpha=0.3)
    np.atleast_1d(axes)[0].set_ylabel("L1 of the latents")
    np.atleast_1d(axes)[-1].legend(
        fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False
    )
    return figure


def training(curves: pd.DataFrame):
    """Draw FVU over epochs for every autoencoder."""
    panels = curves[["base", "orientation", "recipe"]].drop_duplicates().to_numpy()
    columns = min(3, len(panels))
    n_rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        n_rows, columns, figsize=(3.6 * columns, 2.9 * n_rows), squeeze=False
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for (base, orientation, recipe), axis in zip(panels, axes.flat, strict=False):
        chosen = curves.query(
            "base == @base and orientation == @orientation and recipe == @recipe"
        )
        for (name, k), line in chosen.groupby(["sae", "k"]):
            axis.plot(
                line.epoch,
                line.train_fvu,
                color=COLOURS[name],
                linestyle="-" if k == chosen.k.min() else "--",
                label=f"{name}, k={k}",
            )
        axis.set(yscale="log", title=f"{base}, {orientation}, {recipe} recipe")
        axis.set(xlabel="epoch", ylabel="training FVU")
        axis.title.set_fontsize(10)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    return figure
