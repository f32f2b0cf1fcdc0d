"""What was learned."""

from .._metrics import fvu
from ._displays import FeatureSymmetryDisplay, TransformFidelityDisplay
from ._equivariance import equivariance_error, equivariance_report, r2_per_feature
from ._explorer import explore
from ._feature_orbits import FeatureOrbitDisplay
from ._frontier import FrontierDisplay
from ._loss_curve import LossCurveDisplay
from ._metrics import dead_latents
from ._probing import ProbingDisplay
from ._splice import splice
from ._symmetry import feature_symmetry

__all__ = [
    "FeatureOrbitDisplay",
    "FeatureSymmetryDisplay",
    "FrontierDisplay",
    "LossCurveDisplay",
    "ProbingDisplay",
    "TransformFidelityDisplay",
    "dead_latents",
    "equivariance_error",
    "equivariance_report",
    "explore",
    "feature_symmetry",
    "fvu",
    "r2_per_feature",
    "splice",
]
