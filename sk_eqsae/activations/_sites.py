"""Sites of a layer: how its output lays them out, and where the group moves them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..groups import FiniteGroup
from ..groups._actions import Action as KnownAction
from ..groups._group import action_powers

Grid = tuple[int, ...]
# how far the logarithm of height over width is from that of the inputs where strides
# and padding change it
_LIKE_INPUT = 0.1


@dataclass(frozen=True)
class Tokens:  # numpydoc ignore=PR02
    """Sites that are tokens: a layer puts out (n_inputs, n_tokens, n_features).

    Parameters
    ----------
    grid : tuple of int, default=None
        Number of tokens along each axis, in C order, such as (14, 14) of a vision
        transformer. None is one row of them, as of a text.
    prefix : int, default=0
        Number of tokens before the grid, such as class and register tokens.
    keep_prefix : bool, default=False
        Whether those are sites, too, which the group leaves where they are.

    Examples
    --------
    >>> from sk_eqsae.activations import Tokens
    >>> Tokens(grid=(14, 14), prefix=1)
    Tokens(grid=(14, 14), prefix=1, keep_prefix=False)
    """

    grid: Grid | None = None
    prefix: int = 0
    keep_prefix: bool = False


@dataclass(frozen=True, eq=False)
class Nodes:  # numpydoc ignore=PR02
    """Sites that are nodes: a layer puts out a row for each, input after input.

    Parameters
    ----------
    sizes : array-like of int of shape (n_inputs,)
        Number of nodes of each input, such as the atoms of molecules.

    Examples
    --------
    >>> from sk_eqsae.activations import Nodes
    >>> Nodes(sizes=[3, 5]).sizes
    array([3, 5])
    """

    sizes: NDArray[np.int64]

    def __post_init__(self) -> None:
        sizes = np.asarray(self.sizes)
        if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or (sizes < 1).any():
            raise ValueError(
                "sizes must hold the number of nodes of each input, one or more, "
                f"found {self.sizes!r}."
            )
        object.__setattr__(self, "sizes", sizes.astype(np.int64))


# "map", "tokens", ...
SitesLike = str | Tokens | Nodes | Callable[[torch.Tensor], torch.Tensor]


def check_sites(sites: Any, n_sites: Any, margin: Any, n_inputs: int) -> None:
    """Raise unless these arguments of `extract_orbits` fit together."""
    layouts = [*sites.values()] if isinstance(sites, Mapping) else [sites]
    for layout in layouts:
        is_class = layout is None or isinstance(layout, Tokens | Nodes)
        if not (is_class or callable(layout) or layout in ("map", "tokens")):
            raise ValueError(
                "sites must be 'map', 'tokens', Tokens(), Nodes(), a function or None, "
                f"found {layout!r}."
            )
        if isinstance(layout, Nodes) and (len(layout.sizes) != n_inputs or margin):
            raise ValueError(
                f"sites=Nodes() has {len(layout.sizes)} sizes and no border, found "
                f"{n_inputs} inputs and margin={margin!r}."
            )
    for name, value, low in (
        ("n_sites", 1 if n_sites is None else n_sites, 1),
        ("margin", margin, 0),
    ):
        if not isinstance(value, int | np.integer) or value < low:
            raise ValueError(
                f"{name} must be a whole number from {low}, found {value!r}."
            )
    if layouts == [None] and (n_sites or margin):
        raise ValueError("n_sites and margin need sites=, such as sites='map'.")


@dataclass(frozen=True)
class Layout:
    """Where the sites of a layer lie: a grid for all inputs, or each its own number."""

    grid: Grid | None
    sizes: Any = None  # (n_inputs,)
    n_prefix: int = 0

    def n_sites(self, numbers: NDArray) -> NDArray:
        """Number of sites of inputs, shape (n_inputs,)."""
        if self.grid is None:
            return self.sizes[numbers]
        return np.full(len(numbers), self.n_prefix + math.prod(self.grid))


def laid_out(
    sites: SitesLike | None, output: torch.Tensor, numbers: NDArray, layer: str
) -> tuple[torch.Tensor, Layout]:
    """Arrange what a layer puts out for inputs, by their numbers, as rows of sites.

    They have the shape (n_inputs, n_sites, n_features), of nodes (n_nodes, n_features).
    """
    if isinstance(sites, Nodes):
        return _laid_nodes(sites, output, numbers, layer)
    _check_shape(output, layer, len(numbers), 1, "one row per input")
    if sites is None:
        return output.reshape(len(output), 1, -1), Layout(())
    if isinstance(sites, Tokens) or sites == "tokens":
        tokens = sites if isinstance(sites, Tokens) else Tokens()
        return _laid_tokens(tokens, output, layer)
    if isinstance(sites, str):  # "map"
        form = "a map (n_inputs, channels, *grid)"
        _check_shape(output, layer, len(numbers), 3, form)
        rows = output.movedim(1, -1)
    else:
        rows = sites(output)
        form = "sites (n_inputs, n_sites, n_features)"
        _check_shape(rows, layer, len(numbers), 3, form)
    return rows.flatten(1, -2), Layout(tuple(rows.shape[1:-1]))


def _check_shape(
    output: torch.Tensor, layer: str, n_inputs: int, min_ndim: int, form: str
) -> None:
    if output.ndim < min_ndim or len(output) != n_inputs:
        raise ValueError(
            f"layer={layer!r} must put out {form}: for {n_inputs} inputs found shape "
            f"{tuple(output.shape)}. Choose a layer whose first axis numbers the "
            "inputs, or say with sites= how it lays out its sites: 'map', 'tokens', "
            "Tokens(), Nodes() or a function of its output."
        )


def _laid_tokens(
    tokens: Tokens, output: torch.Tensor, layer: str
) -> tuple[torch.Tensor, Layout]:
    form = "tokens (n_inputs, n_tokens, n_features)"
    _check_shape(output, layer, len(output), 3, form)
    n = output.shape[1] - tokens.prefix
    grid = (n,) if tokens.grid is None else tuple(tokens.grid)
    if output.ndim != 3 or math.prod(grid) != n or n < 1:
        raise ValueError(
            f"layer={layer!r} has shape {tuple(output.shape)} with sites={tokens}. Its "
            "second axis must hold the prefix and one token for each site of the grid."
        )
    if tokens.keep_prefix:
        return output, Layout(grid, n_prefix=tokens.prefix)
    return output[:, tokens.prefix :], Layout(grid)


def _laid_nodes(
    nodes: Nodes, output: torch.Tensor, numbers: NDArray, layer: str
) -> tuple[torch.Tensor, Layout]:
    layout = Layout(None, nodes.sizes)
    n = int(layout.n_sites(numbers).sum())
    if output.ndim != 2 or len(output) != n:
        raise ValueError(
            f"layer={layer!r} must put out (n_nodes, n_features), with {n} nodes for "
            f"{len(numbers)} inputs by sites=Nodes(sizes=...), found shape "
            f"{tuple(output.shape)}."
        )
    return output, layout


@dataclass(eq=False)
class SiteMoves:
    """Where elements of the group move the sites of a grid."""

    action: Callable[..., Any]
    group: FiniteGroup
    site_action: Callable[..., Any] | None = None
    batch: Any = None  # an array or a tensor such as the inputs, if they are one
    _found: dict[tuple[Grid, int], NDArray] = field(default_factory=dict, init=False)

    def __call__(self, grid: Grid, element: int) -> NDArray[np.int64]:
        """Site to which an element moves each site of a grid, shape (n_sites,)."""
        if not grid:  # all of an input is one site
            return np.zeros(1, dtype=np.int64)
        if (grid, element) not in self._found:
            power = action_powers(self.group)[element]
            self._found[grid, element] = self._permutation(grid, power)
        return self._found[grid, element]

    def check_map(self, shape: tuple[int, ...], layer: str) -> None:
        """Raise if a map (n_inputs, channels, *grid) seems to hold channels last."""
        inputs: Any = getattr(self.batch, "shape", ())
        axis = getattr(self.action, "channel_axis", 0)
        if self.site_action or axis == 0 or len(inputs) < 3 or len(shape) != 4:
            return
        image = inputs[-3:-1] if axis == -1 else inputs[-2:]
        first, last = (
            abs(math.log(rows / columns * image[1] / image[0]))
            for rows, columns in (shape[2:], shape[1:3])
        )
        if last < _LIKE_INPUT < first and last < first / 2:
            raise ValueError(
                f"layer={layer!r} puts out {shape} for images of {tuple(image)}, which "
                "looks as if the last axis held channels. Set sites=lambda out: out "
                "if it does, and sites=lambda out: out.movedim(1, -1) if they are "
                "second."
            )

    def _permutation(self, grid: Grid, power: Any) -> NDArray[np.int64]:
        if isinstance(self.site_action, KnownAction):
            return self.site_action.site_permutation(grid, power)
        if self.site_action is not None:
            return self._by_function(self.site_action, grid, power)
        if isinstance(self.action, KnownAction):
            shape = getattr(self.batch, "shape", None)
            try:
                return self.action.site_permutation(grid, power, input_shape=shape)
            except ValueError as error:
                raise ValueError(f"sites on a grid of {grid}: {error}") from error
        raise ValueError(
            "action is a function, which does not say how it moves sites. Set "
            "site_action= to an action such as ImageRotation(4), or to a function that "
            "moves maps: site_action(maps, power), often action itself."
        )

    def _by_function(
        self, function: Callable[..., Any], grid: Grid, power: Any
    ) -> NDArray[np.int64]:
        """Move a map (1, 1, *grid) of the numbers of sites, and see where they are."""
        index = np.arange(math.prod(grid)).reshape(1, 1, *grid)
        is_tensor = isinstance(self.batch, torch.Tensor)
        moved = function(torch.as_tensor(index) if is_tensor else index, power)
        moved = np.asarray(moved).ravel()
        if not np.array_equal(np.sort(moved), index.ravel()):
            raise ValueError(
                f"site_action must move each site of a map of shape {index.shape} to "
                f"another place; at power {power!r} it does not."
            )
        return np.argsort(moved)


@dataclass(eq=False)
class SiteRows:
    """Keeps the rows of some sites of each input, the same ones for each element.

    Row (x, u, g) holds the activation of g x at g u.
    """

    sites: SitesLike | Mapping[str, SitesLike] | None
    moves: SiteMoves
    n_sites: int | None = None
    margin: int = 0
    seed: int = 0
    see: Callable[..., None] = lambda *_: None  # shown all that layers put out
    layouts: dict[str, Layout] = field(default_factory=dict, init=False)

    def __call__(
        self, output: torch.Tensor, numbers: NDArray, element: int, layer: str
    ) -> torch.Tensor:
        """Rows (n_kept, n_features) of a layer's output for moved inputs."""
        sites = self.sites
        if isinstance(sites, Mapping):
            sites = sites.get(layer)
        if sites == "map":
            self.moves.check_map(tuple(output.shape), layer)
        rows, layout = laid_out(sites, output, numbers, layer)
        self.see(rows, layout, numbers, element, layer)
        known = self.layouts.setdefault(layer, layout)
        if known.grid != layout.grid:
            raise ValueError(
                f"layer={layer!r} has a grid of {known.grid} for some inputs and of "
                f"{layout.grid} for others. Crop or pad the inputs to one size."
            )
        at = self.moved(layer, numbers, element)
        if rows.ndim == 3 and rows.shape[1] == 1:
            return rows[:, 0].clone()
        if layout.grid is None:  # nodes, input after input
            before = np.cumsum([0, *layout.sizes[numbers[:-1]]])
            index = np.concatenate(
                [n + site for n, site in zip(before, at, strict=True)]
            )
            return rows[torch.as_tensor(index, device=rows.device)]
        site = torch.as_tensor(at, device=rows.device)
        part = torch.arange(len(rows), device=rows.device)[:, np.newaxis]
        return rows[part, site].flatten(0, 1)

    def moved(self, layer: str, numbers: NDArray, element: int) -> Any:
        """Where an element moves the sites that are kept of each input."""
        layout, kept = self.layouts[layer], self.kept(layer, numbers)
        if layout.grid is not None:
            return self._moves(layout.grid, layout.n_prefix, element)[kept]
        sizes = layout.sizes[numbers].tolist()
        return [
            self._moves((n,), 0, element)[site]
            for n, site in zip(sizes, kept, strict=True)
        ]

    def _moves(self, grid: Grid, n_prefix: int, element: int) -> NDArray:
        site = self.moves(grid, element)  # those of the prefix stay
        return np.append(np.arange(n_prefix), site + n_prefix) if n_prefix else site

    def kept(self, layer: str, numbers: NDArray) -> Any:
        """Sites that are kept of inputs: (n_inputs, n_kept), of nodes a list."""
        layout, drawn = self.layouts[layer], (self.n_sites, self.seed)
        if layout.grid is None:
            sizes = layout.sizes[numbers].tolist()
            pairs = zip(sizes, numbers.tolist(), strict=True)
            return [_kept(((n,), 0, 0), drawn, (number,))[0] for n, number in pairs]
        place = (layout.grid, layout.n_prefix, self.margin)
        found = _kept(place, drawn, tuple(numbers.tolist()))
        if not found.size:
            raise ValueError(
                f"layer={layer!r} has a grid of {layout.grid}, of which margin="
                f"{self.margin} leaves no site. Lower it."
            )
        return found

    def metadata(
        self, layer: str, n_inputs: int, base: NDArray | None
    ) -> dict[str, Any]:
        """What Orbits say of each row, orbit by orbit with elements ascending."""
        order, numbers = self.moves.group.order, np.arange(n_inputs)
        kept = self.kept(layer, numbers)
        inputs = np.repeat(numbers, [len(site) * order for site in kept])
        site = np.concatenate([*kept])
        found: dict[str, Any] = {
            "groups": inputs if base is None else base[inputs],
            "power": self.moves.group.power_of(np.tile(np.arange(order), len(site))),
            "inputs": inputs,
        }
        if (grid := self.layouts[layer].grid) != ():
            places = [self.moved(layer, numbers, g) for g in range(order)]
            found["site"] = np.repeat(site, order)
            found["position"] = np.stack([*map(np.concatenate, places)], 1).ravel()
            found["grid"] = None if self.layouts[layer].n_prefix else grid
        return found

    def __getstate__(self) -> dict[str, Any]:
        # all that decides which rows are kept, for a hash
        settings = {name: getattr(self, name) for name in ("n_sites", "margin", "seed")}
        return settings | {"sites": self.sites, "by": self.moves.site_action}


