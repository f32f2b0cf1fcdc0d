"""Which row of X is element g of orbit i: the metadata contract, checked once."""

from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import column_or_1d

from .._estimator import as_array, as_entries, name_rows
from .._warnings import warn
from ._group import CyclicGroup, FiniteGroup

_SHOWN = 5

# that methods request, and that say of each row where it belongs
METADATA = {"groups": True, "power": True, "site": True}


def as_group(symmetry: int | FiniteGroup | None) -> FiniteGroup | None:
    """The group that a ``symmetry`` parameter stands for; None is not known yet."""
    if symmetry is None or isinstance(symmetry, FiniteGroup):
        return symmetry
    if not isinstance(symmetry, int | np.integer) or symmetry < 1:
        raise ValueError(
            "symmetry must be the order of a cyclic group, a positive integer, or a "
            f"FiniteGroup such as DihedralGroup(4), found {symmetry!r}."
        )
    return CyclicGroup(int(symmetry))


def given(metadata: dict[str, Any]) -> dict[str, Any]:
    """Those of groups, power and site that are there."""
    return {name: values for name, values in metadata.items() if values is not None}


def orbit_table(
    groups: ArrayLike | None,
    power: ArrayLike | None,
    *,
    symmetry: int | FiniteGroup | None = None,
    n_rows: int,
    site: ArrayLike | None = None,
) -> tuple[FiniteGroup, NDArray]:
    """Find the group, and the row of X of each orbit and element."""
    # An orbit is the rows of one pair (groups, site). The table has shape (n_orbits,
    # order) and holds -1 where X has no such row. Orbits come in the order of their
    # first row, so neither their ids nor the order of the rows inside an orbit matter.
    # Metadata that describe no orbits are a ValueError.
    group = as_group(symmetry)
    if groups is None and power is None and site is None:
        return _trivial_table(group, n_rows)
    if groups is None or power is None:
        _raise_half_metadata({"groups": groups, "power": power, "site": site})
    ids = _checked_ids(groups, site)
    element = _elements(power, group)
    for name, column in (ids | {"power": element}).items():
        _check_length(column, name, n_rows)
    order = _order_of_powers(element) if group is None else group.order
    table = _filled_table(pd.DataFrame(ids), element, order)
    return group or CyclicGroup(order), table


def canonical_rows(
    is_canonical: Any, *, groups: Any, site: Any, n_rows: int
) -> NDArray:
    """Row (n_rows,) that each row is moved from, whatever moved it."""
    # Rows that are not canonical are numbered as they come, in place of elements.
    if groups is None:
        _raise_half_metadata({"groups": groups, "power": is_canonical, "site": site})
    columns = _checked_ids(groups, site)
    for name, column in columns.items():
        _check_length(column, name, n_rows)
    ids = pd.DataFrame(columns | {"is canonical": is_canonical})
    number = ids.groupby(list(ids), sort=False).cumcount().to_numpy()
    _, table = orbit_table(groups, number + ~is_canonical, n_rows=n_rows, site=site)
    orbit, column = np.nonzero(table >= 0)
    canonical = np.empty(n_rows, dtype=np.int64)
    canonical[table[orbit, column]] = table[orbit, 0]
    return canonical


def are_held_out(table: NDArray, groups: ArrayLike, share: float, seed: int) -> NDArray:
    """Which orbits (n_orbits,) are of a share of the inputs drawn at random."""
    # Sites of one input are alike, so that an orbit is judged with its input unseen.
    inputs, ids = pd.factorize(np.asarray(groups)[table[:, 0]])
    drawn = np.random.default_rng(seed).permutation(len(ids))
    return np.isin(inputs, drawn[: max(1, int(share * len(ids)))])


def _checked_ids(groups: Any, site: Any) -> dict[str, NDArray]:
    """Columns that together are the id of the orbit of each row."""
    ids = given({"groups": groups, "site": site})
    return {name: checked_column(values, name) for name, values in ids.items()}


def _check_length(column: NDArray, name: str, n_rows: int) -> None:
    if len(column) != n_rows:
        raise ValueError(
            f"{name} has {len(column)} entries, but X has {n_rows} rows. Give one "
            "entry for each row."
        )


def checked_column(values: ArrayLike, name: str, hint: str = "") -> NDArray:
    """One entry per row of shape (n_rows,), none missing, all of one kind."""
    shape = np.shape(as_array(values, name))
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(f"{name} must hold one entry per row, found {shape}. {hint}")
    entries = as_entries(values, name)
    # of a list, before an array makes texts of its numbers
    mixed = entries if hasattr(values, "__array__") else np.array(values, dtype=object)
    try:
        if mixed.dtype == object:
            np.unique(mixed)
    except TypeError as error:
        kinds = ", ".join(sorted({type(entry).__name__ for entry in mixed.flat}))
        raise ValueError(
            f"{name} mixes entries that cannot be compared, of types {kinds}. Make all "
            "of them numbers, or all of them texts."
        ) from error
    return column_or_1d(entries)


def check_integers(power: ArrayLike) -> NDArray:
    """Powers of shape (n_rows,), of any sign, as int64."""
    power = checked_column(
        power, "power", "Several generators need symmetry=, a FiniteGroup."
    )
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
            f"power must hold integers, found {power[rows[0]]} in {name_rows(rows)}."
        )
    return whole


