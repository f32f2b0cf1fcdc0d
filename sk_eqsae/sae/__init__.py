"""The sparse autoencoders."""

from ._equivariant import EquivariantSAE
from ._recipe import Recipe
from ._topk import TopKSAE

__all__ = ["EquivariantSAE", "Recipe", "TopKSAE"]
