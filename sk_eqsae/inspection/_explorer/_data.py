"""All that the page shows, as JSON values."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from ...activations import Orbits
from ...groups import FiniteGroup
from ...groups._group import action_powers, as_group
from ...groups._orbit_table import orbit_table
from ...sae._base import BaseSAE
from .._symmetry import feature_symmetry
from ._pictures import Action, Inputs, pictures
from ._removal import removal
from ._usage import class_separation, histograms, mean_by_power, top_orbits, usage

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def explorer_data(
    sae: BaseSAE,
    orbits: Orbits,
    inputs: Inputs | None,
    *,
    action: Action | None,
    labels: ArrayLike | None,
    names: ArrayLike | None,
    activation_transform: BaseEstimator | None,
    n_top: int,
    max_picture_bytes: int,
) -> dict[str, Any]:
    """Gather what the page shows; see :func:`explore` for the parameters.

    Parameters
    ----------
    sae : BaseSAE
        Fitted autoencoder.
    orbits : Orbits
        Activations, valid ones of the autoencoder.
    inputs : ndarray, tensor or None
        Canonical inputs.
    action : callable or None
        Moves inputs.
    labels : array-like of shape (n_rows,) or None
        Class of each row.
    names : array-like of shape (n_latents,) or None
        Name of each feature.
    activation_transform : estimator or None
        Fitted M; None shows the autoencoder without symmetry.
    n_top : int
        Inputs for each feature.
    max_picture_bytes : int
        Room for pictures.

    Returns
    -------
    data : dict
        JSON values. Per feature: ``columns``, ``histograms``, ``by_power``,
        ``energies``, ``turns_into``, ``auc``, ``class_density`` and ``top``.
    """
    fitter = activation_transform
    group, table = orbit_table(
        orbits.groups,
        orbits.power,
        symmetry=orbits.symmetry if fitter is None else fitter.symmetry_,
        n_rows=len(orbits),
    )
    X = orbits.X
    Z = sae._encode_csr(X)
    by_column = Z.tocsc()
    lost = removal(sae, X, Z, table)
    examples, ids = _examples(orbits, table, top_orbits(by_column, table, n_top))
    columns = usage(Z) | {"removal_error": lost.error, "removal_fvu": lost.fvu}
    symmetry = {} if fitter is None else _symmetry(sae, fitter, group)
    return {
        "title": f"Features of {type(sae).__name__}",
        "about": {
            "estimator": type(sae).__name__,
            "n_rows": len(X),
            "n_orbits": len(table),
            "n_activations": X.shape[1],
            "k": sae.k,
            "group": repr(group),
            "fvu": _rounded(lost.fvu_with_all),
        },
        "names": _names(sae, names),
        "elements": element_names(group),
        "columns": {name: _rounded(column) for name, column in columns.items()},
        "histograms": histograms(by_column),
        "by_power": _rounded(mean_by_power(Z, table)),
        **symmetry,
        **_classes(by_column, labels),
        **examples,
        "pictures": _pictures(inputs, ids, action, group, max_picture_bytes),
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
        given: NDArray = column_or_1d(names)
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


def element_names(group: FiniteGroup) -> list[str]:
    """Name the elements of a group.

    Parameters
    ----------
    group : FiniteGroup
        The group.

    Returns
    -------
    names : list of str
        Such as "1", "r", "r² s".
    """
    return [
        " ".join(
            name + (str(p).translate(_SUPERSCRIPTS) if p > 1 else "")
            for name, p in zip(group.generator_names, row, strict=True)
            if p
        )
        or "1"
        for row in group.powers.tolist()
    ]


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


def _classes(Z: Any, labels: ArrayLike | None) -> dict[str, Any]:
    if labels is None:
        return {}
    import pandas as pd  # noqa: PLC0415

    given: NDArray = column_or_1d(labels)
    check_consistent_length(Z, given)
    missing = np.flatnonzero(pd.isna(given))
    if len(missing):
        raise ValueError(
            f"labels has no class for {len(missing)} row(s), such as {missing[0]}. "
            "Give these a class of their own, such as 'none'."
        )
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


def _examples(
    orbits: Orbits, table: NDArray, top: list[tuple[NDArray, NDArray]]
) -> tuple[dict[str, Any], NDArray]:
    """Strongest inputs of each feature, by their place in a list of orbit ids."""
    shown = _most_needed(top)
    place = {orbit: i for i, orbit in enumerate(shown.tolist())}
    ids = np.asarray(orbits.groups)[table[shown, 0]]
    top_by_place = [
        [[place[orbit], _rounded(z, 3)] for orbit, z in zip(*one, strict=True)]
        for one in top
    ]
    return {"top": top_by_place, "inputs": [str(name) for name in ids]}, ids


def _pictures(
    inputs: Inputs | None,
    ids: NDArray,
    action: Action | None,
    group: FiniteGroup,
    max_bytes: int,
) -> dict[str, Any] | None:
    if inputs is None:
        return None
    _check_order(action, group)
    return pictures(
        inputs, ids, action=action, powers=action_powers(group), max_bytes=max_bytes
    )


def _powers(group: FiniteGroup) -> list[Any]:
    """Powers of each element as an action takes them."""
    if group.n_generators == 1:
        return group.powers[:, 0].tolist()
    return [tuple(power) for power in group.powers.tolist()]


def _check_order(action: Action | None, group: FiniteGroup) -> None:
    own = as_group(getattr(action, "symmetry", None))
    if own not in {None, group}:
        raise ValueError(
            f"action has symmetry {own!r}, but the orbits {group!r}. Give the action "
            "that extract_orbits was given."
        )


def _most_needed(top: list[tuple[NDArray, NDArray]]) -> NDArray:
    """All orbits that are shown: first the strongest of each feature, then others."""
    ranked = [(rank, orbit) for orbits, _ in top for rank, orbit in enumerate(orbits)]
    return np.array(
        list(dict.fromkeys(int(orbit) for _, orbit in sorted(ranked))), dtype=np.int64
    )
