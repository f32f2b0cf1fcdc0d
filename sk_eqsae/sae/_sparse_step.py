"""The autoencoder's exact sparse forward and backward pass.

Only a few latents of a row are active, so the decoder and every gradient touch only
those. Sums over active latents are embedding bags: to decode, a row is a bag of
dictionary vectors; for the gradients of the weights, a latent is a bag of rows. With
code z, gradient G of the reconstructions, and s_bi = (G_b . d_i) [z_bi > 0]::

    dL/dW_i = sum over b of s_bi x_b,    dL/dc_i = sum over b of s_bi,
    dL/dd_i = sum over b of z_bi G_b,    dL/dx_b = sum over i of s_bi W_i
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ._code import Code, Selection

# Memory that one training step leaves to the next, by shape, dtype and device. Large
# tensors that are freed go back to the operating system, and fresh pages cost a
# training step more time than its arithmetic.
Spare = dict[tuple, list[Tensor]]


def put(spare: Spare, tensor: Tensor) -> None:
    """Leave a tensor, at which nobody else may look any more."""
    key = (tensor.shape, tensor.dtype, tensor.device)
    spare.setdefault(key, []).append(tensor)


def take(spare: Spare, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Get a tensor of this shape, whose entries may be anything."""
    left = spare.get((torch.Size(shape), like.dtype, like.device))
    return left.pop() if left else like.new_empty(shape)


def put_gradients(spare: Spare, gradients: list[Tensor]) -> None:
    """Leave gradients, where the next ones are written over them."""
    for gradient in gradients:
        if has_csr_kernels(gradient):
            put(spare, gradient)


def decode_sparse(code: Code, components: Tensor) -> Tensor:
    """Weighted sums of dictionary vectors, of shape (n_bags, n_features)."""
    return _bag_sums(code.indices, code.offsets, code.values, components)


def _bag_sums(rows: Tensor, offsets: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    settings: Any = {"mode": "sum", "include_last_offset": True}
    return embedding_bag(rows, table, offsets, per_sample_weights=weights, **settings)


def encode(  # noqa: PLR0917
    select: Selection,
    spare: Spare,
    n_networks: int,
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> Code:
    """Active latents of the products of rows and weights, network by network."""
    pre_activations = take(spare, (len(inputs), len(weight) // n_networks), inputs)
    if n_networks == 1:
        torch.addmm(bias, inputs, weight.T, out=pre_activations)
    else:
        shape = (n_networks, -1, inputs.shape[1])
        rows, columns = inputs.view(shape), weight.view(shape).mT
        out = pre_activations.view(n_networks, -1, columns.shape[2])
        torch.baddbmm(bias.view(n_networks, 1, -1), rows, columns, out=out)
    code = select(pre_activations)
    put(spare, pre_activations)
    return code


class Pass(NamedTuple):
    """A forward pass, as far as gradients are made of it."""

    inputs: Tensor  # of the last layer of the encoder
    weight: Tensor  # of that layer
    components: Tensor
    code: Code


def gradients(
    passed: Pass, grad: Tensor, spare: Spare
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Those of weight, bias, components and inputs, given those of the bags' sums."""
    inputs, weight, components, code = passed
    slope = _dots(code, grad, components) * (code.values > 0)
    order, offsets = order_by_latent(code.indices, len(components))
    # not by brackets, which take three times as long
    bags, values = (t.index_select(0, order) for t in (code.bags, code.values))
    of_components = _sum_in_bags(bags, offsets, values, grad, spare)
    if code.sources is not None:  # which a latent of the encoder went into
        code = code._replace(indices=code.sources)
        order, offsets = order_by_latent(code.indices, len(weight))
        bags = code.bags.index_select(0, order)
    rows = bags if code.rows is None else code.rows.index_select(0, bags)
    in_order, of_inputs = slope.index_select(0, order), None
    if inputs.requires_grad:
        of_inputs = decode_sparse(code._replace(values=slope), weight)
        if code.rows is not None:
            of_inputs = torch.zeros_like(inputs).index_add_(0, code.rows, of_inputs)
    return (
        _sum_in_bags(rows, offsets, in_order, inputs, spare),
        slope.new_zeros(len(weight)).index_add_(0, code.indices, slope),
        of_components,
        of_inputs,
    )


def order_by_latent(indices: Tensor, n_latents: int) -> tuple[Tensor, Tensor]:
    """Entries of a code sorted by latent, and where each latent begins and ends."""
    if indices.device.type != "cpu":
        # a bincount would have to wait for the device, to know how long it is
        ordered, order = torch.sort(indices, stable=True)
        latents = torch.arange(n_latents + 1, device=indices.device)
        return order, torch.searchsorted(ordered, latents)
    # numpy sorts short integers in linear time
    small = np.uint16 if n_latents <= 2**16 else np.int64
    order = np.argsort(indices.numpy().astype(small), kind="stable")
    offsets = np.zeros(n_latents + 1, dtype=np.int64)
    np.bincount(indices.numpy(), minlength=n_latents).cumsum(out=offsets[1:])
    return torch.from_numpy(order), torch.from_numpy(offsets)


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
    """Weighted sums of rows of a table, bag by bag."""
    if has_csr_kernels(table):
        total = take(spare, (len(offsets) - 1, table.shape[1]), table)
        bags = _csr(offsets, rows, weights, len(table))
        return torch.addmm(total, bags, table, beta=0.0, out=total)
    return _bag_sums(rows, offsets, weights, table)


def _csr(offsets: Tensor, columns: Tensor, values: Tensor, n_columns: int) -> Tensor:
    shape = (len(offsets) - 1, n_columns)
    return torch.sparse_csr_tensor(
        offsets, columns, values, shape, check_invariants=False
    )


def has_csr_kernels(tensor: Tensor) -> bool:
    """Whether sums over bags are products of CSR matrices, over spare memory."""
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
