"""A hidden layer for the encoder of a dictionary that is closed under a group."""

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..groups import FiniteGroup
from ..groups._irrep_basis import IrrepBasis
from ._module import SAEModule, _array
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
    """

    hidden: nn.Linear
    products: Tensor

    def __init__(
        self,
        group: FiniteGroup,
        basis: IrrepBasis,
        n_tied: int,
        n_free: int,
        hidden_dim: int,
    ) -> None:
        super().__init__(group, basis, n_tied, n_free)
        self.hidden = nn.Linear(len(basis.to_irreps), hidden_dim)
        self.encoder = nn.Linear(group.order * hidden_dim, n_tied + n_free)
        products = torch.from_numpy(group.multiplication_table.copy())
        self.register_buffer("products", products)

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
        units = self.hidden(self.blocks.move_back(inputs)).relu()
        parts = units.index_select(0, self.products.flatten())
        parts = parts.view(self.order, self.order, len(inputs), -1)  # (g, p, row, j)
        parts = parts.transpose(1, 2).flatten(2)
        if self.n_free:
            parts = torch.cat([parts, parts[:1]])  # as the identity meets them
        return parts.flatten(0, 1)

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
        group = self.blocks.group
        before = torch.from_numpy(group.multiplication_table[group.inverses])  # g^-1 q
        last = torch.cat([tied[:, before].flatten(0, 1), free]).mT.flatten(1)
        return [hidden.T, _array(last).T], [_array(bias)]
