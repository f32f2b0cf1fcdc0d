"""The network of an autoencoder whose dictionary is closed under a group."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..groups import FiniteGroup
from ..groups._irrep_basis import IrrepBasis
from ._code import Code, order_by_latent
from ._irrep_blocks import IrrepBlocks, MovedSum
from ._module import SAEModule, _array
from ._selection import Selection
from ._spare import Spare
from ._sparse_ops import SparseAutoencode

_STRAIGHT = 1e-6  # distance from the usual metric that does not count


class TiedModule(SAEModule):
    """Linear encoder and decoder, each vector of them moved by all of a group.

    Rows are given in the coordinates of an irrep basis, where to move a row takes a
    few operations per coordinate: it is moved back by each element and met with one
    copy of each weight, and what the vectors of an element make of it is moved on::

        z_ig = < w_i, M_g^-1 x > + c_i,    x_hat = sum_g M_g sum_i z_ig d_i

    Latents are in the order (g, i), and then those of the free vectors. These meet the
    rows in their own coordinates, in which the error counts: where M is far from
    orthogonal those of the basis are skew, which costs free vectors a tenth in FVU.

    Parameters
    ----------
    group : FiniteGroup
        The group.
    basis : IrrepBasis
        Coordinates in which it acts in blocks.
    n_tied, n_free : int
        Number of vectors that the group moves, and of those that stay.
    generator : torch.Generator or None
        Draws the weights. None is torch's global one.
    """

    metric: Tensor | None
    to_irreps: Tensor
    from_irreps: Tensor

    def __init__(
        self,
        group: FiniteGroup,
        basis: IrrepBasis,
        n_tied: int,
        n_free: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(len(basis.to_irreps), n_tied + n_free, generator=generator)
        self.order, self.n_tied, self.n_free = group.order, n_tied, n_free
        self.n_parts = group.order + (n_free > 0)  # the free vectors' is the last
        self.n_invariant = int(basis.multiplicities[0])  # the trivial irrep is first
        self.blocks = IrrepBlocks(group, basis.multiplicities)
        self.basis = basis
        metric = basis.from_irreps.T @ basis.from_irreps
        straight = np.allclose(metric, np.eye(len(metric)), rtol=0, atol=_STRAIGHT)
        self.register_buffer("metric", None if straight else _tensor(metric))
        for name in ("to_irreps", "from_irreps"):
            self.register_buffer(name, _tensor(getattr(basis, name).T))

    @property
    def n_latents(self) -> int:
        """Number of latents, one for each copy of a vector."""
        return self.order * self.n_tied + self.n_free

    @property
    def places(self) -> NDArray:
        """Place of each latent in the dictionary that `to_arrays` returns."""
        places = np.arange(self.n_latents)
        n = self.order * self.n_tied
        places[:n] = places[:n].reshape(self.n_tied, self.order).T.ravel()
        return places

    def forward(
        self, inputs: Tensor, select: Selection, spare: Spare | None = None
    ) -> Tensor:
        """Encode, and sum moved dictionary vectors bag by bag.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_rows, n_features)
            Normalised rows, in the coordinates of the basis.
        select : Selection
            Which latents are kept, in which bags.
        spare : Spare, default=None
            Memory to use.

        Returns
        -------
        sums : torch.Tensor of shape (n_bags, n_features)
            Normalised reconstructions less the intercept, in the same coordinates.
        """
        spare = spare or Spare()
        sums = SparseAutoencode.apply(
            self.encoder_inputs(inputs),
            self.encoder.weight,
            self.encoder.bias,
            self.components,
            partial(self._code, select, spare),
            spare,
        )
        parts = sums.view(self.n_parts, -1, sums.shape[1])
        tied = MovedSum.apply(parts[: self.order], self.blocks)
        return tied + parts[-1] @ self.to_irreps if self.n_free else tied

    def encoder_inputs(self, inputs: Tensor) -> Tensor:
        """Move rows back by each element.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_rows, n_features)
            Normalised rows, in the coordinates of the basis.

        Returns
        -------
        encoder_inputs : torch.Tensor of shape (n_parts * n_rows, n_inputs)
            What the last layer of the encoder sees, part by part: of each element, and
            of the free vectors.
        """
        parts = self.blocks.move_back(inputs)
        if self.n_free:
            parts = torch.cat([parts, (inputs @ self.from_irreps)[None]])
        return parts.flatten(0, 1)

    def _code(
        self,
        select: Selection,
        spare: Spare,
        moved: Tensor,
        weight: Tensor,
        bias: Tensor,
    ) -> Code:
        """Find the active latents of rows that each element has moved back."""
        parts = moved.chunk(self.n_parts)
        pre_activations = spare.take((len(parts[0]), self.n_latents), moved)
        self._pre_activate(parts, weight, bias, pre_activations)
        code = self._tie(select(pre_activations), len(parts[0]))
        spare.put(pre_activations)
        return code

    def _pre_activate(
        self, parts: tuple[Tensor, ...], weight: Tensor, bias: Tensor, out: Tensor
    ) -> None:
        """Write the products of rows moved back by each element with the weights."""
        n = self.n_tied
        for element, part in enumerate(parts[: self.order]):
            columns = out[:, element * n : (element + 1) * n]
            torch.addmm(bias[:n], part, weight[:n].T, out=columns)
        if self.n_free:
            columns = out[:, self.order * n :]
            torch.addmm(bias[n:], parts[-1], weight[n:].T, out=columns)

    def _tie(self, code: Code, n_rows: int) -> Code:
        """Give each bag a bag for each part, of vectors yet to be moved by it."""
        n_bags = len(code.offsets) - 1
        part = torch.div(code.indices, self.n_tied, rounding_mode="floor")
        part.clamp_(max=self.order)  # free vectors
        vector = code.indices - self.n_tied * part.clamp(max=self.order - 1)
        bags = part * n_bags + code.bags
        order, offsets = order_by_latent(bags, self.n_parts * n_bags)
        rows = code.rows
        if rows is not None:  # otherwise bag i is row i of the parts, too
            starts = n_rows * torch.arange(self.n_parts, device=bags.device)
            rows = (starts[:, None] + rows).flatten()
        return Code(code.values[order], vector[order], bags[order], offsets, rows)

    def offset(self) -> Tensor:
        """Return what is added to all reconstructions.

        Returns
        -------
        offset : torch.Tensor of shape (n_features,)
            The part of the decoder bias that the group leaves alone.
        """
        moved = self.intercept.new_zeros(len(self.intercept) - self.n_invariant)
        return torch.cat([self.intercept[: self.n_invariant], moved])

    def squared_length(self, errors: Tensor) -> Tensor:
        """Return the squared length of each error, in the rows' own coordinates.

        Parameters
        ----------
        errors : torch.Tensor of shape (..., n_features)
            What reconstructions miss, in the coordinates of the basis.

        Returns
        -------
        squares : torch.Tensor of shape (...)
            Sums over features.
        """
        if self.metric is None:
            return super().squared_length(errors)
        return SquaredLength.apply(errors, self.metric)

    @torch.no_grad()
    def set_weights(self, module: SAEModule) -> None:
        """Take over the weights that `to_arrays` has copied out.

        Parameters
        ----------
        module : SAEModule
            A module of all copies, in the coordinates of the rows.
        """
        n = self.order * self.n_tied
        kept = [*range(0, n, self.order), *range(n, self.n_latents)]
        self._set_encoder(module, kept)
        self.encoder.bias.copy_(module.encoder.bias[kept])
        self.components.copy_(module.components[kept])
        self.intercept.copy_(module.intercept @ self.to_irreps)
        tied = slice(self.n_tied)
        self.components[tied] = self.components[tied] @ self.to_irreps

    def _set_encoder(self, module: SAEModule, kept: list[int]) -> None:
        self.encoder.weight.copy_(module.encoder.weight[kept])
        tied = slice(self.n_tied)
        self.encoder.weight[tied] = self.encoder.weight[tied] @ self.from_irreps.T

    def to_arrays(
        self,
    ) -> tuple[list[NDArray], list[NDArray], NDArray, NDArray]:
        """Copy out the weights of all copies, in the coordinates of the rows.

        Returns
        -------
        coefs, intercepts : list of ndarray
            Encoder layers, each of shape (n_inputs, n_outputs) and (n_outputs,).
        components : ndarray of shape (n_latents, n_features)
            Dictionary, in the order (i, g), free vectors last.
        intercept : ndarray of shape (n_features,)
            Decoder bias.
        """
        tied, free = self.encoder.bias.detach().split([self.n_tied, self.n_free])
        bias = torch.cat([tied.repeat_interleave(self.order), free])
        coefs, intercepts = self._encoder_copies()
        components = self._with_free(self.components, self.basis.from_irreps.T)
        intercept = self.basis.from_irreps @ _array(self.offset())
        return (
            coefs,
            [*intercepts, _array(bias)],
            components,
            intercept.astype(np.float32),
        )

    def _encoder_copies(self) -> tuple[list[NDArray], list[NDArray]]:
        """Weights of all layers, and biases of all but the last."""
        return [self._with_free(self.encoder.weight, self.basis.to_irreps).T], []

    def _with_free(self, vectors: Tensor, to_rows: NDArray) -> NDArray:
        tied, free = vectors.split([self.n_tied, self.n_free])
        return np.concatenate([self._copies(tied, to_rows), _array(free)])

    @torch.no_grad()
    def _copies(self, vectors: Tensor, to_rows: NDArray) -> NDArray:
        """Each vector moved by each element, in the coordinates of the rows."""
        copies = self.blocks.move_on(vectors.cpu().double()).transpose(0, 1)
        return (_array(copies.flatten(0, 1)) @ to_rows).astype(np.float32)


def _tensor(matrix: NDArray) -> Tensor:
    return torch.from_numpy(matrix.astype(np.float32)).contiguous()


class SquaredLength(torch.autograd.Function):
    """Squared length ``e' G e`` of errors e in a metric G."""

    @staticmethod
    def forward(ctx: Any, errors: Tensor, metric: Tensor) -> Tensor:
        """Compute the squares.

        Parameters
        ----------
        ctx : torch.autograd.function.FunctionCtx
            Keeps what the backward pass needs.
        errors : torch.Tensor of shape (..., n_features)
            The errors e.
        metric : torch.Tensor of shape (n_features, n_features)
            The metric G, symmetric.

        Returns
        -------
        squares : torch.Tensor of shape (...)
            Their squared lengths.
        """
        product = errors @ metric
        ctx.save_for_backward(product)
        return (errors * product).sum(-1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Compute the gradient, of the product that is there already.

        Parameters
        ----------
        ctx : torch.autograd.function.FunctionCtx
            As filled by the forward pass.
        grad : torch.Tensor of shape (...)
            Gradient of the squares.

        Returns
        -------
        gradients : tuple
            Of the errors, and None.
        """
        (product,) = ctx.saved_tensors
        return 2 * grad.unsqueeze(-1) * product, None
