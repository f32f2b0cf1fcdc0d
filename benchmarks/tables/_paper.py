"""Tables of the full run of benchmarks.paper."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown

_RESULTS = Path(__file__).parents[1] / "paper" / "results" / "full"
_KINDS = ("S", "SP", "SO", "SPO")
_FEW = 5e-5  # below it 4 decimals say nothing
_LARGE = 100  # from it on decimals say nothing


def _read(name):
    return pd.read_csv(_RESULTS / f"{name}.csv")


def _table(rows: pd.DataFrame) -> str:
    return markdown(rows.columns, rows.itertuples(index=False))


def claims() -> str:
    """The paper's claims, and what became of them."""
    table = _read("claims").fillna("")
    plain = ["ours, paper recipe", "paper recipe"]
    same = table["ours, default recipe"] == table[plain[0]]
    table.loc[same, plain] = ""
    names = {
        "claim": "claim",
        "paper": "paper",
        "ours, default recipe": "default recipe",
        "default recipe": "holds, default",
        "ours, paper recipe": "plain recipe",
        "paper recipe": "holds, plain",
    }
    return _table(table[[*names]].rename(columns=names))


def transform() -> str:
    """R2 of M, mean over seeds."""
    names = {
        "base": "base",
        "orientation": "canonical images",
        "solver": "M",
        "r2_power_1": "p = 1",
        "r2_power_2": "p = 2",
        "r2_power_3": "p = 3",
        "r2": "R2",
        "r2_uniform": "plain mean over features",
        "r2_pooled": "pooled",
    }
    by = ["base", "orientation", "solver"]
    means = _read("transform").groupby(by, sort=False)[[*names][3:]].mean()
    return _table(means.map("{:.3f}".format).reset_index().rename(columns=names))


def autoencoders() -> str:
    """Reconstruction, dead latents and sparsity of all that was trained."""
    table = _read("sae")
    model = ["base", "orientation", "seed"]
    unspliced = _read("base").set_index(model).test_loss
    ratio = table.spliced_loss / table[model].apply(
        lambda of: unspliced[tuple(of)], axis=1
    )
    shown = {
        "base": table.base,
        "images": table.orientation,
        "sae": table.sae,
        "recipe": table.recipe.replace("paper", "plain"),
        "k": table.k,
        "reconstruction": table.reconstruction.replace("plain", "as it is"),
        "FVU": table.fvu.map(_small),
        "dead": table.dead.map("{:.0%}".format),
        "codes inside orbits": table.moved.map(_share),
        "L0": table.l0.map("{:.1f}".format),
        "L1": table.l1.map("{:.1f}".format),
        "loss spliced in / unspliced": ratio.map(_ratio),
    }
    return _table(pd.DataFrame(shown))


def _share(value):
    return "" if pd.isna(value) else f"{value:.3f}"


def _small(value):
    return f"{value:.4f}" if value >= _FEW else f"{value:.0e}"


def _ratio(value):
    return f"{value:.3f}" if value < _LARGE else f"{value:.0f}"


def probes_32() -> str:
    """F1 of XGBoost with 32 latents, default recipe."""
    return _probes("recipe != 'paper' and truncation in (0, 32)")


def probes_8() -> str:
    """F1 of XGBoost with 8 latents, default recipe."""
    return _probes("recipe != 'paper' and truncation == 8")


def probes_32_plain() -> str:
    """F1 of XGBoost with 32 latents, plain recipe."""
    return _probes("recipe == 'paper'")


def _probes(query: str) -> str:
    table = _read("probes").query("probe == 'xgboost' and seed == 0").query(query)
    shown = {
        "base": table.base,
        "images": table.orientation,
        "sae": table.sae.replace("none", ""),
        "k": table.k.replace(0, ""),
        "what the probe sees": table.features,
        **{kind: table[kind].map("{:.3f}".format) for kind in _KINDS},
    }
    return _table(pd.DataFrame(shown))
