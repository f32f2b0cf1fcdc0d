"""What an autoencoder is trained for, step by step."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ._code import Code, concat, fixed_size_code, join, with_values_of
from ._module import SAEModule
from ._recipe import Recipe
from ._selection import Prefixes, Selection
from ._spare import Spare
from ._sparse_ops import has_csr_kernels
from ._stack import Stack
from ._top_k import top_k

_CHECKS = 16  # looks for dead latents in the time after which a latent is dead


class Objective(nn.Module):
    """Squared error of the reconstruction, and what the recipe adds to it.

    Parameters
    ----------
    module : SAEModule or Stack
        What is trained.
    select : Selection
        Which latents are kept.
    recipe : Recipe or sequence of Recipe
        How to train; of a stack one for each model, which may differ in lr,
        max_grad_norm, aux_weight and consistency_weight (if none is 0) and aux_k.
    n_rows : int
        Rows of the training data.
    prefixes : array-like of shape (n_prefixes,)
        The first how many latents have to reconstruct a row by themselves; the last
        entry is all of them.
    target_shift : torch.Tensor of shape (n_features,), default=None
        What turns a target into a row that may go in, where the target is another
        row: added to it, it undoes the mean that was subtracted from targets and
        subtracts that of rows. None where each row is its own target.
    """

    target_shift: Tensor | None
    squared_error: Tensor  # the part of the last loss that is the reconstruction's
    idle: Tensor
    dead: Tensor
    max_grad_norm: Tensor
    aux_weight: Tensor
    consistency_weight: Tensor

    def __init__(
        self,
        module: SAEModule | Stack,
        select: Selection,
        recipe: Recipe | Sequence[Recipe],
        *,
        n_rows: int,
        prefixes: np.ndarray,
        target_shift: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.n_prefixes = len(prefixes)
        part = np.searchsorted(prefixes, module.places, side="right")
        self.select = select if len(prefixes) == 1 else Prefixes(select, part)
        self.recipes = [recipe] if isinstance(recipe, Recipe) else list(recipe)
        self.spare = Spare()
        self.patience = self.recipes[0].dead_after * n_rows
        # rows seen since each latent was active
        self.register_buffer("idle", torch.zeros(module.n_latents, dtype=torch.float32))
        self.register_buffer("max_grad_norm", self._of_each("max_grad_norm"))
        self.register_buffer("aux_weight", self._of_each("aux_weight"))
        weights = self._of_each("consistency_weight")
        self.register_buffer("consistency_weight", weights)
        self.register_buffer("target_shift", target_shift)
        self.teaches = target_shift is not None and bool((weights > 0).any())
        self.clips = any(recipe.max_grad_norm < math.inf for recipe in self.recipes)
        self.revives = any(recipe.aux_weight > 0 for recipe in self.recipes)
        self.register_buffer("dead", torch.empty(0, dtype=torch.long))
        self.dead_of_each: list[Tensor] = []
        self.rows_until_check = self.patience

    def _of_each(self, setting: str) -> Tensor:
        values = [getattr(recipe, setting) for recipe in self.recipes]
        return torch.tensor(values, dtype=torch.float32)

    def loss(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Mean over rows of the squared error, summed over features (equation 2).

        Parameters
        ----------
        inputs, target : torch.Tensor of shape (n_rows, n_features)
            What goes in and what should come out; of a stack as many rows of each
            model, one model after the other.

        Returns
        -------
        loss : torch.Tensor of shape () or (n_models,)
            A number, or that of each model.
        """
        taught = self._code_of_targets(target) if self.teaches else None
        sums = self.module(inputs, partial(self._code, taught=taught), self.spare)
        models, n_bags = self.module.stack_shape, len(inputs) * self.n_prefixes
        own, again, revived = sums.tensor_split([n_bags, n_bags * (1 + self.teaches)])
        target = target.view(*models, -1, 1, sums.shape[1])
        offset = self.module.offset()  # once: a stack keeps the gradient of one call
        error = self._decoded(own) - target + offset
        loss = self._mean_square(error)
        self.squared_error = loss.detach()
        if self.teaches:
            missed = self._decoded(again) - target + offset
            weight = self.consistency_weight.view(models)
            loss = loss + weight * self._mean_square(missed)
        if len(revived) > 0:
            error = error[..., -1:, :].detach()
            left = error + revived.view(error.shape)
            loss = loss + self.used_aux_weight.view(models) * self._mean_square(left)
        return loss

    def _mean_square(self, errors: Tensor) -> Tensor:
        """Mean over rows and prefixes of the squared length, of each model."""
        return self.module.squared_length(errors).mean((-2, -1))

    def _decoded(self, sums: Tensor) -> Tensor:
        """What each prefix of the dictionary makes of a row."""
        models = self.module.stack_shape
        decoded = sums.view(*models, -1, self.n_prefixes, sums.shape[1])
        return decoded.cumsum(-2) if self.n_prefixes > 1 else decoded

    def _code_of_targets(self, target: Tensor) -> Code:
        assert self.target_shift is not None
        return self.module.encode(target + self.target_shift, self.select, self.spare)

    def _code(self, pre_activations: Tensor, taught: Code | None) -> Code:
        """Active latents; as many bags of the target's; one of dead ones to revive."""
        codes = [self.select(pre_activations)]
        if taught is not None:
            codes.append(with_values_of(pre_activations, taught))
        if self.revives:
            self._note_activity(codes[0], len(pre_activations) // len(self.recipes))
            if len(self.dead) > 0:
                tables = pre_activations.chunk(len(self.recipes))
                parts = zip(tables, self.dead_of_each, self.recipes, strict=True)
                codes.append(concat([_revived(*part) for part in parts]))
        return join(codes)

    def _note_activity(self, code: Code, n_rows: int) -> None:
        active = torch.zeros_like(self.idle)
        active.index_add_(0, code.indices, (code.values > 0).to(active.dtype))
        self.idle = (self.idle + n_rows) * (active == 0)
        self.rows_until_check -= n_rows
        if self.rows_until_check <= 0:  # not each step: a GPU has to wait for it
            self._find_dead()
            self.rows_until_check = self.patience / _CHECKS

    def _find_dead(self) -> None:
        dead = (self.idle >= self.patience).view(len(self.recipes), -1)
        counts = dead.sum(1)
        self.dead = dead.flatten().nonzero()[:, 0]
        self.dead_of_each = list(self.dead.split(counts.tolist()))
        self.used_aux_weight = self.aux_weight * (counts > 0)

    def counters(self) -> dict[str, Tensor]:
        """Give what is counted from step to step, of one model.

        Returns
        -------
        counters : dict of torch.Tensor
            For :meth:`restore`.
        """
        rows = torch.tensor(self.rows_until_check, dtype=torch.float64)
        return {"idle": self.idle, "dead": self.dead, "rows_until_check": rows}

    def restore(self, counters: dict[str, Tensor]) -> None:
        """Go on counting.

        Parameters
        ----------
        counters : dict of torch.Tensor
            Of :meth:`counters`.
        """
        self.idle, self.dead = counters["idle"], counters["dead"]
        self.rows_until_check = float(counters["rows_until_check"])
        self.dead_of_each = [self.dead]
        self.used_aux_weight = self.aux_weight * (len(self.dead) > 0)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients away, and keep the memory of the large ones.

        Parameters
        ----------
        set_to_none : bool
            As for :class:`torch.nn.Module`.
        """
        if set_to_none and has_csr_kernels(self.idle):
            self.module.leave_gradients(self.spare)
        super().zero_grad(set_to_none)

    def before_step(self) -> None:
        """Scale gradients down to the norm that the recipe allows."""
        if self.clips:
            _scale_down(self.module.gradients(), self.max_grad_norm)

    def after_step(self) -> None:
        """Bring dictionary rows back to norm 1, where the recipe says so."""
        if self.recipes[0].unit_rows:
            self.module.normalize_components()


def _revived(table: Tensor, dead: Tensor, recipe: Recipe) -> Code:
    """Dead latents with the largest pre-activations; `dead` counts on from model to
    model, and columns of `table` are one model's."""
    k = min(recipe.aux_k, len(dead))
    if k == 0:
        return fixed_size_code(table[:, :0], dead.expand(len(table), 0))
    values, places = top_k(table.index_select(1, dead % table.shape[1]), k)
    return fixed_size_code(values.relu_(), dead[places])


def _scale_down(gradients: list[Tensor], max_norms: Tensor) -> None:
    """Clip the norm of each model's gradients together, as torch does for one."""
    tables = [gradient.view(len(max_norms), -1) for gradient in gradients]
    norms = [torch.linalg.vector_norm(table, dim=1) for table in tables]
    total = torch.linalg.vector_norm(torch.stack(norms, dim=1), dim=1)
    factors = (max_norms / (total + 1e-6)).clamp_(max=1.0).unsqueeze(1)
    for table in tables:
        table.mul_(factors)
