"""
Shapes, end to end
==================

The paper's data in small: images of four shapes, a network that compresses them, the
matrix M that moves its activations, and a dictionary whose vectors turn with the image.
"""

# %%
# Images and a network
# --------------------
# Four shapes an image, each image in four rotations. The network is the paper's MLP,
# an autoencoder, trained for a short while on images turned at random.

from collections import OrderedDict

import matplotlib.pyplot as plt
import numpy as np
import torch

from sk_eqsae import (
    ActivationTransformFitter,
    GroupTiedSAE,
    TopKSAE,
    extract_orbits,
    make_shapes,
)
from sk_eqsae.groups import ImageRotation
from sk_eqsae.inspection import (
    FeatureOrbitDisplay,
    TransformFidelityDisplay,
)

shapes = make_shapes(2_000, orientation="random", random_state=0)
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
print(train)

# %%
# How activations move
# --------------------
# One matrix, found in closed form. On orbits that it has not seen it explains nearly
# everything; M = I, that activations stay as they are, explains nothing.

TransformFidelityDisplay.from_estimator(
    ActivationTransformFitter(symmetry=4), train, test, random_state=0
)
plt.show()

# %%
# A dictionary that turns
# -----------------------
# 64 vectors and their three turned copies make 256 latents. Beside them, regular
# dictionaries of 64 and of 256 vectors, which learn every rotation by themselves.

settings = {"k": 8, "max_epochs": 40, "random_state": 0}
for n in (64, 256):
    regular = TopKSAE(n, **settings).fit(train.X)
    print(f"regular, {n} vectors: R2 {regular.score(test.X):.4f}")
tied = GroupTiedSAE(256, symmetry=4, **settings)
tied.fit(train.X, **train.metadata)
print(f"tied, {tied.n_orbits_} vectors: R2 {tied.score(test.X):.4f}")

# %%
# What the vectors are
# --------------------
# Decoded by the network: a shape in one quadrant, and the same shape turned with the
# image. On the right the images that fire the vector most.


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
# sphinx_gallery_thumbnail_number = 2
