"""What a group makes of weight vectors, written out and summed up again."""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..groups import FiniteGroup, Subgroup
from ..groups._group import coset_representatives, fixed_space
from ._sparse_step import Spare, has_csr_kernels, take

_FEW_COPIES = 16
_LISTS = 8  # of calls that are kept, for gradients in other memory

# An operation with the memory that it works on. Which ones a step takes is found out
# once, since to cut out views takes small networks longer than the arithmetic.
Call = Callable[[], Any]


class Copies(Protocol):
    """A linear map from the weights of n base vectors to those of their copies."""

    n_copies: int
    n_numbers: int  # of a base vector
    n_summed: int  # the sum of what is written is so many times the base vector

    def writes(self, base: Tensor, out: Tensor) -> list[Call]:
        """Base vectors (n, n_numbers) to copies (n, n_copies, width) that were 0."""

    def sums(self, copies: Tensor, out: Tensor) -> list[Call]:
        """The adjoint: copies (n, n_copies, width) to (n, n_numbers) that were 0."""


class _Term(NamedTuple):
    """Coordinates of copies that are each one number of the base vector, scaled."""

    factors: Tensor  # (n_copies, n_places)
    copies: list[int]  # those whose factors are not all 0
    places: slice  # the coordinates
    numbers: slice  # numbers of the base vector
    number: Tensor | None  # which of them belongs to each place; None: in order
    place: Tensor | None  # which place belongs to each of them


class IrrepCopies:
    """Copies, in the coordinates of irreps, of vectors that a subgroup leaves alone."""

    # An irrep rho that occurs m times moves coordinates (dim, m) by rho_g. Those that H
    # leaves alone are F y with the columns of F (dim, f) an orthonormal basis of what
    # rho_h leaves alone for all h in H, and y (f, m) any numbers. The copy of coset c
    # is rho_g F y for any g of c. All irreps are written together: term s has entry
    # ((j + s) mod dim, j) of each matrix rho_g F.

    def __init__(
        self, group: FiniteGroup, multiplicities: NDArray, subgroup: Subgroup
    ) -> None:
        first = coset_representatives(group, subgroup)
        self.n_copies = self.n_summed = len(first)
        self._blocks = []  # m, and rho_g F (n_copies, dim, f)
        for irrep, m in zip(group.irreps, multiplicities, strict=True):
            if m:
                fixed = fixed_space(irrep, subgroup)
                self._blocks.append((int(m), irrep.matrices[first] @ fixed))
        self.n_numbers = sum(m * moved.shape[2] for m, moved in self._blocks)
        self.width = sum(m * moved.shape[1] for m, moved in self._blocks)
        self._terms = lru_cache(maxsize=4)(self._terms_as)

    def writes(self, base: Tensor, out: Tensor) -> list[Call]:
        """Base vectors (n, n_numbers) to copies (n, n_copies, width) that were 0."""
        calls: list[Call] = []
        for s, term in enumerate(self._terms(base.dtype, base.device)):
            part, numbers = out[:, :, term.places], base[:, term.numbers]
            numbers = _in_order(numbers, term.number, calls).unsqueeze(1)
            if s:
                calls.append(partial(part.addcmul_, term.factors, numbers))
            else:
                calls.append(partial(torch.mul, term.factors, numbers, out=part))
        return calls

    def sums(self, copies: Tensor, out: Tensor) -> list[Call]:
        """The adjoint: copies (n, n_copies, width) to (n, n_numbers) that were 0."""
        calls: list[Call] = []
        for term in self._terms(copies.dtype, copies.device):
            part, total = copies[:, :, term.places], out[:, term.numbers]
            if term.place is None:
                calls += _products(term, part, total)
                continue
            found = part.new_empty(len(part), part.shape[2])
            calls += [found.zero_, *_products(term, part, found)]
            calls.append(partial(total.add_, _in_order(found, term.place, calls)))
        return calls

    def _terms_as(self, dtype: torch.dtype, device: torch.device) -> list[_Term]:
        n_terms = max((b.shape[1] for _, b in self._blocks if b.shape[2]), default=0)
        return [self._term(s, dtype, device) for s in range(n_terms)]

    def _term(self, s: int, dtype: torch.dtype, device: torch.device) -> _Term:
        shape = (self.n_copies, self.width)
        factors, number = np.zeros(shape), np.full(self.width, -1)
        place, stop = np.empty(self.n_numbers, dtype=np.int64), 0
        to = source = 0
        for m, moved in self._blocks:
            _, dim, f = moved.shape
            for j in range(f):
                i, numbers = (j + s) % dim, source + j * m + np.arange(m)
                places = to + i * m + np.arange(m)
                place[numbers] = places
                if s < dim:  # else a term before has them, and factors are 0 here
                    number[places] = numbers
                    factors[:, places] = moved[:, i, j, np.newaxis]
            to, source = to + dim * m, source + f * m
            stop = to if f else stop
        used = np.flatnonzero(number >= 0)
        start, first, last = used[0], number[used].min(), number.max() + 1
        factors, number = factors[:, start:stop], number[start:stop].clip(first) - first
        return _Term(
            torch.tensor(factors, dtype=dtype, device=device),
            np.flatnonzero(factors.any(axis=1)).tolist(),
            slice(start, stop),
            slice(first, last),
            _unless_in_order(number, last - first, device),
            _unless_in_order(place[first:last] - start, stop - start, device),
        )


