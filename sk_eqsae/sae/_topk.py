"""A regular TopK sparse autoencoder."""

from __future__ import annotations

from os import PathLike

import numpy as np
import torch
from numpy.typing import ArrayLike

from .._docs import fill
from ._base import BaseSAE
from ._recipe import Recipe


@fill
class TopKSAE(BaseSAE):
    r"""TopK sparse autoencoder.

    Each row x is written as a sum of at most k rows of a dictionary D, with b the
    intercept:

    .. math::

        z = \mathrm{ReLU}(\mathrm{TopK}(\mathrm{encoder}((x - \text{mean})
        / \text{scale}))), \qquad \hat x = b + z D

    with the least squared error, summed over features. The encoder is linear, or two
    linear layers with a ReLU between them if `hidden_dim` is given.

    Parameters
    ----------
    n_components : int, default=None
        Number of latents. None is 8 times the number of features.
    {k}
    hidden_dim : int, default=None
        Width of the encoder's hidden layer. None makes the encoder linear.
    {training}

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Dictionary: row i is the direction of latent i.
    {fitted}

    Notes
    -----
    Every step is exact: gradients equal those of a dense implementation, but only the k
    active latents of each row are touched.

    References
    ----------
    .. [1] Gao et al. "Scaling and evaluating sparse autoencoders".
       arXiv:2406.04093, 2024.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_eqsae import TopKSAE
    >>> X, _ = load_digits(return_X_y=True)
    >>> sae = TopKSAE(n_components=128, k=8, max_epochs=20, random_state=0).fit(X)
    >>> Z = sae.transform(X)
    >>> Z.shape, int((Z > 0).sum(axis=1).max())
    ((1797, 128), 8)
    >>> sae.score(X) > 0.6
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        k: int | None = None,
        hidden_dim: int | None = None,
        activation: str = "topk",
        nested: ArrayLike | None = None,
        recipe: str | Recipe = "default",
        max_epochs: int | None = None,
        max_steps: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        warm_start: bool = False,
        buffer_size: float = 256,
        checkpoint: str | PathLike | None = None,
        sparse_output: bool = False,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.k = k
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.nested = nested
        self.recipe = recipe
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.lr = lr
        self.warm_start = warm_start
        self.buffer_size = buffer_size
        self.checkpoint = checkpoint
        self.sparse_output = sparse_output
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
