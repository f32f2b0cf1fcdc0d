"""Exact representations and dictionaries made by hand."""

import numpy as np
from sklearn.base import BaseEstimator

from sk_eqsae import ActivationTransformFitter


def regular_representation(group, *, n_copies=1, n_invariant=2, mixed=0.4, seed=0):
    """Left multiplication and invariant features, in a basis that is not orthogonal.

    Returns the matrices of all elements and the basis, in which coordinate
    ``e * n_copies + i`` is element e of copy i.
    """
    order = group.order
    d = n_copies * order + n_invariant
    matrices = np.tile(np.eye(d), (order, 1, 1))
    for e in range(order):
        permutation = np.eye(order)[group.multiplication_table[e]].T
        block = np.kron(permutation, np.eye(n_copies))
        matrices[e, : d - n_invariant, : d - n_invariant] = block
    noise = np.random.default_rng(seed).normal(size=(d, d)) / np.sqrt(d)
    basis = np.eye(d) + mixed * noise
    return basis @ matrices @ np.linalg.inv(basis), basis


def fitter_of(group, matrices):
    """Fitter whose M is given."""
    fitter = ActivationTransformFitter(1).fit(np.zeros((1, matrices.shape[1])))
    fitter.symmetry_, fitter.order_ = group, group.order
    generators = matrices[group.elements_of(np.eye(group.n_generators, dtype=int))]
    fitter.M_ = generators[0] if len(generators) == 1 else generators
    return fitter


class Dictionary(BaseEstimator):
    """An autoencoder of which nothing but the dictionary is known."""

    def __init__(self, components=None):
        self.components_ = components

    def fit(self, X, y=None):
        return self
