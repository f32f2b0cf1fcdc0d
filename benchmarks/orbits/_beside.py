"""What latent orbits are good for beside regular latents: labels and probes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_eqsae import MeanDifferenceSelector

from ._networks import Network

SHARES = (0.90, 0.95, 0.99)  # of what a regular autoencoder explains
WIDTHS = (1, 2, 4, 8)  # latents that a probe sees
MOST_ROWS = 8_000


def beside(sae: Any, *, network: Network, fvu: float | None) -> dict[str, float]:
    """Labels for what a regular one of this FVU explains, and AUC of probes."""
    found = labels_needed(sae, network, fvu)
    return found | probed(sae, network)


def labels_needed(sae: Any, network: Network, fvu: float | None) -> dict[str, float]:
    """How many latents, or latent orbits, explain a share of what a regular one does.

    Those that explain most of training rows come first; those that are left out stand
    at their mean. NaN if all together do not explain as much.
    """
    train, test = network.train.X[:MOST_ROWS], network.test.X[:MOST_ROWS]
    orbit = _orbits(sae)
    code = sae.transform(train)
    mean = code.mean(axis=0)
    towards = (train - train.mean(axis=0)) @ sae.components_.T
    parts = np.einsum("ri,ri->i", code - mean, towards)
    order = np.argsort(-np.bincount(orbit, weights=parts), kind="stable")
    left = test - (mean @ sae.components_ + sae.intercept_)
    deviations = sae.transform(test) - mean
    total = np.square(test - test.mean(axis=0)).sum()
    curve = np.ones(len(order))
    for i, thing in enumerate(order):
        latents = orbit == thing
        left = left - deviations[:, latents] @ sae.components_[latents]
        curve[i] = np.square(left).sum() / total
    explained = 1 - (curve[-1] if fvu is None else fvu)
    return {f"labels_{s:.0%}": _first(curve <= 1 - s * explained) for s in SHARES}


def _first(reached: NDArray) -> float:
    return float(reached.argmax() + 1) if reached.any() else float("nan")


def _orbits(sae: Any) -> NDArray:
    if hasattr(sae, "latent_orbits_"):
        return sae.latent_orbits_.orbit
    return np.arange(len(sae.components_))


def probed(sae: Any, network: Network) -> dict[str, float]:
    """AUC of logistic regression on a few latents, pooled over orbits if there are any.

    The mean over questions. Latents are chosen, and probes fitted, on training rows.
    """
    if hasattr(sae, "latent_orbits_"):
        sae.set_params(output="invariant")
    train, test = (sae.transform(part.X) for part in (network.train, network.test))
    answers = list(zip(*(labels.T for labels in network.answers), strict=True))
    found = {
        f"auc_{n}": np.mean([_auc(train, test, *pair, n) for pair in answers])
        for n in WIDTHS
    }
    if hasattr(sae, "latent_orbits_"):
        sae.set_params(output="equivariant")
    return found


def _auc(
    train: NDArray, test: NDArray, y_train: NDArray, y_test: NDArray, n: int
) -> float:
    probe = make_pipeline(
        MeanDifferenceSelector(n), StandardScaler(), LogisticRegression()
    ).fit(train, y_train)
    return float(roc_auc_score(y_test, probe.decision_function(test)))
