"""The paper's base models, the networks whose activations are studied."""

from ._autoencoders import CNNAutoencoder, MLPAutoencoder
from ._fit import fit_autoencoder

__all__ = ["CNNAutoencoder", "MLPAutoencoder", "fit_autoencoder"]
