"""All that the page shows, as JSON values."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from ...activations import Orbits
from ...groups import FiniteGroup
from ...groups._group import action_powers, as_group
from ...groups._orbit_table import orbit_table
from ...sae._base import BaseSAE, kept_latents
from .._element_names import element_names
from .._feature_symmetry import feature_symmetry
from ._pictures import Action, Inputs, check_ids, pictures
from ._removal import removal
from ._usage import class_separation, histograms, mean_by_power, top_orbits, usage

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def content(
    sae: BaseSAE,
    orbits: Orbits,
    Z: csr_array,
    inputs: Inputs | None,
    *,
    action: Action | None,
    labels: ArrayLike | None,
    names: ArrayLike | None,
    activation_transform: BaseEstimator | None,
    n_top: int,
    max_picture_bytes: int,
) -> dict[str, Any]:
    """Gather what the page shows, for the parameters of :func:`explore`."""
    fitter, X = activation_transform, orbits.X
    group, table = orbit_table(
        orbits.groups,
        orbits.power,
        symmetry=orbits.symmetry if fitter is None else fitter.symmetry_,
        n_rows=len(orbits),
    )
    by_column = Z.tocsc()
    lost = removal(sae, X, Z, table)
    columns = usage(Z) | {"removal_error": lost.error, "removal_fvu": lost.fvu}
    top = top_orbits(by_column, table, n_top)
    shown = _most_needed_first(top)
    orbit_ids = orbits.groups[table[:, 0]]
    if inputs is not None:
        _check_action(action, group)
        check_ids(orbit_ids, len(inputs))
    return {
        "title": f"Features of {type(sae).__name__}",
        "about": {
            "estimator": type(sae).__name__,
            "n_rows": len(X),
            "n_orbits": len(table),
            "n_activations": X.shape[1],
            "k": kept_latents(sae),
            "group": repr(group),
            "fvu": _rounded(lost.fvu_with_all),
        },
        "names": _names(sae, names),
        "elements": element_names(group, lambda p: str(p).translate(_SUPERSCRIPTS)),
        "columns": {name: _rounded(column) for name, column in columns.items()},
        "histograms": histograms(by_column),
        "by_power": _rounded(mean_by_power(Z, table)),
        **({} if fitter is None else _symmetry(sae, fitter, group)),
        **({} if labels is None else _classes(by_column, labels)),
        "top": _by_place(top, shown),
        "inputs": [str(orbit_id) for orbit_id in orbit_ids[shown]],
        "pictures": None
        if inputs is None
        else pictures(
            inputs,
            orbit_ids[shown],
            action=action,
            powers=action_powers(group),
            max_bytes=max_picture_bytes,
        ),
    }


def _rounded(values: Any, digits: int = 4) -> Any:
    """Numbers that JSON has, as short as will do; None for what is not finite."""
    if isinstance(values, np.ndarray | list):
        return [_rounded(value, digits) for value in values]
    if not np.isfinite(values):
        return None
    short = float(f"{values:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def _names(sae: BaseSAE, names: ArrayLike | None) -> list[str]:
    n_latents = len(sae.components_)
    if names is not None:
        given = _complete(names, "names", "name", "feature")
        if len(given) != n_latents:
            raise ValueError(
                f"names has {len(given)} entries, but the dictionary has {n_latents} "
                "vectors. Give one name for each."
            )
        return [str(name) for name in given]
    own = sae.get_feature_names_out()
    if len(own) != n_latents:  # pooled latents
        return [f"latent{i}" for i in range(n_latents)]
    return own.tolist()


def _complete(values: ArrayLike, argument: str, what: str, of: str) -> NDArray:
    """Entries of one axis, none of them missing: NaN, NaT, None, or masked."""
    given: NDArray = column_or_1d(values)
    missing = np.flatnonzero(pd.isna(given) | np.ravel(np.ma.getmask(values)))
    if len(missing):
        raise ValueError(
            f"{argument} has no {what} for {len(missing)} {of}(s), such as "
            f"{missing[0]}. Give these a {what} of their own, such as 'none'."
        )
    return given


def _symmetry(
    sae: BaseSAE, fitter: BaseEstimator, group: FiniteGroup
) -> dict[str, Any]:
    found = feature_symmetry(sae, fitter)
    columns = ["invariance", "stabilizer_size", "orbit_length", "orbit"]
    irreps = [irrep.name for irrep in group.irreps]
    return {
        "irreps": irreps,
        "irrep": found["irrep"].where(found["irrep"].notna(), None).tolist(),
        "energies": _rounded(found[[f"energy {name}" for name in irreps]].to_numpy()),
        "symmetry": {name: _rounded(found[name].to_numpy()) for name in columns},
        "turns_into": [
            {
                "name": name,
                "latent": found[f"turns_into_{name}"].tolist(),
                "cosine": _rounded(found[f"cosine_{name}"].to_numpy()),
            }
            for name in group.generator_names
        ],
    }


def _classes(Z: Any, labels: ArrayLike) -> dict[str, Any]:
    check_consistent_length(Z, labels)
    given = _complete(labels, "labels", "class", "row")
    check_classification_targets(given)
    classes, codes = np.unique(given, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"labels has to hold two classes or more, found {classes}.")
    auc, density = class_separation(Z, codes, len(classes))
    return {
        "classes": [str(name) for name in classes],
        "auc": _rounded(auc, 3),
        "class_density": _rounded(density, 3),
    }


def _most_needed_first(top: list[tuple[NDArray, NDArray]]) -> NDArray:
    """All orbits that are shown: the strongest of each feature before the others."""
    ranked = [(rank, orbit) for orbits, _ in top for rank, orbit in enumerate(orbits)]
    return np.array(
        list(dict.fromkeys(int(orbit) for _, orbit in sorted(ranked))), dtype=np.int64
    )


def _by_place(
    top: list[tuple[NDArray, NDArray]], shown: NDArray
) -> list[list[list[Any]]]:
    """Strongest orbits of each feature, by their place among those that are shown."""
    place = {orbit: i for i, orbit in enumerate(shown.tolist())}
    return [
        [[place[orbit], _rounded(z, 3)] for orbit, z in zip(*one, strict=True)]
        for one in top
    ]


def _check_action(action: Action | None, group: FiniteGroup) -> None:
    own = as_group(getattr(action, "symmetry", None))
    if own not in {None, group}:
        raise ValueError(
            f"action has symmetry {own!r}, but the orbits {group!r}. Give the action "
            "that extract_orbits was given."
        )
