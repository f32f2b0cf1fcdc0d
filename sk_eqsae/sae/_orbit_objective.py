"""What an autoencoder is trained for whose codes should permute along orbits."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..groups import FiniteGroup
from ._code import Code, Selection, part_of, rows_of
from ._data_parallel import SharedObjective, of_first
from ._latent_orbits import LatentOrbits
from ._network import Network
from ._objective import Objective
from ._sparse_step import decode_sparse

# of the support loss and of the cross-reconstruction, chosen on digits
_WEIGHTS = (0.3, 0.1)
_AT_ONCE = 1_024  # rows that are encoded


class OrbitObjective(Objective):
    """Squared error of whole orbits, and how far their codes are from permuting."""

    # With x_g the row that an element g makes of a row x, z its code, a the
    # pre-activations, P_g the permutation of latents, and s the strength, the loss of
    # `Objective` gets
    #
    #     .3 s ||x_g - D [ReLU(a(x_g)) at the support of P_g z]||^2
    #     .1 s ||x_g - D P_g z||^2
    #
    # for one random g a step: the first over one half of the rows x whose x_g there is,
    # the second over the other half, which costs as much time as one of them over all.
    # Rows without x_g stand for themselves. Supports have no gradient.

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

    def agreed(self, function: Callable[[], Any]) -> Any:
        """What a function finds, for all processes that train."""
        return function()

    def set_moves(self, orbits: LatentOrbits) -> None:
        """Say where the group moves each latent."""
        moves = np.stack([orbits.places(g) for g in range(len(self.products))])
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

    def learn(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Losses of orbits (n_orbits, order, n_features); `target` marks their rows."""
        rows = inputs.flatten(0, 1) if self.is_whole else inputs[target]
        self.n_steps += 1
        if self.strength == 0 or self.moves is None:
            return self._learn(rows, rows)
        rng = Random(f"{self.seed} {self.n_steps}")
        element = rng.randrange(1, len(self.products))
        partners = self._partners(target, element)
        half, shares = self._halves(len(rows))
        again = partial(self._moved, self.moves[element], partners, half)
        targets = rows.index_select(0, partners[0]).tensor_split([half])
        weights = [
            self.strength * weight * share
            for weight, share in zip(_WEIGHTS, shares, strict=True)
        ]
        extras = list(zip(weights, targets, strict=True))
        return self._learn(rows, rows, again, extras)

    def _halves(self, n_rows: int) -> tuple[int, tuple[float, float]]:
        """Rows of the support loss, and how much the means over both parts count."""
        return n_rows // 2, (1.0, 1.0)

    def _partners(self, seen: Tensor, element: int) -> tuple[Tensor, Tensor]:
        """Row that an element makes of each, itself where that is missing."""
        moved = self.products[element]
        if self.is_whole:
            place = torch.arange(seen.numel(), device=seen.device).view(seen.shape)
            return place.index_select(1, moved).flatten(), seen
        place = seen.flatten().cumsum(0).sub_(1).view(seen.shape)
        both = seen & seen[:, moved]
        return torch.where(both, place[:, moved], place)[seen], both[seen]

    def _moved(
        self,
        moves: Tensor,
        partners: tuple[Tensor, Tensor],
        half: int,
        pre_activations: Tensor,
        own: Code,
    ) -> list[Code]:
        """Codes of moved rows: of the support loss and of the cross-reconstruction."""
        to, is_moved = partners
        n_bags = len(own.offsets) - 1
        half *= self.n_prefixes
        first, second = part_of(own, 0, half), part_of(own, half, n_bags)
        places = [self._places(code, moves, is_moved) for code in (first, second)]
        rows = to[rows_of(first)]
        rows_of_values = rows.index_select(0, first.bags)
        values = pre_activations[rows_of_values, places[0]].relu_()
        values *= first.values > 0
        return [
            first._replace(values=values, indices=places[0], rows=rows),
            second._replace(indices=places[1], sources=second.indices),
        ]

    def _places(self, code: Code, moves: Tensor, is_moved: Tensor) -> Tensor:
        """Where latents are moved, in rows that are."""
        places = moves.index_select(0, code.indices)
        if self.is_whole:
            return places
        return torch.where(is_moved[rows_of(code)[code.bags]], places, code.indices)

    def get_extra_state(self) -> Tensor:
        """What counts in a checkpoint beside weights and buffers."""
        state = [self.rows_until_check, self.n_steps]
        return torch.tensor(state, dtype=torch.float64)

    def set_extra_state(self, state: Any) -> None:
        """Go on counting; buffers are there already."""
        super().set_extra_state(state)
        self.n_steps = int(state[1])


class SharedOrbitObjective(SharedObjective, OrbitObjective):
    """An objective to which each process contributes some orbits of every batch."""

    n_before = 0  # rows of the batch that are other processes', before those of this

    def agreed(self, function: Callable[[], Any]) -> Any:
        """What a function finds in the first process."""
        return of_first(function)

    def _share(self, target: Tensor) -> tuple[slice, float]:
        orbits, weight = super()._share(target)
        before, own, self.batch_rows = (
            seen.numel() if self.is_whole else int(seen.sum())
            for seen in (target[: orbits.start], target[orbits], target)
        )
        self.n_before = before
        return orbits, own / self.batch_rows if weight else 0.0

    def _halves(self, n_rows: int) -> tuple[int, tuple[float, float]]:
        # those of the batch, of which this process may have a part of one only
        of_batch = self.batch_rows // 2
        half = min(max(of_batch - self.n_before, 0), n_rows)
        # a mean counts by its part of the half, and is weighted by that of the batch
        rate = self.batch_rows / n_rows
        shares = (
            rate * half / max(1, of_batch),
            rate * (n_rows - half) / (self.batch_rows - of_batch),
        )
        return half, shares


@torch.no_grad()
def error_of(network: Network, rows: Tensor, select: Selection) -> float:
    """Mean squared error of reconstructions."""
    total, offset = 0.0, network.offset()
    for part in rows.to(offset.device).split(_AT_ONCE):
        code = network.encode(part, select)
        decoded = decode_sparse(code, network.components) + offset
        total += float((decoded - part).square().sum())
    return total / len(rows)
