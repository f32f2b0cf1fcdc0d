"""From rows to markdown."""

from collections.abc import Iterable


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
