"""Which row of X is power p of orbit i: the metadata contract, checked once."""

from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_consistent_length, column_or_1d

_SHOWN = 5


def orbit_table(
    groups: ArrayLike | None,
    power: ArrayLike | None,
    *,
    order: int | None = None,
    n_rows: int,
) -> NDArray:
    """Arrange the rows of orbits in a table.

    Parameters
    ----------
    groups : array-like of shape (n_rows,) or None
        Orbit id of each row.
    power : array-like of shape (n_rows,) or None
        Power of the generator of each row, from 0 to ``order - 1``.
    order : int or None
        Order of the generator; None reads it from the powers.
    n_rows : int
        Number of rows of X.

    Returns
    -------
    table : ndarray of shape (n_orbits, order)
        Row of orbit i and power p, or -1 where X has no such row. Orbits come in
        the order of their first row, so neither their ids nor the order of the
        rows inside an orbit matter.

    Raises
    ------
    ValueError
        If only one of groups and power is given, if an orbit has no row of power
        0 or two rows of one power, or if a power contradicts the order.
    """
    if groups is None and power is None:
        return _trivial_table(order, n_rows)
    if groups is None or power is None:
        _raise_half_metadata(groups)
    groups = _column(groups, "groups")
    power = check_integers(power)
    _check_range(power, order)
    check_consistent_length(np.empty(n_rows), groups, power)
    order = int(power.max()) + 1 if order is None else order
    return _filled_table(groups, power, order)


def _column(values: ArrayLike, name: str, hint: str = "") -> NDArray:
    shape = np.shape(values)
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(f"{name} must hold one entry per row, found {shape}. {hint}")
    return column_or_1d(values)


def check_integers(power: ArrayLike) -> NDArray:
    """Validate powers as integers of any sign.

    Parameters
    ----------
    power : array-like of shape (n_rows,)
        Powers of the generator.

    Returns
    -------
    power : ndarray of shape (n_rows,), dtype int64
        The same powers.

    Raises
    ------
    ValueError
        If a power is not an integer.
    """
    power = _column(power, "power", "Several generators need group=.")
    try:
        if power.dtype.kind in "SU":
            raise TypeError
        with np.errstate(invalid="ignore"):  # NaN is found below
            whole = power.astype(np.int64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"power must hold integers, found dtype {power.dtype}."
        ) from error
    if (whole != power).any():
        rows = np.flatnonzero(whole != power)
        raise ValueError(
            f"power must hold integers, found {power[rows[0]]} in {_rows(rows)}."
        )
    return whole


def _check_range(power: NDArray, order: int | None) -> None:
    bad = np.flatnonzero((power < 0) | (power >= (np.inf if order is None else order)))
    if len(bad):
        upper = "" if order is None else f" to {order - 1} (order={order})"
        raise ValueError(
            f"power must hold integers from 0{upper}, found {power[bad[0]]} in "
            f"{_rows(bad)}. Give each row the power of the generator that was applied "
            "to its canonical input, modulo the order."
        )


def _trivial_table(order: int | None, n_rows: int) -> NDArray:
    if order is not None and order > 1:
        raise ValueError(
            f"order={order} needs to know the orbits: pass groups= and power= to "
            "fit, or set order=None for data without a symmetry. Inside a Pipeline "
            "pass STEP__groups= and STEP__power=."
        )
    return np.arange(n_rows)[:, np.newaxis]


def _raise_half_metadata(groups: ArrayLike | None) -> NoReturn:
    given, missing = ("power", "groups") if groups is None else ("groups", "power")
    hint = (
        " GridSearchCV and the like keep groups for their splitter: enable metadata "
        "routing, or search over a Pipeline and pass STEP__groups= and STEP__power=."
    )
    raise ValueError(
        f"{given} was given without {missing}: groups says which rows belong to "
        "one orbit and power says which element of the group made each of them. "
        f"Pass both or neither.{hint if groups is None else ''}"
    )


def _filled_table(groups: NDArray, power: NDArray, order: int) -> NDArray:
    _, first, orbit = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    orbit = rank[orbit]
    counts = np.zeros((len(first), order), dtype=np.int64)
    np.add.at(counts, (orbit, power), 1)
    _raise_if_twice(counts, orbit, power, groups)
    _raise_if_no_canonical(counts, orbit, groups)
    table = np.full((len(first), order), -1, dtype=np.int64)
    table[orbit, power] = np.arange(len(groups))
    return table


def _raise_if_twice(
    counts: NDArray, orbit: NDArray, power: NDArray, groups: NDArray
) -> None:
    rows = np.flatnonzero(counts[orbit, power] > 1)
    if len(rows):
        same = rows[(orbit[rows] == orbit[rows[0]]) & (power[rows] == power[rows[0]])]
        raise ValueError(
            f"orbit {groups[rows[0]]!s} has power {power[rows[0]]} twice, in "
            f"{_rows(same)}. An orbit holds each power once: drop the copies or "
            "give them a group id of their own."
        )


def _raise_if_no_canonical(counts: NDArray, orbit: NDArray, groups: NDArray) -> None:
    rows = np.flatnonzero(counts[orbit, 0] == 0)
    if len(rows):
        lacking = np.unique(groups[rows])
        ids = ", ".join(str(g) for g in lacking[:_SHOWN])
        raise ValueError(
            f"{len(lacking)} orbit(s) have no row of power 0, the canonical row "
            f"(group ids {ids}{', ...' if len(lacking) > _SHOWN else ''}; "
            f"{_rows(rows)}). If X comes from a cross-validation split, the split "
            "has cut orbits: use GroupKFold or another splitter that keeps groups "
            "whole, and no HalvingGridSearchCV(resource='n_samples'). Otherwise "
            "add the canonical rows."
        )


def _rows(rows: NDArray) -> str:
    shown = ", ".join(str(r) for r in rows[:_SHOWN])
    return f"rows {shown}{', ...' if len(rows) > _SHOWN else ''}"
