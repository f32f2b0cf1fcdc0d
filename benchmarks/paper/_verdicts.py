"""How a comparison is judged, and said in words."""

from typing import NamedTuple

import numpy as np
import pandas as pd

MARGIN = 0.01  # F1 that is closer counts as equal

_KINDS = ("S", "SP", "SO", "SPO")
_SHOWN = {
    "base": "{}".format,
    "k": "k = {}".format,
    "truncation": "{} latents".format,
}


class Finding(NamedTuple):
    """What was found about a claim.

    Parameters
    ----------
    found : str
        Numbers.
    verdict : str
        Whether, or where, the claim holds.
    """

    found: str
    verdict: str


NOT_MEASURED = Finding("", "not measured")


def verdict(true: pd.Series) -> str:
    """Say where a claim holds.

    "holds", "does not hold", or the conditions of the cases that are fewer: those where
    it holds, or those where it does not. Each level of the index is a condition.
    """
    if not len(true):
        return NOT_MEASURED.verdict
    if true.all() or not true.any():
        return "holds" if true.all() else "does not hold"
    if true.mean() <= 0.5:
        return f"holds only {where(true)}"
    return f"holds but {where(~true)}"


def where(true: pd.Series) -> str:
    """Say what cases have in common that others have not.

    Such as "for S, 8 latents (5 of 6 cases)"; the number of cases is left out where it
    is all that meet the conditions. Else a condition that more than half of a level's
    values meet says little, and is left out.
    """
    n_true, n_met, conditions = true.sum(), *_conditions(true, 1)
    if n_true < n_met:
        n_met, conditions = _conditions(true, 1 / 2)
    if not conditions:
        return f"in {n_true} of {len(true)} cases"
    share = "" if n_true == n_met else f" ({n_true} of {n_met} cases)"
    return f"for {', '.join(conditions)}{share}"


def _conditions(true, most):
    """How many cases meet the conditions that the true ones share, and these."""
    met = np.ones(len(true), dtype=bool)
    conditions = []
    for name in true.index.names:
        level = true.index.get_level_values(name)
        values = level[true].unique()
        if len(values) < level.nunique() and len(values) <= most * level.nunique():
            met &= level.isin(values)
            listed = "/".join(map(str, sorted(values, key=_in_order)))
            conditions.append(_SHOWN.get(name, str)(listed))
    return met.sum(), conditions


def _in_order(value):
    return (_KINDS.index(value) if value in _KINDS else -1), value


def ahead(one: pd.Series, other: pd.Series) -> Finding:
    """Judge the claim that the first is ahead.

    Cases that only one of them has are left out. At the ceiling the other is so near to
    1 that nothing could be ahead.
    """
    one, other = one.align(other, join="inner")
    if not len(one):
        return NOT_MEASURED
    gap = one - other
    more, less = gap > MARGIN, gap < -MARGIN
    equal = ~(more | less)
    ceiling = (equal & (other > 1 - MARGIN)).sum()
    noted = f" ({ceiling} at the ceiling)" if ceiling else ""
    found = (
        f"ahead {more.sum()}, equal {equal.sum()}{noted}, behind {less.sum()}; "
        f"mean {gap.mean():+.3f}"
    )
    return Finding(found, verdict(more) + _behind(less, equal))


def _behind(less, equal):
    if less.all():
        return "; behind everywhere"
    if equal.all():
        return "; even everywhere"
    return f"; behind {where(less)}" if less.any() else ""


def join(**findings: Finding) -> Finding:
    """Several findings as one; a verdict that all share is said once."""
    measured = {n: f for n, f in findings.items() if f != NOT_MEASURED}
    if not measured:
        return NOT_MEASURED
    found = "; ".join(f"{name}: {finding.found}" for name, finding in measured.items())
    verdicts = {finding.verdict for finding in measured.values()}
    if len(verdicts) == 1 and len(measured) == len(findings):
        return Finding(found, verdicts.pop())
    each = [f"{name}: {finding.verdict}" for name, finding in measured.items()]
    return Finding(found, "; ".join(each))
