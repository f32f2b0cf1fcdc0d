"""Tables of the full run of benchmarks.paper."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, written
from ..paper._profiles import PROFILES, SAES
from ..paper._report import architectures as _architectures

_RESULTS = Path(__file__).parents[1] / "paper" / "results" / "full"
_KINDS = ("S", "SP", "SO", "SPO")
_UPRIGHT = "orientation == 'upright'"
_LARGE = 100  # from it on decimals say nothing
_NEARLY_ALL = 0.99  # above it decimals say how many are left


def _read(name):
    return pd.read_csv(_RESULTS / f"{name}.csv")


def _table(rows: pd.DataFrame) -> str:
    return markdown(rows.columns, rows.itertuples(index=False))


def parts() -> str:
    """What the full run is made of, and how much of it is finished."""
    profile = PROFILES["full"]
    groups: dict = {}
    for model in profile.models:
        key = (f"base models and M, {model.orientation}", "")
        groups.setdefault(key, []).append((model, model.seed, ""))
    for cell in profile.cells:
        key = (
            f"autoencoders, {cell.model.orientation}, {cell.recipe} recipe",
            f"{', '.join(cell.probes)}; {_listed(cell.truncations)} latents",
        )
        groups.setdefault(key, []).append((cell, cell.model.seed, cell.k))
    rows = []
    for (what, probes), members in groups.items():
        named, seeds, ks = zip(*members, strict=True)
        done = sum((_RESULTS / "parts" / part.name).exists() for part in named)
        finished = f"{done} of {len(named)}"
        rows.append([what, _listed(seeds), _listed(ks), probes, finished])
    return markdown(["parts", "seeds", "k", "probes", "finished"], rows)


def _listed(values) -> str:
    return ", ".join(map(str, sorted(set(values))))


def claims() -> str:
    """The paper's claims, and what became of them."""
    names = {
        "claim": "the paper says",
        "default recipe": "default recipe",
        "paper recipe": "paper recipe",
    }
    table = _read("claims").fillna("")[[*names]].rename(columns=names)
    verdicts = [*names][1:]
    table[verdicts] = table[verdicts].map(_marked)
    return _table(table)


def _marked(verdict: str) -> str:
    """A verdict behind its mark, as in the report."""
    if verdict in ("", "not measured"):
        return verdict
    if verdict == "holds":
        return "✓"
    return f"{'✗' if verdict == 'does not hold' else '◐'} {verdict}"


def claims_figures() -> str:
    """The numbers behind the verdicts."""
    names = {
        "claim": "claim",
        "paper": "the paper",
        "ours, default recipe": "default recipe",
        "ours, paper recipe": "paper recipe",
    }
    return _table(_read("claims").fillna("")[[*names]].rename(columns=names))


def architectures() -> str:
    """Layers of the base models (Table 1)."""
    return _table(_architectures().fillna(""))


def base() -> str:
    """Loss of the base models, and how many directions they use."""
    table = _read("base")
    shown = {
        "base": table.base,
        "canonical images": table.orientation,
        "seed": table.seed,
        "mean squared error": table.test_loss.map("{:.5f}".format),
        "over the variance of the images": (
            (table.test_loss / table.image_variance).map("{:.1%}".format)
        ),
        "directions that activations span": table.active_directions,
    }
    return _table(pd.DataFrame(shown))


def transform() -> str:
    """R2 of M, mean and deviation over seeds."""
    by = _read("transform").groupby(["base", "orientation", "solver"], sort=False)
    names = {
        "r2": "R2",
        "r2_power_1": "p = 1",
        "r2_power_2": "p = 2",
        "r2_power_3": "p = 3",
        "r2_uniform": "plain mean over features",
        "r2_pooled": "pooled",
    }
    shown = by.size().reset_index(name="seeds")
    for column, name in names.items():
        shown[name] = _with_deviation(by[column])
    headers = {"orientation": "canonical images", "solver": "M"}
    return _table(shown.rename(columns=headers))


def _with_deviation(by) -> list[str]:
    """Mean and deviation of the groups of a column, the latter if there is one."""
    several = by.size() > 1
    table = zip(by.mean(), by.std(ddof=0), several, strict=True)
    return [
        f"{m:.3f}\u00a0±\u00a0{s:.3f}" if more else f"{m:.3f}" for m, s, more in table
    ]


def autoencoders() -> str:
    """Reconstruction, dead latents and sparsity under the default recipe."""
    return _autoencoders(f"{_UPRIGHT} and recipe == 'default'")


def autoencoders_paper() -> str:
    """The same under the paper recipe."""
    return _autoencoders(f"{_UPRIGHT} and recipe == 'paper'")


def autoencoders_random() -> str:
    """The same on random images."""
    return _autoencoders("orientation == 'random'")


def _autoencoders(query: str) -> str:
    table = _saes(query).query("reconstruction in ('plain', 'inferred power')")
    shown = {
        "base": table.base,
        "k": table.k,
        "autoencoder": table.sae,
        "FVU": table.fvu.map(_small),
        "loss spliced in / unspliced": table.ratio.map(_ratio),
        "dead": table.dead.map(_percent),
        "live": (table.n_components * (1 - table.dead)).round().astype(int),
        "codes inside orbits": table.moved.map(_share),
        "L0": table.l0.map("{:.1f}".format),
        "L1": table.l1.map("{:.1f}".format),
    }
    return _table(pd.DataFrame(shown))


