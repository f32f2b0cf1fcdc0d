"""The paper's experiments, from images to a report, and its base models."""

from ._base_models import CNNAutoencoder, MLPAutoencoder
from ._base_training import fit_autoencoder

__all__ = ["CNNAutoencoder", "MLPAutoencoder", "fit_autoencoder"]
