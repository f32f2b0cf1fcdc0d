"""The figures of the report; each function draws one."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

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
DASHES = {
    "regular": "-",
    "wide": "--",
    "two-layer": ":",
    "equivariant": "-",
    "group-tied": "-.",
}
KINDS = ["S", "SP", "SO", "SPO"]


def samples(shapes, n_images=5):
    """Draw images of the data and their four rotations (Figure 2)."""
    figure, axes = plt.subplots(4, n_images, figsize=(1.35 * n_images, 5.7))
    for p, row in enumerate(axes):
        for image, axis in zip(shapes.rotate(p).images, row, strict=False):
            _show(axis, image[0], cmap="gray", vmin=0, vmax=1)
        row[0].set_ylabel(f"power {p}")
    figure.suptitle("Base images and their orbits under quarter-turns", fontsize=11)
    return figure


def base_shapes(shapes):
    """Draw each shape once, upright (Figure 6)."""
    figure, axes = plt.subplots(1, 8, figsize=(8.6, 1.4), layout="constrained")
    for number, (name, axis) in enumerate(zip(shapes.shape_names, axes, strict=True)):
        image, quadrant = np.argwhere(shapes.shape == number)[0]
        rows, columns = ((0, 0), (1, 0), (1, 1), (0, 1))[quadrant]
        tile = shapes.images[image, 0].reshape(2, 32, 2, 32)[rows, :, columns]
        _show(axis, tile, cmap="gray", vmin=0, vmax=1)
        axis.set_title(name, fontsize=8)
    return figure


def _show(axis, picture, **style):
    axis.imshow(picture, **style)
    axis.set(xticks=[], yticks=[])


def features(pictures, cosines):
    """Draw what features add to a picture, along their orbits (Figure 1, right)."""
    n = pictures.shape[1]
    figure, axes = plt.subplots(
        n, 8, figsize=(8.6, 1.08 * n + 0.7), squeeze=False, layout="constrained"
    )
    titles = ("most invariant", "most moving")
    for half, (title, rows) in enumerate(zip(titles, pictures, strict=True)):
        for i, row in enumerate(rows):
            limit = np.abs(row).max()
            for power, picture in enumerate(row):
                axis = axes[i, 4 * half + power]
                _show(axis, picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
                if i == 0:
                    axis.set_title(f"{title}\n" * (power == 0) + f"power {power}")
                    axis.title.set_fontsize(8)
            axes[i, 4 * half].set_ylabel(f"{cosines[half, i]:.2f}", fontsize=8)
    return figure


def transform_fidelity(transform: pd.DataFrame):
    """Draw the R2 of M per power, mean and deviation over seeds (Result 1)."""
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
            r2 = rows[rows.solver == solver].filter(regex="r2_power_")
            axis.errorbar(
                [1, 2, 3],
                r2.mean(),
                yerr=r2.std(ddof=0),
                marker=marker,
                color=colour,
                label=solver,
                capsize=3,
            )
        identity = rows[rows.solver == "identity"].r2.mean()
        axis.set_title(f"{base}, {orientation}\n(M = I: {identity:.2f})", fontsize=10)
        axis.set(xticks=[1, 2, 3], xlabel="power p")
        axis.grid(axis="y", alpha=0.3)
    axes[0, 0].set_ylabel(r"test $R^2$ of $M^p \psi(x)$")
    axes[0, 0].legend(frameon=False)
    return figure


def probing(scores: pd.DataFrame, title: str):
    """Draw F1 per kind of task, one column of panels for each k (Figures 3 and 7)."""
    ks = sorted(set(scores.k) - {0})
    figure, axes = plt.subplots(
        2,
        len(ks),
        figsize=(1.4 + 3.6 * len(ks), 5.8),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for features, row in zip(("latents", "reconstruction"), axes, strict=True):
        for k, axis in zip(ks, row, strict=True):
            _bars(axis, scores[scores.k.isin((0, k))], features)
            axis.set_title(f"{features}, k = {k}", fontsize=10)
        row[0].set_ylabel("test F1")
    entries = _legend_entries(axes)
    bars = {"activations", *COLOURS}
    entries = dict(sorted(entries.items(), key=lambda e: e[0] not in bars))
    style = {"frameon": False, "fontsize": 9, "ncols": 2 + len(ks)}
    figure.legend(entries.values(), entries, loc="outside lower center", **style)
    figure.suptitle(title, fontsize=11)
    return figure


def _bars(axis, scores, features):
    saes = [sae for sae in COLOURS if sae in set(scores.sae)]
    first, *more = sorted(set(scores.seed))
    for i, sae in enumerate(saes):
        chosen = scores[
            (scores.sae == sae) & scores.features.isin(("activations", features))
        ]
        by_kind = chosen[chosen.seed == first].groupby("kind").f1
        place = np.arange(len(KINDS)) + (i - (len(saes) - 1) / 2) * 0.14
        axis.bar(
            place,
            by_kind.mean().reindex(KINDS),
            width=0.13,
            yerr=by_kind.sem().reindex(KINDS),
            error_kw={"elinewidth": 0.8},
            color=COLOURS[sae],
            hatch=HATCHES[sae],
            edgecolor="white",
            label="activations" if sae == "none" else sae,
        )
        for seed in more:
            means = chosen[chosen.seed == seed].groupby("kind").f1.mean()
            style = {"ms": 7, "mew": 1.2, "label": f"seed {seed}"}
            axis.plot(place, means.reindex(KINDS), "k_", **style)
        of_sae = scores[(scores.sae == sae) & (scores.seed == first)]
        told = of_sae[of_sae.features == f"{features}, true power"]
        if len(told):
            axis.plot(
                place,
                told.groupby("kind").f1.mean().reindex(KINDS),
                "kD",
                fillstyle="none",
                ms=4,
                label=f"{sae}, told the power",
            )
    axis.set(xticks=range(len(KINDS)), xticklabels=KINDS)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)


def frontier(sae: pd.DataFrame, base_losses: pd.DataFrame):
    """Draw L1 of the latents against the spliced loss (Figure 4)."""
    bases = list(dict.fromkeys(sae.base))
    figure, axes = plt.subplots(
        1,
        2 * len(bases),
        figsize=(2 + 4.6 * len(bases), 3.6),
        width_ratios=[4, 1] * len(bases),
        squeeze=False,
        layout="constrained",
    )
    unspliced = base_losses.set_index("base").test_loss
    for base, pair in zip(bases, axes.reshape(-1, 2), strict=True):
        of_base = sae[sae.base == base].sort_values("k")
        of_base = of_base.assign(ratio=of_base.spliced_loss / unspliced[base])
        _frontier_pair(of_base, base, *pair)
    axes[0, 0].set_ylabel("L1 of the latents")
    figure.supxlabel(
        "loss with the SAE spliced in, over the unspliced one", fontsize=10
    )
    _legend(figure, axes)
    return figure


def _frontier_pair(of_base, base, axis, aside):
    """What is moved, or need not be, on the left; what is not moved on the right."""
    kinds = of_base.groupby(["sae", "reconstruction"], sort=False)
    for (name, kind), line in sorted(kinds, key=lambda group: _place(*group[0])):
        _frontier_line(aside if kind == "invariant" else axis, line, name, kind)
    axis.axvline(1, color="black", lw=0.8, ls="--", label="unspliced")
    moved = of_base[of_base.reconstruction != "invariant"]
    if moved.ratio.max() > 3:
        axis.set_xscale("log")
    else:
        axis.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axis.set_title(f"{base}; larger marks, larger k", fontsize=10)
    axis.margins(x=0.1, y=0.12)
    aside.set_title("not moved", fontsize=10)
    aside.sharey(axis)
    aside.tick_params(labelleft=False)
    unmoved = of_base.ratio[of_base.reconstruction == "invariant"]
    if len(unmoved):
        centre = float(f"{unmoved.median():.2g}")
        aside.set(xlim=(0.5 * centre, 1.5 * centre), xticks=[centre])
        aside.set_xticklabels([f"{centre:g}"])
    for each in (axis, aside):
        each.grid(alpha=0.3)


def _place(sae, reconstruction):
    """Order of the legend."""
    return list(MARKERS).index(sae), reconstruction


def _frontier_line(axis, line, name, kind):
    colour = COLOURS[name]
    marker = "x" if kind == "invariant" else MARKERS[name]
    label = {"plain": name, "invariant": f"{name}, not moved"}
    axis.plot(
        line.ratio,
        line.l1,
        color=colour,
        marker=marker,
        ms=4,
        linestyle=":" if kind == "invariant" else "-",
        fillstyle="none" if kind == "inferred power" else "full",
        label=label.get(kind, f"{name}, {kind}"),
    )
    style = {"c": "white" if kind == "inferred power" else colour, "zorder": 3}
    if marker != "x":
        style["edgecolors"] = colour
    axis.scatter(line.ratio, line.l1, s=4 * line.k, marker=marker, **style)


def training(curves: pd.DataFrame):
    """Draw the FVU of training rows over steps, by base model and k.

    Losses are drawn in panels where an FVU is missing.
    """
    bases, ks = list(dict.fromkeys(curves.base)), sorted(set(curves.k))
    figure, axes = plt.subplots(
        len(bases),
        len(ks),
        figsize=(2 + 3.1 * len(ks), 2.6 * len(bases)),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for base, row in zip(bases, axes, strict=True):
        for k, axis in zip(ks, row, strict=True):
            shown = curves.query("base == @base and k == @k")
            known = "train_fvu" in shown and shown.train_fvu.notna().all()
            column = "train_fvu" if known else "train_loss"
            drawn = "FVU" if known else "loss / variance"
            lines = dict(list(shown.groupby("sae")))
            for name in [sae for sae in MARKERS if sae in lines]:
                style = {"color": COLOURS[name], "label": name}
                axis.plot(lines[name].step, lines[name][column], **style)
            axis.set(yscale="log", title=f"{base}, k = {k}: {drawn}")
            axis.title.set_fontsize(10)
            axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    _legend(figure, axes)
    return figure


def symmetry(counts: pd.DataFrame):
    """Draw how dictionary vectors move: cosine(d, M^p d) (Figure 1, right)."""
    bases = list(dict.fromkeys(counts.base))
    figure, axes = plt.subplots(
        len(bases),
        3,
        figsize=(10.5, 2.5 * len(bases)),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for base, row in zip(bases, axes, strict=True):
        for power, axis in zip((1, 2, 3), row, strict=True):
            chosen = counts.query("base == @base and power == @power")
            for name, bins in chosen.groupby("sae", sort=False):
                axis.step(
                    bins.cosine_from,
                    bins.latents / max(bins.latents.sum(), 1),
                    where="post",
                    color=COLOURS[name],
                    linestyle=DASHES[name],
                    label=name,
                )
            axis.set_title(f"{base}, power {power}", fontsize=10)
            axis.grid(alpha=0.3)
        row[0].set_ylabel("share of live latents")
    for axis in axes[-1]:
        axis.set_xlabel(r"cosine($d$, $M^p d$)")
    _legend(figure, axes)
    return figure


def _legend(figure, axes):
    """One legend for all panels, each entry once."""
    entries = _legend_entries(axes)
    style = {"frameon": False, "fontsize": 8}
    figure.legend(entries.values(), entries, loc="outside right upper", **style)


def _legend_entries(axes):
    entries: dict = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    return entries
