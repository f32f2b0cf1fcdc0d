"""What the paper claims, beside what was found here."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

MARGIN = 0.01  # F1 that is closer counts as equal
FAR = 0.3  # of R2
KEYS = ["base", "k", "truncation", "kind"]
NOT_MEASURED = ("", "not measured")


class Claim(NamedTuple):
    """A sentence of the paper and the way to check it.

    Parameters
    ----------
    text : str
        The claim.
    paper : str
        The paper's figure, if it gives one.
    check : callable
        From tables of one recipe to what was found here and a verdict.
    """

    text: str
    paper: str
    check: Callable


def claims_table(tables: dict, probe: str) -> pd.DataFrame:
    """Check every claim on the paper's reading, under both recipes.

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        As returned by ``Run.compute``.
    probe : str
        The probe that is reported.

    Returns
    -------
    table : pandas.DataFrame
        One row a claim, with what was found under each recipe.
    """
    rows = []
    for claim in CLAIMS:
        row = {"claim": claim.text, "paper": claim.paper}
        for recipe in ("paper", "default"):
            ours, verdict = claim.check(_of_recipe(tables, recipe, probe))
            row |= {f"ours, {recipe} recipe": ours, f"{recipe} recipe": verdict}
        rows.append(row)
    return pd.DataFrame(rows)


def of_all_probes(scores: pd.DataFrame) -> pd.DataFrame:
    """Leave out what only some of the probes were shown.

    Parameters
    ----------
    scores : pandas.DataFrame
        F1 by task, probe and what the probe sees.

    Returns
    -------
    scores : pandas.DataFrame
        Rows on which the probes can be compared.
    """
    keys = ["base", "orientation", "seed", "sae", "recipe", "k"]
    shown = scores.groupby([*keys, "features", "truncation"]).probe
    return scores[shown.transform("nunique") == scores.probe.nunique()]


def _of_recipe(tables, recipe, probe):
    """Tables of seed 0 on upright images; those of M have all seeds."""
    chosen = {"transform": tables["transform"].query("orientation == 'upright'")}
    for name in ("sae", "probes", "base"):
        chosen[name] = tables[name].query("orientation == 'upright' and seed == 0")
    for name in ("sae", "probes"):
        if len(chosen[name]):
            chosen[name] = chosen[name].query("recipe in (@recipe, 'none')")
    scores = chosen["probes"]
    if len(scores):
        chosen["all probes"] = scores
        chosen["probes"] = scores[scores.probe == probe]
    return chosen


def _f1(tables, sae, features):
    """Mean F1 by base model, k, truncation and kind of task."""
    scores = tables["probes"]
    if not len(scores):
        return pd.Series(dtype=float)
    chosen = scores[(scores.sae == sae) & (scores.features == features)]
    return chosen.groupby(KEYS).f1.mean()


def _compare(one, other):
    """How often the first is ahead, and by how much on average."""
    one, other = one.align(other, join="inner")
    if not len(one):
        return NOT_MEASURED
    gap = (one - other).to_numpy()
    ahead, behind = (gap > MARGIN).sum(), (gap < -MARGIN).sum()
    equal = len(gap) - ahead - behind
    found = f"ahead {ahead}, equal {equal}, behind {behind}; mean {gap.mean():+.3f}"
    return found, _verdict(ahead, len(gap))


def _verdict(n_true, n):
    if n_true in (0, n):
        return "holds" if n_true else "does not hold"
    return f"holds in {n_true} of {n} cases"


def _join(*results):
    """Several comparisons as one."""
    named = [(name, result) for name, result in results if result != NOT_MEASURED]
    if not named:
        return NOT_MEASURED
    found = "; ".join(f"{name}: {result[0]}" for name, result in named)
    verdicts = list(dict.fromkeys(result[1] for _, result in named))
    if len(verdicts) == 1:
        return found, verdicts[0]
    return found, "; ".join(f"{name}: {result[1]}" for name, result in named)


def _adam_r2(tables):
    r2 = tables["transform"].query("solver == 'adam'").groupby("base").r2
    ours = "; ".join(f"{b} {g.mean():.3f} ± {g.std(ddof=0):.3f}" for b, g in r2)
    return ours, _verdict((r2.mean() >= 0.98).sum(), len(r2))


def _identity_r2(tables):
    of_identity = tables["transform"].query("solver == 'identity'").groupby("base")
    fitted = tables["transform"].query("solver == 'adam'").groupby("base").r2.mean()
    ours = "; ".join(
        f"{base} {rows.r2.mean():.2f} (pooled {rows.r2_pooled.mean():.2f})"
        for base, rows in of_identity
    )
    lower = of_identity.r2.mean() < fitted - FAR
    return ours, _verdict(int(lower.sum()), len(lower))


def _best_on_latents(tables):
    equivariant = _f1(tables, "equivariant", "latents")
    others = [_f1(tables, sae, "latents") for sae in ("regular", "wide", "two-layer")]
    others = [scores for scores in others if len(scores)]
    if not others:
        return NOT_MEASURED
    best = pd.concat(others, axis=1).max(axis=1)
    return _join(
        *(
            (kind, _compare(_kind(equivariant, kind), _kind(best, kind)))
            for kind in ("S", "SP", "SO", "SPO")
        )
    )


def _kind(scores, kind):
    if not len(scores):
        return scores
    return scores[scores.index.get_level_values("kind") == kind]


def _matches_activations(tables):
    latents = _kind(_f1(tables, "equivariant", "latents"), "S")
    if not len(latents):
        return NOT_MEASURED
    activations = _f1(tables, "none", "activations").xs("S", level="kind")
    gaps = {
        (base, k, m): f1 - activations.xs(base, level="base").item()
        for (base, k, m, _), f1 in latents.items()
    }
    best = max(gaps, key=gaps.get)
    ours = f"best gap {gaps[best]:+.3f} ({best[0]}, k={best[1]}, {best[2]} latents)"
    return ours, _verdict(int(gaps[best] > -MARGIN), 1)


def _drops_off_s(tables):
    latents = _f1(tables, "equivariant", "latents")
    if not len(latents):
        return NOT_MEASURED
    by_kind = latents.unstack("kind")
    lower = (by_kind.drop(columns="S").lt(by_kind["S"] - MARGIN, axis=0)).to_numpy()
    ours = ", ".join(f"{kind} {by_kind[kind].mean():.3f}" for kind in by_kind)
    return ours, _verdict(lower.sum(), lower.size)


def _two_layer_latents(tables):
    two_layer = _f1(tables, "two-layer", "latents")
    return _join(
        *(
            (f"over {sae}", _compare(two_layer, _f1(tables, sae, "latents")))
            for sae in ("regular", "wide")
        )
    )


def _reconstructions(tables):
    ours = _f1(tables, "equivariant", "reconstruction")
    return _join(
        *(
            (f"over {sae}", _compare(ours, _f1(tables, sae, "reconstruction")))
            for sae in ("regular", "wide")
        )
    )


def _reconstructions_told(tables):
    ours = _f1(tables, "equivariant", "reconstruction, true power")
    return _join(
        *(
            (f"over {sae}", _compare(ours, _f1(tables, sae, "reconstruction")))
            for sae in ("regular", "wide", "two-layer")
        )
    )


def _matched_by_two_layer(tables):
    ours = _f1(tables, "equivariant", "reconstruction")
    other = _f1(tables, "two-layer", "reconstruction")
    if not (len(ours) and len(other)):
        return NOT_MEASURED
    gap = (ours - other).dropna().groupby("k").mean()
    if not {8, 32} <= set(gap.index):
        return NOT_MEASURED
    found = ", ".join(f"k={k} {value:+.3f}" for k, value in gap.items())
    right = [(value > MARGIN) == (k < 32) for k, value in gap.items()]
    return f"equivariant less two-layer: {found}", _verdict(sum(right), len(right))


def _best_probe(tables):
    scores = tables.get("all probes", pd.DataFrame())
    of_saes = scores.query("sae != 'none'") if len(scores) else scores
    if not len(of_saes) or of_saes.probe.nunique() < 3:
        return NOT_MEASURED
    means = of_all_probes(scores).groupby("probe").f1.mean()
    ours = ", ".join(f"{name} {f1:.3f}" for name, f1 in means.items())
    return ours, _verdict(int(means.idxmax() == "xgboost"), 1)


def _losses(tables, sae, reconstruction):
    rows = tables["sae"]
    chosen = rows[(rows.sae == sae) & (rows.reconstruction == reconstruction)]
    return chosen.set_index(["base", "k"]).sort_index()


def _matches_wide(tables):
    wide = _losses(tables, "wide", "plain").spliced_loss
    ours = _losses(tables, "equivariant", "true power").spliced_loss
    ratio = (ours / wide).dropna()
    if not len(ratio):
        return NOT_MEASURED
    small = ratio.xs(8, level="k")
    found = ", ".join(f"{b} k={k} {value:.2f}x" for (b, k), value in ratio.items())
    return f"loss over wide's: {found}", _verdict((small < 1.1).sum(), len(small))


def _sparser(tables):
    ours = _losses(tables, "equivariant", "true power").l1
    cases = []
    for sae in ("regular", "wide", "two-layer"):
        ratio = (_losses(tables, sae, "plain").l1 / ours).dropna()
        cases += [(sae, value) for value in ratio]
    if not cases:
        return NOT_MEASURED
    table = pd.DataFrame(cases, columns=["sae", "ratio"])
    means = table.groupby("sae", sort=False).ratio.median()
    found = ", ".join(f"{sae} {value:.2f}x" for sae, value in means.items())
    return f"L1 over equivariant's: {found}", _verdict(
        int((table.ratio < 1).sum()), len(table)
    )


def _range_over_k(tables):
    def spread(sae, kind):
        l1 = _losses(tables, sae, kind).l1.groupby("base")
        return (l1.max() / l1.min())[l1.size() > 1]

    ours, other = spread("equivariant", "true power"), spread("two-layer", "plain")
    both = pd.concat([ours, other], axis=1, keys=["ours", "other"]).dropna()
    if not len(both):
        return NOT_MEASURED
    found = "; ".join(
        f"{base} {row.ours:.2f} against {row.other:.2f}"
        for base, row in both.iterrows()
    )
    return f"largest L1 over smallest: {found}", _verdict(
        int((both.ours < both.other).sum()), len(both)
    )


def _m_helps(tables):
    before = _losses(tables, "equivariant", "invariant").spliced_loss
    found, good = [], []
    for kind in ("inferred power", "true power"):
        ratio = (_losses(tables, "equivariant", kind).spliced_loss / before).dropna()
        good += list(ratio < 1)
        if len(ratio):
            found.append(f"{kind} {np.median(ratio):.2f}x")
    if not found:
        return NOT_MEASURED
    return "loss over the invariant one's: " + ", ".join(found), _verdict(
        sum(good), len(good)
    )


def _grows(tables):
    f1 = _f1(tables, "regular", "reconstruction")
    if not len(f1):
        return NOT_MEASURED
    by_k, by_m = _means_over(f1, "k"), _means_over(f1, "truncation")
    found = ", ".join(f"k={k} {value:.3f}" for k, value in by_k.items())
    found += "; " + ", ".join(f"{m} latents {value:.3f}" for m, value in by_m.items())
    steps = [*np.diff(by_k), *np.diff(by_m)]
    if not steps:
        return NOT_MEASURED
    return found, _verdict(sum(step > 0 for step in steps), len(steps))


def _means_over(f1, level):
    """Mean at each value of a level, over what was measured at all of them."""
    return f1.unstack(level).dropna().mean().dropna()


CLAIMS = (
    Claim(
        "One matrix, fitted by gradient descent, explains more than 98 % of the "
        "variance of the moved activations",
        "R2 0.987 ± 0.001",
        _adam_r2,
    ),
    Claim(
        "Without it, M = I, R2 is far lower",
        "0.05 ± 0.08 (CNN), 0.49 ± 0.03 (MLP)",
        _identity_r2,
    ),
    Claim("XGBoost is the best probe over all tasks", "", _best_probe),
    Claim(
        "On latents, the equivariant SAE is the best of all SAEs",
        "",
        _best_on_latents,
    ),
    Claim(
        "On S tasks its latents match or exceed the activations in some setups",
        "",
        _matches_activations,
    ),
    Claim(
        "Its latents are worse on the tasks that rotate (SP, SO, SPO) than on S",
        "",
        _drops_off_s,
    ),
    Claim(
        "On latents, a regular SAE with a two-layer encoder beats those with one layer",
        "",
        _two_layer_latents,
    ),
    Claim(
        "On truncated reconstructions, the equivariant SAE beats regular and wide in "
        "all tasks and setups (power inferred here)",
        "",
        _reconstructions,
    ),
    Claim("The same, told the true power", "", _reconstructions_told),
    Claim(
        "There, the two-layer SAE matches it only at K = 32",
        "",
        _matched_by_two_layer,
    ),
    Claim(
        "A regular SAE's truncated reconstructions gain from a larger K and from more "
        "latents",
        "",
        _grows,
    ),
    Claim(
        "At small K, the equivariant SAE reconstructs as well as the wide one",
        "",
        _matches_wide,
    ),
    Claim("Regular SAEs have sparser latents (L1)", "", _sparser),
    Claim("Its L1 depends less on K than that of a two-layer SAE", "", _range_over_k),
    Claim("M improves the reconstruction: equivariant over invariant", "", _m_helps),
)
