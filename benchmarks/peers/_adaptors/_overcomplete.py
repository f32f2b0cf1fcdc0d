"""Overcomplete: its own train_sae, with the optimizer and loss of its README."""

import sys
from unittest.mock import MagicMock

import torch

from ._fitted import Batches, Fitted, from_torch, isolated

# Not used here, and the package is not imported without them: its vision models need a
# torchvision of the same build as torch, its pictures a matplotlib older than 3.9.
for _unused in ("models", "visualization"):
    sys.modules.setdefault(f"overcomplete.{_unused}", MagicMock())
from overcomplete.sae import TopKSAE, train_sae  # noqa: E402


def fit(X, *, n_components, k, batch_size, epochs, seed) -> Fitted:
    batches = Batches(X, batch_size, seed)
    with isolated(seed):
        sae = TopKSAE(X.shape[1], nb_concepts=n_components, top_k=k)
        optimizer = torch.optim.Adam(sae.parameters(), lr=5e-4)
        # Its log of R2 and more at each step would only cost it time.
        train_sae(sae, batches, _mse, optimizer, nb_epochs=epochs, monitoring=0)
    sae.eval()
    return from_torch(
        lambda rows: sae.encode(rows)[1], sae.decode, sae.get_dictionary()
    )


def _mse(x, x_hat, pre_codes, codes, dictionary):
    return (x - x_hat).square().mean()
