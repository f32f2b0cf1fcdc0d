"""
A vision transformer on digits
==============================

A class token and sixteen patches, trained for a few seconds. The patches are sites on a
grid, which a rotation moves; the class token stays where it is.
"""

# %%
# Train it
# --------

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

from sk_eqsae import (
    ActivationTransformFitter,
    TopKSAE,
    extract_orbits,
)
from sk_eqsae.activations import Tokens
from sk_eqsae.groups import ImageFlip, ImageRotation
from sk_eqsae.inspection import feature_families

width = 32


class ViT(torch.nn.Module):
    """Patches of 2 x 2 pixels, a class token, two blocks."""

    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(1, width, 2, stride=2)
        self.first = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.place = torch.nn.Parameter(
            0.1 * torch.randn(1, 17, width)
        )
        self.blocks = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(
                width, 4, 64, 0.0, batch_first=True
            )
            for _ in range(2)
        )
        self.head = torch.nn.Linear(width, 10)

    def forward(self, images):
        """Class scores, read at the class token."""
        tokens = self.patches(images).flatten(2).mT
        first = self.first.expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], dim=1) + self.place
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0])


digits = load_digits()
images = torch.tensor(
    digits.images[:, None] / 16, dtype=torch.float32
)
target = torch.tensor(digits.target)
turn = ImageRotation(order=4)
torch.manual_seed(0)
model = ViT()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(120):
    rows = torch.randperm(len(images))[:128]
    scores = model(turn(images[rows], step % 4))
    loss = torch.nn.functional.cross_entropy(scores, target[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
# Patches and class token
# -----------------------
# ``Tokens`` says where they are. The class token alone is picked by a function, and is
# one row of each image.

patches = Tokens(grid=(4, 4), prefix=1)
layers = ["blocks.0", "blocks.1"]
r2 = {}
for name, action in (("rotation", turn), ("mirror", ImageFlip())):
    for where, how in (
        ("patches", {"sites": patches, "n_sites": 4}),
        ("class token", {"output": lambda out: out[:, 0]}),
    ):
        found = extract_orbits(
            model,
            images[:250],
            layer=layers,
            action=action,
            random_state=0,
            **how,
        )
        for layer, orbits in found.items():
            train, test = orbits.split(random_state=0)
            M = ActivationTransformFitter(action.symmetry)
            M.fit(train.X, **train.metadata)
            score = M.score(test.X, **test.metadata)
            r2[f"{where}\n{name}", layer] = score

# %%
# In the first block M does for both symmetries. Deeper, the patches still follow,
# mirror images no worse than the rotations that the network was trained on; the class
# token, which has to tell digits apart, much less. So ask each layer and token.

figure, axis = plt.subplots(figsize=(4.2, 2.8), layout="constrained")
names = list(dict.fromkeys(name for name, _ in r2))
for i, layer in enumerate(layers):
    heights = [r2[name, layer] for name in names]
    places = [j + 0.4 * i - 0.2 for j in range(len(names))]
    axis.bar(places, heights, 0.38, label=layer)
axis.set(
    xticks=range(len(names)),
    xticklabels=names,
    ylabel="R2 of M, test",
)
axis.tick_params(axis="x", labelsize=8)
figure.legend(loc="outside upper right", ncols=2)
plt.show()

# %%
# Features that are turned copies of each other
# ---------------------------------------------
# A plain dictionary of the patches, and which of its latents fires for the turned image
# where another one fires for the image.

orbits = extract_orbits(
    model,
    images[:250],
    layer="blocks.1",
    action=turn,
    sites=patches,
    n_sites=4,
    random_state=0,
)
train, test = orbits.split(random_state=0)
sae = TopKSAE(64, k=6, max_epochs=10, random_state=0).fit(train.X)
families = feature_families(
    sae, test.X, **test.metadata, random_state=0
)
print(f"R2 {sae.score(test.X):.2f}")
print(families["kind"].value_counts())
