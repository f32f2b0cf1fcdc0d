"""What the paper claims, beside what was found here."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from ._verdicts import MARGIN, NOT_MEASURED, Finding, ahead, join, verdict

FAR = 0.3  # of R2
AS_WELL = 1.1  # times a loss
SMALL_K = 8
LARGE_K = 32
KEYS = ["base", "k", "truncation", "kind"]
REGULAR = ("regular", "wide", "two-layer")


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
    """Check every claim on the paper's reading, under both recipes."""
    return pd.DataFrame([checked(claim, tables, probe) for claim in CLAIMS])


def checked(claim: Claim, tables: dict, probe: str) -> dict[str, str]:
    """Check one claim: a row of the table."""
    row = {"claim": claim.text, "paper": claim.paper}
    for recipe in ("paper", "default"):
        finding = claim.check(_of_recipe(tables, recipe, probe))
        row[f"ours, {recipe} recipe"] = finding.found
        row[f"{recipe} recipe"] = finding.verdict
    return row


def of_all_probes(scores: pd.DataFrame) -> pd.DataFrame:
    """Leave out what only some of the probes were shown."""
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
        none = pd.DataFrame(columns=KEYS)
        return pd.Series(dtype=float, index=pd.MultiIndex.from_frame(none))
    chosen = scores[(scores.sae == sae) & (scores.features == features)]
    return chosen.groupby(KEYS).f1.mean()


def _best(tables, features, saes=REGULAR):
    """F1 of the best of several autoencoders, where all were measured."""
    return (
        pd.concat([_f1(tables, sae, features) for sae in saes], axis=1)
        .dropna()
        .max(axis=1)
    )


def _adam_r2(tables):
    r2 = tables["transform"].query("solver == 'adam'").groupby("base").r2
    found = "; ".join(f"{b} {g.mean():.3f} ± {g.std(ddof=0):.3f}" for b, g in r2)
    return Finding(found, verdict(r2.mean() > 0.98))


def _identity_r2(tables):
    names = {"r2": "per feature", "r2_pooled": "pooled"}
    means = tables["transform"].groupby(["solver", "base"])[[*names]].mean()
    means = means.rename(columns=names).rename_axis(columns="definition")
    still, fitted = means.loc["identity"].stack(), means.loc["adam"].stack()
    found = "; ".join(
        f"{base} {row['per feature']:.2f} (pooled {row['pooled']:.2f})"
        for base, row in still.unstack().iterrows()
    )
    return Finding(found, verdict(still < fitted - FAR))


def _best_probe(tables):
    scores = tables.get("all probes", pd.DataFrame())
    of_saes = scores.query("sae != 'none'") if len(scores) else scores
    if not len(of_saes) or of_saes.probe.nunique() < 3:
        return NOT_MEASURED
    scores = of_all_probes(scores)
    invariant = (scores.sae == "equivariant") & (scores.features == "latents")
    means = {
        "all": scores.groupby("probe").f1.mean(),
        "all but the equivariant latents": scores[~invariant]
        .groupby("probe")
        .f1.mean(),
    }
    found = {
        over: Finding(
            ", ".join(f"{name} {f1:.3f}" for name, f1 in of.items()),
            _best_is_xgboost(of),
        )
        for over, of in means.items()
    }
    return join(**found)


def _best_is_xgboost(f1):
    even = f1.index[f1 > f1.max() - MARGIN].drop("xgboost", errors="ignore")
    if f1["xgboost"] <= f1.max() - MARGIN:
        return "does not hold"
    return f"even with {', '.join(even)}" if len(even) else "holds"


def _best_on_latents(tables):
    return ahead(_f1(tables, "equivariant", "latents"), _best(tables, "latents"))


def _matches_activations(tables):
    latents = _f1(tables, "equivariant", "latents")
    if not len(latents):
        return NOT_MEASURED
    latents = latents.xs("S", level="kind")
    activations = _f1(tables, "none", "activations").xs("S", level="kind")
    activations = activations.droplevel(["k", "truncation"])
    gap = latents.unstack(["k", "truncation"]).sub(activations, axis=0)
    gap = gap.dropna(how="all")
    best = gap.max(axis=1)
    found = "; ".join(
        f"{base} {best[base]:+.3f} (k = {k}, {m} latents)"
        for base, (k, m) in gap.idxmax(axis=1).items()
    )
    matches, exceeds = verdict(best >= -MARGIN), verdict(best > MARGIN)
    return Finding(f"best gap {found}", f"matches: {matches}; exceeds: {exceeds}")


