"""What is computed, one function a stage; each returns what the report shows."""

import time
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from sk_eqsae import (
    ActivationTransformFitter,
    MeanDifferenceSelector,
    TruncatedReconstruction,
    evaluate_probes,
    extract_orbits,
    make_shapes,
    shape_tasks,
)
from sk_eqsae.activations import Orbits
from sk_eqsae.base_models import CNNAutoencoder, MLPAutoencoder, fit_autoencoder
from sk_eqsae.groups import ImageRotation
from sk_eqsae.inspection import dead_latents, fvu

from ._profiles import SAES, Cell, Profile

BASE_MODELS = {"mlp": MLPAutoencoder, "cnn": CNNAutoencoder}


def images_of(profile: Profile, orientation: str):
    """Draw the images of one reading, the same for both base models."""
    return make_shapes(
        profile.n_images, orientation=orientation, random_state=profile.seed
    )


def base_model(profile: Profile, base: str, orientation: str):
    """Train a base model and extract its orbits, split by base image.

    Returns
    -------
    model : torch.nn.Module
        The trained model.
    train, test : Orbits
        Its activations.
    """
    shapes = images_of(profile, orientation)
    model = fit_autoencoder(
        BASE_MODELS[base](),
        shapes.images,
        max_epochs=profile.base_epochs[base],
        random_state=profile.seed,
    )
    orbits = extract_orbits(
        model, shapes.images, layer="encoder", action=ImageRotation(order=4)
    )
    train, test = orbits.split(
        profile.test_size, base=shapes.base_id, random_state=profile.seed
    )
    return model, train, test


def transform_rows(profile: Profile, name: tuple, train: Orbits, test: Orbits):
    """R2 of M on test orbits: closed forms, gradient descent, identity.

    Returns
    -------
    rows : list of dict
        One row per way to get M.
    """
    solvers = {
        "exact law": ActivationTransformFitter(4),
        "least squares": ActivationTransformFitter(4, group_law="free"),
        "adam": ActivationTransformFitter(
            4,
            solver="adam",
            group_law="free",
            max_epochs=profile.adam_epochs,
            random_state=profile.seed,
        ),
    }
    rows = []
    for solver, fitter in solvers.items():
        seconds = -time.perf_counter()
        fitter.fit(train.X, groups=train.groups, power=train.power)
        seconds += time.perf_counter()
        r2 = fitter.r2_per_power(test.X, groups=test.groups, power=test.power)
        rows.append(_transform_row(name, solver, r2, fitter.order_error_, seconds))
    canonical = test.X[test.power == 0]
    moved = [test.X[test.power == p] for p in (1, 2, 3)]
    identity = np.array([1 - fvu(X, canonical) for X in moved])
    return [*rows, _transform_row(name, "identity", identity, 0.0, 0.0)]


def _transform_row(name, solver, r2, order_error, seconds):
    base, orientation = name
    return {
        "base": base,
        "orientation": orientation,
        "solver": solver,
        **{f"r2_power_{p}": value for p, value in enumerate(r2, start=1)},
        "r2": r2.mean(),
        "order_error": order_error,
        "fit_seconds": seconds,
    }


def fit_cell(profile: Profile, cell: Cell, train: Orbits):
    """Train one autoencoder.

    Returns
    -------
    sae : estimator
        The fitted autoencoder.
    seconds : float
        Time of the fit.
    """
    kind, settings = SAES[cell.sae]
    settings = dict(settings)
    sae = kind(
        int(profile.n_components * settings.pop("width", 1)),
        k=cell.k,
        recipe=cell.recipe,
        max_epochs=profile.sae_epochs[cell.recipe],
        random_state=profile.seed,
        sparse_output=True,
        **settings,
    )
    metadata = {"groups": train.groups, "power": train.power}
    seconds = -time.perf_counter()
    sae.fit(train.X, **(metadata if "order" in settings else {}))
    return sae, seconds + time.perf_counter()


def sae_rows(profile: Profile, cell: Cell, *, sae, seconds, model, test: Orbits):
    """Reconstruction of test orbits by one autoencoder.

    Returns
    -------
    rows : list of dict
        One row per kind of reconstruction.
    """
    Z = sae.transform(test.X)
    shapes = images_of(profile, cell.orientation)
    shared = {
        "base": cell.base,
        "orientation": cell.orientation,
        "sae": cell.sae,
        "recipe": cell.recipe,
        "k": cell.k,
        "n_components": len(sae.components_),
        "dead": dead_latents(Z),
        "l0": (Z > 0).sum() / len(test.X),
        "l1": Z.sum() / len(test.X),
        "steps": sae.n_iter_,
        "fit_seconds": seconds,
    }
    if hasattr(sae, "reconstruct"):
        shared["pose_accuracy"] = (sae.predict_power(test.X) == test.power).mean()
    return [
        shared
        | {
            "reconstruction": name,
            "fvu": fvu(test.X, decoded),
            "spliced_loss": spliced_loss(model, decoded, shapes, test),
        }
        for name, decoded in _reconstructions(sae, Z, test)
    ]


