"""From rows to markdown."""

from collections.abc import Iterable


def markdown(header: Iterable[str], rows: Iterable[Iterable]) -> str:
    """Write a table.

    Parameters
    ----------
    header : iterable of str
        Names of the columns.
    rows : iterable of iterables
        Cells.

    Returns
    -------
    table : str
        Markdown.
    """
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def significant(value: float, digits: int = 3) -> str:
    """Write a number with so many digits, such as 0.0004 with 1 as in tables of FVU.

    Parameters
    ----------
    value : float
        Number.
    digits : int
        Digits that count.

    Returns
    -------
    text : str
        The number, with commas between thousands and no exponent.
    """
    rounded = float(f"{value:.{digits - 1}e}")
    magnitude = int(f"{rounded:e}".rsplit("e", maxsplit=1)[1])
    return f"{rounded:,.{max(digits - 1 - magnitude, 0)}f}"
