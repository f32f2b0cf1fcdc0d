"""What is looked at: an autoencoder, its M, and rows with their latents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from ..._estimator import checked_rows, unfrozen
from ..._rows import read_rows
from ...activations import Orbits
from ...groups import FiniteGroup
from ...groups._orbit_table import orbit_table
from ...sae._base import BaseSAE, sparse_codes
from .._checks import check_sae, check_transform


@dataclass(frozen=True, eq=False)
class Seen:
    """Rows in memory, in orbits, and their latents."""

    sae: BaseSAE
    fitter: Any  # M, or None
    orbits: Orbits
    Z: csr_array  # (n_rows, n_latents)
    group: FiniteGroup
    table: NDArray  # (n_orbits, order), row of each place, -1 where there is none

    @classmethod
    def of(
        cls, sae: Any, orbits: Orbits | ArrayLike, activation_transform: Any
    ) -> Seen:
        """Check what users hand over, and encode it."""
        sae, fitter = _checked(sae, activation_transform)
        given: Any = orbits.X if isinstance(orbits, Orbits) else orbits
        Z = sparse_codes(sae, given)
        orbits = _in_orbits(sae, orbits, given, fitter)
        group, table = orbit_table(
            **orbits.metadata, symmetry=orbits.symmetry, n_rows=len(orbits)
        )
        return cls(sae, fitter, orbits, Z, group, table)

    @property
    def inputs(self) -> NDArray:
        """Input of each orbit."""
        return self.orbits.inputs[self.table[:, 0]]

    @property
    def n_moved(self) -> int:
        """Number of groups that are there in more than one place of their orbits."""
        moved = (self.table >= 0).sum(axis=1) > 1
        return len(np.unique(self.orbits.groups[self.table[moved, 0]]))

    @property
    def names(self) -> list[str]:
        """Name of each latent, also of those that are pooled."""
        n_latents = len(self.sae.components_)
        own = self.sae.get_feature_names_out()
        if len(own) != n_latents:
            return [f"latent{i}" for i in range(n_latents)]
        return own.tolist()


def _checked(sae: Any, activation_transform: Any) -> tuple[BaseSAE, Any]:
    """A fitted autoencoder and its M, or None."""
    sae = unfrozen(sae)
    check_sae(sae)
    if activation_transform is None:
        activation_transform = getattr(sae, "activation_transform_", None)
    if activation_transform is not None:
        check_transform(activation_transform)
    return sae, activation_transform


def _in_orbits(sae: BaseSAE, orbits: Any, given: Any, fitter: Any) -> Orbits:
    """Checked rows in memory; each one of an array is an orbit's canonical row."""
    X = read_rows(checked_rows(sae, given, reset=False), slice(None))
    group = None if fitter is None else fitter.symmetry_
    if isinstance(orbits, Orbits):
        return replace(orbits, X=X, symmetry=group or orbits.symmetry)
    power = np.zeros((len(X), group.n_generators if group else 1), dtype=np.int64)
    return Orbits(X, np.arange(len(X)), power, group)
