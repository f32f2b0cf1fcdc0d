"""Data that several tests share."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def turning_orbits():
    """Activations in R^12 that a permutation of order 4 moves exactly.

    Returns X (n_orbits * 4, 12), groups, power and the matrix of the permutation.
    Canonical rows use the first three coordinates only, so they can be told apart
    from the other rows of their orbit.
    """
    rng = np.random.default_rng(0)
    canonical = np.abs(rng.normal(size=(120, 3))) @ np.eye(3, 12)
    X = np.stack([np.roll(canonical, 3 * p, axis=1) for p in range(4)], axis=1)
    groups = np.repeat(np.arange(120), 4)
    power = np.tile(np.arange(4), 120)
    return X.reshape(-1, 12), groups, power, np.roll(np.eye(12), 3, axis=0)
