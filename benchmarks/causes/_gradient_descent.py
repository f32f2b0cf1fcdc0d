"""Is there no M, or is it found too slowly? Four times the paper's 150 epochs."""

from sk_eqsae import ActivationTransformFitter

from ..paper._models import transform_scores
from ..paper._profiles import Model

LONGER = 4
CASES = [(0,), (1,), (2,)]


def measure(run, seed):
    """Fit M of one MLP by gradient descent."""
    _, train, test, _ = run.load(Model("mlp", "upright", seed))
    epochs = LONGER * run.profile.adam_epochs
    fitter = ActivationTransformFitter(
        4, solver="adam", group_law="free", max_epochs=epochs, random_state=seed
    )
    fitter.fit(train.X, groups=train.groups, power=train.power)
    r2 = transform_scores(test, fitter.act)["r2"]
    return {"seed": seed, "epochs": epochs, "r2": r2}
