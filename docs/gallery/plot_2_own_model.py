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
import pandas as pd
import torch
from sklearn.datasets import load_digits

from sk_eqsae import TopKSAE, extract_orbits
from sk_eqsae.inspection import dead_latents

digits = load_digits()
images = digits.images[:, None].astype("float32") / 16
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Flatten(),
    torch.nn.Linear(64, 64),
    torch.nn.ReLU(),
    torch.nn.Linear(64, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
X, y = torch.from_numpy(images), torch.from_numpy(digits.target)
for _ in range(100):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(X), y)
    loss.backward()
    optimizer.step()
for name, module in model.named_children():
    print(name, module)

# %%
# Your symmetry
# -------------
# A function of the inputs and of a power. Applied `order` times, it changes nothing.


def mirror(inputs, power):
    """Flip images from left to right."""
    return np.flip(inputs, axis=-1).copy() if power % 2 else inputs


# %%
# What a layer puts out
# ---------------------
# ``extract_orbits`` leaves the model as it is. It puts a forward hook on the module of
# that name, a function that torch calls with whatever the module puts out, runs the
# model on each input under each power, and takes the hook off. Any model will do whose
# layers are modules; the name is the one that ``named_modules()`` gives.

orbits = extract_orbits(
    model, images, layer="2", action=mirror, symmetry=2
)
print(orbits)

# %%
# The same by hand, for the inputs as they are:

kept = []
layer = model.get_submodule("2")
hook = layer.register_forward_hook(
    lambda module, inputs, output: kept.append(output)
)
with torch.no_grad():
    model(X)
hook.remove()
print(np.allclose(kept[0], orbits.canonical, atol=1e-5))

# %%
# A dictionary of its activations
# -------------------------------

train, test = orbits.split(0.25, random_state=0)
sae = TopKSAE(256, k=8, max_epochs=60, random_state=0).fit(train.X)
Z = sae.transform(test.X)
dead = dead_latents(Z)
print(
    f"R2 {sae.score(test.X):.3f}, {dead:.0%} of the latents are dead"
)

# %%
# Which latents care about the mirror? For each latent, its values on an image and on
# the mirror image.

by_orbit = np.lexsort((test.power, test.groups))
plain, mirrored = Z[by_orbit[::2]], Z[by_orbit[1::2]]
density = (plain > 0).mean(axis=0)
same = pd.DataFrame(plain).corrwith(pd.DataFrame(mirrored))
figure, axis = plt.subplots(figsize=(4.2, 2.8), layout="constrained")
axis.scatter(density, same, s=12, color="#0072B2")
axis.set(
    xlabel="share of images that fire the latent",
    ylabel="correlation with the mirror image",
)
plt.show()
