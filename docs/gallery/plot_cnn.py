"""
A CNN, place by place
=====================

Feature maps have a row for each place. Here they are read where the turn of the image
has moved each place to, so that an orbit follows one place, and a dictionary of them
knows which features are turned copies of each other.
"""

# %%
# A small CNN that tells digits in all four rotations
# ---------------------------------------------------

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from sk_eqsae import (
    ActivationTransformFitter,
    GroupTiedSAE,
    TopKSAE,
    extract_orbits,
    site_alignment,
)
from sk_eqsae.groups import ImageRotation

digits = load_digits()
images = torch.tensor(
    digits.images[:, None] / 16, dtype=torch.float32
)
images = torch.nn.functional.pad(images, (0, 1, 0, 1))  # 9 x 9
target = torch.tensor(digits.target)
action = ImageRotation(order=4)

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 3, stride=2),
    torch.nn.ReLU(),
    torch.nn.Conv2d(16, 16, 3, padding=1),
    torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(2),
    torch.nn.Flatten(),
    torch.nn.Linear(64, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for step in range(120):
    rows = torch.randperm(len(images))[:256]
    scores = model(action(images[rows], step % 4))
    loss = torch.nn.functional.cross_entropy(scores, target[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
# Does the grid fit?
# ------------------
# A stride of 2 maps the grid onto itself at odd sizes of the image, not at even ones.

table = site_alignment(
    model, images[:100], layer="3", action=action, sizes=[8, 9]
)
print(table[["size", "aligned"]])

# %%
# Orbits of places, and the matrix M
# ----------------------------------

orbits = extract_orbits(
    model,
    images[:400],
    layer="3",
    action=action,
    sites="map",
    n_sites=6,
    random_state=0,
)
train, test = orbits.split(random_state=0)
M = ActivationTransformFitter(symmetry=4)
M.fit(train.X, **train.metadata)
print(orbits)
print(f"R2 of M {M.score(test.X, **test.metadata):.2f}")

# %%
# Two dictionaries with 16 learned vectors each
# ---------------------------------------------
# Each vector of the tied one stands for four.

settings = {"k": 4, "max_epochs": 10, "random_state": 0}
regular = TopKSAE(16, **settings).fit(train.X)
tied = GroupTiedSAE(
    64, symmetry=4, orbit_lengths={4: 16}, **settings
).fit(train.X, **train.metadata)
print(f"R2 regular {regular.score(test.X):.2f}")
print(f"R2 group-tied {tied.score(test.X):.2f}")

# %%
# What fires a feature and its turned copies
# ------------------------------------------
# For each of the four latents of one orbit, the three places that fire it most, framed
# in the image as it was turned. They are found among all rotations, and turn with the
# latent.

Z = tied.transform(test.X)
Z = Z.reshape(len(Z), -1, 4)
best = Z.max(axis=(0, 2)).argmax()
figure, axes = plt.subplots(
    3, 4, figsize=(4.2, 3.4), layout="constrained"
)
for g, column in enumerate(axes.T):
    column[0].set_title(f"copy {g}")
    order = np.argsort(-Z[:, best, g])
    _, first = np.unique(test.inputs[order], return_index=True)
    rows = order[np.sort(first)[:3]]
    for row, axis in zip(rows, column, strict=True):
        image = action(images[test.inputs[row]], test.power[row])
        v, u = np.divmod(test.position[row], 4)
        axis.imshow(image[0], cmap="magma")
        frame = plt.Rectangle(
            (2 * u - 2.5, 2 * v - 2.5),
            7,
            7,
            fill=False,
            color="cyan",
            lw=2,
        )
        axis.add_patch(frame)
        axis.set(
            xticks=[], yticks=[], xlim=(-0.5, 8.5), ylim=(8.5, -0.5)
        )
plt.show()
