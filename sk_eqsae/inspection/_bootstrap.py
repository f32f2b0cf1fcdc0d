"""R2 of maps between rows, and its bootstrap intervals over inputs."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from .._metrics import are_constant
from ._equivariance import Pairs

_CHUNK = 100  # resamples at a time, at most
_COUNTS = 2**24  # held at a time: 128 MiB
_FEWEST_RESAMPLES = 0.1  # share that must have a value, or there is no interval
_ROUNDING = 8 * np.finfo(np.float64).eps


def errors_by_orbit(predict: Callable[[Pairs], NDArray], pairs: list[Pairs]) -> NDArray:
    """Squared errors (n_powers, n_orbits), 0 where an orbit lacks the row."""
    errors = np.zeros((len(pairs), len(pairs[0].inputs)))
    for error, p in zip(errors, pairs, strict=True):
        predicted = np.reshape(predict(p), p.moved.shape)
        error[p.orbits] = np.square(p.moved - predicted).sum(axis=1)
    return errors


def r2_with_intervals(
    pairs: list[Pairs],
    errors: NDArray,
    n_bootstrap: int,
    confidence_level: float,
    random_state: np.random.RandomState,
) -> NDArray:
    """R2, low and high of each map, for each power and in the mean, (m, p + 1, 3)."""
    r2 = r2_of_resamples(pairs, errors, np.ones((1, errors.shape[-1])))
    samples = [
        r2_of_resamples(pairs, errors, counts)
        for counts in _resamples(pairs[0].inputs, n_bootstrap, random_state)
    ]
    known = ~np.isnan(r2).all(axis=(0, 1))
    low, high = interval(_with_mean(np.concatenate(samples), known), confidence_level)
    return np.stack([_with_mean(r2, known)[0], low, high], axis=-1)


def _resamples(
    inputs: NDArray, n_bootstrap: int, random_state: np.random.RandomState
) -> Iterator[NDArray]:
    """How often each orbit is drawn, in parts of shape (n_resamples, n_orbits)."""
    # Inputs (n_orbits,) are drawn, with all of their sites, which are alike: drawn one
    # by one, as if they were independent, they would make intervals too narrow.
    n_inputs = inputs.max() + 1
    chunk = max(1, min(_CHUNK, _COUNTS // len(inputs)))
    for start in range(0, n_bootstrap, chunk):
        size = min(chunk, n_bootstrap - start)
        drawn = random_state.multinomial(
            n_inputs, np.full(n_inputs, 1 / n_inputs), size
        )
        yield drawn[:, inputs]


def r2_of_resamples(pairs: list[Pairs], errors: NDArray, counts: NDArray) -> NDArray:
    """R2 (n_resamples, n_maps, n_powers), NaN where the rows drawn do not vary."""
    unexplained = np.einsum("mpo,ro->rmp", errors, counts, optimize=True)
    variance = np.stack([_deviations(p, counts[:, p.orbits]) for p in pairs], axis=1)
    return 1 - unexplained / np.where(variance > 0, variance, np.nan)[:, np.newaxis]


def _deviations(pairs: Pairs, counts: NDArray) -> NDArray:
    """Squared deviations from the mean, summed over features, of each resample."""
    rows = pairs.moved - pairs.moved.mean(axis=0)
    rows[:, are_constant(pairs.moved)] = 0
    squares = counts @ np.square(rows).sum(axis=1)
    n_rows = np.maximum(counts.sum(axis=1), 1)
    deviations = squares - np.square(counts @ rows).sum(axis=1) / n_rows
    # a difference of two sums: if it is rounding, the rows drawn are copies of one
    rounding = _ROUNDING * len(pairs.inputs) * squares
    return np.where(deviations > rounding, deviations, 0)


def _with_mean(r2: NDArray, known: NDArray) -> NDArray:
    """R2 of the powers, and then its mean over those that are known in `test`."""
    mean = np.full_like(r2[..., :1], np.nan)
    if known.any():
        mean = r2[..., known].mean(axis=-1, keepdims=True)
    return np.concatenate([r2, mean], axis=-1)


def interval(samples: NDArray, confidence_level: float) -> NDArray:
    """Ends (2, n_maps, n_powers), over samples that are no NaN if they are enough."""
    tail = (1 - confidence_level) / 2
    few = (~np.isnan(samples)).mean(axis=0) < max(_FEWEST_RESAMPLES, 1 / len(samples))
    ends = np.nanquantile(np.where(few, 0, samples), [tail, 1 - tail], axis=0)
    ends[:, few] = np.nan
    return ends
