"""How a group moves rows, in coordinates in which it acts in blocks."""

from functools import lru_cache
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..groups import FiniteGroup


class IrrepBlocks:
    """Block-diagonal matrices Q_g, one block ``kron(rho_g, I_m)`` for each irrep rho.

    Parameters
    ----------
    group : FiniteGroup
        The group.
    multiplicities : ndarray of shape (n_irreps,)
        How often each irrep occurs, m.
    """

    def __init__(self, group: FiniteGroup, multiplicities: NDArray) -> None:
        self.group, self.multiplicities = group, multiplicities
        self._entries = lru_cache(maxsize=4)(self._entries_as)

    def move_on(self, rows: Tensor) -> Tensor:
        """Q_g y of each row y.

        Parameters
        ----------
        rows : torch.Tensor of shape (n_rows, n_features)
            Rows y.

        Returns
        -------
        moved : torch.Tensor of shape (order, n_rows, n_features)
            The rows, moved by each element.
        """
        return self._moved(rows, back=False)

    def move_back(self, rows: Tensor) -> Tensor:
        """Q_g^-1 y of each row y.

        Parameters
        ----------
        rows : torch.Tensor of shape (n_rows, n_features)
            Rows y.

        Returns
        -------
        moved : torch.Tensor of shape (order, n_rows, n_features)
            The rows, moved by the inverse of each element.
        """
        return self._moved(rows, back=True)

    def _moved(self, rows: Tensor, *, back: bool) -> Tensor:
        moved = rows.new_empty((self.group.order, *rows.shape))
        written = set()
        for place, other, entry in self._entries(rows.dtype, rows.device):
            to, source = (other, place) if back else (place, other)
            if to in written:
                moved[:, :, slice(*to)].addcmul_(entry, rows[:, slice(*source)])
            else:
                torch.mul(entry, rows[:, slice(*source)], out=moved[:, :, slice(*to)])
            written.add(to)
        return moved

    def sum_moved_on(self, parts: Tensor) -> Tensor:
        """Sum over g of Q_g y_g.

        Parameters
        ----------
        parts : torch.Tensor of shape (order, n_rows, n_features)
            Rows y_g for each element g.

        Returns
        -------
        total : torch.Tensor of shape (n_rows, n_features)
            The sums.
        """
        total = torch.zeros_like(parts[0])
        for place, other, entry in self._entries(parts.dtype, parts.device):
            total[:, slice(*place)] += (entry * parts[:, :, slice(*other)]).sum(0)
        return total

    def _entries_as(
        self, dtype: torch.dtype, device: torch.device
    ) -> list[tuple[tuple[int, int], tuple[int, int], Tensor]]:
        """List what is added to which coordinates from which, and times what."""
        entries, start = [], 0
        for irrep, m in zip(self.group.irreps, self.multiplicities, strict=True):
            places = [(start + c * m, start + (c + 1) * m) for c in range(irrep.dim)]
            matrices = torch.from_numpy(irrep.matrices.copy()).to(device, dtype)
            entries += [
                (place, other, matrices[:, i, j, None, None])
                for i, place in enumerate(places)
                for j, other in enumerate(places)
                if m
            ]
            start += irrep.dim * m
        return entries


class MovedSum(torch.autograd.Function):
    """Differentiable sum over g of Q_g y_g."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, blocks: IrrepBlocks) -> Tensor:
        """Move on and add up.

        Parameters
        ----------
        ctx : torch.autograd.function.FunctionCtx
            Keeps what the backward pass needs.
        parts : torch.Tensor of shape (order, n_rows, n_features)
            Rows y_g for each element g.
        blocks : IrrepBlocks
            The matrices Q_g, orthogonal.

        Returns
        -------
        total : torch.Tensor of shape (n_rows, n_features)
            The sums.
        """
        ctx.blocks = blocks
        return blocks.sum_moved_on(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Move gradients back.

        Parameters
        ----------
        ctx : torch.autograd.function.FunctionCtx
            As filled by the forward pass.
        grad : torch.Tensor of shape (n_rows, n_features)
            Gradient of the sums.

        Returns
        -------
        gradients : tuple
            Of the parts, and None.
        """
        return ctx.blocks.move_back(grad), None
