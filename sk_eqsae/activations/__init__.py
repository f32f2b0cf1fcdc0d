"""From a model and inputs to orbits of activations."""

from .._shards import Shards
from ._extract import extract_orbits
from ._orbits import Orbits
from ._site_alignment import site_alignment
from ._sites import Nodes, Tokens

__all__ = ["Nodes", "Orbits", "Shards", "Tokens", "extract_orbits", "site_alignment"]
