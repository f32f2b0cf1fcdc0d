"""Small networks that do not saturate, and what is measured on their orbits."""

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from tqdm.auto import tqdm

from sk_eqsae import (
    ActivationTransformFitter,
    GroupTiedSAE,
    TopKSAE,
    extract_orbits,
)
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import AxisRotation, CyclicShift, ImageDihedral, ImageRotation

WIDTH = 128  # of the layer "hidden"


class Network(NamedTuple):
    """Orbits of a trained network's layer "hidden", split by base input.

    Attributes
    ----------
    train, test : Orbits
        Activations. The network has not seen the inputs of `test`.
    quality : float
        Accuracy of a classifier or 1 - FVU of an autoencoder, over the inputs of
        `test` and all their transforms.
    answers : pair of ndarray of shape (n_rows, n_questions)
        0 or 1 for each row of `train` and of `test`: questions about the input that do
        not depend on its pose.
    """

    train: Orbits
    test: Orbits
    quality: float
    answers: tuple[np.ndarray, np.ndarray]


def digits(seed: int, *, augmented: float = 1.0, flips: bool = False) -> Network:
    """Classify scikit-learn's digits, upsampled to 16 x 16, with convolutions.

    A share `augmented` of the batches is turned at random, and mirrored with `flips`.
    """
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    images = nn.functional.interpolate(images, size=(16, 16), mode="bilinear")
    action = ImageDihedral() if flips else ImageRotation()
    layers = [
        *(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()),
    ]
    labels = torch.tensor(labels)
    return _trained(layers, images, labels, action, seed, augmented=augmented)


def points(seed: int, *, n_inputs: int = 2_500) -> Network:
    """Classify solids, as clouds of points turned at random about z: a PointNet."""
    clouds, labels = _clouds(n_inputs, np.random.default_rng(seed))
    layers = [
        *(nn.Linear(3, 32), nn.ReLU()),
        *(nn.Linear(32, 128), nn.ReLU(), _MaxOfPoints()),
    ]
    return _trained(layers, clouds, torch.tensor(labels), AxisRotation(2, 4), seed)


def signals(seed: int, *, order: int = 8, n_inputs: int = 2_000) -> Network:
    """Rebuild circular signals of 64 samples: bumps and oscillations anywhere.

    Orbits are those under shifts by 64 / order samples.
    """
    inputs, kinds = _signals(n_inputs, np.random.default_rng(seed))
    circular = {"kernel_size": 5, "stride": 2, "padding": 2, "padding_mode": "circular"}
    layers = [
        *(nn.Conv1d(1, 16, **circular), nn.ReLU()),
        *(nn.Conv1d(16, 32, **circular), nn.ReLU(), nn.Flatten()),
    ]
    return _trained(layers, inputs, None, CyclicShift(2, order), seed, answers=kinds)


def free_shapes(seed: int, *, n_inputs: int = 2_500) -> Network:
    """Rebuild images of shapes at free positions, of any size, with noise."""
    inputs, kinds = _shapes(n_inputs, np.random.default_rng(seed))
    layers = [
        *(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()),
    ]
    return _trained(layers, inputs, None, ImageRotation(), seed, answers=kinds)


def symmetry(network: Network) -> dict[str, float]:
    """Say how well held-out orbits follow the group.

    R2 and spectral norm of M, the share of the variance that is between orbits, and the
    share of the moves along orbits that M does not explain.
    """
    train, test = network.train, network.test
    fitter = ActivationTransformFitter(symmetry=train.symmetry)
    fitter.fit(train.X, groups=train.groups, power=train.power)
    rows = test.X.reshape(test.n_orbits, test.order, -1)
    canonical = np.repeat(rows[:, 0], test.order, axis=0)
    left = np.square(test.X - fitter.act(canonical, test.power)).sum()
    generators = fitter.M_.reshape(-1, *fitter.M_.shape[-2:])
    return {
        "quality": network.quality,
        "r2": fitter.score(test.X, groups=test.groups, power=test.power),
        "norm": max(np.linalg.norm(M, 2) for M in generators),
        "between_orbits": rows.mean(axis=1).var(axis=0).sum()
        / test.X.var(axis=0).sum(),
        "unexplained_moves": left / np.square(test.X - canonical).sum(),
    }


def regular(network: Network, n_latents: int, n_steps: int, seed: int) -> dict:
    """Fit a regular autoencoder; its size, held-out FVU and share of dead latents."""
    sae = TopKSAE(n_latents, **_budget(network, n_steps, seed)).fit(network.train.X)
    return {"n_latents": n_latents, "n_free": n_latents, **_measures(sae, network)}


