"""From a model and inputs to orbits of activations."""

from .._shards import Shards
from ._extract import extract_orbits
from ._orbits import Orbits

__all__ = ["Orbits", "Shards", "extract_orbits"]
