"""A hidden layer for the encoder of a dictionary that is closed under a group."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..groups import FiniteGroup
from ..groups._irrep_basis import IrrepBasis
from ._module import SAEModule, _array, drawn_linear
from ._tied_module import TiedModule


class TwoLayerTiedModule(TiedModule):
    """The tied network with a hidden layer, whose units the group moves, too.

    A hidden vector u_j stands for a unit h_jq for each element q, and the last layer is
    a convolution over the group::

        h_jq = ReLU(< u_j, M_q^-1 x > + a_j),    z_ig = sum_jp v_ijp h_j(gp) + c_i

    To move x by an element moves the hidden units, and so the latents. A latent meets
    all hidden units, in an order that its element decides; free ones meet them as they
    are.

    Parameters
    ----------
    group : FiniteGroup
        The group.
    basis : IrrepBasis
        Coordinates in which it acts in blocks.
    n_tied, n_free : int
        Number of vectors that the group moves, and of those that stay.
    hidden_dim : int
        Number of hidden vectors.
    generator : torch.Generator or None
        Draws the weights. None is torch's global one.
    """

    hidden: nn.Linear
    products: Tensor  # gh
    moves_back: Tensor  # g^-1 h

    def __init__(
        self,
        group: FiniteGroup,
        basis: IrrepBasis,
        n_tied: int,
        n_free: int,
        hidden_dim: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(group, basis, n_tied, n_free, generator=generator)
        n_units = group.order * hidden_dim
        self.hidden = drawn_linear(len(basis.to_irreps), hidden_dim, generator)
        self.encoder = drawn_linear(n_units, n_tied + n_free, generator)
        products = group.multiplication_table.copy()
        self.register_buffer("products", torch.from_numpy(products))
        back = torch.from_numpy(products[group.inverses])
        self.register_buffer("moves_back", back)

    def encoder_inputs(self, inputs: Tensor) -> Tensor:
        """Find the hidden units, in the order in which each element meets them.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_rows, n_features)
            Normalised rows, in the coordinates of the basis.

        Returns
        -------
        encoder_inputs : torch.Tensor of shape (n_parts * n_rows, order * hidden_dim)
            What the last layer of the encoder sees, part by part: of each element, and
            of the free vectors.
        """
        units = self.hidden(self.blocks.move_back(inputs)).relu().transpose(0, 1)
        # free vectors meet them as the identity does, which is the first element
        elements = [*range(self.order), 0][: self.n_parts]
        return MovedUnits.apply(
            units, self.products[elements], self.moves_back[elements]
        )

    def _set_encoder(self, module: SAEModule, kept: list[int]) -> None:
        hidden = module.hidden
        assert hidden is not None
        self.hidden.weight.copy_(hidden.weight[:: self.order] @ self.from_irreps.T)
        self.hidden.bias.copy_(hidden.bias[:: self.order])
        weight = module.encoder.weight[kept].unflatten(1, (-1, self.order))
        self.encoder.weight.copy_(weight.mT.flatten(1))

    def _encoder_copies(self) -> tuple[list[NDArray], list[NDArray]]:
        hidden = self._copies(self.hidden.weight, self.basis.to_irreps)
        bias = self.hidden.bias.repeat_interleave(self.order)
        weight = self.encoder.weight.unflatten(1, (self.order, -1))  # (i, p, j)
        tied, free = weight.split([self.n_tied, self.n_free])
        last = torch.cat([tied[:, self.moves_back].flatten(0, 1), free]).mT.flatten(1)
        return [hidden.T, _array(last).T], [_array(bias)]


class MovedUnits(torch.autograd.Function):
    """Hidden units in the orders in which several elements meet them."""

    @staticmethod
    def forward(
        ctx: Any, units: Tensor, products: Tensor, moves_back: Tensor
    ) -> Tensor:
        """Write the units down once for each element.

        Parameters
        ----------
        ctx : torch.autograd.function.FunctionCtx
            Keeps what the backward pass needs.
        units : torch.Tensor of shape (n_rows, order, hidden_dim)
            Units h_jq.
        products, moves_back : torch.Tensor of shape (n_elements, order)
            Places of gp and of g^-1 q.

        Returns
        -------
        moved : torch.Tensor of shape (n_elements * n_rows, order * hidden_dim)
            Units h_j(gp) in the order (p, j).
        """
        ctx.save_for_backward(moves_back)
        units = units.contiguous()
        moved = units.new_empty((len(products), *units.shape))
        for place, part in zip(products, moved, strict=True):
            torch.index_select(units, 1, place, out=part)
        return moved.view(-1, units[0].numel())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Sum the gradients of each unit.

        Parameters
        ----------
        ctx : torch.autograd.function.FunctionCtx
            As filled by the forward pass.
        grad : torch.Tensor of shape (n_elements * n_rows, order * hidden_dim)
            Gradient of the moved units.

        Returns
        -------
        gradients : tuple
            Of the units, and None.
        """
        (moves_back,) = ctx.saved_tensors
        n_elements, order = moves_back.shape
        parts = grad.unflatten(1, (order, -1)).chunk(n_elements)
        total = parts[0].index_select(1, moves_back[0])
        for place, part in zip(moves_back[1:], parts[1:], strict=True):
            total += part.index_select(1, place)
        return total, None, None
