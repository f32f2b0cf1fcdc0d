"""From a model and inputs to orbits of activations."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import gen_batches
from tqdm.auto import tqdm

from .._estimator import draw_seed, ordinary_modes
from ..groups import FiniteGroup
from ..groups._orbit_table import checked_column
from ._alignment import AlignmentCheck
from ._batches import Collate, Forward, checked_inputs, is_array, n_inputs
from ._layers import Key, Reading, borrowed, check_model, device_for, named_layer
from ._moved import Action, Moves, resolve_symmetry
from ._orbits import Orbits
from ._passes import Passes
from ._sites import SiteMoves, SiteRows, SitesLike, check_sites
from ._written import written

Names = list[str] | tuple[str, ...]


@overload
def extract_orbits(
    model: torch.nn.Module, inputs: Any, *, layer: str, action: Action, **settings: Any
) -> Orbits: ...


@overload
def extract_orbits(
    model: torch.nn.Module,
    inputs: Any,
    *,
    layer: Names,
    action: Action,
    **settings: Any,
) -> dict[str, Orbits]: ...


def extract_orbits(  # type: ignore[misc]
    model: torch.nn.Module,
    inputs: Any,
    *,
    layer: str | Names,
    action: Action,
    symmetry: int | FiniteGroup | None = None,
    collate: Collate | None = None,
    forward: Forward | None = None,
    output: Key | Mapping[str, Key] = None,
    call: int | Mapping[str, int] | None = None,
    sites: SitesLike | Mapping[str, SitesLike] | None = None,
    n_sites: int | None = None,
    margin: int = 0,
    site_action: Action | None = None,
    base: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
    batch_size: int = 256,
    device: str | torch.device = "auto",
    out: str | os.PathLike | None = None,
    verbose: int = 0,
) -> Orbits | dict[str, Orbits]:
    r"""Collect what layers of a model put out for inputs and all their transforms.

    Parameters
    ----------
    model : torch.nn.Module
        Any model. It is run in evaluation mode without gradients, one pass at a time,
        and is as it was found between them, so that threads may share it. What is
        compiled runs uncompiled.
    inputs : ndarray, tensor, dict or tuple of them, list, or dataset
        Canonical inputs. Arrays have a row per input; dicts, such as batches of a
        tokenizer, and tuples hold several such arrays. Lists and datasets, with
        ``len()`` and ``[i]``, hold one item per input, which is anything. Floating
        arrays are cast to the dtype of the model's first floating parameter.
    layer : str, or list of str
        Dotted name of the layer in ``model.named_modules()``, or of several, which are
        read in the same passes; "" is the model itself.
    action : callable
        ``action(inputs, power)`` applies the generator ``power`` times to a batch
        of the same kind as inputs, a list of items if these are a list or a dataset.
        Those of ``sk_eqsae.groups``, such as
        :class:`~sk_eqsae.groups.ImageRotation`, move one array, also the one that
        `collate` makes of a list. If the group has several generators, power is a tuple
        with one power for each.
    symmetry : int or FiniteGroup, default=None
        The group: the order of the generator, or a FiniteGroup. None takes
        ``action.symmetry``. It is tried on a few inputs.
    collate : callable, default=None
        ``collate(items)`` makes a batch of a list of items. None is torch's
        ``default_collate``.
    forward : callable, default=None
        ``forward(model, batch)`` runs the model. None calls ``model(*batch)`` if a
        batch is a tuple, ``model(**batch)`` if it is a dict, else ``model(batch)``.
    output : int, str, callable or dict, default=None
        Which tensor, where a layer puts out several: its number or key, or a function
        of the output, such as ``lambda out: out[0][:, -1]`` for the last token. None
        is the first tensor of a tuple or dict. A dict holds one for each layer name.
    call : int or dict, default=None
        Which call, where the model calls a layer several times: 0 is the first. A dict
        holds one for each layer name.
    sites : {"map", "tokens"}, Tokens, Nodes, callable or dict, default=None
        How a layer puts out its sites, each of which becomes a row: "map" is
        (n_inputs, channels, \*grid), "tokens" (n_inputs, n_tokens, n_features),
        :class:`~sk_eqsae.activations.Tokens` tokens on a grid,
        :class:`~sk_eqsae.activations.Nodes` one row per node. A function turns the
        output into (n_inputs, \*grid, n_features). None makes one row of all that there
        is of an input. A dict holds one for each layer name.
    n_sites : int, default=None
        Number of sites to draw of each input, at most. None keeps all.
    margin : int, default=0
        Number of sites next to the border of the grid that are not kept.
    site_action : callable, default=None
        How elements move sites: an action such as ``ImageRotation(4)``, or a function
        ``site_action(maps, power)`` of an array (1, 1, \*grid). None asks `action`, if
        it is of ``sk_eqsae.groups``.
    base : array-like of shape (n_inputs,), default=None
        What each input comes from, such as the photograph of a crop; becomes `groups`,
        so that inputs of one base are never separated.
    random_state : int, RandomState instance or None, default=None
        Draws the sites. With `out`, None is 0, so that a run can go on.
    batch_size : int, default=256
        Number of inputs in one forward pass.
    device : str or torch.device, default="auto"
        Where to run the model. "auto" leaves a model on a GPU where it is, and
        otherwise uses a GPU if there is one.
    out : path, default=None
        Folder to write the activations to, in .npy files of about 64 MB; of a list of
        layers each has a folder of its name in it. A run that was killed goes on with
        the batch that it was at. None keeps all in memory.
    verbose : int, default=0
        1 shows a progress bar over batches.

    Returns
    -------
    orbits : Orbits, or dict of Orbits
        A row per input, site and element, orbit by orbit with powers ascending. The row
        of input x, site u and element g holds the activation of g x at the site g u, so
        that an orbit follows one site. Half-precision outputs become float32. With
        `out`, ``X`` is a :class:`~sk_eqsae.activations.Shards`. Of a list of layers it
        is a dict by name.

    Raises
    ------
    TypeError
        If inputs, batches or what the model takes do not fit together; the message
        shows how to say it.
    ValueError
        If a layer does not exist, is not called as `call` says, or puts out anything
        else than finite numbers with a row per input, which depends on this input
        alone; if the group is missing, is not that of the action, or does not map the
        grid of a layer onto itself; if `out` holds activations of something else.

    Warns
    -----
    UserWarning
        If maps of moved inputs fit the canonical ones clearly better when shifted,
        because strides and padding do not map the grid onto itself.

    See Also
    --------
    sk_eqsae.activations.Orbits : The result.
    sk_eqsae.site_alignment : Sizes of the inputs that map grids onto
        themselves.

    Examples
    --------
    >>> import torch
    >>> from sk_eqsae.activations import extract_orbits
    >>> from sk_eqsae.datasets import make_shapes
    >>> from sk_eqsae.groups import ImageRotation
    >>> images = make_shapes(3, random_state=0).images
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64 * 64, 64))
    >>> extract_orbits(model, images, layer="1", action=ImageRotation(order=4))
    <Orbits: 3 orbits of order 4, 64 features>

    Of a layer with maps, ten places in each:

    >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 5), torch.nn.ReLU())
    >>> orbits = extract_orbits(
    ...     network, images, layer="1", action=ImageRotation(order=4),
    ...     sites="map", n_sites=10, random_state=0,
    ... )
    >>> orbits
    <Orbits: 30 orbits of order 4, 8 features>
    >>> sorted(orbits.metadata)
    ['groups', 'power', 'site']
    """
    inputs = checked_inputs(inputs)
    _check_arguments(model, inputs, action, batch_size)
    readings = _readings(model, layer, output, call)
    names = [reading.layer for reading in readings]
    group, n = resolve_symmetry(action, symmetry), n_inputs(inputs)
    target, moves = device_for(model, device), Moves(action, collate)
    check_sites(sites, n_sites, margin, n)
    of_inputs = None if base is None else checked_column(base, "base")
    if of_inputs is not None and len(of_inputs) != n:
        raise ValueError(f"base has {len(of_inputs)} entries for {n} inputs.")
    first = moves.taken(inputs, [0])  # one array says by its shape how shifts move
    places = SiteMoves(action, group, site_action, first if is_array(first) else None)
    seed = draw_seed(0 if out and random_state is None else random_state)
    alignment = AlignmentCheck(places)
    keep = SiteRows(sites, places, n_sites, margin, seed, alignment.see)
    with ordinary_modes(target), torch.no_grad(), borrowed(model):
        moves.check_orders(inputs, group)
        passes = Passes(model, inputs, readings, moves, group, target, keep, forward)
        batches = [(batch.start, batch.stop) for batch in gen_batches(n, batch_size)]
        is_hidden = not verbose or sys.stderr is None
        with tqdm(total=len(batches), unit="batch", disable=is_hidden) as bar:
            if out is None:
                found = _in_memory(passes, batches, bar)
            else:
                # of one layer the files are in the folder itself
                folders = ["" if isinstance(layer, str) else name for name in names]
                found = written(passes, batches, Path(out), folders, bar)
    orbits = {}
    for name, X in zip(names, found, strict=True):
        rows = keep.metadata(name, n, of_inputs)
        orbits[name] = Orbits(X, symmetry=group, **rows)
        alignment.warn(name)
    return orbits[layer] if isinstance(layer, str) else orbits


def _in_memory(
    passes: Passes, batches: list[tuple[int, int]], bar: tqdm
) -> list[NDArray]:
    """Rows of each layer."""
    n_batches = batches[-1][1] / batches[0][1]
    collected = [_Rows(n_batches) for _ in passes.readings]
    for first, last in batches:
        passes(first, last, lambda i, *form: collected[i].room(*form))
        bar.update()
    return [rows.rows() for rows in collected]


class _Rows:
    """Rows, in memory that is taken once if each batch of inputs has as many."""

    def __init__(self, n_batches: float) -> None:
        self.n_batches, self.n = n_batches, 0

    def room(self, shape: tuple[int, int, int], dtype: np.dtype) -> NDArray:
        """Where the next batch goes."""
        if self.n == 0:
            length = round(shape[0] * self.n_batches)
            self.X = np.empty((length, *shape[1:]), dtype)
        start, self.n = self.n, self.n + shape[0]
        if self.n > len(self.X):
            self.X = np.concatenate([self.X, np.empty((self.n, *shape[1:]), dtype)])
        return self.X[start : self.n]

    def rows(self) -> NDArray:
        return self.X[: self.n].reshape(-1, self.X.shape[2])


def _readings(
    model: torch.nn.Module, layer: Any, output: Any, call: Any
) -> list[Reading]:
    """What is read, in the order of the layers."""
    names = [layer] if isinstance(layer, str) else [*dict.fromkeys(layer)]
    if not names:
        raise ValueError("layer is an empty list. Name a layer.")
    for name in names:  # before anything is computed
        named_layer(model, name)
    of_layer: list[dict[str, Any]] = []
    for argument, value in (("output", output), ("call", call)):
        settings = value if isinstance(value, Mapping) else dict.fromkeys(names, value)
        unknown = settings.keys() - set(names)
        if unknown:
            raise ValueError(
                f"{argument} names {min(unknown)!r}, which is not in layer={layer!r}."
            )
        of_layer.append(dict(settings))
    outputs, calls = of_layer
    return [Reading(name, outputs.get(name), calls.get(name)) for name in names]


def _check_arguments(
    model: object, inputs: Any, action: object, batch_size: int
) -> None:
    check_model(model)
    if not callable(action):
        raise TypeError(
            "action must be callable as action(inputs, power), found "
            f"{type(action).__name__}."
        )
    if n_inputs(inputs) == 0 or batch_size < 1:
        raise ValueError(
            "inputs must hold at least one row and batch_size must be positive, "
            f"found {n_inputs(inputs)} rows and batch_size={batch_size!r}."
        )
