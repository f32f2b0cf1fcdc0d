"""Equivariant sparse autoencoders as scikit-learn estimators."""

from importlib.metadata import version

from .activations import extract_orbits, site_alignment
from .datasets import make_shapes, shape_tasks
from .groups import ActivationTransformFitter
from .inspection import (
    explore,
    feature_families,
    feature_symmetry,
    feature_table,
    scan_symmetry,
    splice,
)
from .persistence import export, from_dictionary_learning, from_saelens, load, save
from .probing import (
    MeanDifferenceSelector,
    TruncatedReconstruction,
    evaluate_probes,
    make_probe,
    make_probe_search,
)
from .sae import EquivariantSAE, GroupTiedSAE, OrbitSAE, TopKSAE, fit_many

__version__ = version("sk-eqsae")

__all__ = [
    "ActivationTransformFitter",
    "EquivariantSAE",
    "GroupTiedSAE",
    "MeanDifferenceSelector",
    "OrbitSAE",
    "TopKSAE",
    "TruncatedReconstruction",
    "evaluate_probes",
    "explore",
    "export",
    "extract_orbits",
    "feature_families",
    "feature_symmetry",
    "feature_table",
    "fit_many",
    "from_dictionary_learning",
    "from_saelens",
    "load",
    "make_probe",
    "make_probe_search",
    "make_shapes",
    "save",
    "scan_symmetry",
    "shape_tasks",
    "site_alignment",
    "splice",
]
