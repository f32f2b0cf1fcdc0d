"""
Point clouds under quarter-turns
================================

A PointNet-like network that tells solids apart, and rotations of the clouds about the
vertical axis.
"""

# %%
# Boxes, balls and cones
# ----------------------

import textwrap
import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    TopKSAE,
    extract_orbits,
)
from sk_eqsae.groups import AxisRotation

rng = np.random.default_rng(0)
n, n_points = 900, 40
kind = rng.integers(3, size=n)
points = rng.normal(size=(n, n_points, 3))
points /= np.linalg.norm(points, axis=2, keepdims=True)  # a ball
box = points / np.abs(points).max(axis=2, keepdims=True)
cone = points.copy()
cone[..., :2] *= 0.5 - points[..., 2:] / 2  # narrower towards the top
clouds = np.stack([points, box, cone])[kind, np.arange(n)]
clouds *= rng.uniform(0.4, 1.0, size=(n, 1, 3))  # along the axes
clouds += rng.normal(scale=0.3, size=(n, 1, 3))
clouds = clouds.astype("float32")


class PointNet(torch.nn.Module):
    """A network for each point, the largest values, a classifier."""

    def __init__(self):
        super().__init__()
        self.points = torch.nn.Sequential(
            torch.nn.Linear(3, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, 64),
        )
        self.head = torch.nn.Sequential(
            torch.nn.ReLU(), torch.nn.Linear(64, 3)
        )
        self.pooled = torch.nn.Identity()  # a layer with a name

    def forward(self, clouds):
        """Class scores."""
        return self.head(self.pooled(self.points(clouds).amax(dim=1)))


torch.manual_seed(0)
model, action = PointNet(), AxisRotation(axis=2, order=4)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
y = torch.from_numpy(kind)
for step in range(300):
    turned = torch.from_numpy(action(clouds, step % 4))
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(turned), y).backward()
    optimizer.step()

# %%
# How far is it equivariant?
# --------------------------
# On clouds that it has not seen, M explains most of the activations, and not all.

orbits = extract_orbits(model, clouds, layer="pooled", action=action)
train, test = orbits.split(0.2, random_state=0)
with_orbits = {"groups": train.groups, "power": train.power}
of_test = {"groups": test.groups, "power": test.power}
M = ActivationTransformFitter(4).fit(train.X, **with_orbits)
print(f"R2 of M {M.score(test.X, **of_test):.3f}")

# %%
# Three dictionaries
# ------------------
# 32 learned vectors each. The tied one makes 128 latents of them. The equivariant one
# warns.

settings = {"k": 8, "max_epochs": 60, "random_state": 0}
regular = TopKSAE(32, **settings).fit(train.X)
equivariant = EquivariantSAE(32, symmetry=4, **settings)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    equivariant.fit(train.X, **with_orbits)
print(textwrap.fill(str(caught[0].message), 60))
tied = GroupTiedSAE(128, symmetry=4, **settings)
tied.fit(train.X, **with_orbits)
fvu = {
    "group-tied": 1 - tied.score(test.X),
    "equivariant": 1 - equivariant.score(test.X, **of_test),
    "regular": 1 - regular.score(test.X),
}

figure, axis = plt.subplots(figsize=(4.2, 1.8), layout="constrained")
axis.plot(fvu.values(), fvu.keys(), "o", color="#0072B2")
axis.set(
    xscale="log",
    xlabel="FVU on held-out clouds, left is better",
    ylim=(-0.5, 2.5),
)
plt.show()

# %%
# What M does not explain is out of reach for vectors that are bound to it, so the tied
# dictionary is no better here than a regular one; what it gains is codes that turn with
# the cloud. So fit M first, and look at the data, before you choose (:doc:`/which`).
