"""Several networks of one size, trained as one."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.data import TensorDataset

from .._training import ShuffledBatches
from ._code import Code
from ._module import SAEModule, normalize_rows
from ._selection import Selection
from ._spare import Spare
from ._sparse_ops import SparseAutoencode

_ALIGNMENT = 64  # bytes: elsewhere a small matrix product may round differently
_VECTOR = 16  # entries that a CPU's Adam treats together


class Stack(nn.Module):
    """Several networks of one size, whose weights lie one below the other.

    What it does to each is, to the bit, what that network would do by itself.

    Parameters
    ----------
    models : sequence of SAEModule
        The networks, on one device; their weights become views of the stack's.
    lrs : sequence of float
        Learning rate of each. Neighbours with the same one share parameters, the
        i-th of them with ``runs.i`` in their names.
    """

    weights: Any  # a ModuleDict of _Weights

    def __init__(self, models: Sequence[SAEModule], lrs: Sequence[float]) -> None:
        super().__init__()
        self.stack_shape = (len(models),)
        runs = [len(list(run)) for _, run in groupby(lrs)]
        parameters = [dict(model.named_parameters()) for model in models]
        self.weights = nn.ModuleDict(
            {
                name.replace(".", "_"): _Weights([p[name] for p in parameters], runs)
                for name in parameters[0]
            }
        )

    @property
    def n_latents(self) -> int:
        """Number of latents of all models."""
        return len(self.weights["components"].storage)

    @property
    def places(self) -> NDArray:
        """Place of each latent in the dictionary of its model."""
        (n_models,) = self.stack_shape
        return np.tile(np.arange(self.n_latents // n_models), n_models)

    def offset(self) -> Tensor:
        """Return what is added to reconstructions.

        Returns
        -------
        offset : torch.Tensor of shape (n_models, 1, 1, n_features)
            Decoder biases.
        """
        return self.weights["intercept"]().view(*self.stack_shape, 1, 1, -1)

    def forward(self, inputs: Tensor, select: Selection, spare: Spare) -> Tensor:
        """Encode, and sum dictionary vectors bag by bag.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_models * n_rows, n_features)
            Normalised rows, one model after the other.
        select : Selection
            Which latents are kept, in which bags.
        spare : Spare
            Memory to use.

        Returns
        -------
        sums : torch.Tensor of shape (n_bags, n_features)
            Normalised reconstructions less the intercept.
        """
        return SparseAutoencode.apply(
            self._encoder_inputs(inputs),
            self.weights["encoder_weight"](),
            self.weights["encoder_bias"](),
            self.weights["components"](),
            partial(self._encode, select=select, spare=spare),
            spare,
        )

    @torch.no_grad()
    def encode(self, inputs: Tensor, select: Selection, spare: Spare) -> Code:
        """Find the active latents.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_models * n_rows, n_features)
            Normalised rows, one model after the other.
        select : Selection
            Which latents are kept.
        spare : Spare
            Memory to use.

        Returns
        -------
        code : Code
            Kept latents.
        """
        layer = (self.weights[f"encoder_{name}"]() for name in ("weight", "bias"))
        inputs = self._encoder_inputs(inputs)
        return self._encode(inputs, *layer, select=select, spare=spare)

    def _encode(
        self,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        *,
        select: Selection,
        spare: Spare,
    ) -> Code:
        shape = (len(inputs), self.n_latents // self.stack_shape[0])
        pre_activations = spare.take(shape, inputs)
        parts = map(self._parts, (inputs, weight, bias, pre_activations))
        for rows, matrix, offset, out in zip(*parts, strict=True):
            torch.addmm(offset, _aligned(rows), matrix.T, out=out)
        code = select(pre_activations)
        spare.put(pre_activations)
        return code

    def _encoder_inputs(self, inputs: Tensor) -> Tensor:
        if "hidden_weight" not in self.weights:
            return inputs
        names = ("hidden_weight", "hidden_bias")
        tensors = (inputs, *(self.weights[name]() for name in names))
        layers = zip(*(self._parts(tensor) for tensor in tensors), strict=True)
        return torch.cat(
            [linear(_aligned(rows), *layer) for rows, *layer in layers]
        ).relu()

    def _parts(self, tensor: Tensor) -> tuple[Tensor, ...]:
        return tensor.chunk(*self.stack_shape)

    def normalize_components(self) -> None:
        """Bring dictionary rows to norm 1."""
        normalize_rows(self.weights["components"].storage)

    def squared_length(self, errors: Tensor) -> Tensor:
        """Return the squared length of each error.

        Parameters
        ----------
        errors : torch.Tensor of shape (..., n_features)
            What reconstructions miss.

        Returns
        -------
        squares : torch.Tensor of shape (...)
            Sums over features.
        """
        return errors.square().sum(-1)

    def gradients(self) -> list[Tensor]:
        """Return the gradients of all weights, as they lie in memory.

        Returns
        -------
        gradients : list of torch.Tensor
            One for each kind of weight.
        """
        return [weights.gradient for weights in self.weights.values()]

    def leave_gradients(self, spare: Spare) -> None:
        """Leave the memory of the large gradients.

        Parameters
        ----------
        spare : Spare
            Where to.
        """
        for name in ("encoder_weight", "components"):
            gradient = self.weights[name].gradient
            if gradient is not None:
                spare.put(gradient)


class _Weights(nn.Module):
    """One kind of weight of all models: one tensor, and parameters that are its parts.

    A run of one learning rate is one parameter, or one for each model where Adam would
    round the last entries of a model in another way than those in the middle.
    """

    def __init__(self, weights: list[nn.Parameter], runs: list[int]) -> None:
        super().__init__()
        n_rows = len(weights[0])
        self.storage = torch.cat([weight.detach() for weight in weights])
        for weight, place in zip(weights, self.storage.split(n_rows), strict=True):
            weight.data = place
        step = n_rows if weights[0].numel() % _VECTOR else None
        self.runs = nn.ModuleList(
            nn.ParameterList(nn.Parameter(part) for part in run.split(step or len(run)))
            for run in self.storage.split([n_models * n_rows for n_models in runs])
        )
        self.parts = list(self.parameters())
        self.joined_gradient: Tensor | None = None

    def forward(self) -> Tensor:
        """All parts, as one tensor."""
        if len(self.parts) == 1:
            return self.parts[0]
        return _Join.apply(self, *self.parts)

    @property
    def gradient(self) -> Tensor | None:
        """Gradients of all parts, as one tensor."""
        return self.parts[0].grad if len(self.parts) == 1 else self.joined_gradient


class _Join(torch.autograd.Function):
    """Parts that lie one below the other as one tensor, without a copy."""

    @staticmethod
    def forward(ctx: Any, weights: _Weights, *parts: Tensor) -> Tensor:
        ctx.weights, ctx.lengths = weights, [len(part) for part in parts]
        return weights.storage.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ctx.weights.joined_gradient = grad
        return None, *grad.split(ctx.lengths)


class StackedBatches(ShuffledBatches):
    """Batches of the same rows in an order of its own for each model.

    Parameters
    ----------
    dataset : torch.utils.data.TensorDataset
        Tensors of equal length, all on one device.
    batch_size : int
        Rows per batch and model.
    seed : sequence of int
        Seed of each model's order.
    """

    def __init__(
        self, dataset: TensorDataset, batch_size: int, seed: Sequence[int]
    ) -> None:
        self.tensors = dataset.tensors
        self.batch_size = batch_size
        self.generators = [torch.Generator().manual_seed(each) for each in seed]

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        first = self.tensors[0]
        orders = [torch.randperm(len(first), generator=g) for g in self.generators]
        for rows in torch.stack(orders).to(first.device).split(self.batch_size, dim=1):
            yield tuple(t.index_select(0, rows.flatten()) for t in self.tensors)


def _aligned(rows: Tensor) -> Tensor:
    return rows if rows.data_ptr() % _ALIGNMENT == 0 else rows.clone()
