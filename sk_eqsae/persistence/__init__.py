"""Fitted estimators as files that hold data and no code."""

from .._atomic import atomic_write
from ._dictionary_learning import from_dictionary_learning
from ._export import export
from ._files import load, save
from ._saelens import from_saelens

__all__ = [
    "atomic_write",
    "export",
    "from_dictionary_learning",
    "from_saelens",
    "load",
    "save",
]
