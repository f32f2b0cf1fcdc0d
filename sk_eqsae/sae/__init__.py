"""The sparse autoencoders."""

from ._equivariant import EquivariantSAE
from ._group_tied import GroupTiedSAE
from ._many import fit_many
from ._orbit import OrbitSAE
from ._recipe import Recipe
from ._topk import TopKSAE

__all__ = [
    "EquivariantSAE",
    "GroupTiedSAE",
    "OrbitSAE",
    "Recipe",
    "TopKSAE",
    "fit_many",
]
