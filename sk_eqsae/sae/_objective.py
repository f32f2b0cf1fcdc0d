"""What an autoencoder is trained for, step by step."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._training import Trainable
from ._code import (
    Code,
    Prefixes,
    Selection,
    columns_of,
    concat,
    fixed_size_code,
    join,
    top_k,
)
from ._network import Network
from ._recipe import Recipe
from ._sparse_step import gradients, put_gradients

# what codes are added, from pre-activations and active latents
Again = Callable[[Tensor, Code], list[Code]]

# rows that count as an epoch in dead_after if it has more: a budget of steps may end
# before all of them were seen
_LONGEST_EPOCH = 100_000
_CHECKS = 16  # looks for dead latents in the time after which a latent is dead


class Objective(Trainable):
    """Squared error of the reconstruction, and what the recipe adds to it."""

    # With z the code of a row x, y its target, z' the latents of x that are active in
    # y, r what dead latents make of x, c and a the weights of the recipe, sg() without
    # gradient, and D z the reconstruction:
    #
    #     L = ||D z - y||^2 + c ||D z' - y||^2 + a ||sg(y - D z) - r||^2
    #
    # The second term is there where the target is another row, the third where there
    # are dead latents. With several prefixes the first two are means over them.

    idle: Tensor
    is_dead: Tensor
    target_shift: Tensor | None

    def __init__(
        self,
        network: Network,
        select: Selection,
        recipe: Recipe,
        *,
        n_rows: int,  # of the training data
        prefixes: np.ndarray,  # sizes that have to rebuild a row; the last is all
        target_shift: Tensor | None = None,  # makes a target a row that may go in
    ) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        self.n_prefixes = len(prefixes)
        self.select = select
        if len(prefixes) > 1:
            places = np.arange(network.n_latents) % prefixes[-1]  # in its dictionary
            part = np.searchsorted(prefixes, places, side="right")
            self.select = Prefixes(select, part)
        self.patience = recipe.dead_after * min(n_rows, _LONGEST_EPOCH)
        n_latents = network.n_latents
        # rows seen since each latent was active
        self.register_buffer("idle", torch.zeros(n_latents, dtype=torch.float32))
        self.register_buffer("is_dead", torch.zeros(n_latents, dtype=torch.bool))
        self.register_buffer("target_shift", target_shift, persistent=False)
        self.teaches = target_shift is not None and recipe.consistency_weight > 0
        self.rows_until_check = self.patience
        self._list_dead()

    def learn(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Mean over rows of the loss and, below it, of the squared error."""
        # Of shape (2,) or (2, n_networks); gradients of the first are left with the
        # weights. Inputs and targets have shape (n_rows, n_features), as many rows for
        # each network.
        if not self.teaches:
            return self._learn(inputs, target)
        assert self.target_shift is not None
        taught = self.network.encode(target + self.target_shift, self.select)

        def again(pre_activations: Tensor, own: Code) -> list[Code]:
            # the latents of a code, as large as the rows of another table have them
            rows = taught.bags if taught.rows is None else taught.rows[taught.bags]
            values = pre_activations[rows, taught.indices % pre_activations.shape[1]]
            return [taught._replace(values=values.relu_())]

        extra = (self.recipe.consistency_weight, target)
        return self._learn(inputs, target, again, [extra])

    def _learn(
        self,
        inputs: Tensor,
        target: Tensor,
        again: Again | None = None,
        extras: Sequence[tuple[float, Tensor]] = (),
    ) -> Tensor:
        """Losses of rows, with the weight and the target of each code that is added."""
        network, targets = self.network, [(1.0, target), *extras]
        sums, offset, passed = network(inputs, partial(self._code, again=again))
        layout = Layout(network.n_networks, self.n_prefixes, network.metric)
        losses, of_sums, of_offset = squared_errors(
            sums, offset, targets, self.aux_weight, layout
        )
        with torch.no_grad():
            *of_weights, of_inputs = gradients(passed, of_sums, network.spare)
        if of_inputs is not None:  # those of hidden layers are left to torch
            passed.inputs.backward(of_inputs)
        weight, bias, components = of_weights
        network.leave_gradients(weight, bias, components, of_offset)
        return losses

    def _code(self, pre_activations: Tensor, again: Again | None) -> Code:
        """Active latents; as many bags of each code added; one of dead ones."""
        codes = [self.select(pre_activations)]
        if again is not None:
            codes += again(pre_activations, codes[0])
        if self.recipe.aux_weight > 0:
            self._note_activity(codes[0], len(pre_activations) // self._n_networks)
            if any(map(len, self.dead)):
                tables = pre_activations.chunk(self._n_networks)
                parts = zip(tables, self.dead, strict=True)
                aux_k = self.recipe.aux_k
                codes.append(concat([_revived(*part, aux_k) for part in parts]))
        return join(codes) if len(codes) > 1 else codes[0]

    @property
    def _n_networks(self) -> int:
        return math.prod(self.network.n_networks)

    def _note_activity(self, code: Code, n_rows: int) -> None:
        sums = torch.zeros_like(self.idle).index_add_(0, code.indices, code.values)
        self.idle.add_(n_rows).mul_(sums == 0)  # no value is negative
        if self._is_time_to_check(n_rows):
            self.is_dead = self.idle >= self.patience
            self._list_dead()
            self.rows_until_check = self.patience / _CHECKS

    def _is_time_to_check(self, n_rows: int) -> bool:
        """Not at each step: a GPU has to wait for it."""
        self.rows_until_check -= n_rows
        return self.rows_until_check <= 0

    def _list_dead(self) -> None:
        """Dead latents of each network, and how much their loss counts."""
        counts = self.is_dead.view(self._n_networks, -1).sum(1)
        self.dead = list(self.is_dead.nonzero()[:, 0].split(counts.tolist()))
        self.aux_weight = self.recipe.aux_weight * (counts > 0).float()

    def get_extra_state(self) -> Tensor:
        """What counts in a checkpoint beside weights and buffers."""
        return torch.tensor([self.rows_until_check], dtype=torch.float64)

    def set_extra_state(self, state: Any) -> None:
        """Go on counting; buffers are there already."""
        self.rows_until_check = float(state[0])
        self._list_dead()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients away, and keep the memory of the large ones."""
        if set_to_none:
            put_gradients(self.network.spare, self.network.gradients()[:2])
        for weight in self.network.weights:
            weight.grad = None

    def before_step(self) -> Tensor | None:
        """Scale gradients down to the norm that the recipe allows."""
        if self.recipe.max_grad_norm == math.inf:
            return None
        gradients, n_networks = self.network.gradients(), self._n_networks
        excess = _norms(gradients, n_networks).div_(self.recipe.max_grad_norm)
        excess.clamp_(min=1.0)
        if n_networks == 1:
            return excess
        for gradient in gradients:
            gradient.view(n_networks, -1).div_(excess)
        return None

    def after_step(self) -> None:
        """Bring dictionary vectors back to norm 1, where the recipe says so."""
        if self.recipe.unit_rows:
            self.network.normalize_components()


def _revived(table: Tensor, dead: Tensor, aux_k: int) -> Code:
    """Dead latents, which count on from network to network, by one's table."""
    k = min(aux_k, len(dead))
    if k == 0:
        return fixed_size_code(table[:, :0], dead.expand(len(table), 0))
    values, places = top_k(columns_of(table, dead % table.shape[1]), k)
    return fixed_size_code(values.relu_(), dead[places])


def _norms(gradients: list[Tensor], n_networks: int) -> Tensor:
    """Norm of each network's gradients together, of shape (n_networks, 1)."""
    if n_networks == 1:  # twice as fast, and shared among threads
        squares = [torch.dot(g.view(-1), g.view(-1)) for g in gradients]
        return torch.stack(squares).sum(0, keepdim=True).sqrt_().unsqueeze(0)
    tables = [gradient.view(n_networks, -1) for gradient in gradients]
    norms = [torch.linalg.vector_norm(table, dim=1) for table in tables]
    return torch.linalg.vector_norm(torch.stack(norms, dim=1), dim=1, keepdim=True)


class Layout(NamedTuple):
    """What bags are of: networks, rows, prefixes of the dictionary, in this order."""

    n_networks: tuple[int, ...]  # () of one
    n_prefixes: int
    metric: Tensor | None  # G of the squared length e' G e of an error; None is I

    def view(self, bags: Tensor) -> Tensor:
        """Bags in the shape (*n_networks, n_rows, n_prefixes, n_features)."""
        return bags.view(*self.n_networks, -1, self.n_prefixes, bags.shape[1])


def squared_errors(
    sums: Tensor,
    offset: Tensor,
    targets: Sequence[tuple[float, Tensor]],
    aux_weight: Tensor,
    layout: Layout,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and squared error of the first code, (2, *n_networks), and gradients."""
    # Sums of dictionary vectors come code by code, and each code has a weight and a
    # target y. Its errors are ``D z - y``, of each prefix. What is left over, as many
    # bags as rows, is of dead latents, whose errors are those of the first code, of
    # the whole dictionary, plus it; no gradient goes to the first code from there.
    # Gradients are of the loss by sums and offset; the former are written over.
    weights: list[float | Tensor] = [weight for weight, _ in targets]
    sizes = [t.numel() // t.shape[-1] * layout.n_prefixes for _, t in targets]
    if sum(sizes) < len(sums):
        sizes.append(len(sums) - sum(sizes))
        weights.append(aux_weight.view(layout.n_networks))
    errors = sums.split(sizes)
    for part, (_, target) in zip(errors, targets, strict=False):
        error = layout.view(part)
        if layout.n_prefixes > 1:
            error.cumsum_(-2)
        error.sub_(target.view(*layout.n_networks, -1, 1, target.shape[-1]))
        error.add_(offset)
    if len(errors) > len(targets):
        left = layout.view(errors[0])[..., -1:, :]
        errors[-1].view(left.shape).add_(left)
    products = sums if layout.metric is None else sums @ layout.metric
    parts = products.split(sizes)
    losses, rates = _weighted(errors, parts, weights, layout)
    of_offset = offset.new_zeros(offset.shape)
    for i, (part, rate) in enumerate(zip(parts, rates, strict=True)):
        _scale(part, rate, layout)
        if i < len(targets):
            of_code = layout.view(part)
            of_offset += of_code.sum_to_size(offset.shape)
            if layout.n_prefixes > 1:
                of_code.copy_(of_code.flip(-2).cumsum(-2).flip(-2))
    return losses, products, of_offset


def _scale(products: Tensor, rate: float | Tensor, layout: Layout) -> None:
    """Make gradients of what counts so much in the loss, in place."""
    if isinstance(rate, Tensor):  # one number for each network
        rate = rate.view(*layout.n_networks, 1, 1)
    products.view(*layout.n_networks, -1, products.shape[1]).mul_(2 * rate)


def _weighted(
    errors: Sequence[Tensor],
    products: Sequence[Tensor],
    weights: Sequence[float | Tensor],
    layout: Layout,
) -> tuple[Tensor, list[float | Tensor]]:
    """Losses, and how much the squares of each part count in the first."""
    shape, n_networks = (*layout.n_networks, -1), math.prod(layout.n_networks)
    # the first weight is 1; a part without rows has a loss of zero
    rates = [
        w * n_networks / max(1, len(e)) for w, e in zip(weights, errors, strict=True)
    ]
    terms = [
        torch.linalg.vecdot(error.view(shape), product.view(shape)) * rate
        for error, product, rate in zip(errors, products, rates, strict=True)
    ]
    return torch.stack([sum(terms[1:], start=terms[0]), terms[0]]), rates
