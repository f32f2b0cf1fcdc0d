"""The sparse autoencoders."""

from ._equivariant import EquivariantSAE
from ._topk import TopKSAE

__all__ = ["EquivariantSAE", "TopKSAE"]
