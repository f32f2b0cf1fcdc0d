"""Sparse codes: which latents of a row are active, how much, and who decides."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SHARE = 2**15
_SMALL = 2**16  # entries of a table below which one look is faster than two
_MIDDLE = range(2**7, 2**9 + 1)  # columns of which numpy finds values before places


class Code(NamedTuple):
    """Active latents, bag by bag; a bag is what one reconstruction is summed from."""

    values: Tensor  # of each active latent; may be zero
    indices: Tensor  # its column
    bags: Tensor  # its bag, ascending
    offsets: Tensor  # where each bag begins, and the end of the last one
    rows: Tensor | None = None  # input row of each bag; None: bag i is row i
    sources: Tensor | None = None  # column each value was read from; None: its own


Selection = Callable[[Tensor], Code]


def fixed_size_code(values: Tensor, indices: Tensor) -> Code:
    """Code of k latents per row, from tables of shape (n_rows, k)."""
    bags, offsets = _fixed_size_bags(*indices.shape, indices.device)
    return Code(values.flatten(), indices.flatten(), bags, offsets)


@lru_cache(maxsize=16)
def _fixed_size_bags(
    n_rows: int, k: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(mode=False):  # training may be next to use them
        bags = torch.arange(n_rows, device=device).repeat_interleave(k)
        return bags, torch.arange(n_rows + 1, device=device) * k


def _is_fixed_size(code: Code) -> bool:
    n_rows = len(code.offsets) - 1
    if n_rows == 0 or len(code.values) % n_rows:
        return False
    k = len(code.values) // n_rows
    return code.bags is _fixed_size_bags(n_rows, k, code.bags.device)[0]


def ragged_code(values: Tensor, indices: Tensor, bags: Tensor, n_bags: int) -> Code:
    """Code of bags of any size, the last of which may be empty."""
    starts = torch.arange(n_bags + 1, device=bags.device)
    return Code(values, indices, bags, torch.searchsorted(bags, starts))


def concat(codes: Sequence[Code]) -> Code:
    """Codes of different rows, one below the other."""
    if len(codes) == 1:
        return codes[0]
    values = torch.cat([code.values for code in codes])
    indices = torch.cat([code.indices for code in codes])
    device = indices.device
    if all(map(_is_fixed_size, codes)):  # as in the step before
        sizes = [(len(c.offsets) - 1, len(c.values)) for c in codes]
        return Code(values, indices, *_fixed_size_bags_below(tuple(sizes), device))
    bags = [(code.bags, code.offsets) for code in codes]
    return Code(values, indices, *_bags_below(bags))


@lru_cache(maxsize=16)
def _fixed_size_bags_below(
    sizes: tuple[tuple[int, int], ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(mode=False):
        return _bags_below([_fixed_size_bags(n, m // n, device) for n, m in sizes])


def _bags_below(codes: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Bags and offsets of codes one below the other."""
    bags = np.cumsum([0] + [len(offsets) - 1 for _, offsets in codes]).tolist()
    starts = np.cumsum([0] + [len(its_bags) for its_bags, _ in codes]).tolist()
    ends = [c[1][1:] + start for c, start in zip(codes, starts, strict=False)]
    return (
        torch.cat([c[0] + bag for c, bag in zip(codes, bags, strict=False)]),
        torch.cat([codes[0][1][:1], *ends]),
    )


def join(codes: Sequence[Code]) -> Code:
    """Codes of the same rows, each of which gets its bags of all of them."""
    if len(codes) == 1:
        return codes[0]
    joined = concat(codes)._replace(rows=_rows_below(codes))
    if all(code.sources is None for code in codes):
        return joined
    sources = [c.indices if c.sources is None else c.sources for c in codes]
    return joined._replace(sources=torch.cat(sources))


def _rows_below(codes: Sequence[Code]) -> Tensor:
    if any(code.rows is not None for code in codes):
        return torch.cat([rows_of(code) for code in codes])
    n_rows = tuple(len(code.offsets) - 1 for code in codes)
    return _firsts(n_rows, codes[0].offsets.device)


