"""
Exporting to SAELens
====================

A fitted autoencoder as the files that SAELens and dictionary_learning load, and as a
plain torch module inside the model it was fitted to.
"""

# %%
# A fitted autoencoder
# --------------------

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from sk_eqsae import TopKSAE, export, extract_orbits, from_saelens
from sk_eqsae.groups import ImageRotation
from sk_eqsae.inspection import splice

digits = load_digits()
images = digits.images[:, None].astype("float32") / 16
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Flatten(),
    torch.nn.Linear(64, 32),
    torch.nn.ReLU(),
    torch.nn.Linear(32, 10),
)
X, y = torch.from_numpy(images), torch.from_numpy(digits.target)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(100):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(X), y).backward()
    optimizer.step()

orbits = extract_orbits(
    model, images, layer="1", action=ImageRotation(4)
)
sae = TopKSAE(128, k=8, max_epochs=40, random_state=0)
sae.fit(orbits.canonical)

# %%
# To SAELens and back
# -------------------
# What was learned about the scale of the activations is folded into the weights, so
# that the other library is given activations as they are.

folder = Path(tempfile.mkdtemp()) / "sae"
export(sae, folder, format="saelens")
print(sorted(path.name for path in folder.iterdir()))
back = from_saelens(folder)
Z = sae.transform(orbits.X)
print(np.abs(back.transform(orbits.X) - Z).max() < 1e-4)

# %%
# Inside the model
# ----------------
# What does the network lose if a layer's output is replaced by the reconstruction, and
# if a latent is taken away? For each latent, how many digits are told wrongly then.


def accuracy():
    """Share of digits that the model tells."""
    with torch.no_grad():
        return (model(X).argmax(dim=1) == y).float().mean().item()


print(f"as it is {accuracy():.3f}")
with splice(model, "1", sae):
    spliced = accuracy()
print(f"reconstructed {spliced:.3f}")

density = (sae.transform(orbits.canonical) > 0).mean(axis=0)
often = np.argsort(density)[::-1][:20]
lost = []
for latent in often:
    with splice(model, "1", sae, ablate=[latent]):
        lost.append(spliced - accuracy())

figure, axis = plt.subplots(figsize=(4.2, 2.6), layout="constrained")
ranks = np.arange(1, len(lost) + 1)
axis.bar(ranks, lost, color="#0072B2")
axis.set(
    xlabel="latents, most often active first",
    ylabel="accuracy lost without it",
    xticks=[1, 5, 10, 15, 20],
)
plt.show()
