"""The network of a dictionary that is closed under a group."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

from ..groups import Subgroup
from ..groups._element_matrices import IrrepBasis
from ._latent_orbits import LatentOrbits
from ._network import Arrays, Network, to_array
from ._sparse_step import Spare, put_gradients
from ._vector_copies import (
    ConvolutionCopies,
    Copies,
    FreeCopies,
    FreeWeights,
    IrrepCopies,
    Layer,
    WrittenOut,
)

_STRAIGHT = 1e-6  # distance from the usual metric that does not count


class TiedNetwork(Network):
    """Encoder and decoder, whose vectors stand for all that a group makes of them."""

    # Rows are given in the coordinates of an irrep basis, where a copy of a vector
    # takes a few operations per coordinate. Copies are written out for each step, and
    # their gradients summed up, so that the step itself is that of a dense network and
    # Adam's is of the base vectors alone. Of an orbit of subgroup H, with one latent
    # for each coset c = g H, d and w lie in the space that H leaves alone:
    #
    #     z_ic = < M_g w_i, x > + b_i,    x_hat = sum_ic z_ic M_g d_i
    #
    # (M is orthogonal here.) With a hidden layer a vector u_j stands for a unit h_jq
    # for each element q, and the last layer is a convolution over the group:
    #
    #     h_jq = ReLU(< M_q u_j, x > + a_j),    z_ic = sum_jq v_ij(H g^-1 q) h_jq + b_i
    #
    # Latents are in the order of their orbits, and free ones are last. These meet
    # the rows in their own coordinates, in which the error counts: where M is far from
    # orthogonal those of the basis are skew, which costs free vectors a tenth in FVU.

    vectors: Tensor
    is_fixed: Tensor

    def __init__(
        self,
        orbits: LatentOrbits,
        basis: IrrepBasis,
        hidden_dim: int | None = None,
        *,
        tied_init: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.spare: Spare = {}
        self.orbits, self.basis = orbits, basis
        self.n_latents = orbits.n_components
        metric = basis.from_irreps.T @ basis.from_irreps
        straight = np.allclose(metric, np.eye(len(metric)), rtol=0, atol=_STRAIGHT)
        # constants, on the device of the weights
        keep = partial(self.register_buffer, persistent=False)
        keep("metric", None if straight else torch.tensor(metric, dtype=torch.float32))
        n_features, n_vectors = len(metric), orbits.n_orbits + orbits.n_free
        # the trivial irrep is first
        is_fixed = torch.arange(n_features) < int(basis.multiplicities[0])
        keep("is_fixed", is_fixed.float())
        self._set_layers(n_features, hidden_dim)
        lengths = np.append(orbits.lengths, np.ones(orbits.n_free, dtype=np.int64))
        keep("vectors", torch.tensor(np.repeat(np.arange(n_vectors), lengths)))
        sizes = (n_features, self.encoder_layer.width, n_vectors)
        self.draw_weights(*sizes, hidden_dim=hidden_dim, tied_init=tied_init, seed=seed)
        with torch.no_grad():  # leave out weights that stand for nothing
            self.decoder_layer.clear_unused(self.components)
            self.encoder_layer.clear_unused(self.encoder.weight)
            if tied_init:
                self.normalize_components()
            if tied_init and self.hidden is None:
                self.encoder.weight.copy_(self.components)

    def _set_layers(self, n_features: int, hidden_dim: int | None) -> None:
        group, free = self.orbits.group, self.orbits.n_free
        of_irreps = partial(IrrepCopies, group, self.basis.multiplicities)
        runs = self._runs(of_irreps)
        decoded = (FreeCopies(self.basis.to_irreps.T), free)
        self.decoder_layer = Layer([*runs, decoded], n_features)
        if hidden_dim is None:
            encoded = (FreeCopies(self.basis.from_irreps), free)
            self.encoder_layer = Layer([*runs, encoded], n_features)
            return
        units = of_irreps(group.subgroups[0])
        self.hidden_layer = Layer([(units, hidden_dim)], n_features)
        width = hidden_dim * group.order
        runs = self._runs(partial(ConvolutionCopies, group, hidden_dim))
        self.encoder_layer = Layer([*runs, (FreeWeights(width), free)], width)

    def _runs(self, copies_of: Callable[[Subgroup], Copies]) -> list:
        """Copies of the vectors of orbits that lie side by side and are of one kind."""
        kinds = self.orbits.kinds
        starts = np.flatnonzero(np.diff(kinds, prepend=-1))
        counts = np.diff(starts, append=len(kinds)).tolist()
        subgroups = self.orbits.group.subgroups
        made = {kind: copies_of(subgroups[kind]) for kind in np.unique(kinds)}
        return [(made[kinds[s]], n) for s, n in zip(starts, counts, strict=True)]

    def coordinates(self, rows: Tensor) -> Tensor:
        """Rows in the coordinates of the basis."""
        to_irreps = torch.from_numpy(self.basis.to_irreps)
        return (rows.double() @ to_irreps.T).float()

    def encoder_inputs(self, inputs: Tensor) -> Tensor:
        """What the last layer sees: rows, or hidden units in the order (q, j)."""
        if self.hidden is None:
            return inputs
        weight = WrittenOut.apply(self.hidden.weight, self.hidden_layer)
        bias = self.hidden.bias.repeat(self.orbits.group.order)
        return linear(inputs, _transposed(weight, len(self.hidden.bias)), bias).relu()

    def last_layer(self) -> tuple[Tensor, Tensor]:
        """Weights of all copies, without gradients, and their biases."""
        return self.encoder_layer.in_memory(self.encoder.weight), self._bias()

    def dictionary(self) -> Tensor:
        """All copies of all vectors, without gradients."""
        return self.decoder_layer.in_memory(self.components)

    def _bias(self) -> Tensor:
        return self.encoder.bias.index_select(0, self.vectors)

    def leave_gradients(
        self, weight: Tensor, bias: Tensor, components: Tensor, offset: Tensor
    ) -> None:
        """Sum them up over the copies of each vector; their memory is left."""
        layers, spare = (self.encoder_layer, self.decoder_layer), self.spare
        self.encoder.weight.grad = layers[0].sum_into_spare(weight, spare)
        self.components.grad = layers[1].sum_into_spare(components, spare)
        put_gradients(spare, [weight, components])
        of_bias = torch.zeros_like(self.encoder.bias)
        self.encoder.bias.grad = of_bias.index_add_(0, self.vectors, bias)
        self.intercept.grad = offset * self.is_fixed

    def offset(self) -> Tensor:
        """The part of the decoder bias that the group leaves alone."""
        return self.intercept * self.is_fixed

    @torch.no_grad()
    def set_weights(self, dense: Any) -> None:
        """Take over the weights of a network of all copies, as `to_arrays` gives."""
        to_irreps, from_irreps = map(torch.from_numpy, self.basis[:2])
        n_orbits, n_tied = self.orbits.n_orbits, self.orbits.n_tied
        self.encoder.bias[self.vectors] = dense.encoder.bias
        self.intercept.copy_(dense.intercept.double() @ to_irreps.T)
        components = dense.components.double() @ to_irreps.T
        self.components.copy_(self.decoder_layer.mean(components))
        weight = dense.encoder.weight.double()
        if self.hidden is None:
            weight = weight @ from_irreps
        else:
            units = dense.hidden.weight.double() @ from_irreps
            units = _transposed(units, self.orbits.group.order)
            self.hidden.weight.copy_(self.hidden_layer.mean(units))
            self.hidden.bias.copy_(dense.hidden.bias[: len(self.hidden.bias)])
        self.encoder.weight.copy_(self.encoder_layer.mean(weight))
        # free ones are in the coordinates of the rows
        self.components[n_orbits:] = dense.components[n_tied:]
        if self.hidden is None:
            self.encoder.weight[n_orbits:] = dense.encoder.weight[n_tied:]

    def to_arrays(self) -> Arrays:
        """Weights of all copies, in the coordinates of the rows, as of a dense network.

        Latents are in the order of the orbits, hidden units in the order (q, j).
        """
        to_irreps, from_irreps = self.basis[:2]
        weight = self._written(self.encoder_layer, self.encoder.weight)
        coefs, biases = [weight], []
        if self.hidden is None:
            coefs = [weight @ to_irreps]
        else:
            units = self._written(self.hidden_layer, self.hidden.weight) @ to_irreps
            units = units.reshape(len(self.hidden.bias), -1, units.shape[1])
            coefs = [np.concatenate(units.swapaxes(0, 1)), weight]
            biases = [np.tile(to_array(self.hidden.bias), self.orbits.group.order)]
        components = self._written(self.decoder_layer, self.components) @ from_irreps.T
        intercept = from_irreps @ to_array(self.offset())
        return (
            [each.astype(np.float32).T for each in coefs],
            [*biases, to_array(self._bias())],
            components.astype(np.float32),
            intercept.astype(np.float32),
        )

    @torch.no_grad()
    def _written(self, layer: Layer, weight: Tensor) -> NDArray:
        """Weights of all copies, in float64."""
        out = torch.zeros(layer.n_rows, layer.width, dtype=torch.float64)
        return layer.write(weight.cpu().double(), out).numpy()


def _transposed(rows: Tensor, n: int) -> Tensor:
    """Rows in the order (i, j), i < n, in the order (j, i)."""
    return rows.unflatten(0, (n, -1)).transpose(0, 1).flatten(0, 1)