@lru_cache(maxsize=16)
def _firsts(n_rows: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):
        return torch.cat([torch.arange(n, device=device) for n in n_rows])


def part_of(code: Code, first: int, last: int) -> Code:
    """Some of the bags of a code, in order, with the rows that they are of."""
    start, end = int(code.offsets[first]), int(code.offsets[last])
    return Code(
        code.values[start:end],
        code.indices[start:end],
        code.bags[start:end] - first,
        code.offsets[first : last + 1] - start,
        rows_of(code)[first:last],
    )


def rows_of(code: Code) -> Tensor:
    """Input row of each bag."""
    if code.rows is not None:
        return code.rows
    return _firsts((len(code.offsets) - 1,), code.values.device)


class TopK:
    """The k largest pre-activations of each row, negative ones set to zero."""

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, pre_activations: Tensor) -> Code:
        """Select from a table of shape (n_rows, n_latents)."""
        values, indices = top_k(pre_activations, self.k)
        return fixed_size_code(values.relu_(), indices)


class BatchTopK:
    """The largest pre-activations of a batch, k per row on average."""

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, pre_activations: Tensor) -> Code:
        """Select from a table of shape (n_rows, n_latents)."""
        n_rows, n_latents = pre_activations.shape
        flat = pre_activations.view(1, -1)
        place = top_k(flat, self.k * n_rows)[1][0].sort().values
        bags = torch.div(place, n_latents, rounding_mode="floor")
        return ragged_code(
            flat[0, place].relu_(), place - bags * n_latents, bags, n_rows
        )


class Threshold:
    """All pre-activations above a threshold of zero or more."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def __call__(self, pre_activations: Tensor) -> Code:
        """Select from a table of shape (n_rows, n_latents)."""
        bags, indices = (pre_activations > self.threshold).nonzero(as_tuple=True)
        values = pre_activations[bags, indices]
        return ragged_code(values, indices, bags, len(pre_activations))


class Prefixes:
    """A selection in which a row has a bag for each part of a nested dictionary."""

    def __init__(self, select: Selection, part: np.ndarray) -> None:
        self.select = select
        self.part = torch.as_tensor(part)  # of each latent
        self.n_parts = int(self.part.max()) + 1

    def __call__(self, pre_activations: Tensor) -> Code:
        """Select from a table of shape (n_rows, n_latents), and sort by part."""
        code = self.select(pre_activations)
        n_parts, n_rows = self.n_parts, len(pre_activations)
        self.part = self.part.to(code.indices.device)  # copied once
        bags, order = (code.bags * n_parts + self.part[code.indices]).sort(stable=True)
        split = ragged_code(
            code.values[order], code.indices[order], bags, n_rows * n_parts
        )
        rows = torch.arange(n_rows, device=bags.device).repeat_interleave(n_parts)
        return split._replace(rows=rows)


class Stacked:
    """The selections of several networks, each on as many rows of its own.

    Latents count on from network to network. Neighbours with one k work as one.
    """

    def __init__(self, selects: Sequence[Selection]) -> None:
        self.n_networks = len(selects)
        self.runs = [list(run) for _, run in groupby(selects, _shared_k)]

    def __call__(self, pre_activations: Tensor) -> Code:
        """Select from a table of shape (n_networks * n_rows, n_latents)."""
        n_rows, n_latents = pre_activations.shape
        n_rows //= self.n_networks
        codes, first = [], 0
        for run in self.runs:
            last = first + len(run)
            code = run[0](pre_activations[first * n_rows : last * n_rows])
            network = torch.arange(first, last, device=code.indices.device)
            indices = code.indices.view(len(run), -1) + n_latents * network[:, None]
            codes.append(code._replace(indices=indices.flatten()))
            first = last
        return concat(codes)


def _shared_k(select: Selection) -> int | Selection:
    return select.k if isinstance(select, TopK) else select


def top_k(pre_activations: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Exact k largest entries of each row and their columns, in no particular order."""
    # Long rows are cut into strided groups first: the k largest entries lie in the k
    # groups with the largest maxima, or in the few columns that no group has.
    size = _group_size(pre_activations.shape[1], k)
    is_small = pre_activations.numel() < _SMALL
    if size < 4 or is_small or _whole_rows_pay(pre_activations, size):
        return _largest(pre_activations, k)
    columns = _candidates(pre_activations, k, size)
    values, place = _largest(pre_activations.gather(1, columns), k)
    return values, columns.gather(1, place)


