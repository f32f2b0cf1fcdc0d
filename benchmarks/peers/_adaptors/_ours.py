"""This package: TopKSAE with its defaults, but for a recipe that is asked for."""

from sk_eqsae import TopKSAE

from ._fitted import Fitted


def fit(X, *, n_components, k, batch_size, epochs, seed, recipe="default") -> Fitted:
    settings = {"batch_size": batch_size, "max_epochs": epochs, "recipe": recipe}
    sae = TopKSAE(n_components, k=k, random_state=seed, **settings).fit(X)
    return Fitted(sae.transform, sae.inverse_transform, sae.components_)
