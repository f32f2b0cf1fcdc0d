"""The paper's two autoencoders of 64x64 images (Table 1)."""

import torch
from torch import nn


class _Autoencoder(nn.Module):
    encoder: nn.Sequential
    decoder: nn.Sequential

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compress and reconstruct images.

        Parameters
        ----------
        images : tensor of shape (n_samples, 1, 64, 64)
            Images.

        Returns
        -------
        reconstructions : tensor of shape (n_samples, 1, 64, 64)
            What the 256 activations in the middle tell of the images.
        """
        return self.decoder(self.encoder(images))


class MLPAutoencoder(_Autoencoder):
    """Autoencoder of 64x64 images made of four linear layers.

    Table 1 of the paper [1]_, left column. ``encoder`` ends before its last ReLU, so
    that its output is the 256 pre-activations that the paper's SAEs are trained on;
    ``decoder`` begins with that ReLU. A reconstruction of the activations is put
    back into the model by ``model.decoder(reconstruction)``.

    Attributes
    ----------
    encoder : torch.nn.Sequential
        (n_samples, 1, 64, 64) -> (n_samples, 256).
    decoder : torch.nn.Sequential
        (n_samples, 256) -> (n_samples, 1, 64, 64).

    See Also
    --------
    CNNAutoencoder : The same with convolutions.
    fit_autoencoder : Train it.

    References
    ----------
    .. [1] E. Erdogan and A. Lucic, "Group Equivariance Meets Mechanistic
       Interpretability: Equivariant Sparse Autoencoders", arXiv:2511.09432.

    Examples
    --------
    >>> import torch
    >>> from sk_eqsae.base_models import MLPAutoencoder
    >>> model = MLPAutoencoder()
    >>> model.encoder(torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 256])
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
    """Autoencoder of 64x64 images made of six convolutions.

    Table 1 of the paper [1]_, right column. ``encoder`` ends before its last ReLU, so
    that its output is the 256 pre-activations that the paper's SAEs are trained on;
    ``decoder`` begins with that ReLU. A reconstruction of the activations is put
    back into the model by ``model.decoder(reconstruction)``.

    Attributes
    ----------
    encoder : torch.nn.Sequential
        (n_samples, 1, 64, 64) -> (n_samples, 256).
    decoder : torch.nn.Sequential
        (n_samples, 256) -> (n_samples, 1, 64, 64).

    See Also
    --------
    MLPAutoencoder : The same with linear layers.
    fit_autoencoder : Train it.

    References
    ----------
    .. [1] E. Erdogan and A. Lucic, "Group Equivariance Meets Mechanistic
       Interpretability: Equivariant Sparse Autoencoders", arXiv:2511.09432.

    Examples
    --------
    >>> import torch
    >>> from sk_eqsae.base_models import CNNAutoencoder
    >>> model = CNNAutoencoder()
    >>> model(torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 1, 64, 64])
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 256, 16),
            nn.Flatten(),
        )
        self.decoder = nn.Sequential(
            nn.ReLU(),
            nn.Unflatten(1, (256, 1, 1)),
            nn.ConvTranspose2d(256, 32, 16),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 3, stride=2, padding=1, output_padding=1),
        )
