"""The network of a dictionary that is closed under a group."""

from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..groups import FiniteGroup
from ..groups._element_matrices import IrrepBasis
from ._code import Code, Selection
from ._network import (
    Arrays,
    Network,
    draw_weights,
    normalize_rows,
    to_array,
)
from ._sparse_step import (
    Spare,
    SparseAutoencode,
    order_by_latent,
    put,
    take,
)

_MANY_BLOCKS = 32
_MOST_IN_MATRICES = 2**24
_STRAIGHT = 1e-6  # distance from the usual metric that does not count


class TiedNetwork(Network):
    """Encoder and decoder, each vector of them moved by all of a group."""

    # Rows are given in the coordinates of an irrep basis, where to move a row takes a
    # few operations per coordinate: it is moved back by each element and met with one
    # copy of each weight, and what the vectors of an element make of it is moved on:
    #
    #     z_ig = < w_i, M_g^-1 x > + c_i,    x_hat = sum_g M_g sum_i z_ig d_i
    #
    # With a hidden layer a vector u_j stands for a unit h_jq for each element q, and
    # the last layer is a convolution over the group:
    #
    #     h_jq = ReLU(< u_j, M_q^-1 x > + a_j),    z_ig = sum_jp v_ijp h_j(gp) + c_i
    #
    # Latents are in the order (g, i), and then those of the free vectors. These meet
    # the rows in their own coordinates, in which the error counts: where M is far from
    # orthogonal those of the basis are skew, which costs free vectors a tenth in FVU.

    encoder: nn.Linear
    hidden: nn.Linear | None
    components: nn.Parameter
    intercept: nn.Parameter
    products: Tensor
    moves_back: Tensor
    to_irreps: Tensor
    from_irreps: Tensor

    def __init__(
        self,
        group: FiniteGroup,
        basis: IrrepBasis,
        n_orbits: int,
        n_free: int,
        hidden_dim: int | None = None,
        *,
        tied_init: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.spare: Spare = {}
        n_features = len(basis.to_irreps)
        self.order, self.n_orbits, self.n_free = group.order, n_orbits, n_free
        self.n_latents = group.order * n_orbits + n_free
        self.n_parts = group.order + (n_free > 0)  # the free vectors' is the last
        self.n_invariant = int(basis.multiplicities[0])  # the trivial irrep is first
        self.blocks = IrrepBlocks(group, basis.multiplicities)
        self.basis = basis
        metric = basis.from_irreps.T @ basis.from_irreps
        straight = np.allclose(metric, np.eye(len(metric)), rtol=0, atol=_STRAIGHT)
        # constants, on the device of the weights
        keep = partial(self.register_buffer, persistent=False)
        keep("metric", None if straight else _tensor(metric))
        keep("to_irreps", _tensor(basis.to_irreps.T))
        keep("from_irreps", _tensor(basis.from_irreps.T))
        n_inputs = n_features
        if hidden_dim is not None:
            n_inputs = group.order * hidden_dim
            products = group.multiplication_table
            keep("products", torch.tensor(products))  # gh
            keep("moves_back", torch.tensor(products[group.inverses]))  # g^-1 h
        sizes = (n_features, hidden_dim, n_inputs, n_orbits + n_free)
        draw_weights(self, *sizes, tied_init=tied_init, seed=seed)

    @property
    def places(self) -> NDArray:
        """Place of each latent in the dictionary, which is in the order (i, g)."""
        places = np.arange(self.n_latents)
        n = self.order * self.n_orbits
        places[:n] = places[:n].reshape(self.n_orbits, self.order).T.ravel()
        return places

    def normalize_components(self) -> None:
        """Bring vectors to norm 1 in the metric that the group keeps."""
        normalize_rows(self.components)

    def coordinates(self, rows: Tensor) -> Tensor:
        """Rows in the coordinates of the basis."""
        to_irreps = torch.from_numpy(self.basis.to_irreps)
        return (rows.double() @ to_irreps.T).float()

    @torch.no_grad()
    def encode(self, inputs: Tensor, select: Selection) -> Code:
        """Active latents of normalised rows in the coordinates of the basis."""
        parts = self.encoder_inputs(inputs)
        return self._select(select, parts, self.encoder.weight, self.encoder.bias)

    def forward(self, inputs: Tensor, select: Selection) -> Tensor:
        """Sums of moved dictionary vectors, of shape (n_bags, n_features)."""
        sums = SparseAutoencode.apply(
            self.encoder_inputs(inputs),
            self.encoder.weight,
            self.encoder.bias,
            self.components,
            partial(self._code_by_part, select),
            self.spare,
        )
        parts = sums.view(self.n_parts, -1, sums.shape[1])
        tied = MovedSum.apply(parts[: self.order], self.blocks)
        return tied + parts[-1] @ self.to_irreps if self.n_free else tied

    def encoder_inputs(self, inputs: Tensor) -> Tensor:
        """What the last layer sees, of shape (n_parts * n_rows, n_inputs), by part.

        Rows, or the hidden units, as each element meets them, then the free vectors.
        """
        parts = self.blocks.move_back(inputs)
        if self.hidden is not None:
            units = self.hidden(parts).relu().transpose(0, 1)
            # free vectors meet them as the identity does, which is the first element
            elements = [*range(self.order), 0][: self.n_parts]
            return MovedUnits.apply(
                units, self.products[elements], self.moves_back[elements]
            )
        if self.n_free:
            parts = torch.cat([parts, (inputs @ self.from_irreps)[None]])
        return parts.flatten(0, 1)

    def _select(
        self, select: Selection, inputs: Tensor, weight: Tensor, bias: Tensor
    ) -> Code:
        parts = inputs.chunk(self.n_parts)
        n = self.n_orbits
        pre_activations = take(self.spare, (len(parts[0]), self.n_latents), inputs)
        for element, part in enumerate(parts[: self.order]):
            columns = pre_activations[:, element * n : (element + 1) * n]
            torch.addmm(bias[:n], part, weight[:n].T, out=columns)
        if self.n_free:
            columns = pre_activations[:, self.order * n :]
            torch.addmm(bias[n:], parts[-1], weight[n:].T, out=columns)
        code = select(pre_activations)
        put(self.spare, pre_activations)
        return code

    def _code_by_part(
        self, select: Selection, inputs: Tensor, weight: Tensor, bias: Tensor
    ) -> Code:
        """Code in which each bag has one for each part, of vectors yet to be moved."""
        code = self._select(select, inputs, weight, bias)
        n_rows = len(inputs) // self.n_parts
        n_bags = len(code.offsets) - 1
        part = torch.div(code.indices, self.n_orbits, rounding_mode="floor")
        part.clamp_(max=self.order)  # free vectors
        vector = code.indices - self.n_orbits * part.clamp(max=self.order - 1)
        bags = part * n_bags + code.bags
        order, offsets = order_by_latent(bags, self.n_parts * n_bags)
        rows = code.rows
        if rows is not None:  # otherwise bag i is row i of the parts, too
            starts = n_rows * torch.arange(self.n_parts, device=bags.device)
            rows = (starts[:, None] + rows).flatten()
        return Code(code.values[order], vector[order], bags[order], offsets, rows)

    def offset(self) -> Tensor:
        """The part of the decoder bias that the group leaves alone."""
        moved = self.intercept.new_zeros(len(self.intercept) - self.n_invariant)
        return torch.cat([self.intercept[: self.n_invariant], moved])

    @torch.no_grad()
    def set_weights(self, dense: Any) -> None:
        """Take over the weights of a network of all copies, as `to_arrays` gives."""
        n = self.order * self.n_orbits
        kept = [*range(0, n, self.order), *range(n, self.n_latents)]
        self.encoder.bias.copy_(dense.encoder.bias[kept])
        self.components.copy_(dense.components[kept])
        self.intercept.copy_(dense.intercept @ self.to_irreps)
        tied = slice(self.n_orbits)
        self.components[tied] = self.components[tied] @ self.to_irreps
        if self.hidden is None:
            self.encoder.weight.copy_(dense.encoder.weight[kept])
            self.encoder.weight[tied] = self.encoder.weight[tied] @ self.from_irreps.T
            return
        assert dense.hidden is not None
        units = slice(None, None, self.order)
        self.hidden.weight.copy_(dense.hidden.weight[units] @ self.from_irreps.T)
        self.hidden.bias.copy_(dense.hidden.bias[units])
        weight = dense.encoder.weight[kept].unflatten(1, (-1, self.order))
        self.encoder.weight.copy_(weight.mT.flatten(1))

    def to_arrays(self) -> Arrays:
        """Weights of all copies, in the coordinates of the rows, as of a dense network.

        Latents are in the order (i, g), free ones last.
        """
        tied, free = self.encoder.bias.detach().split([self.n_orbits, self.n_free])
        bias = torch.cat([tied.repeat_interleave(self.order), free])
        coefs, intercepts = self._encoder_copies()
        intercept = self.basis.from_irreps @ to_array(self.offset())
        return (
            coefs,
            [*intercepts, to_array(bias)],
            self._with_free(self.components, self.basis.from_irreps.T),
            intercept.astype(np.float32),
        )

    def _encoder_copies(self) -> tuple[list[NDArray], list[NDArray]]:
        """Weights of all layers, and biases of all but the last."""
        if self.hidden is None:
            return [self._with_free(self.encoder.weight, self.basis.to_irreps).T], []
        hidden = self._copies(self.hidden.weight, self.basis.to_irreps)
        bias = self.hidden.bias.repeat_interleave(self.order)
        weight = self.encoder.weight.unflatten(1, (self.order, -1))  # (i, p, j)
        tied, free = weight.split([self.n_orbits, self.n_free])
        last = torch.cat([tied[:, self.moves_back].flatten(0, 1), free]).mT.flatten(1)
        return [hidden.T, to_array(last).T], [to_array(bias)]

    def _with_free(self, vectors: Tensor, to_rows: NDArray) -> NDArray:
        tied, free = vectors.split([self.n_orbits, self.n_free])
        return np.concatenate([self._copies(tied, to_rows), to_array(free)])

    @torch.no_grad()
    def _copies(self, vectors: Tensor, to_rows: NDArray) -> NDArray:
        """Each vector moved by each element, in the coordinates of the rows."""
        copies = self.blocks.move_on(vectors.cpu().double()).transpose(0, 1)
        return (to_array(copies.flatten(0, 1)) @ to_rows).astype(np.float32)


def _tensor(matrix: NDArray) -> Tensor:
    return torch.from_numpy(matrix.astype(np.float32)).contiguous()


class IrrepBlocks:
    """Block-diagonal matrices Q_g, one block ``kron(rho_g, I_m)`` for each irrep rho.

    m is how often the irrep occurs.
    """

    def __init__(self, group: FiniteGroup, multiplicities: NDArray) -> None:
        self.group, self.multiplicities = group, multiplicities
        self._entries = lru_cache(maxsize=4)(self._entries_as)
        self._matrices = lru_cache(maxsize=4)(self._matrices_as)

    def move_on(self, rows: Tensor) -> Tensor:
        """Q_g y of rows y and all g, of shape (order, n_rows, n_features)."""
        return self._moved(rows, back=False)

    def move_back(self, rows: Tensor) -> Tensor:
        """Q_g^-1 y of rows y and all g, of shape (order, n_rows, n_features)."""
        return self._moved(rows, back=True)

    def _moved(self, rows: Tensor, *, back: bool) -> Tensor:
        if self._has_many_blocks(rows.shape[1]):
            matrices = self._matrices(rows.dtype, rows.device)
            return rows @ (matrices if back else matrices.mT)
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
        """Sum over g of Q_g y_g, from parts (order, n_rows, n_features)."""
        if self._has_many_blocks(parts.shape[2]):
            matrices = self._matrices(parts.dtype, parts.device)
            return parts.transpose(0, 1).flatten(1) @ matrices.mT.flatten(0, 1)
        total = torch.zeros_like(parts[0])
        for place, other, entry in self._entries(parts.dtype, parts.device):
            total[:, slice(*place)] += (entry * parts[:, :, slice(*other)]).sum(0)
        return total

    def _has_many_blocks(self, n_features: int) -> bool:
        """Whether products with whole matrices cost less than many small ones."""
        n_entries = sum(
            irrep.dim**2
            for irrep, m in zip(self.group.irreps, self.multiplicities, strict=True)
            if m
        )
        n_in_matrices = self.group.order * n_features**2
        return n_entries > _MANY_BLOCKS and n_in_matrices <= _MOST_IN_MATRICES

    def _matrices_as(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """All Q_g, of shape (order, n_features, n_features)."""
        entries = self._entries(dtype, device)
        n_features = max(place[1] for place, _, _ in entries)
        matrices = torch.zeros(
            self.group.order, n_features, n_features, dtype=dtype, device=device
        )
        for place, other, entry in entries:
            matrices[:, range(*place), range(*other)] = entry[:, :, 0]
        return matrices

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
    """Sum over g of Q_g y_g; its gradient moves back."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, blocks: IrrepBlocks) -> Tensor:
        """Sum parts (order, n_rows, n_features) to (n_rows, n_features)."""
        ctx.blocks = blocks
        return blocks.sum_moved_on(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Move the gradient back by each element: Q_g is orthogonal."""
        return ctx.blocks.move_back(grad), None


class MovedUnits(torch.autograd.Function):
    """Hidden units h_j(gp) in the order (p, j), once for each of several g."""

    @staticmethod
    def forward(
        ctx: Any, units: Tensor, products: Tensor, moves_back: Tensor
    ) -> Tensor:
        """Units (n_rows, order, hidden_dim) to (n_elements * n_rows, order * ...).

        Row g of `products` holds the places of gp, of `moves_back` those of g^-1 q.
        """
        ctx.save_for_backward(moves_back)
        units = units.contiguous()
        moved = units.new_empty((len(products), *units.shape))
        for place, part in zip(products, moved, strict=True):
            torch.index_select(units, 1, place, out=part)
        return moved.view(-1, units[0].numel())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Sum the gradients that each unit gets from all elements."""
        (moves_back,) = ctx.saved_tensors
        n_elements, order = moves_back.shape
        parts = grad.unflatten(1, (order, -1)).chunk(n_elements)
        total = parts[0].index_select(1, moves_back[0])
        for place, part in zip(moves_back[1:], parts[1:], strict=True):
            total += part.index_select(1, place)
        return total, None, None