def _group_size(n_columns: int, k: int) -> int:
    """Entries per group with which both stages have about as many to look at."""
    return 2 ** round(math.log2(max(math.sqrt(n_columns / k), 1)))


def _whole_rows_pay(table: Tensor, size: int) -> bool:
    """Whether twice as many threads share whole rows as could share the groups."""
    # torch gives a thread 2^15 entries of a top-k at least, of which groups have less
    n_shares = -(-table.numel() // (size * _SHARE))
    return _is_for_torch(table) and torch.get_num_threads() >= 2 * n_shares


def _candidates(table: Tensor, k: int, size: int) -> Tensor:
    """Columns among which the k largest entries of each row are."""
    n_groups, n_left = divmod(table.shape[1], size)
    n_grouped = n_groups * size
    maxima = table[:, :n_grouped].unflatten(1, (size, n_groups)).amax(1)
    groups = _largest(maxima, k)[1].unsqueeze(1)
    starts = torch.arange(0, n_grouped, n_groups, device=table.device)
    columns = (groups + starts.unsqueeze(1)).flatten(1)
    if n_left == 0:
        return columns
    left = torch.arange(n_grouped, table.shape[1], device=table.device)
    return torch.cat([columns, left.expand(len(table), -1)], dim=1)


def columns_of(table: Tensor, columns: Tensor) -> Tensor:
    """Some of the columns of a table."""
    if _is_shared(table):  # index_select is not; alone it takes two thirds of the time
        return table.gather(1, columns.expand(len(table), -1))
    return table.index_select(1, columns)


def _is_shared(table: Tensor) -> bool:
    """Whether torch shares the rows among its threads, which numpy does not."""
    on_cpu = table.device.type == "cpu"
    return on_cpu and 1 < torch.get_num_threads() <= len(table)


def _is_for_torch(table: Tensor) -> bool:
    """Whether torch selects in less time than numpy, by vector instructions on one."""
    return _is_shared(table) and torch.get_num_threads() > 2


def _largest(table: Tensor, k: int) -> tuple[Tensor, Tensor]:
    n_columns = table.shape[1]
    if _is_for_torch(table) or table.device.type != "cpu" or k == n_columns:
        return torch.topk(table, k, dim=1, sorted=False)
    values = table.detach().numpy()
    places = _places_of_largest(values, k) if n_columns in _MIDDLE else None
    if places is None:
        order = np.argpartition(values, n_columns - k, axis=1)
        places = order[:, n_columns - k :].copy()
    indices = torch.from_numpy(places)
    return table.gather(1, indices), indices


def _places_of_largest(values: NDArray, k: int) -> NDArray | None:
    """Columns of the k largest entries of each row; None if it is not clear which."""
    n_rows, n_columns = values.shape
    first = n_columns - k
    least = np.partition(values, first, axis=1)[:, first, np.newaxis]
    places = np.flatnonzero(values >= least)
    if len(places) != n_rows * k:
        return None
    places = places.reshape(n_rows, k)
    starts = np.arange(0, n_rows * n_columns, n_columns)
    # ties in one row and NaN in another may add up to as many
    if (places[:, 0] < starts).any() or (places[:, -1] >= starts + n_columns).any():
        return None
    return places - starts[:, np.newaxis]
