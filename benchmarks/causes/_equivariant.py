"""The equivariant autoencoder of the run, trained for shorter or otherwise."""

from sk_eqsae import EquivariantSAE

from ..paper._profiles import SAES

K = 8
SHORT = 1 / 8  # of the run's epochs


def fit(run, train, share, **changed):
    """Train for a share of the run's epochs, with some settings changed."""
    profile = run.profile
    settings = {
        "n_components": profile.n_components,
        "k": K,
        "max_epochs": max(1, round(share * profile.sae_epochs["default"])),
        "batch_size": profile.batch_sizes["default"],
        "random_state": 0,
        "sparse_output": True,
        "device": run.device,
        **SAES["equivariant"][1],
    }
    sae = EquivariantSAE(**(settings | changed))
    return sae.fit(train.X, groups=train.groups, power=train.power)
