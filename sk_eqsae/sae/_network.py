"""The network of a sparse autoencoder, and what every network can do."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._code import Code, Selection
from ._sparse_step import Pass, Spare, decode_sparse, encode

Arrays = tuple[list[NDArray], list[NDArray], NDArray, NDArray]


class Network(nn.Module, ABC):
    """What training asks of a network; rows are normalised, of shape (n_rows, d)."""

    hidden: nn.Linear | None
    encoder: nn.Linear
    components: Tensor
    intercept: nn.Parameter
    n_latents: int  # of all networks together
    spare: Spare  # memory for the next step
    n_networks: tuple[int, ...] = ()  # () of one, (n,) of n that are trained at once
    metric: Tensor | None  # G of the squared length e' G e of an error; None is I
    coordinates: Callable[[Tensor], Tensor] | None = None  # of rows, if it has its own

    def forward(self, rows: Tensor, select: Selection) -> tuple[Tensor, Tensor, Pass]:
        """Sums of vectors bag by bag, (n_bags, d), the offset, and how they came."""
        inputs = self.encoder_inputs(rows)
        with torch.no_grad():
            weight, bias = self.last_layer()
            components, offset = self.dictionary(), self.offset().detach()
            n_networks = math.prod(self.n_networks)
            code = encode(select, self.spare, n_networks, inputs, weight, bias)
            sums = decode_sparse(code, components)
        return sums, offset, Pass(inputs, weight, components, code)

    @abstractmethod
    def leave_gradients(
        self, weight: Tensor, bias: Tensor, components: Tensor, offset: Tensor
    ) -> None:
        """Give those of the last layer, of the dictionary and the offset to weights."""

    @torch.no_grad()
    def encode(self, inputs: Tensor, select: Selection) -> Code:
        """Active latents, without gradients."""
        inputs, n = self.encoder_inputs(inputs), math.prod(self.n_networks)
        return encode(select, self.spare, n, inputs, *self.last_layer())

    @abstractmethod
    def encoder_inputs(self, inputs: Tensor) -> Tensor:
        """What the last layer of the encoder sees, of shape (n_rows, n_inputs)."""

    @abstractmethod
    def last_layer(self) -> tuple[Tensor, Tensor]:
        """Weight (n_latents, n_inputs) and bias (n_latents,) of the encoder."""

    def dictionary(self) -> Tensor:
        """All vectors, of shape (n_latents, d)."""
        return self.components

    def offset(self) -> Tensor:
        """What is added to all reconstructions."""
        return self.intercept

    @cached_property
    def weights(self) -> list[Tensor]:
        """All parameters, those of encoder and dictionary first."""
        # once: a walk through a module's parameters takes a tenth of a small step
        large = [self.encoder.weight, self.components]
        of_large = set(map(id, large))
        return large + [p for p in self.parameters() if id(p) not in of_large]

    def gradients(self) -> list[Tensor]:
        """Gradients of the weights that have one."""
        return [p.grad for p in self.weights if p.grad is not None]

    def normalize_components(self) -> None:
        """Bring dictionary vectors to norm 1, in the metric that the group keeps."""
        normalize_rows(self.components)

    def to_arrays(self) -> Arrays:
        """Weights as those of one dense network: encoder, dictionary, intercept."""
        raise NotImplementedError

    def draw_weights(
        self, *sizes: int, hidden_dim: int | None, tied_init: bool, seed: int
    ) -> None:
        """Make the layers: sizes are n_features, inputs of the last one, n_vectors."""
        # With `tied_init`, vectors have norm 1, biases are zero, and a linear encoder
        # starts as the decoder. not torch's global generator, which fits in other
        # threads would draw from
        n_features, n_inputs, n_vectors = sizes
        generator, self.hidden = torch.Generator().manual_seed(seed), None
        if hidden_dim is not None:
            self.hidden = _drawn_linear(n_features, hidden_dim, generator)
        self.encoder = _drawn_linear(n_inputs, n_vectors, generator)
        decoder = _drawn_linear(n_vectors, n_features, generator)
        self.components = nn.Parameter(decoder.weight.detach().T.contiguous())
        self.intercept = decoder.bias
        if tied_init:
            with torch.no_grad():
                self.components.normal_(generator=generator)
                normalize_rows(self.components)
                self.intercept.zero_()
                self.encoder.bias.zero_()
                if hidden_dim is None:
                    self.encoder.weight.copy_(self.components)


class DenseNetwork(Network):
    """Encoder of one or two layers, selection, ReLU, linear decoder."""

    metric = None

    def __init__(
        self,
        n_features: int,
        n_latents: int,
        hidden_dim: int | None = None,
        *,
        tied_init: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.n_latents = n_latents
        self.spare: Spare = {}
        sizes = (n_features, hidden_dim or n_features, n_latents)
        self.draw_weights(*sizes, hidden_dim=hidden_dim, tied_init=tied_init, seed=seed)

    def encoder_inputs(self, inputs: Tensor) -> Tensor:
        """Rows, or what the hidden layer makes of them."""
        return inputs if self.hidden is None else self.hidden(inputs).relu()

    def last_layer(self) -> tuple[Tensor, Tensor]:
        """Weight and bias as they are."""
        return self.encoder.weight, self.encoder.bias

    def leave_gradients(
        self, weight: Tensor, bias: Tensor, components: Tensor, offset: Tensor
    ) -> None:
        """Give each to the weight that it is of."""
        self.encoder.weight.grad, self.encoder.bias.grad = weight, bias
        self.components.grad, self.intercept.grad = components, offset

    def to_arrays(self) -> Arrays:
        """Encoder weights (n_inputs, n_outputs) and biases, dictionary, intercept."""
        layers = [self.encoder] if self.hidden is None else [self.hidden, self.encoder]
        return (
            [to_array(layer.weight).T for layer in layers],
            [to_array(layer.bias) for layer in layers],
            to_array(self.components),
            to_array(self.intercept),
        )

    @classmethod
    def from_arrays(
        cls,
        coefs: list[NDArray],
        intercepts: list[NDArray],
        components: NDArray,
        intercept: NDArray,
    ) -> Self:
        """Network of what `to_arrays` gives, in the same memory."""
        network = cls.__new__(cls)
        nn.Module.__init__(network)
        network.n_latents, network.spare = len(components), {}
        layers = [_linear(c, b) for c, b in zip(coefs, intercepts, strict=True)]
        network.hidden = layers[0] if len(layers) > 1 else None
        network.encoder = layers[-1]
        network.components = _parameter(components)
        network.intercept = _parameter(intercept)
        return network


@torch.no_grad()
def normalize_rows(table: Tensor) -> None:
    """Bring the last axis of a table to norm 1, in place."""
    norms = torch.linalg.vector_norm(table, dim=-1, keepdim=True)
    table.div_(norms.clamp_min_(1e-12))


def _drawn_linear(
    n_inputs: int, n_outputs: int, generator: torch.Generator
) -> nn.Linear:
    """A layer as torch draws it, but not from the generator that threads share."""
    layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs, dtype=torch.float32)
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    bound = 1 / math.sqrt(n_inputs)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def to_array(tensor: Tensor) -> NDArray:
    """Copy a tensor from wherever it is."""
    return tensor.detach().cpu().numpy().copy()


def _parameter(array: NDArray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.require(array, requirements=["C", "W"])))


def _linear(coef: NDArray, bias: NDArray) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, *coef.shape)
    layer.weight = _parameter(coef.T)
    layer.bias = _parameter(bias)
    return layer
