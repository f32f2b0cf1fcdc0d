"""Whether the group maps the grid of a layer onto itself, judged by its neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from .._warnings import warn
from ..groups._group import action_powers, generator_elements
from ._sites import Grid, Layout, SiteMoves, sites_inside

LOOKED_AT, _SITES = 32, 64  # inputs, and sites of each
_FLOATS = 2**23  # held of a layer
_COMPONENTS, _ROWS_EACH = 32, 8  # of the rows, and the fewest rows for each
_FEWEST = 4, 64  # inputs and rows
# What is warned of: an offset of so many sites and standard errors, where R2 is that
# large, and falls along that axis by this share of what is left unexplained: it hardly
# does where a layer does not follow the symmetry, shifted or not.
_OFF, _ERRORS, _R2, _FALL = 0.25, 3.0, 0.1, 0.6


class Alignment(NamedTuple):
    """How well a linear map of canonical rows explains those of moved inputs."""

    r2: float  # at the same site
    shifted_r2: float  # at the best of it and its neighbours
    offset: tuple[float, ...]  # from the site to where the best one would lie
    is_clear: bool


@dataclass(eq=False)
class AlignmentCheck:
    """Compares moved rows of some inputs with canonical ones and their neighbours."""

    moves: SiteMoves
    _rows: dict[tuple[str, int], dict[int, NDArray]] = field(
        default_factory=dict, init=False
    )
    _grids: dict[str, Grid] = field(default_factory=dict, init=False)

    def see(
        self,
        rows: torch.Tensor,
        layout: Layout,
        numbers: NDArray,
        element: int,
        layer: str,
    ) -> None:
        """Keep some rows (n_inputs, n_sites, n_features) that an element has moved."""
        used = (0, *generator_elements(self.moves.group))
        if not layout.grid or max(layout.grid) < 3 or element not in used:
            return
        self._grids[layer] = layout.grid
        known = self._rows.setdefault((layer, element), {})
        for row, number in enumerate(map(int, numbers)):
            if number < LOOKED_AT and number not in known:
                site = self._sites(layout.grid, number, rows.shape[2])
                if element:
                    site = self.moves(layout.grid, element)[site]
                else:
                    site = site + _steps(layout.grid)[:, np.newaxis]
                at = torch.as_tensor(site + layout.n_prefix, device=rows.device)
                known[number] = rows[row][at].float().cpu().numpy()

    def _sites(self, grid: Grid, number: int, n_features: int) -> NDArray:
        """Some sites of an input that have all their neighbours."""
        inside = sites_inside(grid, tuple(int(n >= 3) for n in grid))
        room = _FLOATS // (len(_steps(grid)) * n_features * LOOKED_AT)
        n = min(len(inside), _SITES, max(room, 1))
        return np.random.default_rng(number).choice(inside, n, replace=False)

    def judge(self, layer: str) -> dict[int, Alignment]:
        """For each generator, by its element; none where there is too little to see."""
        canonical = self._rows.get((layer, 0), {})
        n_rows = sum(rows.shape[1] for rows in canonical.values())
        if len(canonical) < _FEWEST[0] or n_rows < _FEWEST[1]:
            return {}
        neighbours = np.concatenate([*canonical.values()], axis=1)
        inputs = np.repeat([*canonical], n_rows // len(canonical))
        shape = tuple(3 if n >= 3 else 1 for n in self._grids[layer])
        found = {}
        for element in filter(None, generator_elements(self.moves.group)):
            moved = np.concatenate([*self._rows[layer, element].values()])
            if np.ptp(moved, axis=0).any():  # else there is nothing to explain
                found[element] = _compared(neighbours, moved, inputs, shape)
        return found

    def warn(self, layer: str) -> None:
        """Warn if a shifted comparison explains clearly more."""
        for element, alignment in self.judge(layer).items():
            if alignment.is_clear:
                power = action_powers(self.moves.group)[element]
                offset = ", ".join(f"{round(d, 1) + 0:+.1f}" for d in alignment.offset)
                warn(
                    f"layer={layer!r}: maps of inputs moved by power {power} fit the "
                    f"canonical ones best when shifted by ({offset}) sites; as they "
                    f"are, R2 is {alignment.r2:.2f}. Strides and padding do not map "
                    f"the grid {self._grids[layer]} onto itself. Look for a size of "
                    "the inputs that does with site_alignment."
                )
                return


def _steps(grid: Grid) -> NDArray:
    """From a site to itself and its neighbours, along axes of three sites or more."""
    steps = np.zeros(1, dtype=np.int64)
    for axis, n in enumerate(grid):
        step = math.prod(grid[axis + 1 :]) * np.arange(-1, 2) if n >= 3 else [0]
        steps = np.add.outer(steps, step).ravel()
    return steps


def _compared(
    neighbours: NDArray, moved: NDArray, inputs: NDArray, shape: tuple[int, ...]
) -> Alignment:
    """Compare moved rows with each neighbour (n_neighbours, n_rows, n_features)."""
    n = min(_COMPONENTS, moved.shape[1], len(moved) // (2 * _ROWS_EACH))
    centre = len(neighbours) // 2
    pca = PCA(n, random_state=0).fit(np.concatenate([neighbours[centre], moved]))
    Y, folds = pca.transform(moved), GroupKFold(2)
    by_input = np.unique(inputs, return_inverse=True)[1]
    total = np.bincount(by_input, ((Y - Y.mean(axis=0)) ** 2).sum(axis=1))
    missed = []
    for X in neighbours:
        predicted = cross_val_predict(
            LinearRegression(), pca.transform(X), Y, groups=inputs, cv=folds
        )
        missed.append(np.bincount(by_input, ((Y - predicted) ** 2).sum(axis=1)))
    return _judged(np.array(missed), total, shape)


def _judged(missed: NDArray, total: NDArray, shape: tuple[int, ...]) -> Alignment:
    """From the squares missed at each neighbour of each input, and those in all."""
    r2 = (1 - missed.sum(axis=1) / total.sum()).reshape(shape)
    offset, spread = _peak(r2)
    without = 1 - (missed.sum(axis=1)[:, np.newaxis] - missed) / (total.sum() - total)
    peaks = np.array([_peak(one.reshape(shape))[0] for one in without.T])
    error = np.sqrt((len(total) - 1) * peaks.var(axis=0))  # the jackknife
    off = np.abs(offset)
    falls = spread >= _FALL * (1 - r2.max())
    is_clear = (off >= _OFF) & (off > _ERRORS * error) & falls
    centre = r2[tuple(n // 2 for n in shape)]
    return Alignment(
        float(centre),
        float(r2.max()),
        tuple(offset.tolist()),
        bool(is_clear.any() and r2.max() >= _R2),
    )


def _peak(r2: NDArray) -> tuple[NDArray, NDArray]:
    """Where R2 is largest, in sites from the centre, and how much it varies there."""
    best = tuple(map(int, np.unravel_index(np.argmax(r2), r2.shape)))
    offset, spread = np.zeros(r2.ndim), np.zeros(r2.ndim)
    for axis, n in enumerate(r2.shape):
        line = [r2[(*best[:axis], i, *best[axis + 1 :])] for i in range(n)]
        spread[axis] = np.ptp(line)
        if n == 3:
            low, middle, high = line
            curvature = low - 2 * middle + high
            offset[axis] = best[axis] - 1
            if curvature < 0:  # the vertex of a parabola through the three
                offset[axis] = np.clip((low - high) / (2 * curvature), -1, 1)
    return offset, spread
