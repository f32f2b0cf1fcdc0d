"""A longer look at full strength, which is eased half-way: what it would win."""

import math
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from sk_eqsae import OrbitSAE, TopKSAE
from sk_eqsae.inspection import code_equivariance

from ._small import N_LATENTS, K, network_of
from ._store import store_table

NAMES = (
    "signals",
    "digits, half turned",
    "digits, a quarter turned",
    "digits, all turned",
    "digits, D4",
)
N_STEPS = 2_500
SHORT, LONG, FINAL = 1 / 8, 0.3, 2 / 3  # of the steps, after the matching
CHEAP, DEAR, AIM = 0.05, 0.2, 0.04  # of the error, beyond that without the losses
EASED = 0.3  # of the strength, from about the middle of the steps that are left
SLOPE = 1.4  # of the strength in the cost, as in `OrbitSAE`


def run(*, seeds: list[int], jobs: int, out: Path, quick: bool) -> None:
    """Fit what is missing beside a regular one; store and print the table."""
    path, n_steps = out / "eased.csv", 60 if quick else N_STEPS
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    for seed, name in product(seeds, NAMES[: 1 if quick else None]):
        cell = {"network": name, "seed": seed, "n_steps": n_steps}
        cells = [cell | {"variant": variant} for variant in VARIANTS]
        missing = [each for each in cells if not _has(table, each)]
        network = network_of(name, seed, out) if missing else None
        for each in missing:
            row = each | _measured(each, network)
            table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
            store_table(table, path)
    print(table.groupby(["network", "variant"], sort=False).mean(numeric_only=True))


def _has(table: pd.DataFrame, cell: dict) -> bool:
    if table.empty:
        return False
    return bool((table[list(cell)] == pd.Series(cell)).all(axis=1).any())


def _measured(cell: dict, network: Any) -> dict:
    """A regular autoencoder and after it the variant, on held-out orbits."""
    train, test = network.train, network.test
    n_epochs = max(1, round(cell["n_steps"] * 256 / len(train.X)))
    shared = {"k": K, "batch_size": 256, "max_epochs": n_epochs}
    shared["random_state"] = cell["seed"]
    regular, of_regular = _timed(TopKSAE(N_LATENTS, **shared).fit, train.X)
    sae = VARIANTS[cell["variant"]](N_LATENTS, symmetry=train.symmetry, **shared)
    sae, seconds = _timed(partial(sae.fit, **train.metadata), train.X)
    moves = code_equivariance(sae, test.X, **test.metadata).iloc[-1]
    return {
        "regular_fvu": 1 - regular.score(test.X),
        "fvu": 1 - sae.score(test.X),
        "code_equivariance": moves.code_equivariance,
        "strength": sae.equivariance_,
        "is_eased": getattr(sae, "is_eased_", False),
        "cost": seconds / of_regular,
    }


def _timed(fit: Callable, X: Any) -> tuple[Any, float]:
    start = time.process_time()
    return fit(X), time.process_time() - start


class LongerLook(OrbitSAE):
    """`OrbitSAE` that looks again, after more steps, where strength 1 costs a bit."""

    # What the losses cost goes with a power of the number of steps; two lengths tell
    # with which, and what is left in the end.

    is_eased_, _times = False, 1.0

    def _objective_kind(self, rows: Any, seed: int) -> Any:
        kind = super()._objective_kind(rows, seed)
        return partial(_eased(kind.func), **kind.keywords)

    def _chosen_strength(self, plan: Any) -> float | None:
        rows = self._rows_held_out(plan.rows)
        short, without = self._cost(plan, "s", rows)
        if not CHEAP < short < DEAR:
            return super()._chosen_strength(plan)
        self.is_eased_ = True
        longer = max(self._cost(plan, "l", rows, LONG)[0], 1e-30)
        power = math.log(longer / short) / math.log(LONG / SHORT)
        left = (FINAL / SHORT) ** power
        strength = self._cheap(plan, rows, left, left * short, without)
        n_steps = self._n_steps(len(plan.dataset))
        n_left = n_steps - max(1, round(n_steps / 3))
        plan.objective.eased_after = plan.objective.n_steps + n_left // 2
        return strength

    def _cheap(
        self, plan: Any, rows: Any, left: float, cost: float, without: float
    ) -> float:
        """Strength 1 or, by the power law and after one more look, a weaker one."""
        if cost <= CHEAP:
            return 1.0
        strength = float((AIM / cost) ** SLOPE)
        error = self._error_of_short_part(plan, "w", strength, rows)
        cost = left * (error / without - 1)
        return strength if cost <= CHEAP else strength * float((AIM / cost) ** SLOPE)

    def _cost(
        self, plan: Any, name: str, rows: Any, share: float = SHORT
    ) -> tuple[float, float]:
        """How much worse strength 1 rebuilds held-out rows, and the error without."""
        objective, self._times = plan.objective, share / SHORT
        if share > SHORT:
            n_steps = round(SHORT * self._n_steps(len(plan.dataset)))
            objective.eased_after = objective.n_steps + n_steps // 2
        without, error = (
            self._error_of_short_part(plan, f"{name}{i}", float(i), rows)
            for i in range(2)
        )
        self._times, objective.eased_after = 1.0, math.inf
        return error / without - 1, without

    def _n_steps(self, n_rows: int) -> Any:
        return super()._n_steps(n_rows) * self._times


def _eased(objective: Any) -> Any:
    """An objective whose losses count less after so many steps."""

    class Eased(objective):
        eased_after = math.inf

        def learn(self, inputs, target):
            strength = self.strength
            if self.n_steps >= self.eased_after:
                self.strength = EASED * strength
            losses = super().learn(inputs, target)
            self.strength = strength
            return losses

    return Eased


VARIANTS: dict[str, Callable[..., OrbitSAE]] = {
    "longer look": LongerLook,
    "strength 1": partial(OrbitSAE, equivariance=1),
}
