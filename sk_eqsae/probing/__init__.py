"""Measure how useful latents are: selection, reconstruction, probes."""

from ._evaluate import evaluate_probes
from ._mean_difference import MeanDifferenceSelector
from ._probes import make_probe, make_probe_search
from ._reconstruction import TruncatedReconstruction

__all__ = [
    "MeanDifferenceSelector",
    "TruncatedReconstruction",
    "evaluate_probes",
    "make_probe",
    "make_probe_search",
]
