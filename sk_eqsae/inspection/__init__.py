"""What was learned."""

from .._metrics import fvu
from ._code_equivariance import code_equivariance
from ._dead_latents import dead_latents
from ._equivariance import r2_per_feature
from ._equivariance_report import equivariance_report
from ._explorer import explore, feature_table
from ._feature_families import feature_families
from ._feature_orbit_display import FeatureOrbitDisplay
from ._feature_symmetry import feature_symmetry
from ._feature_symmetry_display import FeatureSymmetryDisplay
from ._frontier_display import FrontierDisplay
from ._loss_curve_display import LossCurveDisplay
from ._probing_display import ProbingDisplay
from ._response_spectrum import response_spectrum
from ._scan_symmetry import scan_symmetry
from ._splice import splice
from ._symmetry_scan_display import SymmetryScanDisplay
from ._transform_fidelity_display import TransformFidelityDisplay

__all__ = [
    "FeatureOrbitDisplay",
    "FeatureSymmetryDisplay",
    "FrontierDisplay",
    "LossCurveDisplay",
    "ProbingDisplay",
    "SymmetryScanDisplay",
    "TransformFidelityDisplay",
    "code_equivariance",
    "dead_latents",
    "equivariance_report",
    "explore",
    "feature_families",
    "feature_symmetry",
    "feature_table",
    "fvu",
    "r2_per_feature",
    "response_spectrum",
    "scan_symmetry",
    "splice",
]
