"""Why is XGBoost behind on the equivariant reconstructions of the MLP?"""

from dataclasses import replace

from sklearn.frozen import FrozenEstimator

from sk_eqsae import TruncatedReconstruction, evaluate_probes

from ..paper import _probing
from ..paper._models import images_of
from ..paper._profiles import Cell, Model

TASKS_PER_KIND = 8
PARTS = (256, 128, 64, 1)  # 8, 16, 32 of 2,048 latents, and all
CASES = [(sae, parts) for sae in ("regular", "equivariant") for parts in PARTS]


def measure(run, sae, parts):
    """Probe what one autoencoder rebuilds from some of its latents."""
    model = Model("mlp", "upright")
    _, train, test, _ = run.load(model)
    fitted, _ = run.fit(Cell(model, sae, 8), train)
    profile = replace(run.profile, tasks_per_kind=TASKS_PER_KIND)
    shapes = images_of(profile.n_images, model)
    data = _probing.probe_data(profile, train, test, shapes)
    del data["power"]  # of each row it is inferred
    n_kept = len(fitted.components_) // parts
    scores = evaluate_probes(
        **data,
        probes=("xgboost",),
        transformer=TruncatedReconstruction(FrozenEstimator(fitted), n_kept),
        memory=run.memory,
    )
    f1 = scores.groupby("kind", sort=False).f1.mean()
    return {"sae": sae, "latents": n_kept, **f1}
