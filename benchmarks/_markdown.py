"""From rows to markdown."""

from collections.abc import Iterable

_DIGITS = {"ratio": 2, "count": 3}


def markdown(header: Iterable[str], rows: Iterable[Iterable]) -> str:
    """Write a table."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def significant(value: float, digits: int = 3) -> str:
    """Write a number with so many digits, such as 0.0004 with 1 as in tables of FVU."""
    rounded = float(f"{value:.{digits - 1}e}")
    magnitude = int(f"{rounded:e}".rsplit("e", maxsplit=1)[1])
    return f"{rounded:,.{max(digits - 1 - magnitude, 0)}f}"


def written(value: float, kind: str) -> str:
    """Write a number of a result with as many digits as all pages give its kind.

    "fvu" has three significant digits, with an exponent below 0.0001; "r2" and "f1"
    three decimals, two below zero; "percent" is of a share, "ratio" and "count" have
    two and three significant digits.
    """
    if kind in _DIGITS:
        return significant(value, _DIGITS[kind])
    if kind == "percent":
        return f"{100 * _rounded_share(value):g} %"
    if kind == "fvu":
        return significant(value) if value >= 1e-4 else f"{value:.2e}"
    return f"{value:.3f}" if value >= 0 else f"{value:.2f}"


def _rounded_share(value: float) -> float:
    """Round a share to whole percents; near 0 and 1 to the digits that are left."""
    far = min(value, abs(1 - value))
    digits = 2 if far >= 0.01 else 3 if far >= 0.001 else 5
    return round(value, digits)
