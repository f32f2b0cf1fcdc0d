"""Every estimator of the table, fitted, for tests of what can be done with one."""

from functools import cache

import numpy as np
import pytest
from sklearn.base import clone

from tests.instances import INSTANCES, WITH_ORBITS, name

CASES = [(e, True) for e in WITH_ORBITS] + [(e, False) for e in INSTANCES]
every_case = pytest.mark.parametrize(
    "case",
    range(len(CASES)),
    ids=[("orbits-" if orbits else "") + name(e) for e, orbits in CASES],
)


@cache
def data():
    """X, labels and metadata of activations that a permutation of order 4 moves."""
    rng = np.random.default_rng(0)
    canonical = np.abs(rng.normal(size=(60, 3))) @ np.eye(3, 12)
    X = np.stack([np.roll(canonical, 3 * p, axis=1) for p in range(4)], axis=1)
    X = X.reshape(-1, 12)
    y = (X.sum(axis=1) > np.median(X.sum(axis=1))).astype(int)
    metadata = {"groups": np.repeat(np.arange(60), 4), "power": np.tile(range(4), 60)}
    return X, y, metadata


@cache
def fitted(case):
    """Fit a case once; tests leave it as it is."""
    estimator, orbits = CASES[case]
    X, y, metadata = data()
    return clone(estimator).fit(X, y, **(metadata if orbits else {}))


def results(estimator, X, metadata):
    """What each method of a fitted estimator gives for rows, by name."""
    found = {"transform": estimator.transform(X)}
    for method in ("predict_power", "reconstruct", "margin"):
        if hasattr(estimator, method):
            found[method] = getattr(estimator, method)(X)
    invariant = getattr(estimator, "output", "") == "invariant"
    if hasattr(estimator, "inverse_transform") and not invariant:
        found["inverse_transform"] = estimator.inverse_transform(found["transform"])
    if hasattr(estimator, "score"):
        needed = metadata if hasattr(estimator, "act") else {}
        found["score"] = estimator.score(X, **needed)
    return found
