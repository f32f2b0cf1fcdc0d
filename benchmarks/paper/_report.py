"""From tables to CSV files, PNG figures, a page and a summary."""

import html
import platform
from pathlib import Path
from string import Template

import matplotlib as mpl
import numpy as np
import pandas as pd
import sklearn
import torch

from sk_eqsae.persistence import atomic_write

from . import _figures
from ._base_models import BASE_MODELS
from ._claims import MARGIN, claims_table, of_all_probes
from ._models import images_of
from ._profiles import Model
from ._run import Run

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Equivariant sparse autoencoders: $profile run</title>
<style>
:root {color-scheme: light dark; --page: #fff; --ink: #222; --faint: #555;
       --line: #ddd; --link: #0b5394; --note: #fff3cd; --good: #11662f; --some: #8a5a00;
       --bad: #a11}
@media (prefers-color-scheme: dark) {
  :root {--page: #14171a; --ink: #e8eaed; --faint: #a6b0ba; --line: #3b434b;
         --link: #7cc4f5; --note: #3a2f10; --good: #6fcf97; --some: #f0b35a;
         --bad: #ff8a80}
  img {background: #fff; border-radius: .4rem}
}
body {font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
      padding: 0 1rem; color: var(--ink); background: var(--page)}
h1, h2 {line-height: 1.2} h2 {margin-top: 2.5rem}
img {max-width: 100%; height: auto}
.scroll {overflow-x: auto}
table {border-collapse: collapse; font-size: .85rem; margin: 1rem 0}
th, td {padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
        white-space: nowrap}
thead th {border-bottom: 2px solid var(--faint)} tbody th {text-align: left}
.claims {width: 100%; font-size: .95rem}
.claims th, .claims td {text-align: left; white-space: normal; vertical-align: top}
.claims .verdict {white-space: nowrap}
.holds {color: var(--good)} .partly {color: var(--some)} .fails {color: var(--bad)}
.none {color: var(--faint)}
summary {cursor: pointer; color: var(--link)}
.banner {background: var(--note); border: 2px solid var(--some); padding: .6rem 1rem;
         border-radius: .4rem}
.note {color: var(--faint); font-size: .9rem}
@media (max-width: 40rem) {.word {display: none} h1 {font-size: 1.5rem}}
</style></head><body>
<h1>Equivariant sparse autoencoders: $profile run</h1>
$banner
<p>Every number and picture on this page comes from
<code>make reproduce PROFILE=$profile</code>, which computes each part once and keeps
it; $done parts are finished. Tables are beside this page as CSV, figures as PNG. Where
settings differ from the paper's is said on docs/paper_settings.md.</p>
$body
</body></html>
""")


SMOKE = (
    "This is a test of the machinery, not a result: a few steps on a few images. "
    "Nothing has been learned, so no claim is judged and no number below means "
    "anything. PROFILE=quick gives first results, PROFILE=full those of the pages."
)
_MARKS = {
    "holds": ("holds", "✓", "holds"),
    "not measured": ("none", "-", "not measured"),
}
_PARTLY, _FAILS = ("partly", "◐", "in part"), ("fails", "✗", "does not hold")


def write_report(profile: str, run: Run, tables: dict, folder: Path) -> str:
    """Write everything there is to look at."""
    mpl.rcParams["figure.constrained_layout.use"] = True
    probe = best_probe(tables["probes"])
    is_test = profile == "smoke"
    shown = tables | {"probes": with_dead(probe_means(tables["probes"]), tables["sae"])}
    if not is_test:
        shown["claims"] = claims_table(tables, probe)
    for name, table in shown.items():
        with atomic_write(folder / f"{name}.csv") as part:
            table.to_csv(part, index=False, float_format="%.6g")
    sections = _sections(run, tables, shown, probe, folder)
    body = "\n".join(
        f"<h2>{html.escape(title)}</h2>\n{content}" for title, content in sections
    )
    done = f"{sum(part.name in run.store for part in run.parts)} of {len(run.parts)}"
    banner = f'<p class="banner" role="note">{SMOKE}</p>' if is_test else ""
    page = _PAGE.substitute(profile=profile, done=done, body=body, banner=banner)
    with atomic_write(folder / "index.html") as part:
        part.write_text(page, encoding="utf-8")
    summary = summarise(tables, shown, probe)
    return f"{SMOKE}\n\n{summary}\n\n{SMOKE}" if is_test else summary


def _sections(run, tables, shown, probe, folder):
    n_images = run.profile.n_images
    upright, random = (
        images_of(n_images, Model("mlp", orientation))
        for orientation in ("upright", "random")
    )

    def picture(name, function, *args):
        return _figure(function(*args), folder, name)

    return [
        *_claims_section(shown),
        (
            "Data",
            picture("samples", _figures.samples, upright)
            + picture("samples_random", _figures.samples, random)
            + picture("shapes", _figures.base_shapes, upright)
            + _note(
                "Four shapes an image. A canonical image (power 0) shows them upright; "
                "in the harder reading, <i>random</i>, the second picture, each is "
                "turned at random."
            ),
        ),
        (
            "Base models (Table 1)",
            _folded("Layers", architectures())
            + _html(tables["base"])
            + _note(
                "Mean squared error on images in all four rotations. They are held out "
                "from all that follows; the base models have seen them."
            ),
        ),
        (
            "Result 1: one matrix moves the activations",
            picture("r2_per_power", _figures.transform_fidelity, tables["transform"])
            + _folded("All numbers", transform_means(tables["transform"]))
            + _note(
                "On held-out orbits, mean and deviation over seeds. r2 is per feature, "
                "weighted by variance; r2_uniform is the plain mean over features, and "
                "r2_pooled takes one mean for all entries. exact law and least squares "
                "are closed forms, with M^4 = I and without; adam is gradient descent "
                "from the identity, as in the paper. order_error is the norm of "
                "M^4 - I over the root of the width."
            ),
        ),
        (
            "Result 2: how useful the features are",
            _probing_figures(tables["probes"], probe, folder)
            + _folded("All numbers", shown["probes"].query("probe == @probe"))
            + _note(
                "F1 on held-out rows, mean over the tasks of each kind; bars and sem "
                f"show the standard error over tasks. {probe} is the best probe on "
                "average over validation rows; probes.csv has all. Bars are of seed 0, "
                "dashes of other seeds, where they were computed. The reconstruction "
                "of the equivariant SAE is moved by the power that it infers; with the "
                "true power, the probe is told the orientation."
            ),
        ),
        (
            "Result 3: reconstruction and sparsity",
            _frontiers(tables, folder)
            + _folded("All numbers", tables["sae"])
            + _note(
                "FVU is the share of the variance of held-out activations that is not "
                "explained; dead is the share of latents that no held-out row "
                "activates; spliced_loss is the base model's loss with the "
                "reconstruction in place of the activations; moved is the share of "
                "the latents' variance inside orbits, 0 if they are invariant."
            ),
        ),
        (
            "Which features move (Figure 1, right)",
            _symmetries(tables["symmetry"], folder) + _feature_pictures(run),
        ),
        (
            "Training",
            _trainings(tables["curves"], folder)
            + _note(
                "FVU on training rows; of the equivariant autoencoder that of the "
                "canonical row of each orbit. Where a part is of before the FVU was "
                "recorded, it is the loss over the variance: under the default recipe "
                "the auxiliary loss beside the FVU, which is no larger, and 0.3 times "
                "the consistency loss of the equivariant autoencoder."
            ),
        ),
        ("Settings", _settings_table(run.profile)),
    ]


def _claims_section(shown: dict) -> list[tuple[str, str]]:
    """The claims, judged, unless the run is a test."""
    if "claims" not in shown:
        return []
    note = _note(
        "✓ holds, ◐ in part, ✗ does not hold. On upright images, seed 0 (M: all "
        "seeds). Comparisons of F1 are mean over the "
        f"tasks of a kind; closer than {MARGIN} counts as equal."
    )
    return [("The paper's claims", claims_html(shown["claims"]) + note)]


def claims_html(claims: pd.DataFrame) -> str:
    """A line per claim: what becomes of it with each recipe, and details to unfold."""
    lines = "".join(_claim_line(claim) for claim in claims.to_dict("records"))
    return (
        '<table class="claims"><thead><tr><th>Default recipe</th>'
        "<th>Paper recipe</th><th>Claim</th></tr></thead>"
        f"<tbody>{lines}</tbody></table>\n"
    )


def _claim_line(claim: dict) -> str:
    cells = "".join(
        _verdict_cell(claim[f"{recipe} recipe"]) for recipe in ("default", "paper")
    )
    details = "".join(
        f"<br><b>{recipe} recipe</b>: {html.escape(claim[f'{recipe} recipe'])}. "
        f"{html.escape(claim[f'ours, {recipe} recipe'])}"
        for recipe in ("default", "paper")
    )
    figure = f"The paper: {html.escape(claim['paper'])}" if claim["paper"] else ""
    return (
        f"<tr>{cells}<td>{html.escape(claim['claim'])}"
        f"<details><summary>figures</summary>{figure}{details}</details></td></tr>"
    )


def _verdict_cell(verdict: str) -> str:
    """A sign, and the words where there is room for them."""
    unclear = _PARTLY if "holds" in verdict else _FAILS
    kind, sign, words = _MARKS.get(verdict, unclear)
    return (
        f'<td class="verdict {kind}" title="{words}">{sign} '
        f'<span class="word">{words}</span></td>'
    )


def architectures() -> pd.DataFrame:
    """Layers of the base models (Table 1)."""
    models = {name: model() for name, model in BASE_MODELS.items()}
    tables = []
    for part in ("encoder", "decoder"):
        layers = {
            n: pd.Series(map(repr, m.get_submodule(part))) for n, m in models.items()
        }
        tables.append(pd.DataFrame({"part": part} | layers))
    return pd.concat(tables, ignore_index=True)


def transform_means(transform: pd.DataFrame) -> pd.DataFrame:
    """R2 of M, mean and deviation over seeds."""
    by = transform.groupby(["base", "orientation", "solver"], sort=False)
    means = by.mean(numeric_only=True).drop(columns="seed")
    means.insert(4, "r2_std", by.r2.std(ddof=0))
    means.insert(0, "seeds", by.size())
    return means.reset_index()


def best_probe(probes: pd.DataFrame) -> str:
    """Name the probe that is best on average, on validation rows."""
    shared = of_all_probes(probes)
    return str(shared.groupby("probe").validation_f1.mean().idxmax())


def probe_means(probes: pd.DataFrame) -> pd.DataFrame:
    """F1 per kind of task, mean and standard error over tasks."""
    index = [c for c in probes if c not in ("task", "kind", "f1", "validation_f1")]
    f1 = probes.groupby([*index, "kind"], sort=False).f1
    mean, error = f1.mean().unstack("kind"), f1.sem().unstack("kind")
    kinds = [kind for kind in _figures.KINDS if kind in mean]
    table = mean[kinds].join(error[kinds].add_suffix("_sem"))
    return table.reset_index().rename_axis(columns=None)


def with_dead(scores: pd.DataFrame, sae: pd.DataFrame) -> pd.DataFrame:
    """Put beside each score the share of dead latents of its autoencoder."""
    keys = list(scores.columns[: scores.columns.get_loc("k") + 1])
    dead = sae[[*keys, "dead"]].drop_duplicates()
    table = scores.merge(dead, on=keys, how="left")
    return table[[*keys, "dead", *scores.columns[len(keys) :]]]


def _probing_figures(probes, probe, folder):
    """One figure for each base model, reading, recipe and truncation."""
    chosen = probes[probes.probe == probe]
    keys = ["base", "orientation", "recipe", "truncation"]
    html_parts = []
    for names, rows in chosen[chosen.k > 0].groupby(keys, sort=False):
        base, orientation, recipe, m = names
        activations = chosen.query(
            "k == 0 and base == @base and orientation == @orientation"
        )
        title = f"{base}, {orientation}, {recipe} recipe: {m} latents, {probe} probe"
        figure = _figures.probing(pd.concat([activations, rows]), title)
        html_parts.append(
            _figure(figure, folder, f"probing_{base}_{orientation}_{recipe}_{m}")
        )
    return "".join(html_parts)


def _frontiers(tables, folder):
    base = tables["base"].query("orientation == 'upright' and seed == 0")
    sae = tables["sae"].query("orientation == 'upright' and seed == 0")
    return "".join(
        f"<p>{recipe} recipe</p>"
        + _figure(_figures.frontier(rows, base), folder, f"frontier_{recipe}")
        for recipe, rows in sae.groupby("recipe", sort=False)
    )


def _trainings(curves, folder):
    seed_0 = curves[curves.seed == 0]
    return "".join(
        f"<p>{orientation}, {recipe} recipe</p>"
        + _figure(_figures.training(rows), folder, f"training_{orientation}_{recipe}")
        for (orientation, recipe), rows in seed_0.groupby(
            ["orientation", "recipe"], sort=False
        )
    )


def _symmetries(symmetry, folder):
    chosen = symmetry.query("orientation == 'upright' and seed == 0")
    chosen = chosen[chosen.k == chosen.k.min()]
    return "".join(
        f"<p>{recipe} recipe, k = {rows.k.iloc[0]}</p>"
        + _figure(_figures.symmetry(rows), folder, f"symmetry_{recipe}")
        for recipe, rows in chosen.groupby("recipe", sort=False)
    ) + _note(
        "Cosine of each live dictionary vector d and M^p d, with M of the exact law: 1 "
        "is a feature that rotations leave alone."
    )


def _feature_pictures(run):
    """Pictures that the cells of the equivariant SAE drew."""
    paths = {
        cell.name: run.store.folder / cell.name / "features.png"
        for cell in run.profile.cells
        if cell.sae == "equivariant" and cell.recipe == "default"
    }
    drawn = [(name, path) for name, path in paths.items() if path.exists()]
    return "".join(
        f'<p>{name}</p><p><img src="parts/{name}/features.png" alt="features of '
        f'{name}"></p>'
        for name, _ in drawn[:2]
    ) + _note(
        "What a feature of the equivariant SAE adds to the picture of the mean "
        "activation, moved by M^p; beside each row the mean cosine of d and M^p d."
    )


def summarise(tables: dict, shown: dict, probe: str) -> str:
    """Say the main numbers in a few lines."""
    sae = tables["sae"][
        ["base", "orientation", "sae", "recipe", "k", "reconstruction", "fvu", "dead"]
    ]
    means = shown["probes"].query("probe == @probe")
    means = means[means.columns.drop(["probe", *means.filter(regex="_sem")])]
    transform = transform_means(tables["transform"])
    parts = {
        "R2 of M on held-out orbits (mean over powers)": transform[
            ["base", "orientation", "solver", "seeds", "r2", "r2_std", "r2_pooled"]
        ],
        "FVU on held-out orbits, and share of dead latents": sae,
        f"F1 on held-out rows, {probe} probe": means,
    }
    return "\n\n".join(
        f"{title}\n{table.to_string(index=False, float_format=_number)}"
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


def _folded(title, table):
    return f"<details><summary>{title}</summary>{_html(table)}</details>\n"


def _number(value):
    if value == 0:
        return "0"
    return f"{value:.4f}" if 1e-4 <= abs(value) < 1e4 else f"{value:.1e}"


def _note(text):
    return f'<p class="note">{text}</p>\n'


def _settings_table(profile):
    rows = dict(profile.settings)
    rows |= {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }
    table = pd.DataFrame({"setting": rows.keys(), "value": map(str, rows.values())})
    return _html(table)
