"""What an autoencoder is trained for whose codes should permute along orbits."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..groups import FiniteGroup
from ._code import Code, Selection, rows_of
from ._network import Network
from ._objective import Objective
from ._sparse_step import decode_sparse

# of the support loss and of the cross-reconstruction, chosen on digits
_WEIGHTS = (0.3, 0.1)
_LOOKS = 64  # at held-out rows, evenly over all steps
_AIM = 0.03  # error beyond that of a regular autoencoder that is steered for
_SLACK = 0.5  # as much again at first, falling to none half-way
_GAIN = 0.1  # change of the strength where the error is twice as far off as it may be
_TINY = 1e-30


class OrbitObjective(Objective):
    """Squared error of whole orbits, and how far their codes are from permuting."""

    # With x_g the row that an element g makes of a row x, z its code, a the
    # pre-activations, P_g the permutation of latents, and s the strength, the loss of
    # `Objective` gets
    #
    #     .3 s ||x_g - D [ReLU(a(x_g)) at the support of P_g z]||^2
    #     .1 s ||x_g - D P_g z||^2
    #
    # for one random g a step and each row x whose x_g there is; others stand for
    # themselves. Supports have no gradient.

    products: Tensor
    moves: Tensor | None  # (order, n_latents): where each element moves each latent

    def __init__(
        self, *args: Any, group: FiniteGroup, is_whole: bool, seed: int, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        products = torch.tensor(group.multiplication_table)
        self.register_buffer("products", products, persistent=False)
        self.register_buffer("moves", None, persistent=False)
        self.is_whole, self.seed = is_whole, seed  # whether no orbit lacks a row
        self.strength, self.n_steps = 0.0, 0
        self.errors: list[float] = []  # of held-out rows, look by look
        self.watch: Callable[[OrbitObjective], None] | None = None

    def set_moves(self, moves: NDArray) -> None:
        """Say where the group moves each latent."""
        self.moves = torch.from_numpy(moves).to(self.products.device)

    @torch.no_grad()
    def reorder(self, order: NDArray) -> None:
        """Give the latents another order."""
        places = torch.from_numpy(order).to(self.products.device)
        network = self.network
        for weights in (
            network.components,
            network.encoder.weight,
            network.encoder.bias,
        ):
            weights.copy_(weights[places])
        self.idle, self.is_dead = self.idle[places], self.is_dead[places]
        self._list_dead()

    def loss(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Losses of orbits (n_orbits, order, n_features); `target` marks their rows."""
        rows = inputs.flatten(0, 1) if self.is_whole else inputs[target]
        self.n_steps += 1
        if self.strength == 0 or self.moves is None:
            return self._losses(rows, rows)
        rng = np.random.default_rng((self.seed, self.n_steps))
        element = int(rng.integers(1, len(self.products)))
        to, is_moved = self._partners(target, element)
        again = partial(self._moved, self.moves[element], to, is_moved)
        extras = [(self.strength * weight, rows[to]) for weight in _WEIGHTS]
        return self._losses(rows, rows, again, extras)

    def _partners(self, seen: Tensor, element: int) -> tuple[Tensor, Tensor]:
        """Row that an element makes of each, itself where that is missing."""
        place = seen.flatten().cumsum(0).sub_(1).view(seen.shape)
        moved = self.products[element]
        both = seen & seen[:, moved]
        return torch.where(both, place[:, moved], place)[seen], both[seen]

    def _moved(
        self,
        moves: Tensor,
        to: Tensor,
        is_moved: Tensor,
        pre_activations: Tensor,
        own: Code,
    ) -> list[Code]:
        """Codes of moved rows, bag by bag as `own`: of the two losses."""
        rows = rows_of(own)
        of_entries, indices = rows[own.bags], moves[own.indices]
        if not self.is_whole:
            indices = torch.where(is_moved[of_entries], indices, own.indices)
        values = pre_activations[to[of_entries], indices].relu_() * (own.values > 0)
        return [
            own._replace(values=values, indices=indices, rows=to[rows]),
            own._replace(indices=indices, sources=own.indices),
        ]

    def after_step(self) -> None:
        """Bring dictionary vectors back to norm 1, and look how it goes."""
        super().after_step()
        if self.watch is not None:
            self.watch(self)

    def get_extra_state(self) -> Tensor:
        """What counts in a checkpoint beside weights and buffers."""
        state = [self.rows_until_check, self.n_steps, self.strength, *self.errors]
        return torch.tensor(state, dtype=torch.float64)

    def set_extra_state(self, state: Any) -> None:
        """Go on counting; buffers are there already."""
        super().set_extra_state(state)
        self.n_steps, self.strength = int(state[1]), float(state[2])
        self.errors = state[3:].tolist()


class Watch:
    """Notes errors of held-out rows, and steers them by those of another training."""

    def __init__(
        self,
        rows: Tensor,
        select: Selection,
        n_steps: int,
        regular: list[float] | None = None,
    ) -> None:
        self.rows, self.select, self.regular = rows, select, regular
        self.every = max(1, n_steps // _LOOKS)
        self.n_looks = n_steps // self.every

    def __call__(self, objective: OrbitObjective) -> None:
        """Look, if it is time to."""
        if objective.n_steps % self.every == 0:
            objective.errors.append(self.error(objective.network))
            if self.regular is not None:
                self._steer(objective)

    @torch.no_grad()
    def error(self, network: Network) -> float:
        """Mean squared error of held-out rows."""
        total, offset = 0.0, network.offset()
        for rows in self.rows.to(offset.device).split(1024):
            code = network.encode(rows, self.select)
            decoded = decode_sparse(code, network.components) + offset
            total += float((decoded - rows).square().sum())
        return total / len(self.rows)

    def _steer(self, objective: OrbitObjective) -> None:
        """Lower the strength where the error is too large, else raise it."""
        assert self.regular is not None
        n_looks = min(len(objective.errors), len(self.regular))
        allowed = _AIM + _SLACK * max(0.0, 1 - 2 * n_looks / self.n_looks)
        ratio = max(objective.errors[-1], _TINY) / max(self.regular[n_looks - 1], _TINY)
        excess = (math.log(ratio) - math.log1p(allowed)) / _AIM
        change = math.exp(-_GAIN * min(2.0, max(-2.0, excess)))
        objective.strength = min(1.0, objective.strength * change)
