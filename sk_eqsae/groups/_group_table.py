"""Orbits of any finite group as a table of rows."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..activations._orbit_table import check_integers, orbit_table
from ._group import CyclicGroup, FiniteGroup


def group_table(
    groups: ArrayLike | None,
    power: ArrayLike | None,
    *,
    order: int | None = None,
    group: FiniteGroup | None = None,
    n_rows: int,
) -> tuple[FiniteGroup, NDArray]:
    """Find the group and arrange the rows of its orbits.

    Parameters
    ----------
    groups : array-like of shape (n_rows,) or None
        Orbit id of each row.
    power : array-like of shape (n_rows,) or (n_rows, n_generators) or None
        Powers of the generators of each row.
    order : int or None
        Order of the group; None reads it from the powers or the group.
    group : FiniteGroup or None
        The group; None is the cyclic group.
    n_rows : int
        Number of rows of X.

    Returns
    -------
    group : FiniteGroup
        The group.
    table : ndarray of shape (n_orbits, group.order)
        Row of orbit i and element e, or -1 where X has no such row.

    Raises
    ------
    ValueError
        If groups and power do not describe orbits of the group, or if order is not
        that of the group.
    """
    if group is None:
        table = orbit_table(groups, power, order=order, n_rows=n_rows)
        return CyclicGroup(table.shape[1]), table
    if order is not None and order != group.order:
        raise ValueError(
            f"order={order}, but group={group!r} has order {group.order}. Give one of "
            "them."
        )
    if power is not None and group.n_generators > 1:
        power = group.elements_of(_check_columns(power, group))
    return group, orbit_table(groups, power, order=group.order, n_rows=n_rows)


def _check_columns(power: ArrayLike, group: FiniteGroup) -> NDArray:
    power = np.asarray(power)
    if power.ndim != 2 or power.shape[1] != group.n_generators:
        raise ValueError(
            f"power must have one column for each of the {group.n_generators} "
            f"generators of {group!r}, found shape {power.shape}."
        )
    columns = np.column_stack([check_integers(column) for column in power.T])
    bad = (columns < 0) | (columns >= np.array(group.generator_orders))
    if bad.any():
        row, generator = np.argwhere(bad)[0]
        raise ValueError(
            f"power of generator {generator} must be from 0 to "
            f"{group.generator_orders[generator] - 1}, found {columns[row, generator]} "
            f"in row {row}."
        )
    return columns


def power_of_each_row(power: ArrayLike, n_rows: int, n_generators: int) -> NDArray:
    """Give every row its powers.

    Parameters
    ----------
    power : scalar or array-like of shape (n_rows,) or (n_rows, n_generators)
        Powers of each row, or those of all of them.
    n_rows, n_generators : int
        How many rows and generators there are.

    Returns
    -------
    power : ndarray of shape (n_rows, n_generators)
        Powers of each row.

    Raises
    ------
    ValueError
        If they are not one for each row and generator.
    """
    power = found = np.asarray(power)
    if power.ndim == (n_generators > 1):  # one element for all rows
        power = np.broadcast_to(power, (n_rows, *power.shape))
    power = np.atleast_1d(power)
    power = power.reshape(len(power), -1)
    if power.shape != (n_rows, n_generators):
        raise ValueError(
            f"power has shape {found.shape} for {n_rows} row(s) and {n_generators} "
            "generator(s). Give one power, or one for each row, with a column for "
            "each generator."
        )
    return power
