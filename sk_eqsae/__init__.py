"""Equivariant sparse autoencoders as scikit-learn estimators."""

from .groups import ActivationTransformFitter
from .sae import EquivariantSAE, TopKSAE

__all__ = ["ActivationTransformFitter", "EquivariantSAE", "TopKSAE"]
