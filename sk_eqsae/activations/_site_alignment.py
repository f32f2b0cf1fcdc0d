"""Sizes of the inputs at which the group maps the grids of layers onto themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from .._estimator import ordinary_modes
from ..groups import FiniteGroup
from ..groups._group import generator_elements
from ._alignment import LOOKED_AT, Alignment, AlignmentCheck
from ._batches import Forward, is_array
from ._layers import Key, Reading, borrowed, check_model, device_for, named_layer
from ._moved import Action, Moves, resolve_symmetry
from ._passes import Passes
from ._sites import SiteMoves, SitesLike, laid_out

_N_SIZES = 32  # as many as the largest stride of usual networks


def site_alignment(
    model: torch.nn.Module,
    inputs: np.ndarray | torch.Tensor,
    *,
    layer: str | Sequence[str],
    action: Action,
    sizes: Sequence[int] | None = None,
    symmetry: int | FiniteGroup | None = None,
    sites: SitesLike = "map",
    site_action: Action | None = None,
    forward: Forward | None = None,
    output: Key = None,
    call: int | None = None,
    device: str | torch.device = "auto",
) -> pd.DataFrame:
    """Compare maps of moved inputs with canonical ones, by the size of the inputs.

    Strides and padding have to map the grid of a layer onto itself, and trained kernels
    make up for padding, so that the right size differs between layers.

    Parameters
    ----------
    model : torch.nn.Module
        Any model that takes inputs of different sizes.
    inputs : ndarray or tensor of shape (n_inputs, ...)
        Canonical inputs, of which the first 32 are looked at; at least four, and better
        real ones than noise. They are cropped around their centre.
    layer : str, or list of str
        Dotted name of the layer, or of several.
    action : callable
        As for :func:`sk_eqsae.extract_orbits`; likewise `symmetry`, `sites`,
        `site_action`, `forward`, `output` and `device`.
    sizes : sequence of int, default=None
        Lengths to which all axes that are as long as the longest, such as height and
        width, are cropped. None is the length of the inputs and the 31 below.
    symmetry : int or FiniteGroup, default=None
        The group; None takes ``action.symmetry``.
    sites : {"map", "tokens"}, Tokens or callable, default="map"
        How the layers put out their sites.
    site_action : callable, default=None
        How elements move sites, if `action` does not say it.
    forward : callable, default=None
        ``forward(model, batch)`` runs the model.
    output : int, str or callable, default=None
        Which tensor, where a layer puts out several.
    call : int, default=None
        Which call, where the model calls a layer several times.
    device : str or torch.device, default="auto"
        Where to run the model.

    Returns
    -------
    alignment : DataFrame
        A row per layer and size. `r2`: share of the variance of moved rows, in their 32
        main components, that a linear map of the canonical rows at the same site
        explains on other inputs, the mean over generators. `shifted_r2`: the same at
        the best of the site and its neighbours. `offset`: from the site to where the
        best one would lie, in sites along each axis, of the generator for which it is
        largest. `aligned`: whether no offset is clear; False where there is too little
        to see. `best`: True for the aligned size, of a layer, of the largest `r2`.

    Raises
    ------
    TypeError, ValueError
        If inputs are no array or tensor, a size does not fit into them, or what
        :func:`~sk_eqsae.extract_orbits` raises.

    Notes
    -----
    The offset is the vertex of a parabola through R2 at a site and its two neighbours
    along an axis. It is clear from a quarter of a site, three standard errors over
    inputs (the jackknife) and four across features on, where R2 falls along that axis
    by more than 60 % of what is left unexplained.

    Examples
    --------
    A convolution of stride 2 without padding needs inputs of an odd length:

    >>> import torch
    >>> from sk_eqsae import site_alignment
    >>> from sk_eqsae.groups import ImageFlip
    >>> from sk_eqsae.datasets import make_shapes
    >>> images = make_shapes(16, random_state=0).images
    >>> with torch.random.fork_rng():
    ...     _ = torch.manual_seed(0)
    ...     model = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3, stride=2))
    >>> table = site_alignment(
    ...     model, images, layer="0", action=ImageFlip(), sizes=[63, 64]
    ... )
    >>> table[["size", "aligned", "best"]]
       size  aligned   best
    0    63     True   True
    1    64    False  False
    """
    check_model(model)
    if not is_array(inputs) or inputs.ndim < 2:
        raise TypeError(
            "inputs must be an array or a tensor (n_inputs, ...), which is cropped, "
            f"found {type(inputs).__name__}."
        )
    names = [layer] if isinstance(layer, str) else [*dict.fromkeys(layer)]
    for name in names:
        named_layer(model, name)
    if sizes is None:
        longest = max(inputs.shape[1:])
        sizes = range(max(longest - _N_SIZES, longest // 2) + 1, longest + 1)
    group, target = resolve_symmetry(action, symmetry), device_for(model, device)
    readings, rows = [Reading(name, output, call) for name in names], []
    with ordinary_modes(target), torch.no_grad(), borrowed(model):
        for size in sizes:
            crops = cropped(inputs[:LOOKED_AT], size)
            check = AlignmentCheck(SiteMoves(action, group, site_action, crops))
            keep = partial(_shown_to, check, sites)
            passes = Passes(
                model, crops, readings, Moves(action), group, target, keep, forward
            )
            for element in (0, *generator_elements(group)):
                passes.rows(crops, np.arange(len(crops)), element)
            rows += [_row(name, size, check.judge(name)) for name in names]
    rows.sort(key=lambda row: names.index(row["layer"]))
    table = pd.DataFrame(rows)
    best = table["r2"].where(table["aligned"]).groupby(table["layer"]).transform("max")
    return table.assign(best=table["aligned"] & (table["r2"] == best))


def _shown_to(
    check: AlignmentCheck, sites: SitesLike, output: torch.Tensor, *by: Any
) -> torch.Tensor:
    """Show what a layer puts out, by numbers, element and layer, and keep no row."""
    numbers, _, layer = by
    rows, layout = laid_out(sites, output, numbers, layer)
    check.see(rows, layout, *by)
    return rows.new_empty(0, 1)


def cropped(inputs: Any, size: int) -> Any:
    """The middle of inputs, along all axes that are as long as the longest."""
    longest = max(inputs.shape[1:])
    if not 1 <= size <= longest:
        raise ValueError(
            f"sizes must be from 1 to {longest}, the inputs' length, found {size}."
        )
    start = (longest - size) // 2
    parts = {longest: slice(start, start + size)}
    return inputs[(slice(None), *(parts.get(n, slice(None)) for n in inputs.shape[1:]))]


def _row(layer: str, size: int, found: dict[int, Alignment]) -> dict[str, Any]:
    alignments = [*found.values()] or [Alignment(np.nan, np.nan, (), True)]
    return {
        "layer": layer,
        "size": size,
        "r2": np.mean([a.r2 for a in alignments]),
        "shifted_r2": np.mean([a.shifted_r2 for a in alignments]),
        "offset": max(
            (a.offset for a in alignments), key=lambda o: max(map(abs, o), default=0)
        ),
        "aligned": not any(a.is_clear for a in alignments),
    }
