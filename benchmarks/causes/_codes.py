"""What makes codes of the equivariant autoencoder tell how the input was turned?"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from sk_eqsae.inspection import fvu
from sk_eqsae.sae import Recipe

from ..paper._autoencoders import share_within_orbits
from ..paper._profiles import Cell, Model
from ._equivariant import SHORT, K, fit

CLOSE = 0.95
LR = 2e-3  # of the default recipe
# what is left out of the default recipe beside the consistency loss
WITHOUT = {
    "the auxiliary loss": {"aux_weight": 0.0},
    "unit vectors": {"unit_rows": False},
    "clipping": {"max_grad_norm": np.inf},
    "three quarters of the learning rate": {},
    "15 of 16 latents": {},
}
CASES = [
    *[(base, "default", 1) for base in ("cnn", "mlp")],
    *[
        (base, name, SHORT)
        for base in ("cnn", "mlp")
        for name in ("default", "no consistency loss")
    ],
    *[("mlp", name, SHORT) for name in WITHOUT],
]


def measure(run, base, name, share):
    """Look at the codes of one equivariant autoencoder."""
    model = Model(base, "upright")
    _, train, test, _ = run.load(model)
    if share == 1:
        sae, _ = run.fit(Cell(model, "equivariant", K), train)
    else:
        sae = fit(run, train, share, **_without(run.profile, name))
    labels = {"base": base, "recipe": name, "epochs": sae.n_iter_}
    return labels | _look(sae, train, test)


def _without(profile, name):
    """Parameters that are not those of the default recipe."""
    if name == "default":
        return {}
    changed = {"recipe": Recipe(consistency_weight=0.0, **WITHOUT.get(name, {}))}
    if name == "three quarters of the learning rate":
        changed["lr"] = LR / 4
    if name == "15 of 16 latents":
        changed["n_components"] = profile.n_components // 16
    return changed


def _look(sae, train, test):
    Z = sae.transform(test.X)
    live = np.flatnonzero((Z > 0).sum(axis=0))
    twins = live[_closest(sae.components_[live]) > CLOSE]
    return {
        "fvu": fvu(test.X, sae.reconstruct(test.X)),
        "within_orbits": share_within_orbits(Z, test.groups),
        "live": len(live),
        "twins": len(twins) / len(live),
        "at_one_power": _largest_share(Z[:, twins], test.power),
        "power_read": _power_read(sae, train, test),
    }


def _closest(D):
    """Cosine of each vector and the one that is the most like it."""
    cosines = normalize(D) @ normalize(D).T
    np.fill_diagonal(cosines, -1)
    return cosines.max(axis=1)


def _largest_share(Z, power):
    """Median over latents of the largest share of its firing at one power."""
    fires = (Z > 0).toarray()
    if not fires.size:
        return np.nan
    counts = np.stack([fires[power == p].sum(axis=0) for p in np.unique(power)])
    return np.median(counts.max(axis=0) / counts.sum(axis=0))


def _power_read(sae, train, test):
    """How often logistic regression reads the power from a code."""
    rows = [
        np.random.default_rng(0).permutation(len(part.X))[:n]
        for part, n in ((train, 5_000), (test, 4_000))
    ]
    fit, score = (
        (sae.transform(part.X[chosen]), part.power[chosen])
        for part, chosen in zip((train, test), rows, strict=True)
    )
    return LogisticRegression(max_iter=1_000).fit(*fit).score(*score)
