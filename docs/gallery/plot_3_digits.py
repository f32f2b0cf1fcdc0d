"""
Digits under C4 and D4
======================

Quarter-turns form the group C4, quarter-turns and mirror images D4. How well does a
linear map say what a network's activations do under each, and what does the network
know of them?
"""

# %%
# A network that has seen digits in all positions
# -----------------------------------------------

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from sk_eqsae import ActivationTransformFitter, extract_orbits
from sk_eqsae.groups import ImageDihedral, ImageRotation
from sk_eqsae.inspection import r2_per_feature

digits = load_digits()
images = digits.images[:, None].astype("float32") / 16
action = ImageDihedral()
powers = action.symmetry.powers
X = np.concatenate([action(images, power) for power in powers])
y = torch.from_numpy(np.tile(digits.target, 8))

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 3, padding=1),
    torch.nn.ReLU(),
    torch.nn.MaxPool2d(2),
    torch.nn.Flatten(),
    torch.nn.Linear(256, 48),
    torch.nn.ReLU(),
    torch.nn.Linear(48, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
X = torch.from_numpy(X)
for _ in range(4):
    for rows in torch.randperm(len(X)).split(128):
        optimizer.zero_grad()
        scores = model(X[rows])
        torch.nn.functional.cross_entropy(scores, y[rows]).backward()
        optimizer.step()

# %%
# M for both groups
# -----------------
# With several generators, `power` has one column for each, and `M_` one matrix.

symmetries = {
    "C4": (ImageRotation(4), ActivationTransformFitter(4)),
    "D4": (
        action,
        ActivationTransformFitter(symmetry=action.symmetry),
    ),
}
for name, (action, M) in symmetries.items():
    orbits = extract_orbits(model, images, layer="4", action=action)
    train, test = orbits.split(0.25, random_state=0)
    M.fit(train.X, groups=train.groups, power=train.power)
    r2 = M.score(test.X, groups=test.groups, power=test.power)
    names = [irrep.name for irrep in M.symmetry_.irreps]
    irreps = zip(names, M.multiplicities_, strict=True)
    print(f"{name}: R2 {r2:.3f}; multiplicities of the irreps")
    for irrep, multiplicity in irreps:
        print(f"    {irrep}: {multiplicity}")

# %%
# Which units are explained, and which are not? The mean over the elements of D4:

table = r2_per_feature(
    M, test.X, groups=test.groups, power=test.power
)
scores = table.mean(axis=0).fillna(0).to_numpy()
figure, axis = plt.subplots(figsize=(4.2, 2.6), layout="constrained")
ranks = np.arange(len(scores))
axis.bar(ranks, np.sort(scores)[::-1], color="#0072B2")
axis.set(xlabel="unit, best first", ylabel="R2 under D4", ylim=(0, 1))
plt.show()