def _elements(power: ArrayLike, group: FiniteGroup | None) -> NDArray:
    """Element of the group that each row's powers make."""
    if group is not None and group.n_generators > 1:
        return group.elements_of(_check_columns(power, group))
    power = check_integers(power)
    order = None if group is None else group.order
    bad = np.flatnonzero((power < 0) | (power >= (np.inf if order is None else order)))
    if len(bad):
        upper = "" if order is None else f" to {order - 1} (symmetry={group!r})"
        raise ValueError(
            f"power must hold integers from 0{upper}, found {power[bad[0]]} in "
            f"{name_rows(bad)}. Give each row the power of the generator that was "
            "applied to its canonical input, modulo the order."
        )
    return power


def _check_columns(power: ArrayLike, group: FiniteGroup) -> NDArray:
    power = np.asarray(as_array(power, "power"))
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


def _order_of_powers(power: NDArray) -> int:
    """Order of the cyclic group up to the largest power; each smaller one is there."""
    order = int(power.max()) + 1
    seen = np.unique(power)  # not one entry a power: a huge one must not take memory
    if len(seen) < order:
        gaps = np.setdiff1d(np.arange(min(order, len(seen) + _SHOWN + 1)), seen)
        missing = ", ".join(map(str, gaps[:_SHOWN]))
        more = ", ..." if order - len(seen) > min(_SHOWN, len(gaps)) else ""
        raise ValueError(
            f"power goes up to {order - 1}, but no row has power {missing}{more}, so "
            f"that the group cannot be read from the powers. Set symmetry, such as "
            f"symmetry={order}, or number the powers from 0 without gaps."
        )
    return order


def _trivial_table(group: FiniteGroup | None, n_rows: int) -> tuple:
    if group is not None and group.order > 1:
        raise ValueError(
            f"symmetry={group!r} needs to know the orbits: pass groups= and power= to "
            "fit, or set symmetry=1 for data without a symmetry. Inside a Pipeline "
            "pass STEP__groups= and STEP__power=."
        )
    return group or CyclicGroup(1), np.arange(n_rows)[:, np.newaxis]


def _raise_half_metadata(metadata: dict[str, Any]) -> NoReturn:
    there = given(metadata)
    missing = [name for name in ("groups", "power") if name not in there]
    were = "was" if len(there) == 1 else "were"
    hint = (
        " GridSearchCV and the like keep groups for their splitter: enable metadata "
        "routing, or search over a Pipeline and pass STEP__groups= and STEP__power=."
    )
    raise ValueError(
        f"{' and '.join(there)} {were} given without {' and '.join(missing)}: groups "
        "says which rows are of one input, site, if there are sites, which of them are "
        "of one site, and power which element of the group made each of them. Pass "
        f"groups and power or neither.{hint if 'groups' in missing else ''}"
    )


def _filled_table(ids: pd.DataFrame, element: NDArray, order: int) -> NDArray:
    orbit = ids.groupby(list(ids), sort=False).ngroup()  # by their first row
    orbit = orbit.to_numpy(np.intp)
    counts = np.zeros((orbit.max() + 1, order), dtype=np.int64)
    np.add.at(counts, (orbit, element), 1)
    _raise_if_twice(counts, orbit, element, ids)
    _raise_if_no_canonical(counts, orbit, ids)
    table = np.full(counts.shape, -1, dtype=np.int64)
    table[orbit, element] = np.arange(len(ids))
    return table


def _raise_if_twice(
    counts: NDArray, orbit: NDArray, power: NDArray, ids: pd.DataFrame
) -> None:
    rows = np.flatnonzero(counts[orbit, power] > 1)
    if len(rows):
        same = rows[(orbit[rows] == orbit[rows[0]]) & (power[rows] == power[rows[0]])]
        another = "a site" if "site" in ids else "a group id"
        raise ValueError(
            f"orbit {_named(ids, rows[0])} has power {power[rows[0]]} twice, in "
            f"{name_rows(same)}. An orbit holds each power once: drop the copies or "
            f"give them {another} of their own."
        )


def _raise_if_no_canonical(counts: NDArray, orbit: NDArray, ids: pd.DataFrame) -> None:
    rows = np.flatnonzero(counts[orbit, 0] == 0)
    if len(rows):
        lacking = rows[np.unique(orbit[rows], return_index=True)[1]]
        names = ", ".join(_named(ids, row) for row in lacking[:_SHOWN])
        raise ValueError(
            f"{len(lacking)} orbit(s) have no row of power 0, the canonical row "
            f"(group ids {names}{', ...' if len(lacking) > _SHOWN else ''}; "
            f"{name_rows(rows)}). If X comes from a cross-validation split, the split "
            "has cut orbits: use GroupKFold or another splitter that keeps groups "
            "whole, and no HalvingGridSearchCV(resource='n_samples'). Otherwise "
            "add the canonical rows."
        )


def _named(ids: pd.DataFrame, row: int) -> str:
    """The orbit of a row, for a message."""
    return " at site ".join(str(ids[name].iloc[row]) for name in ids)


def warn_if_no_symmetry(
    estimator: BaseEstimator, metadata: dict[str, Any], becomes: str
) -> None:
    """Warn if nothing says of which symmetry the rows are."""
    if estimator.symmetry is None and not given(metadata):
        warn(
            f"{type(estimator).__name__} got no groups and power, so it {becomes}. "
            "Pass both to fit, in a Pipeline as STEP__groups= and STEP__power=; "
            "symmetry=1 says that there is no symmetry."
        )


def power_of_each_row(power: ArrayLike, n_rows: int, n_generators: int) -> NDArray:
    """Powers of shape (n_rows, n_generators), from one for all rows or one for each."""
    power = found = np.asarray(as_array(power, "power"))
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
