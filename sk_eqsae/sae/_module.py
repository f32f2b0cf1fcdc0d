"""The network of a TopK sparse autoencoder."""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._sparse_ops import TopKCode, encode_sparse


class TopKModule(nn.Module):
    """Encoder of one or two layers, TopK, ReLU, linear decoder.

    Parameters
    ----------
    n_features : int
        Width of a row.
    n_components : int
        Number of latents.
    k : int
        Latents kept per row.
    hidden_dim : int or None
        Width of the encoder's hidden layer; None makes the encoder linear.
    """

    def __init__(
        self, n_features: int, n_components: int, k: int, hidden_dim: int | None = None
    ) -> None:
        super().__init__()
        self.k = k
        self.unit_rows = False
        self.hidden = None if hidden_dim is None else nn.Linear(n_features, hidden_dim)
        self.encoder = nn.Linear(hidden_dim or n_features, n_components)
        decoder = nn.Linear(n_components, n_features)
        self.components = nn.Parameter(decoder.weight.detach().T.contiguous())
        self.intercept = decoder.bias

    def initialize_tied(self) -> None:
        """Draw unit dictionary rows, zero biases, a linear encoder equal to them."""
        self.unit_rows = True
        with torch.no_grad():
            self.components.normal_()
            self.after_step()
            self.intercept.zero_()
            self.encoder.bias.zero_()
            if self.hidden is None:
                self.encoder.weight.copy_(self.components)

    def after_step(self) -> None:
        """Bring dictionary rows back to norm 1, where the recipe says so."""
        if self.unit_rows:
            with torch.no_grad():
                norms = torch.linalg.vector_norm(self.components, dim=1, keepdim=True)
                self.components.div_(norms.clamp_min_(1e-12))

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Find values and columns of the latents kept per row.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_rows, n_features)
            Normalised rows.

        Returns
        -------
        values, indices : torch.Tensor of shape (n_rows, k)
            Kept latents and their columns.
        """
        return encode_sparse(
            self._hidden(inputs), self.encoder.weight, self.encoder.bias, self.k
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Reconstruct normalised rows.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_rows, n_features)
            Normalised rows.

        Returns
        -------
        decoded : torch.Tensor of shape (n_rows, n_features)
            Normalised reconstruction.
        """
        return TopKCode.apply(
            self._hidden(inputs),
            self.encoder.weight,
            self.encoder.bias,
            self.components,
            self.intercept,
            self.k,
        )

    def _hidden(self, inputs: Tensor) -> Tensor:
        return inputs if self.hidden is None else self.hidden(inputs).relu()

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
        *,
        k: int,
    ) -> Self:
        """Make the module that ``to_arrays`` describes.

        Parameters
        ----------
        coefs, intercepts, components, intercept : ndarray
            As returned by ``to_arrays``; the memory is shared.
        k : int
            Latents kept per row.

        Returns
        -------
        module : TopKModule
            The module.
        """
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        module.k = k
        module.unit_rows = False
        layers = [_linear(c, b) for c, b in zip(coefs, intercepts, strict=True)]
        module.hidden = layers[0] if len(layers) > 1 else None
        module.encoder = layers[-1]
        module.components = _parameter(components)
        module.intercept = _parameter(intercept)
        return module


class SquaredError(nn.Module):
    """Squared error summed over features, mean over rows (equation 2)."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over rows of the squared distance.

        Parameters
        ----------
        output, target : torch.Tensor of shape (n_rows, n_features)
            What came out and what should have.

        Returns
        -------
        loss : torch.Tensor
            A number.
        """
        return (output - target).square().sum(1).mean()


def _array(tensor: Tensor) -> NDArray:
    return tensor.detach().cpu().numpy().copy()


def _parameter(array: NDArray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.require(array, requirements=["C", "W"])))


def _linear(coef: NDArray, bias: NDArray) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, *coef.shape)
    layer.weight = _parameter(coef.T)
    layer.bias = _parameter(bias)
    return layer
