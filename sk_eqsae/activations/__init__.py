"""From a model and inputs to orbits of activations."""

from ._extract import extract_orbits
from ._orbits import Orbits
from ._shards import Shards

__all__ = ["Orbits", "Shards", "extract_orbits"]
