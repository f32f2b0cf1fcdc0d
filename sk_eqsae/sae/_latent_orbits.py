"""Which latents a group permutes among each other, and how."""

from __future__ import annotations

from functools import cached_property
from numbers import Integral
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from .._estimator import as_array
from ..groups import FiniteGroup, Subgroup
from ..groups._group import coset_representatives

Latents = TypeVar("Latents", NDArray, csr_array)


class LatentOrbits:
    """Latents in orbits, each of as many latents as its subgroup H has cosets."""

    # The latents of an orbit lie side by side, and latent c is of the coset c of H, in
    # the numbers of ``group.cosets(H)``; the element g moves latent c to g c. Free
    # latents, which nothing moves, come last.

    def __init__(self, group: FiniteGroup, kinds: ArrayLike, n_free: int = 0) -> None:
        self.group = group
        self.kinds = np.asarray(kinds)  # of each orbit: place of H in group.subgroups
        self.lengths: NDArray = lengths_of(group)[self.kinds]
        self.starts = self.lengths.cumsum() - self.lengths  # first latent of each
        self.n_orbits, self.n_free = len(self.kinds), n_free
        self.n_tied = int(self.lengths.sum())  # latents that are not free
        self.n_components = self.n_tied + n_free
        free = np.zeros(n_free, dtype=np.int64)
        orbit = np.repeat(np.arange(self.n_orbits), self.lengths)
        coset = np.arange(self.n_tied) - np.repeat(self.starts, self.lengths)
        self.orbit = np.append(orbit, free - 1)  # of each latent; -1 if it is free
        self.coset = np.append(coset, free)  # of each latent

    @property
    def subgroups(self) -> list[Subgroup]:
        """Subgroup of each orbit: what leaves the first of its latents alone."""
        return [self.group.subgroups[kind] for kind in self.kinds]

    @property
    def by_length(self) -> dict[int | str, int]:
        """Number of orbits of each length or, if several subgroups have it, of each."""
        kinds, counts = np.unique(self.kinds, return_counts=True)
        keys = [_key(self.group, self.group.subgroups[kind]) for kind in kinds]
        return dict(zip(keys, counts.tolist(), strict=True))

    @cached_property
    def _cosets(self) -> dict[int, NDArray]:
        """How the group permutes the latents of an orbit of each kind there is."""
        kinds = np.unique(self.kinds).tolist()
        return {k: self.group.cosets(self.group.subgroups[k]) for k in kinds}

    def places(self, element: int) -> NDArray:
        """Place to which an element moves each latent, (n_components,)."""
        places = np.arange(self.n_components)
        for kind, cosets in self._cosets.items():
            starts = self.starts[self.kinds == kind, np.newaxis]
            places[starts + np.arange(cosets.shape[1])] = starts + cosets[element]
        return places

    def permute(self, Z: Latents, power: ArrayLike) -> Latents:
        """Codes of rows that are moved, by one power or each by its own."""
        power = np.asarray(as_array(power, "power"))
        is_one = power.ndim <= (self.group.n_generators > 1)
        elements = self.group.elements_of(power[np.newaxis] if is_one else power)
        elements = np.broadcast_to(elements, Z.shape[0])
        if isinstance(Z, np.ndarray):
            moved = np.empty_like(Z)
            for element in np.unique(elements):
                rows = elements == element
                moved[np.ix_(rows, self.places(element))] = Z[rows]
            return moved
        moved = csr_array(Z, copy=True)
        of_entries = np.repeat(elements, np.diff(moved.indptr))
        for element in np.unique(elements):
            entries = of_entries == element
            moved.indices[entries] = self.places(element)[moved.indices[entries]]
        moved.has_sorted_indices = False
        moved.sort_indices()
        return moved

    def pool(self, Z: Latents) -> Latents:
        """Largest latent of each orbit, of shape (n_rows, n_orbits)."""
        if isinstance(Z, np.ndarray):
            return np.maximum.reduceat(Z[:, : self.n_tied], self.starts, axis=1)
        tied = csr_array(Z[:, : self.n_tied]).tocoo()
        key = tied.row.astype(np.int64) * self.n_orbits + self.orbit[tied.col]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        places = np.divmod(key[starts], self.n_orbits)
        largest = np.maximum.reduceat(tied.data, starts) if len(starts) else tied.data
        return csr_array((largest, places), shape=(tied.shape[0], self.n_orbits))

    @cached_property
    def names(self) -> list[str]:
        """``3_g2`` is latent g^2 of orbit 3, ``3`` all of it, ``_free0`` a free one."""
        group, suffixes = self.group, {}
        for kind in np.unique(self.kinds).tolist():
            powers = group.powers[coset_representatives(group, group.subgroups[kind])]
            pairs = (zip(group.generator_names, row, strict=True) for row in powers)
            named = ["_" + "".join(f"{g}{p}" for g, p in each) for each in pairs]
            suffixes[kind] = named if len(named) > 1 else [""]
        orbits = enumerate(self.kinds.tolist())
        names = [f"{i}{suffix}" for i, kind in orbits for suffix in suffixes[kind]]
        return names + [f"_free{j}" for j in range(self.n_free)]


def lengths_of(group: FiniteGroup) -> NDArray:
    """Length of the orbits of each subgroup of a group, (n_subgroups,)."""
    return group.order // np.array([each.order for each in group.subgroups])


def counts_of(group: FiniteGroup, orbit_lengths: dict[int | str, int]) -> NDArray:
    """Orbits of each subgroup, (n_subgroups,), from those of lengths or names."""
    counts = np.zeros(len(group.subgroups), dtype=np.int64)
    known = {_key(group, each): i for i, each in enumerate(group.subgroups)}
    known |= {each.name: i for i, each in enumerate(group.subgroups)}
    keys = ", ".join(map(repr, known))
    for key, count in orbit_lengths.items():
        if key not in known or not isinstance(count, Integral) or count < 0:
            raise ValueError(
                f"orbit_lengths={orbit_lengths!r} has {key!r}: {count!r}, but has to "
                f"say how many orbits, 0 or more, there are of {keys}: of a length, "
                f"or of latents that a subgroup of {group} leaves alone."
            )
        counts[known[key]] += count
    return counts


def _key(group: FiniteGroup, subgroup: Subgroup) -> int | str:
    alike = sum(each.order == subgroup.order for each in group.subgroups)
    return group.order // subgroup.order if alike == 1 else subgroup.name
