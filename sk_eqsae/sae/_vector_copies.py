"""What a group makes of weight vectors, written out and summed up again."""

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..groups import FiniteGroup, Subgroup
from ..groups._group import coset_representatives
from ..groups._irreps import fixed_space
from ._sparse_step import Spare, put_gradients, take

_MANY_BLOCKS = 32
_MOST_IN_MATRICES = 2**24
_FEW_COPIES = 16
_ZERO = 1e-12


class Copies(Protocol):
    """A linear map from the weights of n base vectors to those of their copies."""

    n_copies: int
    n_numbers: int  # of a base vector
    n_summed: int  # the sum of what is written is so many times the base vector

    def write(self, base: Tensor, out: Tensor) -> None:
        """Base vectors (n, n_numbers) to copies (n, n_copies, width) that were 0."""

    def sum(self, copies: Tensor, out: Tensor) -> None:
        """The adjoint: copies (n, n_copies, width) to (n, n_numbers) that were 0."""


class IrrepCopies:
    """Copies, in the coordinates of irreps, of vectors that a subgroup leaves alone."""

    # An irrep rho that occurs m times moves coordinates (dim, m) by rho_g. Those that H
    # leaves alone are F y with the columns of F (dim, f) an orthonormal basis of what
    # rho_h leaves alone for all h in H, and y (f, m) any numbers. The copy of coset c
    # is rho_g F y for any g of c.

    def __init__(
        self, group: FiniteGroup, multiplicities: NDArray, subgroup: Subgroup
    ) -> None:
        first = coset_representatives(group, subgroup)
        self.n_copies = self.n_summed = len(first)
        self._blocks = []  # m, and rho_g F (n_copies, dim, f)
        for irrep, m in zip(group.irreps, multiplicities, strict=True):
            if m:
                fixed = fixed_space(irrep.matrices[subgroup.elements])
                self._blocks.append((int(m), irrep.matrices[first] @ fixed))
        self.n_numbers = sum(m * moved.shape[2] for m, moved in self._blocks)
        self.width = sum(m * moved.shape[1] for m, moved in self._blocks)
        self._entries = lru_cache(maxsize=4)(self._entries_as)
        self._matrices = lru_cache(maxsize=4)(self._matrices_as)
        n_entries = sum(moved[0].size for _, moved in self._blocks)
        size = self.n_copies * self.width * self.n_numbers
        # whether products with whole matrices cost less than many small ones
        self._has_many = n_entries > _MANY_BLOCKS and size <= _MOST_IN_MATRICES

    def write(self, base: Tensor, out: Tensor) -> None:
        """Base vectors (n, n_numbers) to copies (n, n_copies, width) that were 0."""
        if self._has_many:
            matrices = self._matrices(base.dtype, base.device)
            torch.mm(base, matrices.mT, out=out.flatten(1))
            return
        written = set()
        for place, source, entry, _ in self._entries(base.dtype, base.device):
            part, numbers = out[:, :, slice(*place)], base[:, None, slice(*source)]
            if place in written:
                part.addcmul_(entry, numbers)
            else:
                torch.mul(entry, numbers, out=part)
            written.add(place)

    def sum(self, copies: Tensor, out: Tensor) -> None:
        """The adjoint: copies (n, n_copies, width) to (n, n_numbers) that were 0."""
        if self._has_many:
            matrices = self._matrices(copies.dtype, copies.device)
            out.copy_(copies.flatten(1) @ matrices)
            return
        entries = self._entries(copies.dtype, copies.device)
        for place, source, entry, factors in entries:
            part, total = copies[:, :, slice(*place)], out[:, slice(*source)]
            if self.n_copies > _FEW_COPIES:
                total += (entry * part).sum(1)
                continue
            # without large tensors on the way, and without what is times 0
            for factor, copy in zip(factors, part.unbind(1), strict=True):
                if abs(factor) > _ZERO:
                    total.add_(copy, alpha=factor)

    def _entries_as(
        self, dtype: torch.dtype, device: torch.device
    ) -> list[tuple[tuple[int, int], tuple[int, int], Tensor, list[float]]]:
        """List what is added to which coordinates from which, and times what."""
        entries, to, source = [], 0, 0
        for m, moved in self._blocks:
            _, dim, f = moved.shape
            factors = torch.from_numpy(moved.copy()).to(device, dtype)
            entries += [
                (
                    (to + i * m, to + (i + 1) * m),
                    (source + j * m, source + (j + 1) * m),
                    factors[:, i, j, None],
                    moved[:, i, j].tolist(),
                )
                for i in range(dim)
                for j in range(f)
            ]
            to, source = to + dim * m, source + f * m
        return entries

    def _matrices_as(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Matrices of all copies, of shape (n_copies * width, n_numbers)."""
        shape = (self.n_copies, self.width, self.n_numbers)
        matrices = torch.zeros(shape, dtype=dtype, device=device)
        for place, source, entry, _ in self._entries(dtype, device):
            matrices[:, range(*place), range(*source)] = entry
        return matrices.flatten(0, 1)


class ConvolutionCopies:
    """Copies of vectors of weights for hidden units that the group permutes."""

    # Units are h_jq(x) = ReLU(< u_j, M_q^-1 x > + a_j), weights v_jr have a number for
    # each coset H r, and the copy of coset g H has v_jr for the unit q with g^-1 q in
    # H r, the coset number of q^-1 g.

    def __init__(self, group: FiniteGroup, n_each: int, subgroup: Subgroup) -> None:
        sources = group.cosets(subgroup)[group.inverses].T.copy()  # (c, q)
        self.n_copies, self.n_summed = sources.shape
        self.sources = torch.from_numpy(sources.ravel())
        self.n_each = n_each
        self.n_numbers = self.n_copies * n_each

    def write(self, base: Tensor, out: Tensor) -> None:
        """Base vectors (n, n_numbers) to copies (n, n_copies, order * n_each)."""
        weights, copies = base.view(len(base), -1, self.n_each), self._by_unit(out)
        torch.index_select(weights, 1, self.sources.to(base.device), out=copies)

    def sum(self, copies: Tensor, out: Tensor) -> None:
        """The adjoint: copies (n, n_copies, order * n_each) to (n, n_numbers)."""
        total = copies.new_zeros(len(out), self.n_copies, self.n_each)
        total.index_add_(1, self.sources.to(out.device), self._by_unit(copies))
        out.copy_(total.flatten(1))

    def _by_unit(self, copies: Tensor) -> Tensor:
        return copies.view(len(copies), -1, self.n_each)


class FreeCopies:
    """Vectors without copies, in coordinates that a matrix takes to the others."""

    n_copies = n_summed = 1

    def __init__(self, matrix: NDArray) -> None:
        self.n_numbers = len(matrix)
        self._matrix = lru_cache(maxsize=4)(partial(_as_tensor, matrix))

    def write(self, base: Tensor, out: Tensor) -> None:
        """Base vectors (n, n_numbers) to copies (n, 1, width)."""
        torch.mm(base, self._matrix(base.dtype, base.device), out=out.flatten(1))

    def sum(self, copies: Tensor, out: Tensor) -> None:
        """The adjoint: copies (n, 1, width) to (n, n_numbers)."""
        matrix = self._matrix(copies.dtype, copies.device)
        torch.mm(copies.flatten(1), matrix.mT, out=out)


class FreeWeights:
    """Weights without copies, as they are."""

    n_copies = n_summed = 1

    def __init__(self, n_numbers: int) -> None:
        self.n_numbers = n_numbers

    def write(self, base: Tensor, out: Tensor) -> None:
        """Base vectors (n, n_numbers) to copies (n, 1, n_numbers)."""
        out.copy_(base.unsqueeze(1))

    def sum(self, copies: Tensor, out: Tensor) -> None:
        """The adjoint: copies (n, 1, n_numbers) to (n, n_numbers)."""
        out.copy_(copies.flatten(1))


def _as_tensor(matrix: NDArray, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(matrix, dtype=dtype, device=device)


class Layer:
    """Weights of all copies of a layer's vectors, vector by vector."""

    def __init__(self, runs: Iterable[tuple[Copies, int]], width: int) -> None:
        self.runs = [(copies, n) for copies, n in runs if n]  # n vectors of each
        self.width = width
        self.n_rows = sum(copies.n_copies * n for copies, n in self.runs)
        self._out: Tensor | None = None

    def write(self, weight: Tensor, out: Tensor) -> Tensor:
        """Weights (n_vectors, width) to those of all copies (n_rows, width), once 0."""
        for copies, base, written in self._parts(weight, out):
            copies.write(base, written)
        return out

    def sum(self, written: Tensor, out: Tensor) -> Tensor:
        """The adjoint of `write`."""
        out.zero_()
        for copies, base, part in self._parts(out, written):
            copies.sum(part, base)
        return out

    def mean(self, written: Tensor) -> Tensor:
        """Undo `write`, but for copies in coordinates of their own."""
        n_vectors = sum(n for _, n in self.runs)
        out = self.sum(written, written.new_empty(n_vectors, self.width))
        for copies, base, _ in self._parts(out, written):
            base.div_(copies.n_summed)
        return out

    def clear_unused(self, weight: Tensor) -> None:
        """Set weights (n_vectors, width) to 0 that stand for nothing."""
        start = 0
        for copies, n in self.runs:
            weight[start : start + n, copies.n_numbers :] = 0
            start += n

    def _parts(
        self, weight: Tensor, written: Tensor
    ) -> Iterator[tuple[Copies, Tensor, Tensor]]:
        vector = row = 0
        for copies, n in self.runs:
            base = weight[vector : vector + n, : copies.n_numbers]
            rows = written[row : row + n * copies.n_copies]
            yield copies, base, rows.view(n, copies.n_copies, self.width)
            vector, row = vector + n, row + n * copies.n_copies

    def in_memory(self, weight: Tensor) -> Tensor:
        """Write over the copies of the last step, which nobody needs any more."""
        old = self._out
        if old is None or (old.dtype, old.device) != (weight.dtype, weight.device):
            self._out = old = weight.new_zeros(self.n_rows, self.width)
        return self.write(weight, old).detach()


class WrittenOut(torch.autograd.Function):
    """Weights of all copies; their gradient is summed up."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, layer: Layer, spare: Spare) -> Tensor:
        """Weights (n_vectors, width) to (n_rows, width)."""
        ctx.layer, ctx.spare, ctx.shape = layer, spare, weight.shape
        return layer.in_memory(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Leave the gradient of the copies to the next step."""
        total = ctx.layer.sum(grad, take(ctx.spare, ctx.shape, grad))
        put_gradients(ctx.spare, [grad])
        return total, None, None
