"""What `evaluate_probes` is asked, checked before anything is fitted."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_array
from sklearn.utils.metadata_routing import get_routing_for_object

from .._estimator import as_array, as_entries, as_places
from ..groups._orbit_table import given
from ._mean_difference import FLOATS
from ._probes import check_probe_names, make_probe
from ._truncation import check_power

NAMED_IN_ERROR = 10


def check_rows(X: ArrayLike) -> Any:
    """Rows as floats; a DataFrame stays one, for SAEs that know its columns."""
    X = as_array(X)
    checked = check_array(X, input_name="X", accept_sparse="csr", dtype=FLOATS)
    return X if hasattr(X, "columns") else checked


def check_labels(
    Y: ArrayLike, n_rows: int, task_names: Sequence[str] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Labels of shape (n_rows, n_tasks) as 0 and 1, and the names of the tasks."""
    labels = as_entries(Y, "Y")
    if labels.ndim != 2 or len(labels) != n_rows:
        raise ValueError(
            f"Y has shape {labels.shape}; give one row per row of X ({n_rows}) and one "
            "column per task"
        )
    other = ~np.isin(labels, (0, 1))
    if other.any():
        raise ValueError(
            f"Y has values other than 0 and 1, such as {labels[other].tolist()[0]!r}; "
            "give one binary column per task"
        )
    default = getattr(Y, "columns", [f"task {t}" for t in range(labels.shape[1])])
    names = [str(name) for name in (default if task_names is None else task_names)]
    if len(names) != labels.shape[1]:
        raise ValueError(
            f"task_names has {len(names)} entries for {labels.shape[1]} columns of Y; "
            "give one name per task"
        )
    return labels.astype(np.int64), names


def check_split(
    sides: dict[str, ArrayLike | None], n_rows: int
) -> dict[str, NDArray[np.intp]]:
    """Indices of the rows of each side that is given; sides share none."""
    rows = {}
    for side, values in given(sides).items():
        entries = as_entries(values, side)
        if entries.dtype == bool and entries.shape == (n_rows,):
            entries = np.flatnonzero(entries)
        rows[side] = as_places(entries, side, n_rows, "rows of X").astype(np.intp)
    for one, other in combinations(rows, 2):
        both = np.intersect1d(rows[one], rows[other])
        if both.size:
            raise ValueError(
                f"{one} and {other} share {both.size} rows, the first of them "
                f"{both[0]}; a row may be in one of them only"
            )
    return rows


def check_classes(
    labels: NDArray, sides: Mapping[str, NDArray], names: Sequence[str]
) -> None:
    """Raise if a task has one class on a side of the split."""
    for side, rows in sides.items():
        constant = np.flatnonzero(np.ptp(labels[rows], axis=0) == 0)
        if constant.size:
            shown = ", ".join(repr(names[t]) for t in constant[:NAMED_IN_ERROR])
            more = constant.size - NAMED_IN_ERROR
            raise ValueError(
                f"one class only in the {side} rows of {constant.size} task(s): {shown}"
                f"{f' and {more} more' if more > 0 else ''}; leave these columns out "
                f"of Y or choose {side} rows that have both classes"
            )


def check_known_power(
    transformer: Any, power: ArrayLike | None, n_rows: int
) -> NDArray | None:
    """Powers, for a transformer that can be told them."""
    if power is None:
        return None
    if not hasattr(transformer, "reconstruct"):
        raise ValueError(
            f"power was given, but transformer={transformer!r} has no reconstruct that "
            "could use it; leave power=None or use TruncatedReconstruction"
        )
    frozen = isinstance(transformer, FrozenEstimator)
    sae = transformer if frozen else getattr(transformer, "estimator", transformer)
    powers = check_power(sae, power, n_rows)
    if get_routing_for_object(sae).consumes("fit", ["groups"]):
        raise ValueError(
            f"power was given, but {sae!r} would be fitted for each task without "
            "groups, so that no power could move its reconstruction; fit it once with "
            "groups= and power=, and give TruncatedReconstruction(FrozenEstimator(sae))"
        )
    return powers


def check_probes(probes: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Unfitted classifiers by name."""
    check_probe_names(probes)
    if isinstance(probes, Mapping):
        return {str(name): clone(probe) for name, probe in probes.items()}
    return {kind: make_probe(kind) for kind in probes}
