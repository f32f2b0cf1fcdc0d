"""Which latents are copies of one another, and by which element."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...groups import FiniteGroup
from .._feature_families import feature_families
from ._seen import Seen

_MIN_GROUPS = 4  # that families of features are found from


def copies(seen: Seen) -> pd.DataFrame:
    """Number of the latent orbit of each latent, and the element it is the copy by."""
    n_latents, order = seen.Z.shape[1], seen.group.order
    own = getattr(seen.sae, "latent_orbits_", None)
    if own is not None and own.group == seen.group:
        orbit = np.where(own.orbit < 0, own.n_orbits + np.arange(n_latents), own.orbit)
        moved = np.stack([own.places(element) for element in range(order)])
    elif _have_families(seen):
        families = feature_families(
            seen.sae,
            seen.orbits.X,
            **seen.orbits.metadata,
            symmetry=seen.group,
            random_state=0,
        )
        orbit, moved = families["family"].to_numpy(), _moved(families, seen.group)
    else:
        orbit, moved = np.arange(n_latents), np.arange(n_latents)[np.newaxis]
    # orbits are numbered in the order of their first latents
    _, first, orbit = np.unique(orbit, return_index=True, return_inverse=True)
    return pd.DataFrame(
        {
            "orbit": np.argsort(np.argsort(first))[orbit],
            # smallest element that makes a latent of its orbit's first; 0 if none
            "copy": (moved[:, first[orbit]] == np.arange(n_latents)).argmax(axis=0),
        }
    )


def _have_families(seen: Seen) -> bool:
    """Whether enough inputs are there in more than one place of their orbits."""
    moved = (seen.table >= 0).sum(axis=1) > 1
    groups = seen.orbits.groups[seen.table[moved, 0]]
    return len(np.unique(groups)) >= _MIN_GROUPS


def _moved(families: pd.DataFrame, group: FiniteGroup) -> NDArray:
    """Latent that each element makes of each latent, or itself: (order, n_latents)."""
    itself = np.arange(len(families))
    moved = np.tile(itself, (group.order, 1))
    for name, powers in zip(
        group.generator_names[::-1], group.powers.T[::-1], strict=True
    ):
        partner = families[f"turns_into_{name}"].to_numpy()
        partner = np.where(partner < 0, itself, partner)
        for step in range(powers.max()):
            further = powers > step
            moved[further] = partner[moved[further]]
    return moved
