"""Small fitted autoencoders on orbits that a permutation of order 4 moves exactly."""

import base64
import json
import re

import numpy as np

from sk_eqsae import ActivationTransformFitter, EquivariantSAE, GroupTiedSAE, TopKSAE
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import CyclicShift

ORDER = 4
ACTION = CyclicShift(axis=-1, order=ORDER)
QUICK = {"k": 3, "max_epochs": 8, "random_state": 0}


def turning_orbits(n_orbits=30):
    """Signals of length 12 that are shifted, and are activations at the same time."""
    rng = np.random.default_rng(0)
    inputs = np.abs(rng.normal(size=(n_orbits, 3))) @ np.eye(3, 12)
    inputs += 0.05 * rng.normal(size=inputs.shape)
    X = np.stack([ACTION(inputs, p) for p in range(ORDER)], axis=1).reshape(-1, 12)
    groups, power = np.repeat(np.arange(n_orbits), 4), np.tile(np.arange(4), n_orbits)
    return inputs, Orbits(X, groups, power)


def fitted(name, orbits):
    """Autoencoder by name, and the M to show it with."""
    rows = {"groups": orbits.groups, "power": orbits.power}
    if name == "topk":
        fitter = ActivationTransformFitter().fit(orbits.X, **rows)
        return TopKSAE(16, **QUICK).fit(orbits.X), fitter
    kinds = {
        "equivariant": EquivariantSAE(16, hidden_dim=16, **QUICK),
        "tied": GroupTiedSAE(18, n_free=2, **QUICK),
        "pooled": GroupTiedSAE(16, output="invariant", **QUICK),
    }
    return kinds[name].fit(orbits.X, **rows), None


def latents_of(sae, orbits):
    """All latents, also those of one that returns pooled ones."""
    if getattr(sae, "output", "equivariant") == "equivariant":
        return sae.transform(orbits.X)
    sae.output = "equivariant"
    Z = sae.transform(orbits.X)
    sae.output = "invariant"
    return Z


def embedded(path):
    """The JSON of a page."""
    page = path.read_text(encoding="utf-8")
    text = re.search(r'<script type="application/json" id="data">(.*)</script>', page)
    data = json.loads(text[1])
    for name in {"auc", "fires_in"} & set(data):
        whole = np.frombuffer(base64.b64decode(data[name]), dtype="<u2")
        shares = np.where(whole == 65535, np.nan, whole / 65534)
        data[name] = shares.reshape(len(data["names"]), -1)
    return data
