"""The symmetry: groups, how they act, and the matrix M that activations follow."""

from ._actions import AxisRotation, CyclicShift, ImageFlip, ImageRotation
from ._activation_transform import ActivationTransformFitter

__all__ = [
    "ActivationTransformFitter",
    "AxisRotation",
    "CyclicShift",
    "ImageFlip",
    "ImageRotation",
]
