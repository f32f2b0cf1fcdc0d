"""From tables to CSV files, PNG figures, a page and a summary."""

import html
import platform
from dataclasses import asdict
from pathlib import Path
from string import Template

import matplotlib as mpl
import numpy as np
import pandas as pd
import sklearn
import torch

from sk_eqsae.persistence import atomic_write

from . import _figures
from ._profiles import Profile
from ._stages import images_of

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Equivariant sparse autoencoders: $profile run</title>
<style>
body {font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
      padding: 0 1rem; color: #222}
h1, h2 {line-height: 1.2} h2 {margin-top: 2.5rem}
img {max-width: 100%; height: auto}
.scroll {overflow-x: auto}
table {border-collapse: collapse; font-size: .85rem; margin: 1rem 0}
th, td {padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd;
        white-space: nowrap}
thead th {border-bottom: 2px solid #888} tbody th {text-align: left}
.note {color: #555; font-size: .9rem}
</style></head><body>
<h1>Equivariant sparse autoencoders: $profile run</h1>
<p>Every number and picture on this page comes from one run of
<code>make reproduce PROFILE=$profile</code>, which took $minutes minutes.
Tables are beside this page as CSV, figures as PNG.</p>
$body
</body></html>
""")


def write_report(profile: str, settings: Profile, tables: dict, folder: Path, seconds):
    """Write everything there is to look at.

    Parameters
    ----------
    profile : str
        Name of the profile.
    settings : Profile
        Its settings.
    tables : dict of pandas.DataFrame
        As returned by ``Run.compute``.
    folder : pathlib.Path
        Where to write.
    seconds : float
        Time of the run.

    Returns
    -------
    summary : str
        The main numbers, for the terminal.
    """
    mpl.rcParams["figure.constrained_layout.use"] = True
    for name, table in tables.items():
        with atomic_write(folder / f"{name}.csv") as part:
            table.to_csv(part, index=False)
    sections = _sections(settings, tables, folder)
    body = "\n".join(
        f"<h2>{html.escape(title)}</h2>\n{content}" for title, content in sections
    )
    page = _PAGE.substitute(profile=profile, minutes=f"{seconds / 60:.1f}", body=body)
    with atomic_write(folder / "index.html") as part:
        part.write_text(page, encoding="utf-8")
    return summarise(tables)


def _sections(settings, tables, folder):
    k = min(c.k for c in settings.cells)
    probes, probe = tables["probes"], best_probe(tables["probes"])
    bars = [
        _figure(_figures.probing(probes, base, k, probe), folder, f"probing_{base}")
        for base in dict.fromkeys(probes.base)
    ]
    return [
        (
            "Data",
            _figure(_figures.samples(images_of(settings, "upright")), folder, "samples")
            + _note(
                "Four shapes an image. A canonical image (power 0) shows them upright; "
                "in the harder reading, <i>random</i>, each is turned at random."
            ),
        ),
        (
            "Base models",
            _html(tables["base"])
            + _note("Mean squared error on held-out images in all four rotations."),
        ),
        (
            "Result 1: one matrix moves the activations",
            _figure(
                _figures.transform_fidelity(tables["transform"]), folder, "r2_per_power"
            )
            + _html(tables["transform"])
            + _note(
                "R2 per feature, weighted by variance, on held-out orbits. exact law "
                "and least squares are closed forms, with M^4 = I and without; adam "
                "is gradient descent from the identity, as in the paper. order_error "
                "is the norm of M^4 - I over the root of the width."
            ),
        ),
        (
            "Result 2: how useful the features are",
            "".join(bars)
            + _html(probe_means(probes))
            + _note(
                f"F1 on held-out rows, {settings.truncation} latents, mean over the "
                "tasks of each kind; bars show the standard error over tasks. The "
                f"figures show {probe}, the probe that is best on average. The "
                "reconstruction of the equivariant SAE is moved by the power that it "
                "infers; with the true power, the probe is told the orientation."
            ),
        ),
        (
            "Result 3: reconstruction and sparsity",
            _figure(
                _figures.frontier(tables["sae"], tables["base"]), folder, "frontier"
            )
            + _html(tables["sae"])
            + _note(
                "FVU is the share of the variance of held-out activations that is not "
                "explained; dead is the share of latents that no held-out row "
                "activates; spliced_loss is the base model's loss with the "
                "reconstruction in place of the activations."
            ),
        ),
        (
            "Training",
            _figure(_figures.training(tables["curves"]), folder, "training"),
        ),
        ("Settings", _settings_table(settings)),
    ]


def best_probe(probes: pd.DataFrame) -> str:
    """Name the probe with the best F1 on average over everything."""
    return str(probes.groupby("probe").f1.mean().idxmax())


def probe_means(probes: pd.DataFrame) -> pd.DataFrame:
    """Mean F1 per kind of task, one row per source of features and probe."""
    index = ["base", "k", "sae", "features", "probe"]
    means = probes.pivot_table("f1", index, "kind", sort=False)
    return means[_figures.KINDS].reset_index().rename_axis(columns=None)


def summarise(tables: dict) -> str:
    """Say the main numbers in a few lines."""
    probe = best_probe(tables["probes"])
    sae = tables["sae"][
        ["base", "orientation", "sae", "recipe", "k", "reconstruction", "fvu", "dead"]
    ]
    means = probe_means(tables["probes"]).query("probe == @probe")
    transform = tables["transform"][["base", "orientation", "solver", "r2"]]
    parts = {
        "R2 of M on held-out orbits (mean over powers)": transform,
        "FVU on held-out orbits, and share of dead latents": sae,
        f"F1 on held-out rows, {probe} probe": means,
    }
    return "\n\n".join(
        f"{title}\n{table.to_string(index=False, float_format='{:.4f}'.format)}"
        for title, table in parts.items()
    )


def _figure(figure, folder, name):
    with atomic_write(folder / f"{name}.png") as part:
        figure.savefig(part, dpi=150, bbox_inches="tight")
    mpl.pyplot.close(figure)
    return f'<p><img src="{name}.png" alt="{name.replace("_", " ")}"></p>\n'


def _html(table):
    text = table.to_html(index=False, border=0, float_format=_number, na_rep="")
    return f'<div class="scroll">{text}</div>\n'


def _number(value):
    return f"{value:.4f}" if 1e-4 <= abs(value) < 1e4 or value == 0 else f"{value:.1e}"


def _note(text):
    return f'<p class="note">{text}</p>\n'


def _settings_table(settings):
    rows = {k: v for k, v in asdict(settings).items() if k != "cells"}
    rows |= {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }
    table = pd.DataFrame({"setting": rows.keys(), "value": map(str, rows.values())})
    return _html(table)