def tied(
    network: Network, n_latents: int, n_free: int, n_steps: int, seed: int
) -> dict:
    """Fit a group-tied autoencoder of full orbits, with `n_free` of the latents free.

    Measures are those of `regular`, and the share of the active latents that are free.
    """
    train = network.train
    metadata = {"groups": train.groups, "power": train.power}
    settings = {"symmetry": train.symmetry, **_budget(network, n_steps, seed)}
    order = train.symmetry.order
    settings["orbit_lengths"] = {order: (n_latents - n_free) // order}
    sae = GroupTiedSAE(n_latents, n_free=n_free, **settings).fit(train.X, **metadata)
    active = sae.transform(network.test.X) > 0
    return {
        "n_latents": n_latents,
        "n_free": sae.n_free_,
        "free_used": active[:, n_latents - sae.n_free_ :].sum() / active.sum(),
        **_measures(sae, network),
    }


def _budget(network: Network, n_steps: int, seed: int) -> dict:
    """As many steps of 256 rows for every method and every number of orbits."""
    n_epochs = max(1, round(n_steps * 256 / len(network.train.X)))
    return {"k": 8, "max_epochs": n_epochs, "batch_size": 256, "random_state": seed}


def _measures(sae: TopKSAE | GroupTiedSAE, network: Network) -> dict:
    active = (sae.transform(network.train.X) > 0).any(axis=0)
    return {"fvu": 1 - sae.score(network.test.X), "dead": 1 - active.mean()}


class _MaxOfPoints(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.amax(dim=1)


def _trained(
    layers: list[nn.Module],
    inputs: Tensor,
    targets: Tensor | None,
    action: Any,
    seed: int,
    *,
    augmented: float = 1.0,
    answers: np.ndarray | None = None,
) -> Network:
    """Train a network to name the inputs or, without targets, to rebuild them.

    `answers` are about inputs (n_inputs, n_questions); None asks for each class.
    """
    train, test = train_test_split(np.arange(len(inputs)), random_state=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(layers, inputs, targets)
        labels = None if targets is None else targets[train]
        _fit(model, inputs[train], labels, action, augmented)
    orbits = [
        extract_orbits(model, inputs[part], layer="hidden", action=action)
        for part in (train, test)
    ]
    labels = None if targets is None else targets[test]
    if answers is None:
        answers = np.eye(int(targets.max()) + 1, dtype=int)[targets.numpy()]
    of_rows = (
        answers[part][rows.inputs]
        for part, rows in zip((train, test), orbits, strict=True)
    )
    quality = _quality(model, inputs[test], labels, action)
    return Network(*orbits, quality, tuple(of_rows))


def _model(
    layers: list[nn.Module], inputs: Tensor, targets: Tensor | None
) -> nn.Module:
    stem = nn.Sequential(*layers)
    for layer in stem:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()  # from the seed
    width = stem(inputs[:1]).shape[1]
    hidden = nn.Sequential(nn.Linear(width, WIDTH), nn.ReLU())
    head = nn.Linear(WIDTH, 10)
    if targets is None:
        shape = inputs.shape[1:]
        head = nn.Sequential(
            *(nn.Linear(WIDTH, 512), nn.ReLU()),
            *(nn.Linear(512, shape.numel()), nn.Unflatten(1, shape)),
        )
    model = nn.Sequential()
    for name, part in {"stem": stem, "hidden": hidden, "head": head}.items():
        model.add_module(name, part)
    return model


def _fit(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor | None,
    action: Any,
    augmented: float,
    *,
    n_steps: int = 800,
    batch_size: int = 128,
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    powers = _powers(action)
    for _ in range(n_steps):
        rows = torch.randint(len(inputs), (batch_size,))
        batch = inputs[rows]
        if torch.rand(()) < augmented:
            batch = _moved_at_random(batch, action, powers)
        optimizer.zero_grad()
        _loss(model(batch), batch, None if labels is None else labels[rows]).backward()
        optimizer.step()


def _loss(output: Tensor, batch: Tensor, labels: Tensor | None) -> Tensor:
    if labels is None:
        return nn.functional.mse_loss(output, batch)
    return nn.functional.cross_entropy(output, labels)


def _powers(action: Any) -> list[Any]:
    powers = [tuple(map(int, power)) for power in action.symmetry.powers]
    return powers if len(powers[0]) > 1 else [power[0] for power in powers]


def _moved_at_random(batch: Tensor, action: Any, powers: list[Any]) -> Tensor:
    drawn = torch.randint(len(powers), (len(batch),))
    moved = batch.clone()
    for i, power in enumerate(powers):
        moved[drawn == i] = action(batch[drawn == i], power)
    return moved


@torch.no_grad()
def _quality(
    model: nn.Module, inputs: Tensor, labels: Tensor | None, action: Any
) -> float:
    scores = []
    for power in _powers(action):
        batch = action(inputs, power)
        output = model(batch)
        if labels is None:
            error = (output - batch).square().sum() / (
                batch - batch.mean(0)
            ).square().sum()
            scores.append(1 - float(error))
        else:
            scores.append(float((output.argmax(dim=1) == labels).float().mean()))
    return float(np.mean(scores))


def _signals(n_inputs: int, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """Two to four events of free kind, place, width, pitch and sign, and noise.

    Also whether there is a bump, and an oscillation.
    """
    time, kinds = np.arange(64), np.zeros((n_inputs, 2), int)
    signals = 0.02 * rng.standard_normal((n_inputs, 1, 64))
    for i in range(n_inputs):
        for _ in range(rng.integers(2, 5)):
            distance = (time - rng.uniform(0, 64) + 32) % 64 - 32
            event = np.exp(-0.5 * np.square(distance / rng.uniform(1.5, 5)))
            oscillates = int(rng.random() < 0.5)
            if oscillates:
                event = event * np.cos(rng.uniform(0.6, 1.8) * distance)
            kinds[i, oscillates] = 1
            signals[i, 0] += rng.choice([-1, 1]) * rng.uniform(0.5, 1.5) * event
    return torch.tensor(signals, dtype=torch.float32), kinds


def _clouds(n_inputs: int, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """Points on solids of free proportions, turned about z, and which solid."""
    labels = rng.integers(len(_SOLIDS), size=n_inputs)
    clouds = [_cloud(_SOLIDS[label], rng) for label in labels]
    return torch.tensor(np.array(clouds), dtype=torch.float32), labels


def _cloud(solid: Callable, rng: np.random.Generator, n_points: int = 48) -> np.ndarray:
    cloud = solid(rng, n_points) * rng.uniform(0.5, 1.0, size=3)
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = cloud @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    return turned + 0.02 * rng.standard_normal(turned.shape)


def _box(rng: np.random.Generator, n: int) -> np.ndarray:
    cloud = rng.uniform(-1, 1, size=(n, 3))
    axis = rng.integers(3, size=n)
    cloud[np.arange(n), axis] = np.sign(cloud[np.arange(n), axis])
    return cloud


def _ball(rng: np.random.Generator, n: int) -> np.ndarray:
    cloud = rng.standard_normal((n, 3))
    return cloud / np.linalg.norm(cloud, axis=1, keepdims=True)


def _cone(rng: np.random.Generator, n: int) -> np.ndarray:
    angle, height = rng.uniform(0, 2 * np.pi, n), np.sqrt(rng.random(n))
    return np.column_stack(
        [height * np.cos(angle), height * np.sin(angle), 1 - 2 * height]
    )


def _prism(rng: np.random.Generator, n: int) -> np.ndarray:
    corners = np.array([[1, 0], [-0.5, 0.87], [-0.5, -0.87]])
    start = rng.integers(3, size=n)
    share = rng.random((n, 1))
    edge = share * corners[start] + (1 - share) * corners[(start + 1) % 3]
    return np.column_stack([edge, rng.uniform(-1, 1, n)])


def _corner(rng: np.random.Generator, n: int) -> np.ndarray:
    cloud = rng.uniform(-1, 1, size=(n, 3))
    wall = rng.random(n) < 0.5
    cloud[wall, 0], cloud[~wall, 1] = -1, -1
    return cloud


_SOLIDS = (_box, _ball, _cone, _prism, _corner)


def _shapes(
    n_inputs: int, rng: np.random.Generator, size: int = 32
) -> tuple[Tensor, np.ndarray]:
    """Three filled polygons each, anywhere, of free size and angle, and noise.

    Also which kinds of polygons there are.
    """
    images = np.zeros((n_inputs, size, size), np.float32)
    kinds = np.zeros((n_inputs, len(_POLYGONS)), int)
    for image, found in zip(images, kinds, strict=True):
        for _ in range(3):
            kind = rng.integers(len(_POLYGONS))
            polygon, found[kind] = _POLYGONS[kind], 1
            angle, scale = rng.integers(4) * np.pi / 2, rng.uniform(3, 6)
            angle += rng.normal(scale=0.15)
            cos, sin = np.cos(angle), np.sin(angle)
            corners = scale * polygon @ np.array([[cos, sin], [-sin, cos]])
            corners += rng.uniform(5, size - 5, size=2)
            places = np.round(corners * 16).astype(np.int32)  # in 1/16 of a pixel
            brightness = rng.uniform(0.5, 1.0)
            cv2.fillPoly(image, [places], brightness, lineType=cv2.LINE_AA, shift=4)
    images += 0.05 * rng.standard_normal(images.shape, np.float32)
    return torch.tensor(images[:, np.newaxis]), kinds


_POLYGONS = tuple(
    np.array(corners, dtype=float)
    for corners in (
        [(-1, -0.5), (1, -0.5), (1, 0.5), (-1, 0.5)],
        [(-1, -1), (1, -1), (0, 1)],
        [(-1, -1), (1, -1), (1, -0.3), (-0.3, -0.3), (-0.3, 1), (-1, 1)],
        [
            (-1, 1),
            (1, 1),
            (1, 0.3),
            (0.35, 0.3),
            (0.35, -1),
            (-0.35, -1),
            (-0.35, 0.3),
            (-1, 0.3),
        ],
    )
)


def table_of(fits: Callable, cells: list[tuple], jobs: int) -> pd.DataFrame:
    """Compute the rows of all cells, with a progress bar over networks."""
    done = Parallel(jobs, return_as="generator")(delayed(fits)(*c) for c in cells)
    bar = tqdm(done, total=len(cells), unit="net")
    return pd.DataFrame([row for rows in bar for row in rows])
