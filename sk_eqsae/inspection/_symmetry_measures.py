"""How far activations follow a symmetry, on groups that M was not fitted on."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
from sklearn.utils import check_random_state

from ..activations import Orbits
from ..groups import ActivationTransformFitter
from ._bootstrap import errors_by_orbit, r2_with_intervals
from ._equivariance import pairs_by_element, predicted
from ._equivariance_report import Predict, fitted_on_shuffled

_MOST_DIRECTIONS = 512  # in which M is fitted
_ROWS_PER_DIRECTION = 4  # at least, so that M can be told
_N_RESAMPLES, _LEVEL = 200, 0.95


def measured(orbits: Orbits, seed: int) -> dict[str, float]:
    """R2 of M exact and free, of M = I and of shuffled orbits, on held-out groups."""
    train, test = orbits.split(random_state=seed)
    rng = check_random_state(seed)
    exact, maps = _maps(train, seed, rng)
    pairs = pairs_by_element(exact, test.X, **test.metadata)
    errors = np.stack([errors_by_orbit(predict, pairs) for predict in maps.values()])
    numbers = r2_with_intervals(pairs, errors, _N_RESAMPLES, _LEVEL, rng)[:, -1]
    with_m, _, with_identity, _ = errors.sum(axis=(1, 2))
    return {
        **dict(zip(("r2", "low", "high"), numbers[0].tolist(), strict=True)),
        **dict(zip([*maps][1:], numbers[1:, 0].tolist(), strict=True)),
        "moves": float(1 - with_m / with_identity) if with_identity else np.nan,
        "n_features": orbits.X.shape[1],
        "n_groups": len(np.unique(orbits.groups)),
    }


def _maps(
    train: Orbits, seed: int, rng: np.random.RandomState
) -> tuple[ActivationTransformFitter, dict[str, Predict]]:
    """M with an exact law, and what is compared."""
    most = min(_MOST_DIRECTIONS, len(train) // _ROWS_PER_DIRECTION)
    exact, free = (
        ActivationTransformFitter(
            train.symmetry,
            group_law=law,
            n_components=most if most < train.X.shape[1] else None,
            random_state=seed,
        )
        for law in ("exact", "free")
    )
    shuffled = fitted_on_shuffled(exact, train, rng)
    with warnings.catch_warnings():  # what they say, the table shows
        warnings.simplefilter("ignore", UserWarning)
        for fitter in (exact, free):
            fitter.fit(train.X, **train.metadata)
    return exact, {
        "r2": partial(predicted, exact),
        "r2_free": partial(predicted, free),
        "r2_identity": lambda pairs: pairs.canonical,
        "r2_shuffled": partial(predicted, shuffled),
    }
