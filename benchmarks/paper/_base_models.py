"""The paper's two autoencoders of 64x64 images (Table 1)."""

import torch
from torch import nn


class _Autoencoder(nn.Module):
    encoder: nn.Sequential
    decoder: nn.Sequential

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compress and reconstruct images of shape (n_samples, 1, 64, 64)."""
        return self.decoder(self.encoder(images))


class MLPAutoencoder(_Autoencoder):
    """Autoencoder made of four linear layers (Table 1, left column).

    `encoder` ends before its last ReLU, so that it gives the 256 pre-activations that
    the paper's SAEs are trained on; `decoder` begins with that ReLU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(4096, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
        )
        self.decoder = nn.Sequential(
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, 4096),
            nn.Unflatten(1, (1, 64, 64)),
        )


class CNNAutoencoder(_Autoencoder):
    """Autoencoder made of six convolutions (Table 1, right column).

    `encoder` and `decoder` are split as those of `MLPAutoencoder`.
    """

    def __init__(self) -> None:
        super().__init__()
        strided = {"kernel_size": 3, "stride": 2, "padding": 1}
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, **strided),
            nn.ReLU(),
            nn.Conv2d(16, 32, **strided),
            nn.ReLU(),
            nn.Conv2d(32, 256, 16),
            nn.Flatten(),
        )
        self.decoder = nn.Sequential(
            nn.ReLU(),
            nn.Unflatten(1, (256, 1, 1)),
            nn.ConvTranspose2d(256, 32, 16),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 16, **strided, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, **strided, output_padding=1),
        )


BASE_MODELS = {"mlp": MLPAutoencoder, "cnn": CNNAutoencoder}
