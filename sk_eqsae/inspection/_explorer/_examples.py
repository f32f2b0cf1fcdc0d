"""Inputs that show what a feature does, and features that fire at an input."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ._numbers import columns
from ._page import rounded
from ._seen import Seen

_QUANTILES = (75, 50, 25)  # percent of the inputs that fire it are weaker
_N_RANDOM = 3
_MOST_INPUTS = 2000  # of which the features are listed that fire there
_MOST_FEATURES = 100  # listed of one input
_N_TURNED = 3  # strongest inputs that are shown beside all copies of a feature
_MOST_COPIES = 24


class Examples:
    """For each latent its strongest inputs, some at quantiles and some at random."""

    # An example is [place among all inputs shown, activation at each element, cells],
    # the last only on a grid. An input counts by its strongest site.

    def __init__(self, seen: Seen, n_top: int) -> None:
        self.seen = seen
        self.n_top = n_top
        self.known, self.input_of = np.unique(seen.inputs, return_inverse=True)
        self.grid, self.cells = _cells(seen)
        self.orbit_of_row, self.row_element, self.row_cell = self._of_rows()
        self.has_sites = len(self.known) < len(seen.table)
        self._rng = np.random.default_rng(0)
        latents = columns(seen.Z.tocsc())
        ranked = [self._ranked(*latent) for latent in latents]
        others = [self._others(orbits) for orbits in ranked]
        found = self._strongest = [orbits[:n_top] for orbits in ranked]
        self.shown = self._by_rank(found, [[o for _, o in each] for each in others])
        self._place = dict(
            zip(self.shown.tolist(), range(len(self.shown)), strict=True)
        )
        column = np.zeros(seen.Z.shape[0])
        self.top, self.others = [], []
        for (rows, values), strongest, more in zip(latents, found, others, strict=True):
            column[rows] = values
            heat = self._heat(rows, values)
            self.top.append([self._example(o, column) + heat(o) for o in strongest])
            self.others.append([[q, *self._example(o, column)] for q, o in more])
            column[rows] = 0

    @property
    def ids(self) -> NDArray:
        """Inputs that are shown, the strongest of each latent before the others."""
        return self.known[self.shown]

    def _ranked(self, rows: NDArray, values: NDArray) -> NDArray:
        """The strongest orbit of each input that fires a latent, strongest first."""
        strongest_first = self.orbit_of_row[rows[np.argsort(-values, kind="stable")]]
        first = np.unique(self.input_of[strongest_first], return_index=True)[1]
        return strongest_first[np.sort(first)]

    def _others(self, ranked: NDArray) -> list[tuple[int, int]]:
        """Percent and orbit, 0 for one at random, of inputs that are not on top."""
        n, picked = len(ranked) if self.n_top else 0, {}
        for percent in _QUANTILES:
            place = int((1 - percent / 100) * (n - 1))
            if self.n_top <= place < n and place not in picked:
                picked[place] = percent
        rest = np.setdiff1d(np.arange(self.n_top, n), list(picked))
        some = self._rng.choice(rest, min(_N_RANDOM, len(rest)), replace=False)
        picked |= dict.fromkeys(np.sort(some).tolist(), 0)
        return [(percent, int(ranked[place])) for place, percent in picked.items()]

    def _by_rank(self, *lists: list[Any]) -> NDArray:
        """Inputs of all examples, those that come first in their lists at first."""
        ranked = [
            (which, rank, self.input_of[orbit])
            for which, examples in enumerate(lists)
            for orbits in examples
            for rank, orbit in enumerate(orbits)
        ]
        numbers = dict.fromkeys(number for *_, number in sorted(ranked))
        return np.array(list(numbers), dtype=np.int64)

    def _example(self, orbit: int, column: NDArray) -> list[Any]:
        rows = self.seen.table[orbit]
        z = np.where(rows >= 0, column[rows], np.nan)
        cells = [] if self.cells is None else [self.cells[orbit].tolist()]
        return [self._place[int(self.input_of[orbit])], rounded(z, 3), *cells]

    def _heat(self, rows: NDArray, values: NDArray) -> Any:
        """Function that lists where else a latent fires in an orbit's input."""
        if self.cells is None or not self.has_sites:
            return lambda _: []
        orbits = self.orbit_of_row[rows]
        inputs = self.input_of[orbits]

        def listed(orbit: int) -> list[Any]:
            of_input = inputs == self.input_of[orbit]
            at = of_input & (orbits == orbit)
            strongest = self.row_element[rows[at]][values[at].argmax()]
            moved = of_input & (self.row_element[rows] == strongest)
            pairs = zip(self.row_cell[rows[moved]].tolist(), values[moved], strict=True)
            return [[[c, rounded(z, 3)] for c, z in pairs]]

        return listed

    def _of_rows(self) -> NDArray:
        """Orbit, element and cell of each row, cell -1 without a grid: (3, n_rows)."""
        found = np.full((3, self.seen.Z.shape[0]), -1)
        places = np.nonzero(self.seen.table >= 0)
        rows = self.seen.table[places]
        found[:2, rows] = places
        if self.cells is not None:
            found[2, rows] = self.cells[places]
        return found

    def turned(self, copies: pd.DataFrame) -> list[Any]:
        """Where copies of a latent fire most in the orbits of its strongest inputs."""
        # for each of these orbits, by copy [element, activation]
        ordered = copies.reset_index(drop=True).sort_values(["orbit", "copy"])
        by_orbit = [part.index[:_MOST_COPIES] for _, part in ordered.groupby("orbit")]
        found: list[Any] = [[] for _ in range(len(copies))]
        for latents in by_orbit:
            if len(latents) > 1:
                for latent in latents:
                    orbits = self._strongest[latent][:_N_TURNED]
                    found[latent] = [self._by_copy(o, latents) for o in orbits]
        return found

    def _by_copy(self, orbit: int, latents: pd.Index) -> list[Any]:
        rows = self.seen.table[orbit]
        z = self.seen.Z[np.maximum(rows, 0)].toarray()[:, latents]
        z[rows < 0] = -1
        return [[int(e), rounded(z[e, j], 3)] for j, e in enumerate(z.argmax(axis=0))]

    def features(self, largest: NDArray) -> list[Any]:
        """Latents that fire at each input shown, and percent of their largest."""
        Z = self.seen.Z.tocoo()
        shown = self.shown[:_MOST_INPUTS]
        place = np.full(len(self.known), -1)
        place[shown] = np.arange(len(shown))
        at = place[self.input_of[self.orbit_of_row[Z.row]]]
        kept = at >= 0
        at, latent, share = at[kept], Z.col[kept], (Z.data / largest[Z.col])[kept]
        order = np.lexsort((-share, at))
        at, latent, share = at[order], latent[order], share[order]
        first = np.sort(np.unique(np.stack([at, latent]), axis=1, return_index=True)[1])
        ends = np.searchsorted(at[first], np.arange(len(shown) + 1)).tolist()
        percent = np.rint(100 * share).astype(int)
        parts = [first[a : min(b, a + _MOST_FEATURES)] for a, b in pairwise(ends)]
        return [[latent[part].tolist(), percent[part].tolist()] for part in parts]


def _cells(seen: Seen) -> tuple[Any, NDArray | None]:
    """Rows and columns of the grid of sites, and the cell of each row of the table."""
    orbits = seen.orbits
    if orbits.grid is None or len(orbits.grid) > 2 or orbits.position is None:
        return None, None
    grid = [1, *orbits.grid][-2:]
    if orbits.position.max() >= np.prod(grid):  # tokens before the grid are rows, too
        return None, None
    return grid, np.where(seen.table >= 0, orbits.position[seen.table], -1)