def _unless_in_order(
    index: NDArray, n_columns: int, device: torch.device
) -> Tensor | None:
    is_all = np.array_equal(index, np.arange(n_columns))
    return None if is_all else torch.tensor(index, device=device)


def _in_order(table: Tensor, index: Tensor | None, calls: list[Call]) -> Tensor:
    """Columns of a table as an index has them, after a call that it may take."""
    if index is None:
        return table
    out = table.new_empty(len(table), len(index))
    calls.append(partial(torch.index_select, table, 1, index, out=out))
    return out


def _products(term: _Term, copies: Tensor, out: Tensor) -> list[Call]:
    """Calls that add the sum over copies (n, n_copies, n_places) times factors."""
    if len(term.factors) > _FEW_COPIES:
        return [partial(_add_products, term.factors, copies, out)]
    return [
        partial(out.addcmul_, term.factors[c], copies[:, c])  # nothing large on the way
        for c in term.copies
    ]


def _add_products(factors: Tensor, copies: Tensor, out: Tensor) -> None:
    out.add_((factors * copies).sum(1))


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

    def writes(self, base: Tensor, out: Tensor) -> list[Call]:
        """Base vectors (n, n_numbers) to copies (n, n_copies, order * n_each)."""
        weights = base.unflatten(1, (self.n_copies, self.n_each))
        sources, copies = self.sources.to(base.device), self._by_unit(out)
        return [partial(torch.index_select, weights, 1, sources, out=copies)]

    def sums(self, copies: Tensor, out: Tensor) -> list[Call]:
        """The adjoint: (n, n_copies, order * n_each) to (n, n_numbers) that were 0."""
        total = out.unflatten(1, (self.n_copies, self.n_each))
        sources = self.sources.to(out.device)
        added = partial(total.index_add_, 1, sources, self._by_unit(copies))
        return [added]

    def _by_unit(self, copies: Tensor) -> Tensor:
        return copies.view(len(copies), -1, self.n_each)


class FreeCopies:
    """Vectors without copies, in coordinates that a matrix takes to the others."""

    n_copies = n_summed = 1

    def __init__(self, matrix: NDArray) -> None:
        self.n_numbers = len(matrix)
        self._matrix = lru_cache(maxsize=4)(partial(_as_tensor, matrix))

    def writes(self, base: Tensor, out: Tensor) -> list[Call]:
        """Base vectors (n, n_numbers) to copies (n, 1, width)."""
        matrix = self._matrix(base.dtype, base.device)
        return [partial(torch.mm, base, matrix, out=out.flatten(1))]

    def sums(self, copies: Tensor, out: Tensor) -> list[Call]:
        """The adjoint: copies (n, 1, width) to (n, n_numbers)."""
        matrix = self._matrix(copies.dtype, copies.device)
        return [partial(torch.mm, copies.flatten(1), matrix.mT, out=out)]


