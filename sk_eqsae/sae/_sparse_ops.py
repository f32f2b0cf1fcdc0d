"""The TopK autoencoder's exact sparse forward and backward pass.

Only k of n_components latents of a row are non-zero, so the decoder and every
gradient touch k of them. Sums over active latents are embedding bags: to decode, a
row is a bag of dictionary vectors; for the gradients of the weights, a latent is a
bag of rows.
"""

import math
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import embedding_bag


def top_k(pre_activations: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Exact largest k entries of each row, in no particular order.

    Long rows are cut into strided groups first: the k largest entries lie in the k
    groups with the largest maxima.

    Parameters
    ----------
    pre_activations : torch.Tensor of shape (n_rows, n_components)
        Where to look.
    k : int
        Number of entries kept per row.

    Returns
    -------
    values, indices : torch.Tensor of shape (n_rows, k)
        The entries and their columns.
    """
    n_components = pre_activations.shape[1]
    n_groups = _group_count(n_components, k)
    if n_groups is None:
        return torch.topk(pre_activations, k, dim=1, sorted=False)
    strided = pre_activations.view(len(pre_activations), -1, n_groups)
    groups = strided.amax(1).topk(k, dim=1, sorted=False).indices
    size = strided.shape[1]
    candidates = strided.gather(2, groups.unsqueeze(1).expand(-1, size, -1))
    values, place = candidates.flatten(1).topk(k, dim=1, sorted=False)
    return values, place // k * n_groups + groups.gather(1, place % k)


def encode_sparse(
    inputs: Tensor, weight: Tensor, bias: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """TopK and then ReLU of a linear map, as values and columns.

    Parameters
    ----------
    inputs : torch.Tensor of shape (n_rows, n_inputs)
        Rows to encode.
    weight : torch.Tensor of shape (n_components, n_inputs)
        Encoder weights.
    bias : torch.Tensor of shape (n_components,)
        Encoder biases.
    k : int
        Number of latents kept per row.

    Returns
    -------
    values, indices : torch.Tensor of shape (n_rows, k)
        The kept latents, zero where negative, and their columns.
    """
    values, indices = top_k(torch.addmm(bias, inputs, weight.T), k)
    return values.relu_(), indices


def decode_sparse(
    values: Tensor, indices: Tensor, components: Tensor, intercept: Tensor
) -> Tensor:
    """Weighted sum of the k active dictionary vectors of each row.

    Parameters
    ----------
    values, indices : torch.Tensor of shape (n_rows, k)
        Active latents and their columns.
    components : torch.Tensor of shape (n_components, n_features)
        Dictionary.
    intercept : torch.Tensor of shape (n_features,)
        Added to every row.

    Returns
    -------
    decoded : torch.Tensor of shape (n_rows, n_features)
        The reconstruction.
    """
    bags = embedding_bag(indices, components, per_sample_weights=values, mode="sum")
    return bags.add_(intercept)


class TopKCode(torch.autograd.Function):
    """``decode(relu(topk(inputs @ weight.T + bias)))`` with sparse gradients."""

    @staticmethod
    def forward(  # noqa: PLR0917
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        components: Tensor,
        intercept: Tensor,
        k: int,
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
        components, intercept : torch.Tensor
            Decoder, (n_components, n_features) and (n_features,).
        k : int
            Number of latents kept per row.

        Returns
        -------
        decoded : torch.Tensor of shape (n_rows, n_features)
            The reconstruction.
        """
        values, indices = encode_sparse(inputs, weight, bias, k)
        ctx.save_for_backward(inputs, weight, components, values, indices)
        return decode_sparse(values, indices, components, intercept)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of all tensors that went in.

        Parameters
        ----------
        ctx : torch.autograd.function.FunctionCtx
            As filled by the forward pass.
        grad : torch.Tensor of shape (n_rows, n_features)
            Gradient of the reconstruction.

        Returns
        -------
        gradients : tuple of torch.Tensor and None
            One for each argument of the forward pass.
        """
        inputs, weight, components, values, indices = ctx.saved_tensors
        grad = grad.contiguous()
        active = components[indices]
        grad_values = torch.bmm(active, grad.unsqueeze(2)).squeeze(2)
        grad_values = grad_values * (values > 0)
        bags = _LatentBags(indices, len(components))
        grad_inputs = None
        if ctx.needs_input_grad[0]:
            grad_inputs = embedding_bag(
                indices, weight, per_sample_weights=grad_values, mode="sum"
            )
        return (
            grad_inputs,
            bags.sum(inputs, grad_values),
            bags.count(grad_values),
            bags.sum(grad, values),
            grad.sum(0),
            None,
        )


class _LatentBags:
    """Table of (row, latent) turned round: which rows each latent is active in."""

    def __init__(self, indices: Tensor, n_components: int) -> None:
        self.indices = indices
        self.n_components = n_components
        order, offsets = _transpose(indices, n_components)
        self.order, self.offsets = order, offsets
        self.rows = torch.div(order, indices.shape[1], rounding_mode="floor")

    def sum(self, table: Tensor, weights: Tensor) -> Tensor:
        """Sum of rows of the table, weighted, over each latent's bag."""
        return embedding_bag(
            self.rows,
            table,
            self.offsets,
            per_sample_weights=weights.flatten()[self.order],
            mode="sum",
            include_last_offset=True,
        )

    def count(self, weights: Tensor) -> Tensor:
        """Sum of the weights over each latent's bag."""
        total = weights.new_zeros(self.n_components)
        return total.index_add_(0, self.indices.flatten(), weights.flatten())


def _transpose(indices: Tensor, n_components: int) -> tuple[Tensor, Tensor]:
    """Order of the flat table by latent, and where each latent begins."""
    flat = indices.flatten()
    if flat.is_cuda:
        order = torch.argsort(flat, stable=True)
        counts = torch.bincount(flat, minlength=n_components)
        return order, torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    # scipy's CSR to CSC is a counting sort, six times as fast as argsort
    table = csr_array(
        (np.arange(len(flat)), flat.numpy(), np.array([0, len(flat)])),
        shape=(1, n_components),
    ).tocsc()
    return torch.from_numpy(table.data), torch.from_numpy(table.indptr.astype(np.int64))


def _group_count(n_components: int, k: int) -> int | None:
    """Number of strided groups for the two-stage top-k, None where one is faster."""
    size = 2 ** round(math.log2(max(math.sqrt(n_components / k), 1)))
    if size < 4 or n_components % size:
        return None
    return n_components // size