def _drops_off_s(tables):
    latents = _f1(tables, "equivariant", "latents")
    if not len(latents):
        return NOT_MEASURED
    by_kind = latents.unstack("kind")
    others = by_kind.drop(columns="S")
    found = ", ".join(f"{kind} {by_kind[kind].mean():.3f}" for kind in by_kind)
    return Finding(found, verdict(others.lt(by_kind["S"] - MARGIN, axis=0).stack()))


def _over(tables, sae, features, others, of_others=None):
    """One autoencoder's F1 over those of others."""
    ours = _f1(tables, sae, features)
    return join(
        **{
            f"over {other}": ahead(ours, _f1(tables, other, of_others or features))
            for other in others
        }
    )


def _two_layer_latents(tables):
    return _over(tables, "two-layer", "latents", ("regular", "wide"))


def _two_layer_gains(tables):
    gap = _f1(tables, "two-layer", "latents") - _f1(tables, "regular", "latents")
    gap = gap.dropna().groupby(["k", "base"]).mean().unstack("base")
    if len(gap) < 2:
        return NOT_MEASURED
    means = ", ".join(f"k = {k} {value:+.3f}" for k, value in gap.mean(axis=1).items())
    gap = gap.dropna(axis=1)
    grows = (gap.iloc[-1] > MARGIN) & (gap.iloc[-1] - gap.iloc[0] > MARGIN)
    return Finding(f"over regular: {means}", verdict(grows))


def _reconstructions(tables):
    return _over(tables, "equivariant", "reconstruction", ("regular", "wide"))


def _reconstructions_told(tables):
    told = "reconstruction, true power"
    return _over(tables, "equivariant", told, ("regular", "wide"), "reconstruction")


def _best_reconstructions(tables):
    return ahead(
        _f1(tables, "equivariant", "reconstruction"), _best(tables, "reconstruction")
    )


def _matched_by_two_layer(tables):
    gap = _f1(tables, "equivariant", "reconstruction")
    gap = (gap - _f1(tables, "two-layer", "reconstruction")).dropna()
    k = gap.index.get_level_values("k")
    if not {SMALL_K, LARGE_K} <= set(k):
        return NOT_MEASURED
    beaten, behind = gap > MARGIN, gap < -MARGIN
    found = ", ".join(
        f"k = {k} ahead {beaten[k_is].sum()}, "
        f"equal {(~(beaten | behind))[k_is].sum()}, behind {behind[k_is].sum()}"
        for k, k_is in ((value, k == value) for value in np.unique(k))
    )
    smaller, largest = verdict(beaten[k < LARGE_K]), verdict(~beaten[k == LARGE_K])
    return Finding(found, f"beaten at smaller k: {smaller}; matched at 32: {largest}")


def _grows(tables):
    """With the largest k, or most latents, over the smallest or fewest."""
    f1 = _f1(tables, "regular", "reconstruction")
    levels = {"k": "k", "latents": "truncation"}
    return join(**{name: _gain(f1, level) for name, level in levels.items()})


def _gain(f1, level):
    by_level = f1.unstack(level).dropna()
    if by_level.shape[1] < 2 or not len(by_level):
        return NOT_MEASURED
    found = ", ".join(f"{value} {mean:.3f}" for value, mean in by_level.mean().items())
    return Finding(found, verdict(by_level.iloc[:, -1] - by_level.iloc[:, 0] > MARGIN))


def _upper_bound(tables):
    scores = tables["probes"]
    activations = _f1(tables, "none", "activations").droplevel(["k", "truncation"])
    if not len(activations) or not (scores.sae != "none").any():
        return NOT_MEASURED
    rebuilt = scores[scores.features == "reconstruction"]
    f1 = rebuilt.groupby(["sae", *KEYS]).f1.mean()
    if not len(f1):
        return NOT_MEASURED
    bound = f1.index.droplevel(["sae", "k", "truncation"]).map(activations)
    above = (f1 - np.asarray(bound, dtype=float)).dropna()
    below = above <= MARGIN
    found = f"above it in {(~below).sum()} of {len(below)} cases"
    return Finding(found, verdict(below))


