"""How far activations follow a symmetry, on groups that M was not fitted on."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from ..activations import Orbits
from ..groups import ActivationTransformFitter
from ._bootstrap import errors_by_orbit, interval, r2_of_resamples, resamples, with_mean
from ._equivariance import pairs_by_element, predicted
from ._equivariance_report import fitted_on_shuffled

_MOST_DIRECTIONS = 512  # in which M is fitted
_ROWS_PER_DIRECTION = 4  # at least, so that M can be told
_N_RESAMPLES = 200
_LEVEL = 0.95


def measured(orbits: Orbits, seed: int) -> dict[str, float]:
    """R2 of M exact and free, of M = I and of shuffled orbits, on held-out groups."""
    train, test = orbits.split(random_state=seed)
    rng = check_random_state(seed)
    with warnings.catch_warnings():  # what they say, the table shows
        warnings.simplefilter("ignore", UserWarning)
        exact, free = (_fitter(train, law, seed) for law in ("exact", "free"))
        fitted = [fitter.fit(train.X, **train.metadata) for fitter in (exact, free)]
        shuffled = fitted_on_shuffled(exact, train, rng)
    pairs = pairs_by_element(exact, test.X, **test.metadata)
    maps = {
        "r2": partial(predicted, fitted[0]),
        "r2_free": partial(predicted, fitted[1]),
        "r2_identity": lambda p: p.canonical,
        "r2_shuffled": partial(predicted, shuffled),
    }
    errors = np.stack([errors_by_orbit(predict, pairs) for predict in maps.values()])
    r2 = r2_of_resamples(pairs, errors, np.ones((1, test.n_orbits)))
    known = ~np.isnan(r2).all(axis=(0, 1))
    _, table = orbit_table(**test.metadata, symmetry=test.symmetry, n_rows=len(test))
    of_group = np.unique(test.groups[table[:, 0]], return_inverse=True)[1]
    samples = [
        r2_of_resamples(pairs, errors[:1], counts[:, of_group])
        for counts in resamples(of_group.max() + 1, _N_RESAMPLES, rng)
    ]
    low, high = interval(with_mean(np.concatenate(samples), known), _LEVEL)[:, 0, -1]
    found = dict(zip(maps, with_mean(r2, known)[0, :, -1], strict=True))
    with_m, with_i = errors.sum(axis=(1, 2))[[0, 2]]
    moves = {"moves": 1 - with_m / with_i if with_i else np.nan}
    return {"r2": found.pop("r2"), "low": low, "high": high} | found | moves
