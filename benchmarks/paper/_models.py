"""The base models, their activations and M (Table 1, Result 1)."""

import time

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import r2_score

from sk_eqsae import ActivationTransformFitter, extract_orbits, make_shapes
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import ImageRotation
from sk_eqsae.inspection import fvu

from ._base_models import BASE_MODELS
from ._base_training import fit_autoencoder
from ._profiles import Model, Profile


def images_of(n_images: int, model: Model):
    """Draw the images of one reading, the same for both base models."""
    return make_shapes(n_images, orientation=model.orientation, random_state=model.seed)


def base_model(model: Model, n_images: int, epochs: int, test_size: float, device: str):
    """Train a base model; the network, training and test orbits, seconds."""
    shapes = images_of(n_images, model)
    seconds = -time.perf_counter()
    network = fit_autoencoder(
        BASE_MODELS[model.base](),
        shapes.images,
        max_epochs=epochs,
        random_state=model.seed,
        device=device,
    )
    seconds += time.perf_counter()
    orbits = extract_orbits(
        network,
        shapes.images,
        layer="encoder",
        action=ImageRotation(order=4),
        base=shapes.base_id,
        device=device,
    )
    parts = orbits.split(test_size, random_state=model.seed)
    # an orbit is an image, also where several are of one base
    train, test = (Orbits(part.X, part.inputs, part.power) for part in parts)
    return network, train, test, seconds


@torch.no_grad()
def spliced_loss(network, decoded, shapes, test: Orbits) -> float:
    """Mean squared error of the base model with activations put in."""
    total = 0.0
    for rows in np.array_split(np.arange(len(test.X)), max(1, len(test.X) // 512)):
        images = shapes.images[test.groups[rows]]
        turned = np.stack(
            [
                np.rot90(image, p, axes=(1, 2))
                for image, p in zip(images, test.power[rows], strict=True)
            ]
        )
        output = network.decoder(torch.from_numpy(np.float32(decoded[rows]))).numpy()
        total += np.square(output - turned).sum(dtype=np.float64)
    return total / (len(test.X) * shapes.images[0].size)


def base_table(model: Model, network, test: Orbits, shapes, seconds) -> pd.DataFrame:
    """Loss of a base model on test images, and how many directions it uses."""
    row = {
        "test_loss": spliced_loss(network, test.X, shapes, test),
        "epochs": len(network.loss_curve_),
        "live_units": int((test.X.std(axis=0) > 1e-6).sum()),
        "active_directions": np.linalg.matrix_rank(test.X - test.X.mean(axis=0)),
        "image_variance": shapes.images.var(),
        "fit_seconds": seconds,
    }
    return pd.DataFrame([model._asdict() | row])


def transform_table(
    profile: Profile, model: Model, train: Orbits, test: Orbits
) -> pd.DataFrame:
    """R2 of M on test orbits: closed forms, gradient descent, identity.

    `r2` is the R2 per feature weighted by variance (1 - FVU), `r2_uniform` its plain
    mean over the features that vary, and `r2_pooled` takes one mean for all entries;
    each is a mean over powers.
    """
    solvers = {
        "exact law": ActivationTransformFitter(4),
        "least squares": ActivationTransformFitter(4, group_law="free"),
        "adam": ActivationTransformFitter(
            4,
            solver="adam",
            group_law="free",
            max_epochs=profile.adam_epochs,
            random_state=model.seed,
        ),
    }
    rows = []
    for solver, fitter in solvers.items():
        seconds = -time.perf_counter()
        fitter.fit(train.X, groups=train.groups, power=train.power)
        seconds += time.perf_counter()
        scores = transform_scores(test, lambda X, p, fitter=fitter: fitter.act(X, p))
        rows.append(
            {"solver": solver, **scores, "order_error": fitter.order_error_}
            | {"fit_seconds": seconds}
        )
    identity = transform_scores(test, lambda X, p: X)
    rows.append({"solver": "identity", **identity, "order_error": 0, "fit_seconds": 0})
    return pd.DataFrame([model._asdict() | row for row in rows])


def transform_scores(test: Orbits, act) -> dict:
    """R2 of what moves canonical rows, by three definitions and per power."""
    by_orbit = np.lexsort((test.power, test.groups))
    canonical, *moved = (test.X[by_orbit[p::4]] for p in range(4))
    predicted = [act(canonical, p) for p in (1, 2, 3)]
    pairs = list(zip(moved, predicted, strict=True))
    per_power = [1 - fvu(X, Y) for X, Y in pairs]
    varies = canonical.std(axis=0) > 1e-6
    return {
        **{f"r2_power_{p}": value for p, value in enumerate(per_power, start=1)},
        "r2": np.mean(per_power),
        "r2_uniform": np.mean([r2_score(X[:, varies], Y[:, varies]) for X, Y in pairs]),
        "r2_pooled": np.mean([r2_score(X.ravel(), Y.ravel()) for X, Y in pairs]),
    }
