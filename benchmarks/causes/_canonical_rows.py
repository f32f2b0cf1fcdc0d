"""On random images nobody can tell the canonical row. Can one be chosen?"""

import numpy as np

from sk_eqsae.activations import Orbits
from sk_eqsae.groups import PoseCanonicalizer
from sk_eqsae.inspection import fvu

from ..paper._profiles import SAES, Cell, Model
from ._equivariant import SHORT, K, fit

MODEL = Model("mlp", "random")
CASES = [
    ("given", 1, 1),
    ("by pose", 1, 1),
    ("given", SHORT, 1),
    ("by pose", SHORT, 1),
    ("by pose", SHORT, 4),
    ("by pose, then by the autoencoder", SHORT, 1),
]


def measure(run, rows, share, wider):
    """Train on canonical rows that are chosen in one way, and judge the result."""
    hidden_dim = wider * SAES["equivariant"][1]["hidden_dim"]
    _, train, test, _ = run.load(MODEL)
    if rows != "given":
        canonicalizer = PoseCanonicalizer()
        canonicalizer.fit(train.X, groups=train.groups, power=train.power)
        train, test = (by_vote(canonicalizer, part) for part in (train, test))
    if rows == "given" and share == 1:
        sae, _ = run.fit(Cell(MODEL, "equivariant", K), train)
    else:
        sae = fit(run, train, share, hidden_dim=hidden_dim)
    if rows == "by pose, then by the autoencoder":
        train, test = by_vote(sae, train), by_vote(sae, test)
        sae = fit(run, train, share, hidden_dim=hidden_dim)
    return {
        "canonical_rows": rows,
        "epochs": sae.n_iter_,
        "hidden_dim": sae.hidden_dim,
        "power_right": (sae.predict_power(test.X) == test.power).mean(),
        "fvu": fvu(test.X, sae.reconstruct(test.X)),
    }


def by_vote(judge, orbits):
    """Number the powers of each orbit anew, from what most of its rows are told."""
    order = int(orbits.power.max()) + 1
    _, orbit = np.unique(orbits.groups, return_inverse=True)
    shift = (judge.predict_power(orbits.X) - orbits.power) % order
    votes = np.zeros((orbit.max() + 1, order))
    np.add.at(votes, (orbit, shift), 1)
    power = (orbits.power + votes.argmax(axis=1)[orbit]) % order
    return Orbits(orbits.X, orbits.groups, power)