def _losses(tables, sae, reconstruction):
    rows = tables["sae"]
    chosen = rows[(rows.sae == sae) & (rows.reconstruction == reconstruction)]
    return chosen.set_index(["base", "k"]).sort_index()


def _lags_behind(tables):
    ours = _losses(tables, "equivariant", "inferred power")
    rows = tables["sae"]
    others = rows[rows.sae.isin(REGULAR)]
    if not len(ours) or not len(others):
        return NOT_MEASURED
    better = pd.Series(
        {
            key: (
                (others.base == key[0])
                & (others.spliced_loss < row.spliced_loss)
                & (others.l1 < row.l1)
            ).any()
            for key, row in ours.iterrows()
        }
    ).rename_axis(ours.index.names)
    found = f"one of them has less loss and less L1: {better.sum()} of {len(better)}"
    return Finding(found, verdict(better))


def _matches_wide(tables):
    wide = _losses(tables, "wide", "plain").spliced_loss
    ratios = {
        power: (_losses(tables, "equivariant", power).spliced_loss / wide).dropna()
        for power in ("inferred power", "true power")
    }
    if SMALL_K not in ratios["inferred power"].index.get_level_values("k"):
        return NOT_MEASURED
    small = pd.concat(ratios, names=["power"]).xs(SMALL_K, level="k")
    found = ", ".join(
        f"{b}, {power} {value:.2f}x" for (power, b), value in small.items()
    )
    return Finding(f"loss over wide's: {found}", verdict(small <= AS_WELL))


def _sparser(tables):
    ours = _losses(tables, "equivariant", "true power").l1
    ratios = {
        sae: (_losses(tables, sae, "plain").l1 / ours).dropna() for sae in REGULAR
    }
    return join(
        **{
            sae: Finding(f"{ratio.median():.2f}x", verdict(ratio < 1))
            for sae, ratio in ratios.items()
            if len(ratio)
        }
    )


def _range_over_k(tables):
    both = pd.concat(
        {
            "ours": _losses(tables, "equivariant", "true power").l1,
            "other": _losses(tables, "two-layer", "plain").l1,
        },
        axis=1,
    ).dropna()
    by = both.groupby("base")
    spread = (by.max() / by.min())[by.size() > 1]
    if not len(spread):
        return NOT_MEASURED
    found = "; ".join(
        f"{base} {row.ours:.2f} against {row.other:.2f}"
        for base, row in spread.iterrows()
    )
    return Finding(
        f"largest L1 over smallest: {found}", verdict(spread.ours < spread.other)
    )


def _m_helps(tables):
    before = _losses(tables, "equivariant", "invariant").spliced_loss
    ratios = {
        power: (_losses(tables, "equivariant", power).spliced_loss / before).dropna()
        for power in ("inferred power", "true power")
    }
    table = pd.concat(ratios, names=["power"])
    if not len(table):
        return NOT_MEASURED
    found = ", ".join(f"{p} {np.median(ratio):.2f}x" for p, ratio in ratios.items())
    return Finding(f"loss over the invariant one's: {found}", verdict(table < 1))


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
    Claim("XGBoost is the best probe", "", _best_probe),
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
    Claim("And more so at higher k", "", _two_layer_gains),
    Claim(
        "On truncated reconstructions, the equivariant SAE beats regular and wide in "
        "all tasks and setups (power inferred)",
        "",
        _reconstructions,
    ),
    Claim("The same, told the true power", "", _reconstructions_told),
    Claim(
        "There, the two-layer SAE matches it only at k = 32",
        "",
        _matched_by_two_layer,
    ),
    Claim(
        "There, the equivariant SAE is the best of all (Appendix D)",
        "",
        _best_reconstructions,
    ),
    Claim(
        "A regular SAE's truncated reconstructions gain from a larger k and from more "
        "latents",
        "",
        _grows,
    ),
    Claim("The activations are an upper bound for reconstructions", "", _upper_bound),
    Claim(
        "The equivariant SAE lags behind regular ones in reconstruction and sparsity "
        "(power inferred)",
        "",
        _lags_behind,
    ),
    Claim(
        "At small k (8), it reconstructs as well as the wide one",
        "",
        _matches_wide,
    ),
    Claim("Regular SAEs have sparser latents (L1 over its L1)", "", _sparser),
    Claim("Its L1 depends less on k than that of a two-layer SAE", "", _range_over_k),
    Claim("M improves the reconstruction: equivariant over invariant", "", _m_helps),
)