def _reconstructions(sae, Z, test):
    canonical = sae.inverse_transform(Z)
    if not hasattr(sae, "reconstruct"):
        return [("plain", canonical)]
    return [
        ("invariant", canonical),
        ("true power", sae.inverse_transform(Z, power=test.power)),
        ("inferred power", sae.reconstruct(test.X)),
    ]


@torch.no_grad()
def spliced_loss(model, decoded, shapes, test: Orbits) -> float:
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
        output = model.decoder(torch.from_numpy(np.float32(decoded[rows]))).numpy()
        total += np.square(output - turned).sum(dtype=np.float64)
    return total / (len(test.X) * shapes.images[0].size)


def probe_table(profile: Profile, name: tuple, *, sae, train, test, memory):
    """F1 of the probes over one source of features.

    Parameters
    ----------
    profile : Profile
        The settings.
    name : tuple of str
        Base model and orientation.
    sae : estimator or None
        A fitted autoencoder; None probes the activations.
    train, test : Orbits
        Activations.
    memory : str
        Folder of finished tasks.

    Returns
    -------
    scores : pandas.DataFrame
        One row per task, probe and kind of feature.
    """
    data = _probe_data(profile, name, train, test)
    power = data.pop("power")
    tables = []
    for features in _features(profile, sae, data["X"]):
        scores = evaluate_probes(
            **data | {"X": features.X},
            transformer=features.transformer,
            power=power if features.true_power else None,
            memory=memory,
        )
        scores.insert(0, "features", features.name)
        tables.append(scores)
    return pd.concat(tables, ignore_index=True)


class _Features(NamedTuple):
    name: str
    X: Any
    transformer: Any = None
    true_power: bool = False


def _features(profile, sae, X):
    """List what the probes are given."""
    if sae is None:
        return [_Features("activations", X)]
    m = profile.truncation
    truncated = TruncatedReconstruction(FrozenEstimator(sae), m)
    features = [
        _Features("latents", sae.transform(X), MeanDifferenceSelector(m)),
        _Features("reconstruction", X, truncated),
    ]
    if hasattr(sae, "reconstruct"):
        invariant = clone(truncated).set_params(output="invariant")
        features += [
            _Features("invariant reconstruction", X, invariant),
            _Features("reconstruction, true power", X, truncated, True),
        ]
    return features


def _probe_rows(profile, train, test):
    rng = np.random.default_rng(profile.seed)
    sizes = zip((train, test), profile.probe_rows, strict=True)
    return [
        np.sort(rng.choice(len(part.X), min(n, len(part.X)), replace=False))
        for part, n in sizes
    ]


def _probe_data(profile, name, train, test):
    shapes, tasks = images_of(profile, name[1]), shape_tasks()
    rows = _probe_rows(profile, train, test)
    parts = list(zip((train, test), rows, strict=True))
    Y = np.vstack(
        [
            tasks.label_matrix(shapes, groups=part.groups[r], power=part.power[r])
            for part, r in parts
        ]
    )
    n_train = len(rows[0])
    chosen = _choose_tasks(profile, tasks, Y, n_train)
    return {
        "X": np.vstack([part.X[r] for part, r in parts]),
        "Y": Y[:, chosen],
        "train": np.arange(n_train),
        "test": np.arange(n_train, len(Y)),
        "power": np.concatenate([part.power[r] for part, r in parts]),
        "task_names": [tasks.names[t] for t in chosen],
        "task_kinds": [tasks.kinds[t] for t in chosen],
    }


def _choose_tasks(profile, tasks, Y, n_train):
    """Draw tasks of each kind that have both classes on both sides."""
    both = np.array([0 < part.mean() < 1 for part in Y[:n_train].T])
    both &= np.array([0 < part.mean() < 1 for part in Y[n_train:].T])
    rng = np.random.default_rng(profile.seed)
    chosen = []
    for kind in ("S", "SP", "SO", "SPO"):
        usable = np.flatnonzero((np.asarray(tasks.kinds) == kind) & both)
        n = min(profile.tasks_per_kind or len(usable), len(usable))
        chosen += sorted(rng.choice(usable, n, replace=False))
    return chosen
