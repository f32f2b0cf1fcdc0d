"""What an autoencoder is trained for, step by step."""

import numpy as np
import torch
from torch import Tensor, nn

from ._code import Code, append
from ._module import SAEModule
from ._recipe import Recipe
from ._selection import Prefixes, Selection
from ._spare import Spare
from ._top_k import top_k

_CHECKS = 16  # looks for dead latents in the time after which a latent is dead


class Objective(nn.Module):
    """Squared error of the reconstruction, and what the recipe adds to it.

    Parameters
    ----------
    module : SAEModule
        What is trained.
    select : Selection
        Which latents are kept.
    recipe : Recipe
        How to train.
    n_rows : int
        Rows of the training data.
    prefixes : array-like of shape (n_prefixes,)
        The first how many latents have to reconstruct a row by themselves; the last
        entry is all of them.
    """

    idle: Tensor
    dead: Tensor

    def __init__(
        self,
        module: SAEModule,
        select: Selection,
        recipe: Recipe,
        *,
        n_rows: int,
        prefixes: np.ndarray,
    ) -> None:
        super().__init__()
        self.module = module
        self.n_prefixes = len(prefixes)
        part = np.searchsorted(prefixes, module.places, side="right")
        self.select = select if len(prefixes) == 1 else Prefixes(select, part)
        self.recipe = recipe
        self.spare = Spare()
        self.patience = recipe.dead_after * n_rows
        # rows seen since each latent was active
        self.register_buffer("idle", torch.zeros(module.n_latents))
        self.register_buffer("dead", torch.empty(0, dtype=torch.long))
        self.rows_until_check = self.patience

    def loss(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Mean over rows of the squared error, summed over features (equation 2).

        Parameters
        ----------
        inputs, target : torch.Tensor of shape (n_rows, n_features)
            What goes in and what should come out.

        Returns
        -------
        loss : torch.Tensor
            A number.
        """
        n_rows, n_bags = len(inputs), len(inputs) * self.n_prefixes
        sums = self.module(inputs, self._code, self.spare)
        parts = sums[:n_bags].view(n_rows, self.n_prefixes, -1)
        error = target.unsqueeze(1) - parts.cumsum(1) - self.module.offset()
        loss = error.square().sum(2).mean()
        if len(sums) > n_bags:
            left = error[:, -1].detach() - sums[n_bags:]
            loss = loss + self.recipe.aux_weight * left.square().sum(1).mean()
        return loss

    def _code(self, pre_activations: Tensor) -> Code:
        """Active latents, and one bag more per row of dead ones to be revived."""
        code = self.select(pre_activations)
        if self.recipe.aux_weight == 0:
            return code
        self._note_activity(code, len(pre_activations))
        if len(self.dead) == 0:
            return code
        k = min(self.recipe.aux_k, len(self.dead))
        values, places = top_k(pre_activations[:, self.dead], k)
        return append(code, values.relu_(), self.dead[places])

    def _note_activity(self, code: Code, n_rows: int) -> None:
        active = torch.zeros_like(self.idle)
        active.index_add_(0, code.indices, (code.values > 0).to(active.dtype))
        self.idle = (self.idle + n_rows) * (active == 0)
        self.rows_until_check -= n_rows
        if self.rows_until_check <= 0:  # not each step: a GPU has to wait for it
            self.dead = (self.idle >= self.patience).nonzero()[:, 0]
            self.rows_until_check = self.patience / _CHECKS

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients away, and keep the memory of the large ones.

        Parameters
        ----------
        set_to_none : bool
            As for :class:`torch.nn.Module`.
        """
        if set_to_none:
            for parameter in (self.module.encoder.weight, self.module.components):
                if parameter.grad is not None:
                    self.spare.put(parameter.grad)
        super().zero_grad(set_to_none)

    def after_step(self) -> None:
        """Bring dictionary rows back to norm 1, where the recipe says so."""
        if self.recipe.unit_rows:
            self.module.normalize_components()
