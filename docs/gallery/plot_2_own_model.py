"""
A model of your own
===================

Any ``torch.nn.Module``, any layer by its name, any symmetry that you can apply to the
inputs. Here: a network that was trained to tell digits apart, and mirror images.
"""

# %%
# Your model
# ----------
# Nothing in it knows of this package.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from sk_eqsae import TopKSAE, extract_orbits
from sk_eqsae.inspection import dead_latents

digits = load_digits()
images = digits.images[:, None].astype("float32") / 16
model = torch.nn.Sequential(
    torch.nn.Flatten(),
    torch.nn.Linear(64, 64),
    torch.nn.ReLU(),
    torch.nn.Linear(64, 10),
)
torch.manual_seed(0)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
X, y = torch.from_numpy(images), torch.from_numpy(digits.target)
for _ in range(100):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(X), y)
    loss.backward()
    optimizer.step()
print([name for name, _ in model.named_modules()])

# %%
# Your symmetry
# -------------
# A function of the inputs and of a power. Applied `order` times, it changes nothing.


def mirror(inputs, power):
    """Flip images from left to right."""
    return np.flip(inputs, axis=-1).copy() if power % 2 else inputs


orbits = extract_orbits(model, images, layer="2", action=mirror, order=2)
print(orbits)

# %%
# A dictionary of its activations
# -------------------------------

train, test = orbits.split(0.25, random_state=0)
sae = TopKSAE(256, k=8, max_epochs=60, random_state=0, verbose=0).fit(train.X)
Z = sae.transform(test.X)
print(f"R2 {sae.score(test.X):.3f}, {dead_latents(Z):.0%} of the latents are dead")

# %%
# Which latents care about the mirror? For each latent, its values on an image and on
# the mirror image.

by_orbit = np.lexsort((test.power, test.groups))
plain, mirrored = Z[by_orbit[::2]], Z[by_orbit[1::2]]
density = (plain > 0).mean(axis=0)
same = np.array(
    [np.corrcoef(a, b)[0, 1] if a.std() and b.std() else np.nan
     for a, b in zip(plain.T, mirrored.T, strict=True)]
)  # fmt: skip
figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
axis.scatter(density, same, s=12)
axis.set(
    xlabel="share of images that fire the latent",
    ylabel="correlation with the mirror image",
)
plt.show()
