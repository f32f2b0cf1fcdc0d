"""
All displays
============

Every picture that ``sk_eqsae.inspection`` draws, of one small network, and how to read
it. A display is made by ``from_estimator`` or ``from_scores``,
draws itself, and keeps what it has drawn: ``ax_`` and ``figure_`` can be changed,
``plot()`` draws again.
"""

# %%
# A network and its autoencoders
# ------------------------------
# The paper's shapes in four rotations and its MLP, as in
# :ref:`sphx_glr_auto_examples_plot_1_shapes.py`, and two kinds of dictionaries: regular
# ones, and group-tied ones, whose vectors have three turned copies each.

import tempfile
from collections import OrderedDict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from sk_eqsae import (
    ActivationTransformFitter,
    GroupTiedSAE,
    MeanDifferenceSelector,
    TopKSAE,
    evaluate_probes,
    explore,
    extract_orbits,
    make_shapes,
)
from sk_eqsae.datasets import shape_tasks
from sk_eqsae.groups import ImageRotation
from sk_eqsae.inspection import (
    FeatureOrbitDisplay,
    FeatureSymmetryDisplay,
    FrontierDisplay,
    LossCurveDisplay,
    ProbingDisplay,
    TransformFidelityDisplay,
)

shapes = make_shapes(1_500, orientation="random", random_state=0)
action = ImageRotation(order=4)
torch.manual_seed(0)
encoder = torch.nn.Sequential(
    torch.nn.Flatten(),
    torch.nn.Linear(4096, 256),
    torch.nn.ReLU(),
    torch.nn.Linear(256, 256),
)
decoder = torch.nn.Sequential(
    torch.nn.ReLU(),
    torch.nn.Linear(256, 256),
    torch.nn.ReLU(),
    torch.nn.Linear(256, 4096),
    torch.nn.Unflatten(1, (1, 64, 64)),
)
parts = OrderedDict(encoder=encoder, decoder=decoder)
model = torch.nn.Sequential(parts)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
X = torch.from_numpy(shapes.images)
for _ in range(15):
    for rows in torch.randperm(len(X)).split(64):
        batch = action(X[rows], int(torch.randint(4, ())))
        error = torch.nn.functional.mse_loss(model(batch), batch)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()

orbits = extract_orbits(
    model,
    shapes.images,
    layer="encoder",
    action=action,
    base=shapes.base_id,
)
train, test = orbits.split(0.2, random_state=0)

settings = {"max_epochs": 30, "random_state": 0}


def fit_regular(n, k):
    """A dictionary of n vectors."""
    return TopKSAE(n, k=k, **settings).fit(train.X)


def fit_tied(n, k):
    """A dictionary of n vectors, n / 4 of them learned."""
    sae = GroupTiedSAE(n, symmetry=4, k=k, **settings)
    return sae.fit(train.X, **train.metadata)


regular, tied = fit_regular(256, k=8), fit_tied(256, k=8)
both = {"regular": regular, "tied": tied}

# %%
# TransformFidelityDisplay
# ------------------------
# How well does M do? What it leaves unexplained of orbits that it has not seen, for
# each power and in the mean, with bootstrap intervals; lower is better. M should lie
# far below the open squares, M = I, and near the diamonds, a nonlinear map: then a
# matrix is enough. The crosses, fitted to rows of other orbits, say what chance does.

TransformFidelityDisplay.from_estimator(
    ActivationTransformFitter(symmetry=4), train, test, random_state=0
)
plt.show()

# %%
# LossCurveDisplay
# ----------------
# Were they trained long enough? The FVU of training rows, 1 for predicting the mean. A
# line that still falls at its end, as these do, says: train longer.

LossCurveDisplay.from_estimator(both, train.X)
plt.show()

# %%
# FrontierDisplay
# ---------------
# How many latents, and how many of them active? FVU on held-out rows against what it
# costs; lower and further left is better. First the number of active latents, of
# dictionaries of 32 learned vectors.

ks = (2, 4, 8, 16)
by_k = {
    "regular": [fit_regular(32, k) for k in ks],
    "tied": [fit_tied(128, k) for k in ks],
}
FrontierDisplay.from_estimator(by_k, test.X, x="l0")
plt.show()

# %%
# Then the number of learned vectors, with 8 latents active. Copies are not learned: the
# tied dictionary of 64 vectors has as many latents as the regular one of 256, and
# stands at 64.

by_size = {
    "regular": [fit_regular(16, k=8), fit_regular(64, k=8), regular],
    "tied": [fit_tied(16, k=8), fit_tied(64, k=8), tied],
}
FrontierDisplay.from_estimator(by_size, test.X, x="n_components")
plt.show()

# %%
# FeatureSymmetryDisplay
# ----------------------
# What does the group do to the vectors? One column for each, here of the regular
# dictionary, and in it the shares of its energy in the irreps of the group. Dark up to
# the top is a vector that stays as it is when the image is turned. Dark up to the
# dashed line, 1/4, is a vector whose four copies are orthogonal: a feature of one
# orientation.

M = tied.activation_transform_
FeatureSymmetryDisplay.from_estimator(regular, M, X=test.X)
plt.show()

# %%
# ProbingDisplay
# --------------
# What are latents good for? Mean F1 of probes, with standard errors over tasks, by kind
# of task. Here a logistic regression on 4 latents of each dictionary. Some scores are
# near 1, so that the display shows what is missed. Where error bars overlap, take more
# tasks before you prefer one.

tasks, rng = shape_tasks(), np.random.default_rng(0)
of_kinds = [
    np.flatnonzero(tasks.kinds == kind)
    for kind in ("S", "SO", "SP", "SPO")
]
chosen = np.concatenate(
    [rng.choice(of_kind, 8, replace=False) for of_kind in of_kinds]
)
Y = tasks.label_matrix(
    shapes, groups=orbits.inputs, power=orbits.power
)
is_train = np.isin(orbits.groups, train.groups)
tables = [
    evaluate_probes(
        sae.transform(orbits.X),
        Y[:, chosen],
        train=is_train,
        test=~is_train,
        transformer=MeanDifferenceSelector(4),
        probes=["logistic"],
        task_kinds=tasks.kinds[chosen],
    ).assign(sae=name)
    for name, sae in both.items()
]
ProbingDisplay.from_scores(pd.concat(tables), source="sae")
plt.show()

# %%
# explore
# -------
# All features at once? This is no display, but a page of its own, one HTML file that
# needs no server: all features in a list to search, filter and sort, and for each one
# how often it fires, what the group does to it, what is lost without it, and the inputs
# that fire it most, at all places of their orbits (:doc:`/explore`).

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "features.html"
    explore(tied, test, shapes.images, action=action, path=path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")

# %%
# FeatureOrbitDisplay
# -------------------
# What do vectors look like? One row for each of the six that are used most. On the left
# the vector and its copies, decoded by the rest of the network: a shape in one
# quadrant, which moves and turns as the image does. On the right the inputs that fire
# the vector most; what they have in common should be what the picture on the far left
# shows.


@torch.no_grad()
def decode(rows):
    """The rest of the network."""
    return decoder(torch.from_numpy(rows))[:, 0].numpy()


turned = np.stack([action(shapes.images[:, 0], p) for p in range(4)])
images = turned[test.power, test.inputs]
FeatureOrbitDisplay.from_estimator(
    tied, test.X, images, decode=decode
)
plt.show()
# sphinx_gallery_thumbnail_number = 6
