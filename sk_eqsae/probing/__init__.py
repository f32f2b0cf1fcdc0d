"""Measure how useful latents are: selection, reconstruction, probes."""

from sk_eqsae.probing._evaluate import evaluate_probes
from sk_eqsae.probing._probes import make_probe, make_probe_search
from sk_eqsae.probing._reconstruction import TruncatedReconstruction
from sk_eqsae.probing._selection import MeanDifferenceSelector

__all__ = [
    "MeanDifferenceSelector",
    "TruncatedReconstruction",
    "evaluate_probes",
    "make_probe",
    "make_probe_search",
]
