"""A page on which the features of an autoencoder can be looked at."""

from ._explore import explore

__all__ = ["explore"]
