"""What one writes by hand: dense TopK in plain torch, default weights, Adam 1e-3."""

import torch

from ._fitted import Batches, Fitted, from_torch, isolated


def fit(X, *, n_components, k, batch_size, epochs, seed) -> Fitted:
    batches = Batches(X, batch_size, seed)
    with isolated(seed):
        model = _DenseTopK(X.shape[1], n_components, k)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for batch in batches.epochs(epochs):
            loss = (model.decoder(model.encode(batch)) - batch).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return from_torch(model.encode, model.decoder, model.decoder.weight.T)


class _DenseTopK(torch.nn.Module):
    def __init__(self, n_features, n_components, k):
        super().__init__()
        self.encoder = torch.nn.Linear(n_features, n_components)
        self.decoder = torch.nn.Linear(n_components, n_features)
        self.k = k

    def encode(self, batch):
        latents = self.encoder(batch)
        values, indices = latents.topk(self.k, dim=1)
        return torch.zeros_like(latents).scatter(1, indices, values.relu())