@lru_cache(maxsize=256)
def sites_inside(grid: Grid, margin: Grid) -> NDArray:
    """Sites that lie so many sites, along each axis, away from the border of a grid."""
    index = np.arange(math.prod(grid)).reshape(grid)
    rows = zip(grid, margin, strict=True)
    return index[tuple(slice(m, max(n - m, 0)) for n, m in rows)].ravel()


@lru_cache(maxsize=16)  # asked for by each element and layer
def _kept(
    place: tuple[Grid, int, int],
    drawn: tuple[int | None, int],
    numbers: tuple[int, ...],
) -> NDArray:
    """Sites of a grid, or as many of them as are drawn of each input by its number."""
    (grid, n_prefix, margin), (n_sites, seed) = place, drawn
    inside = sites_inside(grid, (margin,) * len(grid)) + n_prefix
    inside = np.append(np.arange(n_prefix), inside)
    if n_sites is None or n_sites >= len(inside):
        return np.broadcast_to(inside, (len(numbers), len(inside)))
    return inside[[_drawn(len(inside), n_sites, seed, number) for number in numbers]]


@lru_cache(maxsize=2**14)  # for a batch, and for all inputs afterwards
def _drawn(n: int, n_drawn: int, seed: int, number: int) -> NDArray:
    rng = np.random.default_rng([seed, number])
    return np.sort(rng.choice(n, n_drawn, replace=False))
