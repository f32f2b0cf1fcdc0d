"""Representations made by hand and orbits that follow them."""

import numpy as np
from sklearn.frozen import FrozenEstimator

from sk_eqsae.groups import PoseCanonicalizer


def homomorphism_error(Q, product):
    """Largest distance between Q_g Q_h and Q_gh, per direction."""
    errors = [np.linalg.norm(Q[g] @ Q - Q[product[g]]) for g in range(len(Q))]
    return max(errors) / np.sqrt(Q.shape[1])


def known_representation(group, *, n_copies=2, seed=0):
    """Regular representation, some copies, in a random basis that is not orthogonal."""
    eye = np.eye(group.order)
    regular = np.array(
        [eye[:, group.multiplication_table[g]] for g in range(group.order)]
    )
    regular = (
        regular.transpose(0, 2, 1) if not is_homomorphism(regular, group) else regular
    )
    M = np.kron(np.eye(n_copies), regular)
    rng = np.random.default_rng(seed)
    basis = np.eye(M.shape[1]) + 0.2 * rng.normal(size=M.shape[1:])
    return basis @ M @ np.linalg.inv(basis)


def is_homomorphism(M, group):
    return homomorphism_error(M, group.multiplication_table) < 1e-12


def orbits_of(M, group, *, n_orbits=200, noise=0.0, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_orbits, M.shape[1])) + 0.5
    X = np.einsum("gij,nj->ngi", M, x)
    X = X + noise * rng.normal(size=X.shape)
    groups = np.repeat(np.arange(n_orbits), group.order)
    power = np.tile(group.powers, (n_orbits, 1))
    power = power[:, 0] if group.n_generators == 1 else power
    return X.reshape(-1, M.shape[1]), {"groups": groups, "power": power}


def canonicalize(X, fitter):
    """Canonical form, pose and margin of rows."""
    canonicalizer = PoseCanonicalizer(FrozenEstimator(fitter)).fit(X)
    pose = canonicalizer.predict_power(X)
    return canonicalizer.transform(X), pose, canonicalizer.margin(X)
