"""The losses of several codes, in one function instead of some thirty."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """What bags are of: networks, rows, prefixes of the dictionary, in this order."""

    n_networks: tuple[int, ...]  # () of one
    n_prefixes: int
    metric: Tensor | None  # G of the squared length e' G e of an error; None is I

    def view(self, bags: Tensor) -> Tensor:
        """Bags in the shape (*n_networks, n_rows, n_prefixes, n_features)."""
        return bags.view(*self.n_networks, -1, self.n_prefixes, bags.shape[1])


class SquaredErrors(torch.autograd.Function):
    """Mean squared errors of reconstructions, weighted and added up."""

    # Sums of dictionary vectors come code by code, and each code has a weight and a
    # target y. Its errors are ``D z - y``, of each prefix. What is left over, as many
    # bags as rows, is of dead latents, whose errors are those of the first code, of
    # the whole dictionary, plus it; no gradient goes to the first code from there.

    @staticmethod
    def forward(  # noqa: PLR0917
        ctx: Any,
        sums: Tensor,
        offset: Tensor,
        targets: Sequence[tuple[float, Tensor]],
        aux_weight: Tensor,
        layout: Layout,
    ) -> Tensor:
        """Loss, and squared error of the first code, of shape (2, *n_networks)."""
        errors = torch.empty_like(sums)
        weights: list[float | Tensor] = [weight for weight, _ in targets]
        sizes = [t.numel() // t.shape[-1] * layout.n_prefixes for _, t in targets]
        if sum(sizes) < len(sums):
            sizes.append(len(sums) - sum(sizes))
            weights.append(aux_weight.view(layout.n_networks))
        parts, made = errors.split(sizes), sums.split(sizes)
        for part, code, (_, target) in zip(parts, made, targets, strict=False):
            decoded, error = layout.view(code), layout.view(part)
            if layout.n_prefixes > 1:
                decoded = decoded.cumsum(-2)
            rows = target.view(*layout.n_networks, -1, 1, target.shape[-1])
            torch.sub(decoded, rows, out=error).add_(offset)
        if len(parts) > len(targets):
            left = layout.view(parts[0])[..., -1:, :]
            torch.add(made[-1].view(left.shape), left, out=parts[-1].view(left.shape))
        products = errors if layout.metric is None else errors @ layout.metric
        ctx.save_for_backward(products, offset)
        ctx.layout, ctx.n_targets, ctx.sizes = layout, len(targets), sizes
        losses, ctx.rates = _weighted(parts, products.split(sizes), weights, layout)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of sums and offset."""
        products, offset = ctx.saved_tensors
        out, layout, of_offset = torch.empty_like(products), ctx.layout, None
        parts = zip(out.split(ctx.sizes), products.split(ctx.sizes), strict=True)
        for i, ((part, product), rate) in enumerate(zip(parts, ctx.rates, strict=True)):
            each = (grad[0] * (2 * rate)).view(*layout.n_networks, 1, 1)
            shape = (*layout.n_networks, -1, product.shape[1])
            torch.mul(product.view(shape), each, out=part.view(shape))
            if i < ctx.n_targets:
                of_code = layout.view(part)
                more = of_code.sum_to_size(offset.shape)
                of_offset = more if of_offset is None else of_offset + more
                if layout.n_prefixes > 1:
                    of_code.copy_(of_code.flip(-2).cumsum(-2).flip(-2))
        return out, of_offset, None, None, None


def _weighted(
    errors: Sequence[Tensor],
    products: Sequence[Tensor],
    weights: Sequence[float | Tensor],
    layout: Layout,
) -> tuple[Tensor, list[float | Tensor]]:
    """Losses, and how much the squares of each part count in the first."""
    shape, n_networks = (*layout.n_networks, -1), math.prod(layout.n_networks)
    # the first weight is 1
    rates = [w * n_networks / len(e) for w, e in zip(weights, errors, strict=True)]
    terms = [
        torch.linalg.vecdot(error.view(shape), product.view(shape)) * rate
        for error, product, rate in zip(errors, products, rates, strict=True)
    ]
    return torch.stack([sum(terms[1:], start=terms[0]), terms[0]]), rates
