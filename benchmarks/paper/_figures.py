"""The figures of the report; each function draws one."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter

COLOURS = {  # Okabe and Ito: told apart by colour-blind readers
    "none": "#999999",
    "regular": "#0072B2",
    "wide": "#56B4E9",
    "two-layer": "#E69F00",
    "equivariant": "#D55E00",
    "group-tied": "#009E73",
}
MARKERS = {
    "none": "P",
    "regular": "o",
    "wide": "s",
    "two-layer": "^",
    "equivariant": "D",
    "group-tied": "v",
}
DASHES = {
    "regular": "-",
    "wide": "--",
    "two-layer": ":",
    "equivariant": (0, (5, 1, 1, 1, 1, 1)),
    "group-tied": "-.",
}
KINDS = {
    "S": "shape",
    "SP": "shape and\nposition",
    "SO": "shape and\norientation",
    "SPO": "all three",
}
_OF_BASE = {
    "cnn": {"color": "#D55E00", "linestyle": "-"},
    "mlp": {"color": "#0072B2", "linestyle": "--"},
}
_WIDTH = 4.4  # inches: what a phone shows at a size that reads
_FLOOR = 1e-4  # below it nothing is told apart by 4,000 rows


def samples(shapes, n_images=5):
    """Draw images of the data and their four rotations (Figure 2)."""
    size = (_WIDTH, 0.85 * _WIDTH)
    figure, axes = plt.subplots(4, n_images, figsize=size, layout="constrained")
    for p, row in enumerate(axes):
        for image, axis in zip(shapes.rotate(p).images, row, strict=False):
            _show(axis, image[0], cmap="gray", vmin=0, vmax=1)
        row[0].set_ylabel(f"power {p}")
    figure.suptitle("Base images and their orbits under quarter-turns", fontsize=11)
    return figure


def base_shapes(shapes):
    """Draw each shape once, upright (Figure 6)."""
    figure, axes = plt.subplots(2, 4, figsize=(_WIDTH, 2.9), layout="constrained")
    named = zip(shapes.shape_names, axes.flat, strict=True)
    for number, (name, axis) in enumerate(named):
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
        n, 8, figsize=(_WIDTH, 0.54 * n + 0.7), squeeze=False, layout="constrained"
    )
    titles = ("most invariant", "most moving")
    for half, (title, rows) in enumerate(zip(titles, pictures, strict=True)):
        for i, row in enumerate(rows):
            limit = np.abs(row).max()
            for power, picture in enumerate(row):
                axis = axes[i, 4 * half + power]
                _show(axis, picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
                if i == 0:
                    above = f"{title}\n" * (power == 0) + f"p = {power}"
                    axis.set_title(above, loc="left", fontsize=8)
            axes[i, 4 * half].set_ylabel(f"{cosines[half, i]:.2f}", fontsize=8)
    return figure


def transform_fidelity(transform: pd.DataFrame):
    """Draw the R2 of M per power, mean and deviation over seeds (Result 1)."""
    names = transform[["base", "orientation"]].drop_duplicates().to_numpy()
    figure, axes = _panels(-(-len(names) // 2), 2, 2.1)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    styles = {
        "exact law": ("#D55E00", "D", -0.2),
        "least squares": ("#0072B2", "o", 0),
        "adam": ("#E69F00", "s", 0.2),
    }
    for (base, orientation), axis in zip(names, axes.flat, strict=False):
        rows = transform.query("base == @base and orientation == @orientation")
        for solver, (colour, marker, aside) in styles.items():
            r2 = rows[rows.solver == solver].filter(regex="r2_power_")
            places = np.array([1, 2, 3]) + aside
            style = {"fmt": marker, "color": colour, "capsize": 3, "ms": 5}
            axis.errorbar(places, r2.mean(), yerr=r2.std(ddof=0), label=solver, **style)
        identity = rows[rows.solver == "identity"].r2.mean()
        axis.set_title(f"{base}, {orientation}\n(M = I: {identity:.2f})", fontsize=9)
        axis.set(xticks=[1, 2, 3], xlabel="power")
    for row in axes:
        row[0].set_ylabel("$R^2$ of $M^p$, test")
    _legend(figure, axes)
    return figure


def probing(scores: pd.DataFrame, title: str):
    """Draw what probes miss, 1 - F1, a row of panels for each k (Figures 3 and 7)."""
    ks = sorted(set(scores.k) - {0})
    figure, axes = _panels(len(ks), 2, 2.3)
    for k, row in zip(ks, axes, strict=True):
        for features, axis in zip(("latents", "reconstruction"), row, strict=True):
            _dots(axis, scores[scores.k.isin((0, k))], features)
            axis.set_title(f"{features}, k = {k}", fontsize=9)
    axes[0, 0].set(yticks=range(len(KINDS)), yticklabels=KINDS.values(), xscale="log")
    axes[0, 0].invert_yaxis()
    axes[0, 0].xaxis.set_minor_formatter(NullFormatter())  # of all, since they share
    for axis in axes[-1]:
        axis.set_xlabel("1 - F1, test (left is better)", fontsize=9)
    _legend(figure, axes)
    figure.suptitle(title, fontsize=10)
    return figure


def _dots(axis, scores, features):
    saes = [sae for sae in MARKERS if sae in set(scores.sae)]
    first, *more = sorted(set(scores.seed))
    for i, sae in enumerate(saes):
        of_sae = scores[scores.sae == sae]
        chosen = of_sae[of_sae.features.isin(("activations", features))]
        place = np.arange(len(KINDS)) + (i - (len(saes) - 1) / 2) * 0.14
        colour = COLOURS[sae]
        style = {"fmt": MARKERS[sae], "color": colour, "ms": 4, "elinewidth": 0.8}
        name = "activations" if sae == "none" else sae
        missed, spread = _missed(chosen[chosen.seed == first])
        # an error bar may not reach zero, which no such axis has
        reach = [np.minimum(spread, missed - _FLOOR), spread]
        axis.errorbar(missed, place, xerr=reach, label=name, **style)
        for seed in more:
            missed, _ = _missed(chosen[chosen.seed == seed])
            axis.plot(missed, place, "k|", ms=6, mew=1.2, label=f"seed {seed}")
        told = of_sae[of_sae.seed == first]
        told = told[told.features == f"{features}, true power"]
        if len(told):
            style = {"fillstyle": "none", "ms": 6, "label": f"{sae}, told the power"}
            axis.plot(_missed(told)[0], place, "kD", **style)


def _missed(scores):
    """1 - F1 by kind of task, no less than the floor, and its standard error."""
    by_kind = scores.groupby("kind").f1
    missed = 1 - by_kind.mean().reindex(KINDS)
    return missed.clip(lower=_FLOOR), by_kind.sem().reindex(KINDS)


def frontier(sae: pd.DataFrame, base_losses: pd.DataFrame):
    """Draw L1 of the latents against the spliced loss (Figure 4)."""
    bases = list(dict.fromkeys(sae.base))
    figure, axes = _panels(len(bases), 1, 2.6, share_y=False)
    unspliced = base_losses.set_index("base").test_loss
    for base, axis in zip(bases, axes[:, 0], strict=True):
        of_base = sae[sae.base == base].sort_values("k")
        of_base = of_base.assign(ratio=of_base.spliced_loss / unspliced[base])
        kinds = of_base.groupby(["sae", "reconstruction"], sort=False)
        for (name, kind), line in sorted(kinds, key=lambda group: _place(*group[0])):
            _frontier_line(axis, line, name, kind)
        axis.axvline(1, color="black", lw=0.8, ls="--", label="unspliced")
        axis.set(xscale="log", ylabel="L1 of the latents")
        axis.set_title(f"{base}; larger marks, larger k", fontsize=9)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.margins(x=0.1, y=0.12)
    axes[-1, 0].set_xlabel("loss with the SAE spliced in, over the unspliced one")
    _legend(figure, axes)
    return figure


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
    figure, axes = _panels(len(ks), len(bases), 1.9, share_y="col")
    for k, row in zip(ks, axes, strict=True):
        for base, axis in zip(bases, row, strict=True):
            shown = curves.query("base == @base and k == @k")
            known = "train_fvu" in shown and shown.train_fvu.notna().all()
            column = "train_fvu" if known else "train_loss"
            lines = dict(list(shown.groupby("sae")))
            for name in [sae for sae in MARKERS if sae in lines]:
                style = {"color": COLOURS[name], "linestyle": DASHES[name]}
                line = lines[name]
                axis.plot(line.step, line[column], label=name, lw=1.2, **style)
            label = "training FVU" if known else "loss / variance"
            axis.set(yscale="log", ylabel=label)
            axis.set_title(f"{base}, k = {k}", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    _legend(figure, axes)
    return figure


def symmetry(counts: pd.DataFrame):
    """Draw how dictionary vectors move: cosine(d, M^p d) (Figure 1, right)."""
    saes = [name for name in MARKERS if name in set(counts.sae)]
    figure, axes = _panels(len(saes), 3, 1.3, share_y="row")
    for name, row in zip(saes, axes, strict=True):
        for power, axis in zip((1, 2, 3), row, strict=True):
            chosen = counts.query("sae == @name and power == @power")
            for base, bins in chosen.groupby("base", sort=False):
                share = bins.latents / max(bins.latents.sum(), 1)
                style = _OF_BASE[base] | {"where": "post", "label": base}
                axis.step(bins.cosine_from, share, lw=1.2, **style)
            if name == saes[0]:
                axis.set_title(f"power {power}", fontsize=9)
        row[0].set_ylabel(name)
    axes[-1, 1].set_xlabel("cosine of $d$ and $M^p d$")
    figure.supylabel("share of live latents", fontsize=9)
    _legend(figure, axes)
    return figure


def _panels(n_rows, n_columns, height, *, share_y=True):
    """Panels as wide, all together, as a page on a phone."""
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(_WIDTH, 1.1 + height * n_rows),
        sharex=True,
        sharey=share_y,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
        axis.tick_params(labelsize=8)
    return figure, axes


def _legend(figure, axes):
    """One legend for all panels, each entry once."""
    entries = _legend_entries(axes)
    style = {"frameon": False, "fontsize": 8, "ncols": 2 + (len(entries) < 5)}
    figure.legend(entries.values(), entries, loc="outside lower center", **style)


def _legend_entries(axes):
    entries: dict = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    return entries
