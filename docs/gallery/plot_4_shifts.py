"""
A signal under shifts
=====================

A convolutional network on periodic signals. Shifting the input permutes what the
convolution sees; what does the layer behind it make of a shift?
"""

# %%
# Signals with bumps, and a network that counts them
# --------------------------------------------------

import matplotlib.pyplot as plt
import numpy as np
import torch

from sk_eqsae import (
    ActivationTransformFitter,
    GroupTiedSAE,
    extract_orbits,
)
from sk_eqsae.groups import CyclicShift
from sk_eqsae.inspection import FeatureSymmetryDisplay

rng = np.random.default_rng(0)
n, length = 1_500, 32
bumps = rng.random((n, length)) < 0.06
kernel = np.exp(-0.5 * (np.arange(-3, 4) / 1.2) ** 2)
signals = sum(
    np.roll(bumps * weight, shift, axis=1)
    for shift, weight in zip(range(-3, 4), kernel, strict=True)
).astype("float32")[:, None]
count = torch.from_numpy(bumps.sum(axis=1)).float()

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv1d(1, 8, 5, padding=2, padding_mode="circular"),
    torch.nn.ReLU(),
    torch.nn.AvgPool1d(4),
    torch.nn.Flatten(),
    torch.nn.Linear(64, 1),
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
X = torch.from_numpy(signals)
for _ in range(150):
    optimizer.zero_grad()
    (model(X)[:, 0] - count).square().mean().backward()
    optimizer.step()

# %%
# Shifts by an eighth of the length
# ---------------------------------
# ``CyclicShift`` of order 8 shifts by 4 places, which is what the pooling keeps: the
# pooled maps are permuted exactly, and M finds it.

action = CyclicShift(axis=2, order=8)
orbits = extract_orbits(model, signals, layer="3", action=action)
train, test = orbits.split(0.2, random_state=0)
M = ActivationTransformFitter(8)
M.fit(train.X, groups=train.groups, power=train.power)
r2 = M.score(test.X, groups=test.groups, power=test.power)
print(f"R2 {r2:.4f}")

# %%
# A dictionary closed under the shifts
# ------------------------------------
# How the energy of its vectors spreads over the irreps (frequencies) of the group.

sae = GroupTiedSAE(
    128, symmetry=8, k=8, max_epochs=40, random_state=0
)
sae.fit(train.X, groups=train.groups, power=train.power)
r2 = sae.score(test.X)
print(f"R2 of 128 latents, {sae.n_orbits_} learned vectors: {r2:.3f}")
FeatureSymmetryDisplay.from_estimator(sae)
plt.show()
