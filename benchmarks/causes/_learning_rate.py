"""Does M explain the MLP's activations where fewer of its hidden units die?"""

from sk_eqsae import ActivationTransformFitter, extract_orbits
from sk_eqsae.groups import ImageRotation

from ..paper._base_models import BASE_MODELS
from ..paper._base_training import fit_autoencoder
from ..paper._models import base_table, images_of, transform_scores
from ..paper._profiles import Model

SHORT = 3  # of how many epochs one is enough to tell
CASES = [(1e-3,), (1e-4,)]  # the first is the paper's


def measure(run, lr):
    """Train the MLP at one learning rate and fit M in closed form."""
    model, profile = Model("mlp", "upright"), run.profile
    shapes = images_of(profile.n_images, model)
    network = fit_autoencoder(
        BASE_MODELS["mlp"](),
        shapes.images,
        max_epochs=max(1, profile.base_epochs["mlp"] // SHORT),
        lr=lr,
        random_state=model.seed,
        device=run.device,
    )
    orbits = extract_orbits(
        network, shapes.images, layer="encoder", action=ImageRotation(order=4)
    )
    train, test = orbits.split(
        profile.test_size, base=shapes.base_id, random_state=model.seed
    )
    [base] = base_table(model, network, test, shapes, 0).to_dict("records")
    kept = ("test_loss", "epochs", "active_directions")
    row = {"lr": lr, **{name: base[name] for name in kept}}
    for law in ("exact", "free"):
        fitter = ActivationTransformFitter(4, group_law=law)
        fitter.fit(train.X, groups=train.groups, power=train.power)
        row[f"r2_{law}"] = transform_scores(test, fitter.act)["r2"]
    return row
