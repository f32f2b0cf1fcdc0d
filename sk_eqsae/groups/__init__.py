"""The symmetry: groups, how they act, and the matrix M that activations follow."""

from ._actions import (
    AxisRotation,
    ChannelPermutation,
    CubeRotation,
    CyclicShift,
    GridShift,
    ImageDihedral,
    ImageFlip,
    ImageRotation,
)
from ._activation_transform import ActivationTransformFitter
from ._group import (
    CyclicGroup,
    DihedralGroup,
    FiniteGroup,
    Irrep,
    ProductGroup,
    Subgroup,
    multiplicities,
)
from ._permutation_groups import GeneratedGroup, SymmetricGroup
from ._pose import PoseCanonicalizer

__all__ = [
    "ActivationTransformFitter",
    "AxisRotation",
    "ChannelPermutation",
    "CubeRotation",
    "CyclicGroup",
    "CyclicShift",
    "DihedralGroup",
    "FiniteGroup",
    "GeneratedGroup",
    "GridShift",
    "ImageDihedral",
    "ImageFlip",
    "ImageRotation",
    "Irrep",
    "PoseCanonicalizer",
    "ProductGroup",
    "Subgroup",
    "SymmetricGroup",
    "multiplicities",
]
