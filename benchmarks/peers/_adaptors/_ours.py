"""This package: TopKSAE with its defaults."""

from sk_eqsae import TopKSAE

from ._fitted import Fitted


def fit(X, *, n_components, k, batch_size, epochs, seed) -> Fitted:
    sae = TopKSAE(
        n_components, k=k, batch_size=batch_size, max_epochs=epochs, random_state=seed
    ).fit(X)
    return Fitted(sae.transform, sae.inverse_transform, sae.components_)
