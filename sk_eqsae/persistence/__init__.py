"""Fitted estimators as files that hold data and no code."""

from ._atomic import atomic_write
from ._files import load, save

__all__ = ["atomic_write", "load", "save"]
