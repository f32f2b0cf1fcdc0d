"""One table of estimator instances for every common test."""

from sk_eqsae import ActivationTransformFitter, EquivariantSAE, TopKSAE

QUICK = {"max_epochs": 3, "random_state": 0}

# scikit-learn's checks set n_components to 1, so that k has to be 1 there
AUTOENCODERS = [
    TopKSAE(8, k=1, **QUICK),
    TopKSAE(8, k=1, hidden_dim=4, batch_size=7, **QUICK),
    TopKSAE(k=1, recipe="paper", **QUICK),
    EquivariantSAE(8, k=1, **QUICK),
    EquivariantSAE(k=1, hidden_dim=None, recipe="paper", **QUICK),
    EquivariantSAE(8, order=1, k=1, hidden_dim=4, **QUICK),
]
FITTERS = [
    ActivationTransformFitter(),
    ActivationTransformFitter(order=1, power=3),
    ActivationTransformFitter(solver="adam", max_epochs=3, random_state=0),
]
INSTANCES = AUTOENCODERS + FITTERS


def name(estimator):
    """Short test id."""
    return repr(estimator).replace("\n", "").replace(" ", "")
