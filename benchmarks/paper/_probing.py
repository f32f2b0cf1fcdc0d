"""Probes of activations, latents and truncated reconstructions (Result 2)."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GroupShuffleSplit

from sk_eqsae import (
    MeanDifferenceSelector,
    TruncatedReconstruction,
    evaluate_probes,
    shape_tasks,
)
from sk_eqsae.activations import Orbits

from ._profiles import Profile

VALIDATION_SIZE = 0.2
# of the other reconstructions of an equivariant autoencoder
MORE_PROBES = ("xgboost",)


class _Features(NamedTuple):
    name: str
    X: Any
    transformer: Any = None
    true_power: bool = False
    truncation: int = 0
    main: bool = True


def probe_table(
    profile: Profile, *, sae, probes, truncations, train, test, shapes, memory
):
    """F1 of the probes over all that one autoencoder gives; None is the activations."""
    data = probe_data(profile, train, test, shapes)
    power = data.pop("power")
    tables = []
    for features in _features(sae, truncations, data["X"]):
        shown = probes if features.main else set(probes) & set(MORE_PROBES)
        if not shown:
            continue
        scores = evaluate_probes(
            **data | {"X": features.X},
            probes=tuple(shown),
            transformer=features.transformer,
            power=power if features.true_power else None,
            memory=memory,
        )
        scores = scores.drop(columns=scores.filter(regex="_positives").columns)
        scores.insert(0, "features", features.name)
        scores.insert(1, "truncation", features.truncation)
        tables.append(scores)
    return pd.concat(tables, ignore_index=True)


def _features(sae, truncations, X):
    """List what the probes are given."""
    if sae is None:
        return [_Features("activations", X)]
    latents = sae.transform(X)
    return [f for m in truncations for f in _truncated(sae, X, latents, m)]


def _truncated(sae, X, latents, m):
    truncated = TruncatedReconstruction(FrozenEstimator(sae), m)
    selected = MeanDifferenceSelector(m)
    features = [
        _Features("latents", latents, selected, truncation=m),
        _Features("reconstruction", X, truncated, truncation=m),
    ]
    if hasattr(sae, "reconstruct"):
        invariant = clone(truncated).set_params(output="invariant")
        features += [
            _Features("invariant reconstruction", X, invariant, False, m, False),
            _Features("reconstruction, true power", X, truncated, True, m, False),
        ]
    return features


def probe_data(profile, train: Orbits, test: Orbits, shapes):
    """Rows and labels: some of the training images are kept for validation."""
    tasks = shape_tasks()
    seed = 0
    splitter = GroupShuffleSplit(1, test_size=VALIDATION_SIZE, random_state=seed)
    fit, validate = next(splitter.split(train.X, groups=shapes.base_id[train.groups]))
    rng = np.random.default_rng(seed)
    sides = zip(
        ("train", "validation", "test"),
        (train, train, test),
        (fit, validate, np.arange(len(test.X))),
        profile.probe_rows,
        strict=True,
    )
    X, Y, power, split = [], [], [], {}
    n_rows = 0
    for side, part, rows, most in sides:
        chosen = np.sort(rng.choice(rows, min(most, len(rows)), replace=False))
        X.append(part.X[chosen])
        power.append(part.power[chosen])
        Y.append(
            tasks.label_matrix(shapes, groups=part.groups[chosen], power=power[-1])
        )
        split[side] = np.arange(n_rows, n_rows + len(chosen))
        n_rows += len(chosen)
    chosen = _choose_tasks(profile, tasks, Y)
    return {
        "X": np.vstack(X),
        "Y": np.vstack(Y)[:, chosen],
        **split,
        "power": np.concatenate(power),
        "task_names": [tasks.names[t] for t in chosen],
        "task_kinds": [tasks.kinds[t] for t in chosen],
    }


def _choose_tasks(profile, tasks, labels):
    """Draw tasks of each kind that have both classes on all sides."""
    both = np.all([(Y.mean(axis=0) > 0) & (Y.mean(axis=0) < 1) for Y in labels], axis=0)
    rng = np.random.default_rng(0)
    chosen = []
    for kind in ("S", "SP", "SO", "SPO"):
        usable = np.flatnonzero((np.asarray(tasks.kinds) == kind) & both)
        n = min(profile.tasks_per_kind or len(usable), len(usable))
        chosen += sorted(rng.choice(usable, n, replace=False))
    return chosen
