"""Whether the group maps the grid of a layer onto itself, judged by its neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from .._threads import DECOMPOSITION, blas_threads_that_pay
from .._warnings import warn
from ..groups._group import action_powers, generator_elements
from ._sites import Grid, Layout, SiteMoves, sites_inside

LOOKED_AT, _SITES = 32, 64  # inputs, and sites of each
_FLOATS = 2**23  # held of a layer
_COMPONENTS, _ROWS_EACH = 32, 8  # of the rows, and the fewest rows for each
_FEWEST = 4, 64  # inputs and rows
# What is warned of: an offset of so many sites and standard errors, over inputs and
# across features, where R2 is that large, and falls along that axis by this share of
# what is left unexplained: it hardly does where a layer does not follow the symmetry,
# shifted or not.
_OFF, _ERRORS, _ERRORS_ACROSS, _R2, _FALL = 0.25, 3.0, 4.0, 0.1, 0.6
_RIDGE, _LEAST = 1e-3, 1e-9  # of the mean variance, and of all


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


class _Squares(NamedTuple):
    """Sums of squares by input, and by feature."""

    of_inputs: NDArray
    of_features: NDArray


def _compared(
    neighbours: NDArray, moved: NDArray, inputs: NDArray, shape: tuple[int, ...]
) -> Alignment:
    """Compare moved rows with each neighbour (n_neighbours, n_rows, n_features)."""
    n = min(_COMPONENTS, moved.shape[1], len(moved) // (2 * _ROWS_EACH))
    centre = len(neighbours) // 2
    pca = PCA(n, random_state=0).fit(np.concatenate([neighbours[centre], moved]))
    Y, by_input = pca.transform(moved), np.unique(inputs, return_inverse=True)[1]

    def squares(errors: NDArray) -> _Squares:
        of_entries = (errors @ pca.components_) ** 2
        of_inputs = np.bincount(by_input, of_entries.sum(axis=1))
        return _Squares(of_inputs, of_entries.sum(axis=0))

    # components that hardly vary would be blown up
    ridge, is_even = _RIDGE * np.square(Y).sum() / n, by_input % 2 == 0
    with blas_threads_that_pay(DECOMPOSITION * moved.shape[1] ** 3):
        missed = [
            squares(Y - _predicted(pca.transform(X), Y, is_even, ridge))
            for X in neighbours
        ]
    all_missed = _Squares(*map(np.array, zip(*missed, strict=True)))
    return _judged(all_missed, squares(Y - Y.mean(axis=0)), shape)


def _predicted(X: NDArray, Y: NDArray, is_even: NDArray, ridge: float) -> NDArray:
    """Rows of Y in each half by the linear map that fits the other half."""
    # scikit-learn's Ridge does the same, and takes ten times as long to check its input
    found = np.empty_like(Y)
    for part in (is_even, ~is_even):
        x, y = X[~part].mean(axis=0), Y[~part].mean(axis=0)
        A, B = X[~part] - x, Y[~part] - y
        W = np.linalg.solve(A.T @ A + ridge * np.eye(X.shape[1]), A.T @ B)
        found[part] = y + (X[part] - x) @ W
    return found


def _judged(missed: _Squares, total: _Squares, shape: tuple[int, ...]) -> Alignment:
    """From the squares missed at each neighbour, and those in all."""
    r2 = (1 - missed.of_inputs.sum(axis=1) / total.of_inputs.sum()).reshape(shape)
    offset, spread = _peak(r2)
    falls = spread >= _FALL * (1 - r2.max())
    off, errors = np.abs(offset), _errors_of_offset(missed, total, shape)
    is_clear = (off >= _OFF) & (off > errors.max(axis=0)) & falls
    centre = r2[tuple(n // 2 for n in shape)]
    return Alignment(
        float(centre),
        float(r2.max()),
        tuple(offset.tolist()),
        bool(is_clear.any() and r2.max() >= _R2),
    )


def _errors_of_offset(
    missed: _Squares, total: _Squares, shape: tuple[int, ...]
) -> NDArray:
    """How large an offset has to be, by its inputs and by its features."""

    def peaks(missed: NDArray, total: NDArray) -> NDArray:
        r2 = 1 - missed / np.maximum(total, _LEAST * total.sum())
        return np.array([_peak(one.reshape(shape))[0] for one in r2.T])

    n, of_all = len(total.of_inputs), missed.of_inputs.sum(axis=1, keepdims=True)
    without = peaks(of_all - missed.of_inputs, total.of_inputs.sum() - total.of_inputs)
    of_inputs = np.sqrt((n - 1) * without.var(axis=0))  # the jackknife
    # A grid that is off shifts all features alike, a network that does not know the
    # symmetry each by its own.
    weights = total.of_features / total.of_features.sum()
    each = peaks(missed.of_features, total.of_features)
    variance = weights @ (each - weights @ each) ** 2
    n_others = max(1 / np.square(weights).sum() - 1, _LEAST)
    return np.array(
        [_ERRORS * of_inputs, _ERRORS_ACROSS * np.sqrt(variance / n_others)]
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
