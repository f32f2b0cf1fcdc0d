"""What was tried to make learned orbits better where M is good."""

from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import torch

from sk_eqsae import ActivationTransformFitter, GroupTiedSAE, OrbitSAE, TopKSAE
from sk_eqsae.activations import Orbits
from sk_eqsae.inspection import code_equivariance

from ._small import N_LATENTS, NETWORKS, K
from ._store import store_table

NAMES = ("digits, all turned", "signals")
PENALTIES = (10.0,)  # times the loss
N_STEPS = 1_000
TIED_PART = 1 / 3  # of the steps, before a tied start is freed


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Fit all variants, judge them on groups held out of training; store and print."""
    path, n_steps = out / "tried.csv", 60 if quick else N_STEPS
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    for seed in seeds:
        for name in NAMES[: 1 if quick else None]:
            parts = None
            for variant, fit in variants().items():
                row = {"network": name, "seed": seed, "variant": variant}
                row["n_steps"] = n_steps
                if _has(table, row):
                    continue
                parts = parts or NETWORKS[name](seed).train.split(0.25, random_state=0)
                row |= _judged(fit(parts[0], n_steps, seed), parts[1])
                table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
                store_table(table, path)
    print(table.groupby(["network", "variant"], sort=False).mean(numeric_only=True))


def variants() -> dict[str, Any]:
    """How each is fitted: training orbits, number of steps and seed to estimator."""
    tried = {
        "regular": _regular,
        "tied": _tied,
        "orbit": partial(_orbit, equivariance="auto"),
        "orbit, strength 1": partial(_orbit, equivariance=1.0),
    }
    for weight in PENALTIES:
        for equivariance in ("auto", 1.0):
            strength = "" if equivariance == "auto" else ", strength 1"
            name = f"orbit, near M d x {weight:g}{strength}"
            tried[name] = partial(_orbit, equivariance=equivariance, penalty=weight)
    return tried | {"from tied, strength 1": _from_tied}


def _has(table: pd.DataFrame, row: dict) -> bool:
    if table.empty:
        return False
    return bool((table[list(row)] == pd.Series(row)).all(axis=1).any())


def _judged(sae: Any, judges: Orbits) -> dict:
    found = {"fvu": 1 - sae.score(judges.X)}
    if hasattr(sae, "latent_orbits_"):
        moves = code_equivariance(sae, judges.X, **judges.metadata).iloc[-1]
        found["code_equivariance"] = moves.code_equivariance
        found["equivariance"] = getattr(sae, "equivariance_", np.nan)
    return found


def _settings(train: Orbits, n_steps: float, seed: int) -> dict:
    n_epochs = max(1, round(n_steps * 256 / len(train.X)))
    return {"k": K, "batch_size": 256, "max_epochs": n_epochs, "random_state": seed}


def _regular(train: Orbits, n_steps: int, seed: int) -> TopKSAE:
    return TopKSAE(N_LATENTS, **_settings(train, n_steps, seed)).fit(train.X)


def _tied(train: Orbits, n_steps: float, seed: int) -> GroupTiedSAE:
    settings = {"symmetry": train.symmetry, **_settings(train, n_steps, seed)}
    return GroupTiedSAE(N_LATENTS, **settings).fit(train.X, **train.metadata)


def _orbit(
    train: Orbits,
    n_steps: float,
    seed: int,
    *,
    equivariance: float | str,
    penalty: float = 0.0,
) -> OrbitSAE:
    settings = {"symmetry": train.symmetry, "equivariance": equivariance}
    sae = _NearM(N_LATENTS, **settings, **_settings(train, n_steps, seed))
    sae.penalty = penalty
    return sae.fit(train.X, **train.metadata)


def _from_tied(train: Orbits, n_steps: int, seed: int) -> OrbitSAE:
    """Train a tied one, then go on with free vectors and the losses."""
    tied = _tied(train, TIED_PART * n_steps, seed)
    settings = _settings(train, (1 - TIED_PART) * n_steps, seed)
    sae = OrbitSAE(N_LATENTS, equivariance=1.0, warm_start=True, **settings)
    vars(sae).update({k: v for k, v in vars(tied).items() if k not in vars(sae)})
    sae.equivariance_ = 1.0
    return sae.fit(train.X, **train.metadata)


class _NearM(OrbitSAE):
    """`OrbitSAE` with a penalty on the distance of a latent's vector to M d."""

    penalty = 0.0

    def _prepare(self, X: Any, metadata: dict[str, Any], **kwargs: Any) -> Any:
        fitter = ActivationTransformFitter(self.symmetry).fit(X, **metadata)
        powers = fitter.symmetry_.powers
        powers = powers if powers.shape[1] > 1 else powers[:, 0]
        matrices = np.stack([fitter.matrix(power) for power in powers])
        self._matrices = torch.tensor(matrices, dtype=torch.float32)
        return super()._prepare(X, metadata, **kwargs)

    def _objective_kind(self, rows: Any, seed: int) -> Any:
        kind = super()._objective_kind(rows, seed)
        near = _near(kind.func, self.penalty, self._matrices)
        return partial(near, **kind.keywords)


def _near(objective: Any, penalty: float, matrices: torch.Tensor) -> Any:
    class NearM(objective):
        def learn(self, inputs, target):
            losses = super().learn(inputs, target)
            if self.strength == 0 or self.moves is None:
                return losses
            element = Random(f"{self.seed} {self.n_steps}").randrange(1, len(matrices))
            d = self.network.components
            moved = torch.nn.functional.normalize(d @ matrices[element].T)
            apart = (d[self.moves[element]] - moved).square().sum(dim=1).mean()
            more = penalty * losses[0] * apart
            more.backward()  # on top of the gradients that are there
            return losses + torch.stack([more.detach(), torch.zeros_like(losses[1])])

    return NearM
