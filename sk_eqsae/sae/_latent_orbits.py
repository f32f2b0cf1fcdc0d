"""Which latents a group permutes among each other, and how."""

from __future__ import annotations

from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from ..groups import FiniteGroup, Subgroup

Latents = TypeVar("Latents", NDArray, csr_array)


class LatentOrbits:
    """Latents in orbits, each of as many latents as its subgroup H has cosets."""

    # The latents of an orbit lie side by side, and latent c is of the coset c of H, in
    # the numbers of ``group.cosets(H)``; the element g moves latent c to g c. Free
    # latents, which nothing moves, come last.

    def __init__(self, group: FiniteGroup, kinds: ArrayLike, n_free: int = 0) -> None:
        self.group = group
        self.kinds = np.asarray(kinds)  # of each orbit: place of H in group.subgroups
        self.n_free = n_free
        orders = np.array([subgroup.order for subgroup in group.subgroups])
        self.lengths: NDArray = group.order // orders[self.kinds]
        self.starts = self.lengths.cumsum() - self.lengths  # first latent of each
        free = np.zeros(n_free, dtype=np.int64)
        orbit = np.repeat(np.arange(self.n_orbits), self.lengths)
        coset = np.arange(len(orbit)) - np.repeat(self.starts, self.lengths)
        self.orbit = np.append(orbit, free - 1)  # of each latent; -1 if it is free
        self.coset = np.append(coset, free)  # of each latent

    @property
    def n_orbits(self) -> int:
        """Number of orbits."""
        return len(self.kinds)

    @property
    def n_components(self) -> int:
        """Number of latents."""
        return len(self.orbit)

    @property
    def n_tied(self) -> int:
        """Number of latents that are not free."""
        return len(self.orbit) - self.n_free

    @property
    def subgroups(self) -> list[Subgroup]:
        """Subgroup of each orbit: what leaves the first of its latents alone."""
        return [self.group.subgroups[kind] for kind in self.kinds]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of orbits of each subgroup that has some, by its name."""
        kinds, counts = np.unique(self.kinds, return_counts=True)
        names = [self.group.subgroups[kind].name for kind in kinds]
        return dict(zip(names, counts.tolist(), strict=True))

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
        power = np.asarray(power)
        is_one = power.ndim <= (self.group.n_generators > 1)
        elements = self.group.elements_of(power[np.newaxis] if is_one else power)
        elements = np.broadcast_to(elements, Z.shape[0])
        if isinstance(Z, np.ndarray):
            moved = np.empty_like(Z)
            for element in np.unique(elements):
                rows = elements == element
                moved[np.ix_(rows, self.places(element))] = Z[rows]
            return moved
        return self._permute_sparse(csr_array(Z, copy=True), elements)

    def _permute_sparse(self, Z: csr_array, elements: NDArray) -> csr_array:
        of_entries = np.repeat(elements, np.diff(Z.indptr))
        for element in np.unique(elements):
            entries = of_entries == element
            Z.indices[entries] = self.places(element)[Z.indices[entries]]
        Z.has_sorted_indices = False
        Z.sort_indices()
        return Z

    def pool(self, Z: Latents) -> Latents:
        """Largest latent of each orbit, of shape (n_rows, n_orbits)."""
        if isinstance(Z, np.ndarray):
            return np.maximum.reduceat(Z[:, : self.n_tied], self.starts, axis=1)
        return self._pool_sparse(csr_array(Z[:, : self.n_tied]))

    def _pool_sparse(self, latents: csr_array) -> csr_array:
        Z = latents.tocoo()
        key = Z.row.astype(np.int64) * self.n_orbits + self.orbit[Z.col]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        places = np.divmod(key[starts], self.n_orbits)
        largest = np.maximum.reduceat(Z.data, starts) if len(starts) else Z.data
        return csr_array((largest, places), shape=(Z.shape[0], self.n_orbits))

    @cached_property
    def names(self) -> list[str]:
        """``3_g2`` is latent g^2 of orbit 3, ``3`` all of it, ``_free0`` a free one."""
        firsts = {  # smallest element of each coset
            kind: np.unique(cosets[:, 0], return_index=True)[1]
            for kind, cosets in self._cosets.items()
        }
        suffixes = {
            kind: [self._suffix(e) if len(first) > 1 else "" for e in first]
            for kind, first in firsts.items()
        }
        orbits = enumerate(self.kinds.tolist())
        names = [f"{i}{suffix}" for i, kind in orbits for suffix in suffixes[kind]]
        return names + [f"_free{j}" for j in range(self.n_free)]

    def _suffix(self, element: int) -> str:
        powers = self.group.powers[element]
        pairs = zip(self.group.generator_names, powers, strict=True)
        return "_" + "".join(f"{name}{p}" for name, p in pairs)
