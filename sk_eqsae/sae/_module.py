"""The network of a TopK sparse autoencoder."""

import math
from functools import partial
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._code import Code
from ._selection import Selection
from ._spare import Spare
from ._sparse_ops import SparseAutoencode


class SAEModule(nn.Module):
    """Encoder of one or two layers, selection, ReLU, linear decoder.

    Parameters
    ----------
    n_features : int
        Width of a row.
    n_components : int
        Number of latents.
    hidden_dim : int or None
        Width of the encoder's hidden layer; None makes the encoder linear.
    generator : torch.Generator or None
        Draws the weights. None is torch's global one.
    """

    def __init__(
        self,
        n_features: int,
        n_components: int,
        hidden_dim: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.hidden = None
        if hidden_dim is not None:
            self.hidden = drawn_linear(n_features, hidden_dim, generator)
        self.encoder = drawn_linear(hidden_dim or n_features, n_components, generator)
        decoder = drawn_linear(n_components, n_features, generator)
        self.components = nn.Parameter(decoder.weight.detach().T.contiguous())
        self.intercept = decoder.bias

    stack_shape: tuple[int, ...] = ()  # of models trained at once: this is one

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return len(self.components)

    @property
    def places(self) -> NDArray:
        """Place of each latent in the dictionary that `to_arrays` returns."""
        return np.arange(self.n_latents)

    def initialize_tied(self, generator: torch.Generator | None = None) -> None:
        """Draw unit dictionary rows, zero biases, a linear encoder equal to them.

        Parameters
        ----------
        generator : torch.Generator or None
            Draws the rows. None is torch's global one.
        """
        with torch.no_grad():
            self.components.normal_(generator=generator)
            self.normalize_components()
            self.intercept.zero_()
            self.encoder.bias.zero_()
            if self.hidden is None:
                self.encoder.weight.copy_(self.components)

    def normalize_components(self) -> None:
        """Bring dictionary rows to norm 1."""
        normalize_rows(self.components)

    @torch.no_grad()
    def encode(
        self, inputs: Tensor, select: Selection, spare: Spare | None = None
    ) -> Code:
        """Find the active latents.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_rows, n_features)
            Normalised rows.
        select : Selection
            Which latents are kept.
        spare : Spare, default=None
            Memory to use.

        Returns
        -------
        code : Code
            Kept latents.
        """
        layer = (self.encoder.weight, self.encoder.bias)
        spare = spare or Spare()
        return _encode(self.encoder_inputs(inputs), *layer, select=select, spare=spare)

    def forward(
        self, inputs: Tensor, select: Selection, spare: Spare | None = None
    ) -> Tensor:
        """Encode, and sum dictionary vectors bag by bag.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_rows, n_features)
            Normalised rows.
        select : Selection
            Which latents are kept, in which bags.
        spare : Spare, default=None
            Memory to use.

        Returns
        -------
        sums : torch.Tensor of shape (n_bags, n_features)
            Normalised reconstructions less the intercept.
        """
        spare = spare or Spare()
        return SparseAutoencode.apply(
            self.encoder_inputs(inputs),
            self.encoder.weight,
            self.encoder.bias,
            self.components,
            partial(_encode, select=select, spare=spare),
            spare,
        )

    def encoder_inputs(self, inputs: Tensor) -> Tensor:
        """Apply the hidden layer, if there is one.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_rows, n_features)
            Normalised rows.

        Returns
        -------
        encoder_inputs : torch.Tensor of shape (n_rows, n_inputs)
            What the last layer of the encoder sees.
        """
        return inputs if self.hidden is None else self.hidden(inputs).relu()

    def offset(self) -> Tensor:
        """Return what is added to all reconstructions.

        Returns
        -------
        offset : torch.Tensor of shape (n_features,)
            The decoder bias.
        """
        return self.intercept

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
            Those that there are.
        """
        gradients = [parameter.grad for parameter in self.parameters()]
        return [gradient for gradient in gradients if gradient is not None]

    def leave_gradients(self, spare: Spare) -> None:
        """Leave the memory of the large gradients.

        Parameters
        ----------
        spare : Spare
            Where to.
        """
        for parameter in (self.encoder.weight, self.components):
            if parameter.grad is not None:
                spare.put(parameter.grad)

    def to_arrays(
        self,
    ) -> tuple[list[NDArray], list[NDArray], NDArray, NDArray]:
        """Copy the weights out.

        Returns
        -------
        coefs, intercepts : list of ndarray
            Encoder layers, each of shape (n_inputs, n_outputs) and (n_outputs,).
        components : ndarray of shape (n_components, n_features)
            Dictionary.
        intercept : ndarray of shape (n_features,)
            Decoder bias.
        """
        layers = [self.encoder] if self.hidden is None else [self.hidden, self.encoder]
        return (
            [_array(layer.weight).T for layer in layers],
            [_array(layer.bias) for layer in layers],
            _array(self.components),
            _array(self.intercept),
        )

    @classmethod
    def from_arrays(
        cls,
        coefs: list[NDArray],
        intercepts: list[NDArray],
        components: NDArray,
        intercept: NDArray,
    ) -> Self:
        """Make the module that ``to_arrays`` describes.

        Parameters
        ----------
        coefs, intercepts, components, intercept : ndarray
            As returned by ``to_arrays``; the memory is shared.

        Returns
        -------
        module : SAEModule
            The module.
        """
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        layers = [_linear(c, b) for c, b in zip(coefs, intercepts, strict=True)]
        module.hidden = layers[0] if len(layers) > 1 else None
        module.encoder = layers[-1]
        module.components = _parameter(components)
        module.intercept = _parameter(intercept)
        return module


def _encode(
    inputs: Tensor, weight: Tensor, bias: Tensor, *, select: Selection, spare: Spare
) -> Code:
    pre_activations = spare.take((len(inputs), len(weight)), inputs)
    torch.addmm(bias, inputs, weight.T, out=pre_activations)
    code = select(pre_activations)
    spare.put(pre_activations)
    return code


@torch.no_grad()
def normalize_rows(table: Tensor) -> None:
    """Bring rows to norm 1, in place.

    Parameters
    ----------
    table : torch.Tensor of shape (n_rows, n_columns)
        The rows.
    """
    norms = torch.linalg.vector_norm(table, dim=1, keepdim=True)
    table.div_(norms.clamp_min_(1e-12))


def _array(tensor: Tensor) -> NDArray:
    return tensor.detach().cpu().numpy().copy()


def _parameter(array: NDArray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.require(array, requirements=["C", "W"])))


def drawn_linear(
    n_inputs: int, n_outputs: int, generator: torch.Generator | None
) -> nn.Linear:
    """Make a layer as torch draws it, but not from the generator that threads share.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Sizes of the layer.
    generator : torch.Generator or None
        Draws the weights. None is torch's global one.

    Returns
    -------
    layer : torch.nn.Linear
        The layer.
    """
    layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs, dtype=torch.float32)
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    bound = 1 / math.sqrt(n_inputs)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def _linear(coef: NDArray, bias: NDArray) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, *coef.shape)
    layer.weight = _parameter(coef.T)
    layer.bias = _parameter(bias)
    return layer