class FreeWeights:
    """Weights without copies, as they are."""

    n_copies = n_summed = 1

    def __init__(self, n_numbers: int) -> None:
        self.n_numbers = n_numbers

    def writes(self, base: Tensor, out: Tensor) -> list[Call]:
        """Base vectors (n, n_numbers) to copies (n, 1, n_numbers)."""
        return [partial(out.copy_, base.unsqueeze(1))]

    def sums(self, copies: Tensor, out: Tensor) -> list[Call]:
        """The adjoint: copies (n, 1, n_numbers) to (n, n_numbers)."""
        return [partial(out.copy_, copies.flatten(1))]


def _as_tensor(matrix: NDArray, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(matrix, dtype=dtype, device=device)


class Layer:
    """Weights of all copies of a layer's vectors, vector by vector."""

    def __init__(self, runs: Iterable[tuple[Copies, int]], width: int) -> None:
        self.runs = [(copies, n) for copies, n in runs if n]  # n vectors of each
        self.width = width
        self.n_rows = sum(copies.n_copies * n for copies, n in self.runs)
        self._out: Tensor | None = None
        self._lists: dict[tuple, list[Call]] = {}

    def write(self, weight: Tensor, out: Tensor) -> Tensor:
        """Weights (n_vectors, width) to those of all copies (n_rows, width), once 0."""
        _run(self._writes(weight, out))
        return out

    def sum(self, written: Tensor, out: Tensor) -> Tensor:
        """The adjoint of `write`."""
        _run(self._sums(written, out))
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

    def in_memory(self, weight: Tensor) -> Tensor:
        """Write over the copies of the last step, which nobody needs any more."""
        weight, old = weight.detach(), self._out
        if old is None or (old.dtype, old.device) != (weight.dtype, weight.device):
            self._out = old = weight.new_zeros(self.n_rows, self.width)
        _run(self._kept(self._writes, weight, old))
        return old

    def sum_into_spare(self, written: Tensor, spare: Spare) -> Tensor:
        """The sum of a gradient, in memory that an earlier step has left."""
        n_vectors = sum(n for _, n in self.runs)
        out = take(spare, (n_vectors, self.width), written)
        if has_csr_kernels(written):  # else each step has other memory
            _run(self._kept(self._sums, written, out))
            return out
        return self.sum(written, out)

    def _writes(self, weight: Tensor, out: Tensor) -> list[Call]:
        parts = self._parts(weight, out)
        return [call for copies, *pair in parts for call in copies.writes(*pair)]

    def _sums(self, written: Tensor, out: Tensor) -> list[Call]:
        calls: list[Call] = [out.zero_]
        for copies, base, part in self._parts(out, written):
            calls += copies.sums(part, base)
        return calls

    def _kept(
        self, find: Callable[[Tensor, Tensor], list[Call]], source: Tensor, out: Tensor
    ) -> list[Call]:
        """The calls for tensors in this memory, which the calls themselves keep."""
        key = (find.__name__, source.data_ptr(), out.data_ptr(), source.dtype)
        if key not in self._lists:
            if len(self._lists) >= _LISTS:
                self._lists.clear()
            self._lists[key] = find(source, out)
        return self._lists[key]

    def _parts(
        self, weight: Tensor, written: Tensor
    ) -> list[tuple[Copies, Tensor, Tensor]]:
        parts, vector, row = [], 0, 0
        for copies, n in self.runs:
            base = weight[vector : vector + n, : copies.n_numbers]
            rows = written[row : row + n * copies.n_copies]
            parts.append((copies, base, rows.view(n, copies.n_copies, self.width)))
            vector, row = vector + n, row + n * copies.n_copies
        return parts


def _run(calls: list[Call]) -> None:
    for call in calls:
        call()


class WrittenOut(torch.autograd.Function):
    """Weights of all copies; their gradient is summed up."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, layer: Layer) -> Tensor:
        """Weights (n_vectors, width) to (n_rows, width)."""
        ctx.layer, ctx.shape = layer, weight.shape
        return layer.in_memory(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Gradient of the weights."""
        return ctx.layer.sum(grad, grad.new_empty(ctx.shape)), None
