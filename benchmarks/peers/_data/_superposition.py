"""Sums of known directions, more of them than there are features."""

import numpy as np

N_DIRECTIONS, N_FEATURES, N_ACTIVE = 512, 256, 10


def superposition(n_train: int, n_test: int, seed: int) -> tuple:
    """Draw unit directions and add ten of them up for each row."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(N_DIRECTIONS, N_FEATURES))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    X = _strengths(rng, n_train + n_test) @ directions
    return X[:n_train], X[n_train:], directions


def _strengths(rng, n_rows):
    strengths = rng.uniform(size=(n_rows, N_DIRECTIONS))
    ranks = rng.uniform(size=strengths.shape).argpartition(N_ACTIVE, axis=1)
    np.put_along_axis(strengths, ranks[:, N_ACTIVE:], 0, axis=1)
    return strengths
