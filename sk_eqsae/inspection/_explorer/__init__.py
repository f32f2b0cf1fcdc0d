"""A page on which the features of an autoencoder can be looked at, and its numbers."""

from ._explore import explore
from ._feature_table import feature_table

__all__ = ["explore", "feature_table"]
