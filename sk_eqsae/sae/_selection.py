"""Which latents of a row are active."""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from ._code import Code, concat, fixed_size_code, ragged_code
from ._top_k import top_k

Selection = Callable[[Tensor], Code]


class TopK:
    """The k largest pre-activations of each row.

    Parameters
    ----------
    k : int
        Latents kept per row.
    """

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, pre_activations: Tensor) -> Code:
        """Select, and set negative values to zero."""
        values, indices = top_k(pre_activations, self.k)
        return fixed_size_code(values.relu_(), indices)


class BatchTopK:
    """The largest pre-activations of a batch, k times as many as it has rows.

    Parameters
    ----------
    k : int
        Latents kept per row on average.
    """

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, pre_activations: Tensor) -> Code:
        """Select, and set negative values to zero."""
        n_rows, n_components = pre_activations.shape
        flat = pre_activations.view(1, -1)
        place = top_k(flat, self.k * n_rows)[1][0].sort().values
        values = flat[0, place].relu_()
        bags = torch.div(place, n_components, rounding_mode="floor")
        return ragged_code(values, place - bags * n_components, bags, n_rows)


class Threshold:
    """All pre-activations above a threshold.

    Parameters
    ----------
    threshold : float
        Zero or more.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def __call__(self, pre_activations: Tensor) -> Code:
        """Select."""
        bags, indices = (pre_activations > self.threshold).nonzero(as_tuple=True)
        values = pre_activations[bags, indices]
        return ragged_code(values, indices, bags, len(pre_activations))


class Prefixes:
    """A selection in which each row has one bag for each part of the dictionary.

    Parameters
    ----------
    select : Selection
        Decides which latents are active.
    part : array-like of shape (n_latents,)
        Part that each latent belongs to.
    """

    def __init__(self, select: Selection, part: np.ndarray) -> None:
        self.select = select
        self.part = torch.as_tensor(part)
        self.n_parts = int(self.part.max()) + 1

    def __call__(self, pre_activations: Tensor) -> Code:
        """Select, and sort by part."""
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
    """The selections of several models of one size, each on rows of its own.

    Parameters
    ----------
    selects : sequence of Selection
        One for each model. Neighbours that are TopK of the same k work as one.
    """

    def __init__(self, selects: Sequence[Selection]) -> None:
        self.n_models = len(selects)
        self.runs = [list(run) for _, run in groupby(selects, _shared_k)]

    def __call__(self, pre_activations: Tensor) -> Code:
        """Select, and count latents on from model to model."""
        n_rows, n_components = pre_activations.shape
        tables = pre_activations.split(
            [len(run) * n_rows // self.n_models for run in self.runs]
        )
        codes, first = [], 0
        for run, table in zip(self.runs, tables, strict=True):
            codes.append(_counted_on(run[0](table), n_components, first, len(run)))
            first += len(run)
        return concat(codes)


def _shared_k(select: Selection) -> int | Selection:
    return select.k if isinstance(select, TopK) else select


def _counted_on(code: Code, n_components: int, first: int, n_models: int) -> Code:
    models = torch.arange(first, first + n_models, device=code.indices.device)
    latents = code.indices.view(n_models, -1) + n_components * models.unsqueeze(1)
    return code._replace(indices=latents.flatten())
