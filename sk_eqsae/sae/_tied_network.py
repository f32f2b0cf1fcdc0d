"""The network of a dictionary that is closed under a group.

First what the group makes of weight vectors, written out and summed up again; then the
network that consists of those.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

from ..groups import FiniteGroup, Subgroup
from ..groups._element_matrices import IrrepBasis
from ..groups._group import coset_representatives, fixed_space
from ._latent_orbits import LatentOrbits
from ._network import Arrays, Network, to_array
from ._sparse_step import Spare, has_csr_kernels, put_gradients, take

_STRAIGHT = 1e-6  # distance from the usual metric that does not count
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
    """Vectors without copies, as they are or as a matrix takes them elsewhere."""

    n_copies = n_summed = 1

    def __init__(self, n_numbers: int, matrix: NDArray | None = None) -> None:
        self.n_numbers, self._matrix = n_numbers, matrix
        self._matrix_as = lru_cache(maxsize=4)(partial(torch.tensor, matrix))

    def writes(self, base: Tensor, out: Tensor) -> list[Call]:
        """Base vectors (n, n_numbers) to copies (n, 1, width)."""
        if self._matrix is None:
            return [partial(out.copy_, base.unsqueeze(1))]
        matrix = self._matrix_as(dtype=base.dtype, device=base.device)
        return [partial(torch.mm, base, matrix, out=out.flatten(1))]

    def sums(self, copies: Tensor, out: Tensor) -> list[Call]:
        """The adjoint: copies (n, 1, width) to (n, n_numbers)."""
        if self._matrix is None:
            return [partial(out.copy_, copies.flatten(1))]
        matrix = self._matrix_as(dtype=copies.dtype, device=copies.device)
        return [partial(torch.mm, copies.flatten(1), matrix.mT, out=out)]


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
        decoded = (FreeCopies(n_features, self.basis.to_irreps.T), free)
        self.decoder_layer = Layer([*runs, decoded], n_features)
        if hidden_dim is None:
            encoded = (FreeCopies(n_features, self.basis.from_irreps), free)
            self.encoder_layer = Layer([*runs, encoded], n_features)
            return
        units = of_irreps(group.subgroups[0])
        self.hidden_layer = Layer([(units, hidden_dim)], n_features)
        width = hidden_dim * group.order
        runs = self._runs(partial(ConvolutionCopies, group, hidden_dim))
        self.encoder_layer = Layer([*runs, (FreeCopies(width), free)], width)

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
