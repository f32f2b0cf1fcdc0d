"""Which latents are each other's turned copies, found from their codes."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from ..groups import FiniteGroup

_PARTNERS = 16  # of a latent under one element that are looked at
_VOTES = 8  # members of an orbit that have a say in who is next
_PRODUCTS = 2**28  # of entries of codes: a minute
_AT_ONCE = 2**22
_LEAST = 0.02  # cosine that is looked at
_LEVELS = 64  # of cosines
_PAIRS = 2**10  # of latents that score an orbit; all of them in groups up to 32


class Matching(NamedTuple):
    """Orbits into which latents are put."""

    orbit: NDArray  # of each latent
    coset: NDArray  # of each latent: its place in the orbit
    subgroup: NDArray  # of each orbit, in `group.subgroups`
    score: NDArray  # of each orbit: mean cosine of codes that should be equal


def match_latents(
    Z: csr_array,
    table: NDArray,
    group: FiniteGroup,
    *,
    part: NDArray | None = None,
    counts: NDArray | None = None,
) -> Matching:
    """Put each latent into one orbit, of the length that its codes speak for."""
    # Row `table` [i, g] of Z holds the code of element g of orbit i, -1 is missing.
    # `part` of each latent says which may share an orbit; `counts` of each subgroup,
    # how many orbits there are to be.
    #
    # The code of a moved row should be the moved code of the row. So with x_ge what g
    # makes of x_e, a latent i in coset c and a latent j in coset g c have
    #
    #     A_g[i, j] = sum over e of z_i(x_e) z_j(x_ge) / (|z_i| |z_j|) = 1
    #
    # Latents take turns, the largest codes first. Each gets the orbit, one for each
    # subgroup, with the largest mean over g != 1 and c of A_g[latent c, latent g c].
    Z = Z.astype(np.float64)  # squares may leave the range of float32
    cosines = _Cosines(Z, table, group)
    norms = _norms(Z)
    kinds = [_Kind(group.cosets(subgroup)) for subgroup in group.subgroups]
    left = np.full(len(kinds), len(norms)) if counts is None else np.array(counts)
    part = np.zeros(len(norms), dtype=np.int64) if part is None else part
    orbit, coset = np.full((2, len(norms)), -1)
    found: list[tuple[int, float]] = []
    for seed in np.argsort(-norms, kind="stable"):
        if orbit[seed] >= 0:
            continue
        free = (orbit < 0) & (part == part[seed])
        possible = (left > 0) & ([kind.length <= free.sum() for kind in kinds])
        orbits = {
            int(i): kinds[i].best_orbit(int(seed), cosines, free)
            for i in np.flatnonzero(possible)
        }
        best = max(orbits, key=lambda i: orbits[i][0])
        score, members = orbits[best]
        orbit[members], coset[members] = len(found), np.arange(len(members))
        left[best] -= 1
        found.append((best, score))
    subgroup, scores = map(np.array, zip(*found, strict=True))
    return Matching(orbit, coset, subgroup, scores)


class _Kind:
    """Latent orbits of one kind: the cosets of a subgroup."""

    def __init__(self, moves: NDArray) -> None:
        self.moves = moves  # g c, of shape (order, length)
        self.length = moves.shape[1]
        # cosets that differ in which elements leave them alone
        stays = self.moves == np.arange(self.length)
        self.starts = np.unique(stays, axis=1, return_index=True)[1].tolist()
        n_pairs = (len(moves) - 1) * self.length  # of g != 1 and c
        some = np.linspace(0, n_pairs - 1, min(n_pairs, _PAIRS)).astype(np.intp)
        g, c = some // self.length + 1, some % self.length
        self.pairs = g, c, self.moves[g, c]

    def best_orbit(
        self, seed: int, cosines: "_Cosines", free: NDArray
    ) -> tuple[float, NDArray]:
        """Score and latents of an orbit with this one in it, coset by coset."""
        orbits = [self._orbit(seed, s, cosines, free) for s in self.starts]
        g, c, moved = self.pairs
        scores = [cosines.mean(g, each[c], each[moved]) for each in orbits]
        best = int(np.argmax(scores))
        return scores[best], orbits[best]

    def _orbit(
        self, seed: int, start: int, cosines: "_Cosines", free: NDArray
    ) -> NDArray:
        """One latent after the other, the one most like those that are there."""
        members, free = np.full(self.length, -1), free.copy()
        members[start], free[seed] = seed, False
        for coset in range(self.length):
            if coset != start:
                placed = np.flatnonzero(members >= 0)[:_VOTES]
                g, place = np.nonzero(self.moves[:, placed] == coset)
                members[coset] = cosines.next(g, members[placed[place]], free)
                free[members[coset]] = False
        return members


class _Cosines:
    """A_g of all elements g, of each row the largest entries and the diagonal."""

    def __init__(self, Z: csr_array, table: NDArray, group: FiniteGroup) -> None:
        table = _as_many_as_time_allows(Z, table)
        norms = _norms(Z[table[table >= 0]])
        self.n_latents = len(norms)
        scale = np.divide(1, norms, where=norms > 0, out=np.zeros(len(norms)))
        Z = (Z * scale).tocsr().astype(np.float32)
        rows = [csr_array((self.n_latents, self.n_latents), dtype=np.float32)]
        for to in group.multiplication_table[1:]:  # A_1 is never asked for
            moved = table[:, to]
            both = (table >= 0) & (moved >= 0)
            rows.extend(_largest(Z[table[both]], Z[moved[both]]))
        # row g n_latents + i holds A_g[i]
        table = vstack(rows, format="csr")
        table.sort_indices()
        self.starts, self.values = table.indptr, table.data
        first = np.arange(table.shape[0]) * self.n_latents
        self.keys = np.repeat(first, np.diff(table.indptr))
        self.keys += table.indices

    def next(self, g: NDArray, latents: NDArray, free: NDArray) -> int:
        """Free latent with the largest sum of A_g[i] over pairs of g and latent i."""
        rows = g * self.n_latents + latents
        starts = self.starts[rows]
        counts = self.starts[rows + 1] - starts
        before = counts.cumsum() - counts
        entries = np.arange(counts.sum()) + np.repeat(starts - before, counts)
        others = self.keys[entries] % self.n_latents
        sums = np.bincount(others, self.values[entries], minlength=self.n_latents)
        sums *= free
        best = int(sums.argmax())
        return best if sums[best] > 0 else int(free.argmax())

    def mean(self, g: NDArray, before: NDArray, after: NDArray) -> float:
        """Mean of A_g[before, after] over elements g and pairs of latents."""
        if not len(self.keys):
            return 0.0
        keys = (g * self.n_latents + before) * self.n_latents + after
        place = np.minimum(self.keys.searchsorted(keys), len(self.keys) - 1)
        return float((self.values[place] * (self.keys[place] == keys)).mean())


def _norms(Z: csr_array) -> NDArray:
    return np.sqrt(Z.power(2).sum(axis=0))


def _as_many_as_time_allows(Z: csr_array, table: NDArray) -> NDArray:
    """Orbits, evenly spaced."""
    products = np.square(np.diff(Z.indptr), dtype=np.float64).sum() * table.shape[1]
    n_orbits = max(1, min(len(table), int(len(table) * _PRODUCTS / max(products, 1))))
    return table[np.linspace(0, len(table) - 1, n_orbits).astype(np.intp)]


def _largest(before: csr_array, after: csr_array) -> list[csr_array]:
    """Rows of A_g, some at a time, with their largest entries and the diagonal."""
    n_latents = before.shape[1]
    by_latent = before.T.tocsr()
    work = np.diff(by_latent.indptr) * max(1.0, after.nnz / max(1, after.shape[0]))
    block = np.cumsum(work) // _AT_ONCE
    cuts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), n_latents]
    parts = []
    for first, last in pairwise(cuts):
        product = (by_latent[first:last] @ after).tocoo()
        high = product.data > _LEAST
        value, row, col = product.data[high], product.row[high], product.col[high]
        few = _at_the_top(value, row, last - first) | (row + first == col)
        value, row, col = value[few], row[few], col[few]
        order = np.argsort(row - value / 2, kind="stable")  # no cosine is over 1
        value, row, col = value[order], row[order], col[order]
        starts = np.searchsorted(row, np.arange(last - first))
        keep = (np.arange(len(row)) - starts[row] < _PARTNERS) | (row + first == col)
        entries = (value[keep], (row[keep], col[keep]))
        parts.append(csr_array(entries, shape=product.shape))
    return parts


def _at_the_top(value: NDArray, row: NDArray, n_rows: int) -> NDArray:
    """Entries among which the largest of each row are: so that few are sorted."""
    level = np.minimum(value * _LEVELS, _LEVELS - 1).astype(np.intp)
    counts = np.bincount(row * _LEVELS + level, minlength=n_rows * _LEVELS)
    above = counts.reshape(n_rows, _LEVELS)[:, ::-1].cumsum(axis=1)
    least = (above >= _PARTNERS).sum(axis=1) - 1  # the highest with enough above
    return level >= least[row]
