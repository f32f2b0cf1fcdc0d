"""Tables of benchmarks.causes."""

from pathlib import Path

import pandas as pd

from .._markdown import markdown, significant, written

_RESULTS = Path(__file__).parents[1] / "causes" / "results"
_RUN = Path(__file__).parents[1] / "paper" / "results" / "full"
_KINDS = ["S", "SP", "SO", "SPO"]


def _read(name):
    return pd.read_csv(_RESULTS / f"{name}.csv")


def _table(columns: dict) -> str:
    table = pd.DataFrame(columns)
    return markdown(table.columns, table.itertuples(index=False))


def _f1(table: pd.DataFrame) -> dict:
    return {kind: _or_empty(table[kind], "{:.3f}") for kind in _KINDS}


def _or_empty(column, form: str):
    return [form.format(value) if pd.notna(value) else "" for value in column]


def gradient_descent() -> str:
    """R2 of M of the three MLPs, in closed form and after few and many epochs."""
    of = "base == 'mlp' and orientation == 'upright'"
    base = pd.read_csv(_RUN / "base.csv").query(of).set_index("seed")
    r2 = pd.read_csv(_RUN / "transform.csv").query(of)
    r2 = r2.pivot(index="seed", columns="solver", values="r2")
    longer = _read("gradient_descent").set_index("seed")
    [epochs] = longer.epochs.unique()
    columns = {
        "MLP, seed": r2.index,
        "its loss": base.test_loss.map("{:.4f}".format),
        "directions its activations span": base.active_directions,
        "exact law": r2["exact law"].map("{:.3f}".format),
        "adam, 150 epochs": r2["adam"].map("{:.3f}".format),
        f"adam, {epochs} epochs": longer.r2.map("{:.3f}".format),
    }
    return _table(columns)


def latents_kept() -> str:
    """F1 of XGBoost on reconstructions from few and from all latents."""
    table = _read("latents_kept")
    return _table({"rebuilt by": table.sae, "latents": table.latents, **_f1(table)})


def codes() -> str:
    """What codes of the equivariant autoencoder tell of the power."""
    table = _read("codes").sort_values("epochs", ascending=False, kind="stable")
    names = {
        "default": "default",
        "no consistency loss": "default without the consistency loss",
    }
    columns = {
        "recipe": [names.get(name, f"nor {name}") for name in table.recipe],
        "epochs": table.epochs,
        "base": table.base,
        "codes inside orbits": [significant(v, 2) for v in table.within_orbits],
        "live latents": table.live,
        "with a twin": table.twins.map("{:.0%}".format),
        "twins fire at one power": _or_empty(table.at_one_power, "{:.0%}"),
        "power read from the code": table.power_read.map("{:.1%}".format),
        "FVU": [written(v, "fvu") for v in table.fvu],
    }
    return _table(columns)


def canonical_rows() -> str:
    """Reconstruction of random images by how the canonical row was chosen."""
    table = _read("canonical_rows")
    columns = {
        "canonical row": table.canonical_rows,
        "epochs": table.epochs,
        "hidden units": table.hidden_dim,
        "power inferred right": table.power_right.map("{:.0%}".format),
        "FVU": [written(v, "fvu") for v in table.fvu],
    }
    return _table(columns)
