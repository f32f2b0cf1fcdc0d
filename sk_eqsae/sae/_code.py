"""Sparse codes: which latents are active, and how much."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Code(NamedTuple):
    """Active latents, bag by bag; a bag is what one reconstruction is summed from.

    Attributes
    ----------
    values, indices : torch.Tensor of shape (n_active,)
        Latents and their columns; a value may be zero.
    bags : torch.Tensor of shape (n_active,)
        Bag of each active latent, ascending.
    offsets : torch.Tensor of shape (n_bags + 1,)
        Where each bag begins, and the end of the last one.
    rows : torch.Tensor of shape (n_bags,) or None
        Row of the input that each bag belongs to. None: bag i is row i.
    """

    values: Tensor
    indices: Tensor
    bags: Tensor
    offsets: Tensor
    rows: Tensor | None = None


def fixed_size_code(values: Tensor, indices: Tensor) -> Code:
    """Code of k active latents per row.

    Parameters
    ----------
    values, indices : torch.Tensor of shape (n_rows, k)
        Latents and their columns.

    Returns
    -------
    code : Code
        The code.
    """
    bags, offsets = _fixed_size_bags(*indices.shape, indices.device)
    return Code(values.flatten(), indices.flatten(), bags, offsets)


@lru_cache(maxsize=16)
def _fixed_size_bags(
    n_rows: int, k: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(mode=False):  # training may be next to use them
        bags = torch.arange(n_rows, device=device).repeat_interleave(k)
        return bags, torch.arange(n_rows + 1, device=device) * k


def ragged_code(values: Tensor, indices: Tensor, bags: Tensor, n_bags: int) -> Code:
    """Code of bags of any size.

    Parameters
    ----------
    values, indices, bags : torch.Tensor of shape (n_active,)
        Latents, their columns and their bags, which must ascend.
    n_bags : int
        Number of bags; the last ones may be empty.

    Returns
    -------
    code : Code
        The code.
    """
    starts = torch.arange(n_bags + 1, device=bags.device)
    return Code(values, indices, bags, torch.searchsorted(bags, starts))


def concat(codes: list[Code]) -> Code:
    """Put codes of different rows one below the other.

    Parameters
    ----------
    codes : list of Code
        The codes; which row a bag belongs to is not kept.

    Returns
    -------
    code : Code
        The bags of the first code, then those of the second, and so on.
    """
    if len(codes) == 1:
        return codes[0]
    bags = np.cumsum([0] + [len(code.offsets) - 1 for code in codes]).tolist()
    starts = np.cumsum([0] + [len(code.values) for code in codes]).tolist()
    ends = [c.offsets[1:] + start for c, start in zip(codes, starts, strict=False)]
    return Code(
        torch.cat([code.values for code in codes]),
        torch.cat([code.indices for code in codes]),
        torch.cat([c.bags + bag for c, bag in zip(codes, bags, strict=False)]),
        torch.cat([codes[0].offsets[:1], *ends]),
    )


def join(codes: list[Code]) -> Code:
    """Give each row its bags of several codes.

    Parameters
    ----------
    codes : list of Code
        Codes of the same rows.

    Returns
    -------
    code : Code
        The bags of the first code, then those of the second, and so on.
    """
    if len(codes) == 1:
        return codes[0]
    rows = torch.cat([_rows_of_bags(code) for code in codes])
    return concat(codes)._replace(rows=rows)


def _rows_of_bags(code: Code) -> Tensor:
    if code.rows is not None:
        return code.rows
    return torch.arange(len(code.offsets) - 1, device=code.values.device)


def with_values_of(table: Tensor, code: Code) -> Code:
    """Take the latents of a code as large as other rows have them.

    Parameters
    ----------
    table : torch.Tensor of shape (n_rows, n_components)
        Pre-activations.
    code : Code
        Code of as many rows. Where there are several models, its columns count on
        from model to model.

    Returns
    -------
    code : Code
        The same with other values, none below zero.
    """
    rows = code.bags if code.rows is None else code.rows[code.bags]
    values = table[rows, code.indices % table.shape[1]]
    return code._replace(values=values.relu_())


def order_by_latent(indices: Tensor, n_components: int) -> tuple[Tensor, Tensor]:
    """Turn a table of active latents round.

    Parameters
    ----------
    indices : torch.Tensor of shape (n_active,)
        Column of each active latent.
    n_components : int
        Number of latents.

    Returns
    -------
    order : torch.Tensor of shape (n_active,)
        The entries of the table, sorted by latent.
    offsets : torch.Tensor of shape (n_components + 1,)
        Where each latent begins in `order`, and the end of the last one.
    """
    if indices.device.type != "cpu":
        # a bincount would have to wait for the device, to know how long it is
        ordered, order = torch.sort(indices, stable=True)
        latents = torch.arange(n_components + 1, device=indices.device)
        return order, torch.searchsorted(ordered, latents)
    # numpy sorts short integers in linear time
    small = np.uint16 if n_components <= 2**16 else np.int64
    order = np.argsort(indices.numpy().astype(small), kind="stable")
    ends = np.bincount(indices.numpy(), minlength=n_components).cumsum()
    return torch.from_numpy(order), torch.from_numpy(np.insert(ends, 0, 0))