def moved() -> str:
    """What moving does to reconstructions of the equivariant autoencoder."""
    table = _saes("sae == 'equivariant'")
    index = ["orientation", "recipe", "base", "k", "dead", "pose_accuracy"]
    wide = table.set_index([*index, "reconstruction"])[["fvu", "ratio"]].unstack()
    wide = wide.sort_index(ascending=[False, *[True] * 5]).reset_index()
    shown = {
        "images": wide.orientation,
        "recipe": wide.recipe,
        "base": wide.base,
        "k": wide.k,
        "dead": wide.dead.map(_percent),
        "power inferred right": wide.pose_accuracy.map("{:.2%}".format),
    }
    for name, column in (("FVU", "fvu"), ("loss", "ratio")):
        for side in ("invariant", "true power", "inferred power"):
            text = wide[column, side].map(_small if column == "fvu" else _ratio)
            shown[f"{name}, {side.replace('invariant', 'not moved')}"] = text
    return _table(pd.DataFrame(shown))


def _saes(query: str) -> pd.DataFrame:
    """Autoencoders of seed 0, in order, with relative losses."""
    table = _read("sae").query("seed == 0").query(query)
    model = ["base", "orientation", "seed"]
    table = table.merge(_read("base")[[*model, "test_loss"]], on=model)
    return _sorted(table.assign(ratio=table.spliced_loss / table.test_loss))


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    """By base model and k; what is compared stays together, in the profile's order."""
    order = {sae: i for i, sae in enumerate(("none", *SAES))}
    columns = ["base", "k", "sae"]
    return table.sort_values(
        columns, key=lambda c: c.map(order) if c.name == "sae" else c, kind="stable"
    )


def _percent(value):
    if pd.isna(value):
        return ""
    return f"{value:.1%}" if value > _NEARLY_ALL else f"{value:.0%}"


def _share(value):
    return "" if pd.isna(value) else f"{value:.3f}"


def _small(value):
    return written(value, "fvu")


def _ratio(value):
    return f"{value:.3f}" if value < _LARGE else f"{value:.0f}"


def probes_32() -> str:
    """F1 of XGBoost with 32 latents, default recipe."""
    return _probes(f"{_UPRIGHT} and recipe != 'paper' and truncation in (0, 32)")


def probes_8() -> str:
    """F1 of XGBoost with 8 latents, default recipe."""
    return _probes(f"{_UPRIGHT} and recipe != 'paper' and truncation == 8")


def probes_32_paper() -> str:
    """F1 of XGBoost with 32 latents, paper recipe."""
    return _probes(f"{_UPRIGHT} and recipe == 'paper'")


def probes_random() -> str:
    """F1 of XGBoost with 32 latents on random images."""
    return _probes("orientation == 'random'")


def probes_seeds() -> str:
    """F1 of XGBoost with 32 latents where there are several seeds, seed by seed."""
    query = f"{_UPRIGHT} and recipe == 'default' and truncation == 32"
    table = _f1(query, seeds="seed >= 0").sort_values("seed", kind="stable")
    table = table[table.features.isin(["latents", "reconstruction"])]
    table = table.assign(dead=table.dead.map(_percent))
    by = table.groupby(["base", "k", "sae", "features"], sort=False)
    both = by[["dead", *_KINDS]].agg(lambda of: " / ".join(map(_score, of)))
    names = {"k": "k", "sae": "autoencoder", "features": "F1 on"}
    return _table(_sorted(both[by.size() > 1].reset_index()).rename(columns=names))


def _probes(query: str) -> str:
    """One row for each autoencoder, latents on the left."""
    table = _f1(query).replace({"features": {"activations": "reconstruction"}})
    index = ["base", "k", "sae", "dead"]
    rows = table[index].drop_duplicates()
    header = ["base", "k", "autoencoder", "dead"]
    for side, name in (("latents", "latents"), ("reconstruction", "rebuilt")):
        f1 = table.loc[table.features == side, [*index, *_KINDS]]
        rows = rows.merge(f1, on=index, how="left", suffixes=("_latents", None))
        header += [f"{name}: {_KINDS[0]}", *_KINDS[1:]]
    rows["dead"] = rows.dead.map(_percent)
    rows = rows.replace({"sae": {"none": "(activations)"}, "k": {0: ""}})
    return markdown(header, rows.map(_score).itertuples(index=False))


def probes_moved() -> str:
    """F1 of XGBoost with 32 latents on reconstructions, moved in three ways."""
    table = _f1("recipe == 'default' and truncation == 32 and sae == 'equivariant'")
    table = table.sort_values("orientation", ascending=False, kind="stable")
    names = {
        "invariant reconstruction": "nothing",
        "reconstruction, true power": "true power",
        "reconstruction": "inferred power",
    }
    table = table[table.features.isin(names)]
    shown = {
        "images": table.orientation,
        "base": table.base,
        "k": table.k,
        "dead": table.dead.map(_percent),
        "moved by": table.features.map(names),
        **{kind: table[kind].map(_score) for kind in _KINDS},
    }
    return _table(pd.DataFrame(shown))


def _f1(query: str, *, seeds: str = "seed == 0") -> pd.DataFrame:
    """F1 of XGBoost, in order."""
    table = _read("probes").query("probe == 'xgboost'").query(seeds)
    return _sorted(table.query(query))


def _score(value):
    if not isinstance(value, float):
        return value
    return "" if pd.isna(value) else f"{value:.3f}"
