"""The autoencoder's exact sparse forward and backward pass.

Only a few latents of a row are active, so the decoder and every gradient touch only
those. Sums over active latents are embedding bags: to decode, a row is a bag of
dictionary vectors; for the gradients of the weights, a latent is a bag of rows.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ._code import Code, order_by_latent
from ._spare import Spare


def decode_sparse(code: Code, components: Tensor) -> Tensor:
    """Weighted sum of the active dictionary vectors of each bag.

    Parameters
    ----------
    code : Code
        Active latents.
    components : torch.Tensor of shape (n_components, n_features)
        Dictionary.

    Returns
    -------
    decoded : torch.Tensor of shape (n_bags, n_features)
        The sums.
    """
    return embedding_bag(
        code.indices,
        components,
        code.offsets,
        per_sample_weights=code.values,
        mode="sum",
        include_last_offset=True,
    )


class SparseAutoencode(torch.autograd.Function):
    """Linear encoder, selection, ReLU and linear decoder, with sparse gradients."""

    @staticmethod
    def forward(  # noqa: PLR0917
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        components: Tensor,
        encode: Callable[[Tensor, Tensor, Tensor], Code],
        spare: Spare,
    ) -> Tensor:
        """Encode and decode.

        Parameters
        ----------
        ctx : torch.autograd.function.FunctionCtx
            Keeps what the backward pass needs.
        inputs : torch.Tensor of shape (n_rows, n_inputs)
            Rows to encode.
        weight, bias : torch.Tensor
            Encoder, (n_components, n_inputs) and (n_components,).
        components : torch.Tensor of shape (n_components, n_features)
            Dictionary.
        encode : callable
            From `inputs`, `weight` and `bias` to the code, with no value below zero:
            its entries above zero are inner products of rows and weights, plus bias.
        spare : Spare
            Memory to use.

        Returns
        -------
        decoded : torch.Tensor of shape (n_bags, n_features)
            The reconstruction of each bag, without an intercept.
        """
        code = encode(inputs, weight, bias)
        ctx.save_for_backward(inputs, weight, components, *code)
        ctx.spare = spare
        return decode_sparse(code, components)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of all tensors that went in.

        Parameters
        ----------
        ctx : torch.autograd.function.FunctionCtx
            As filled by the forward pass.
        grad : torch.Tensor of shape (n_bags, n_features)
            Gradient of the reconstructions.

        Returns
        -------
        gradients : tuple of torch.Tensor and None
            One for each argument of the forward pass.
        """
        inputs, weight, components, *code = ctx.saved_tensors
        code, grad = Code(*code), grad.contiguous()
        slope = _dots(code, grad, components) * (code.values > 0)
        latents = _Latents(code, len(components))
        return (
            _grad_inputs(code, slope, weight, inputs)
            if ctx.needs_input_grad[0]
            else None,
            latents.sum_rows(inputs, slope, ctx.spare),
            slope.new_zeros(len(weight)).index_add_(0, code.indices, slope),
            latents.sum_bags(grad, code.values, ctx.spare),
            None,
            None,
        )


def _grad_inputs(code: Code, slope: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
    grad = decode_sparse(code._replace(values=slope), weight)
    if code.rows is None:
        return grad
    return torch.zeros_like(inputs).index_add_(0, code.rows, grad)


class _Latents:
    """The code turned round: in which bags each latent is active."""

    def __init__(self, code: Code, n_components: int) -> None:
        self.order, self.offsets = order_by_latent(code.indices, n_components)
        self.bags = code.bags[self.order]
        self.rows = self.bags if code.rows is None else code.rows[self.bags]

    def sum_rows(self, inputs: Tensor, weights: Tensor, spare: Spare) -> Tensor:
        """Sum over each latent's rows of the input, weighted."""
        return _sum_in_bags(self.rows, self.offsets, weights[self.order], inputs, spare)

    def sum_bags(self, grad: Tensor, weights: Tensor, spare: Spare) -> Tensor:
        """Sum over each latent's bags of the gradient, weighted."""
        return _sum_in_bags(self.bags, self.offsets, weights[self.order], grad, spare)


def _dots(code: Code, grad: Tensor, components: Tensor) -> Tensor:
    """Inner products of each bag's gradient with its active dictionary vectors."""
    if has_csr_kernels(grad):
        table = _csr(code.offsets, code.indices, code.values, len(components))
        return torch.sparse.sampled_addmm(table, grad, components.T, beta=0.0).values()
    values = torch.zeros_like(code.values, requires_grad=True)
    with torch.enable_grad():
        decoded = decode_sparse(code._replace(values=values), components)
    return torch.autograd.grad(decoded, values, grad)[0]


def _sum_in_bags(
    rows: Tensor, offsets: Tensor, weights: Tensor, table: Tensor, spare: Spare
) -> Tensor:
    """Sum rows of a table over bags, weighted."""
    if has_csr_kernels(table):
        total = spare.take((len(offsets) - 1, table.shape[1]), table)
        bags = _csr(offsets, rows, weights, len(table))
        return torch.addmm(total, bags, table, beta=0.0, out=total)
    return embedding_bag(
        rows,
        table,
        offsets,
        per_sample_weights=weights,
        mode="sum",
        include_last_offset=True,
    )


def _csr(offsets: Tensor, columns: Tensor, values: Tensor, n_columns: int) -> Tensor:
    shape = (len(offsets) - 1, n_columns)
    return torch.sparse_csr_tensor(
        offsets, columns, values, shape, check_invariants=False
    )


def has_csr_kernels(tensor: Tensor) -> bool:
    """Whether sums over bags run as products with sparse matrices.

    Parameters
    ----------
    tensor : torch.Tensor
        Where they run.

    Returns
    -------
    has : bool
        If so, they write gradients over tensors that are left for them.
    """
    return _CSR_KERNELS and tensor.device.type == "cpu"


def _csr_kernels_work() -> bool:
    """Whether this build of torch multiplies CSR tensors, which it calls beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            one = torch.ones(1, 1)
            table = _csr(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), 1)
            torch.addmm(one, table, one, beta=0.0, out=torch.empty(1, 1))
            torch.sparse.sampled_addmm(table, one, one, beta=0.0)
        except RuntimeError:
            return False
    return True


_CSR_KERNELS = _csr_kernels_work()
