"""From results to tables: mean and standard error, and this package's lead."""

from pathlib import Path

import pandas as pd

from sk_eqsae.persistence import atomic_write

from .._markdown import markdown
from ._adaptors import METHODS, OURS, REFERENCE
from ._figure import draw
from ._run import LIMITS

_SCORES = ["fvu", "dead", "l0", "mmcs", "recall", "precision", "rows_per_s"]


def write_report(results: pd.DataFrame, out: Path) -> str:
    """Store tables and plot."""
    summary, leads = summarise(results), lead(results)
    for name, table in {"summary": summary, "lead": leads}.items():
        with atomic_write(out / f"{name}.csv") as part:
            table.to_csv(part, index=False)
    with atomic_write(out / "peers.png") as part:
        draw(results).savefig(part, dpi=150)
    report = "\n\n".join([_heading(results), _rounded(summary), _rounded(leads)])
    with atomic_write(out / "report.md") as part:
        part.write_text(report + "\n")
    return report


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds."""
    order = results.assign(method=pd.Categorical(results.method, METHODS))
    groups = order.groupby(["data", "method"], observed=True, sort=True)
    errors = groups[_SCORES].sem().add_suffix("_se")
    summary = pd.concat([groups[_SCORES].mean(), errors], axis=1)
    paired = [column for name in _SCORES for column in (name, f"{name}_se")]
    counts = groups.agg(seeds=("seed", "size"), rows_seen=("rows_seen", "first"))
    return counts.join(summary[paired]).reset_index()


def lead(results: pd.DataFrame) -> pd.DataFrame:
    """Compare this package with the best peer of each kind of data, seed by seed.

    For FVU and dead latents, ours minus that peer's with its standard error over seeds:
    below 0 is in favour of this package. Methods that were given fewer rows (LIMITS)
    and the plain reference are not peers here.
    """
    peers = results[~results.method.isin([OURS, REFERENCE, *LIMITS])]
    rows = []
    for data, of_data in peers.groupby("data"):
        best = of_data.groupby("method").fvu.mean().idxmin()
        ours = results.query("method == @OURS and data == @data").set_index("seed")
        peer = of_data[of_data.method == best].set_index("seed")
        row = {"data": data, "best_peer": best}
        for score in ("fvu", "dead"):
            difference = (ours[score] - peer[score]).dropna()
            row[f"{score}_difference"] = difference.mean()
            row[f"{score}_difference_se"] = difference.sem()
        rows.append(row)
    return pd.DataFrame(rows)


def _heading(results):
    first = results.iloc[0]
    return (
        f"{first.n_train} training rows, {first.epochs} epochs, batches of "
        f"{first.batch_size}; mean and standard error over seeds "
        f"{sorted(set(results.seed))}. FVU and L0 on held-out rows, dead latents on "
        "training rows."
    )


def _rounded(table):
    table = table.dropna(axis=1, how="all")
    small = table.select_dtypes("number")
    formatted = {
        name: small[name].map(lambda value: "" if pd.isna(value) else f"{value:.4g}")
        for name in small
    }
    table = table.assign(**formatted)
    return markdown(table.columns, table.itertuples(index=False))
