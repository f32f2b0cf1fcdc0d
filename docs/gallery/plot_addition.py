"""
A transformer that adds modulo 31
=================================

A transformer reads "a b =" and says a + b modulo 31. Its inputs are dicts, it is read
at the last token, and the symmetry is a -> a + 1. With which frequencies does it add?
"""

# %%
# Train it
# --------
# It takes a batch of tokens as those of the transformers library do, by name, and puts
# out a dict.

import matplotlib.pyplot as plt
import numpy as np
import torch

from sk_eqsae import extract_orbits
from sk_eqsae.groups import CyclicGroup, ProductGroup
from sk_eqsae.inspection import response_spectrum

p, width = 31, 64
a, b = np.divmod(np.arange(p * p), p)
tokens = np.stack([a, b, np.full(p * p, p)], axis=1)
sums = torch.from_numpy((a + b) % p)


class Adder(torch.nn.Module):
    """One block, and a head that reads the last token."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(p + 1, width)
        self.place = torch.nn.Parameter(0.1 * torch.randn(3, width))
        self.block = torch.nn.TransformerEncoderLayer(
            width,
            4,
            4 * width,
            0.0,
            batch_first=True,
            norm_first=True,
        )
        self.norm = torch.nn.LayerNorm(width)
        self.head = torch.nn.Linear(width, p)

    def forward(self, input_ids):
        """Logits of the sum, and the hidden states."""
        hidden = self.norm(
            self.block(self.embed(input_ids) + self.place)
        )
        return {"logits": self.head(hidden[:, -1]), "hidden": hidden}


torch.manual_seed(0)
model = Adder()
optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1.0)
n_steps = 400
schedule = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, 5e-3, total_steps=n_steps
)
loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
ids = torch.from_numpy(tokens)
for _ in range(n_steps):
    optimizer.zero_grad()
    loss_of(model(ids)["logits"], sums).backward()
    optimizer.step()
    schedule.step()
with torch.no_grad():
    right = model(ids)["logits"].argmax(1) == sums
print(f"right: {right.float().mean():.1%}")

# %%
# Read it
# -------
# The action gets a dict, as the model does. An orbit is one b with all a; ``output``
# picks the last token of what the model puts out.


def add(batch, power):
    """Add a number to a."""
    batch["input_ids"][:, 0] = (batch["input_ids"][:, 0] + power) % p
    return batch


orbits = extract_orbits(
    model,
    {"input_ids": tokens[a == 0]},
    layer="",
    action=add,
    symmetry=p,
    output=lambda out: out["hidden"][:, -1],
)
print(orbits)

# %%
# Its frequencies
# ---------------
# How the variance along orbits spreads over the irreps of the cyclic group, which are
# frequencies. A network that knows nothing but the sum puts out the mean of its class,
# and the Fourier transform of these 31 means says the same.

spectrum = response_spectrum(orbits.X, **orbits.metadata)
weight = spectrum["variance"] / spectrum["variance"].sum()
energy = spectrum.filter(like="energy").mul(weight, axis=0).sum()

of_class = (orbits.groups + orbits.power) % p
means = np.stack(
    [orbits.X[of_class == c].mean(axis=0) for c in range(p)]
)
waves = np.fft.rfft(means - means.mean(axis=0), axis=0)
fourier = (np.abs(waves) ** 2).sum(axis=1)
fourier /= fourier.sum()
print(f"largest difference: {np.abs(energy - fourier).max():.4f}")

frequency = np.arange(len(energy))
fig, ax = plt.subplots(figsize=(4.2, 2.6), layout="constrained")
ax.bar(frequency - 0.2, energy, 0.4, label="response_spectrum")
ax.bar(frequency + 0.2, fourier, 0.4, label="FFT of the class means")
ax.set(
    xticks=range(0, 16, 3),
    xlabel="frequency",
    ylabel="share of the variance",
)
fig.legend(loc="outside upper left", ncols=2, frameon=False)
plt.show()

# %%
# Both numbers at once
# --------------------
# Under a -> a + 1 and b -> b + 1 all pairs are one orbit, of the group C31 x C31. Its
# irreps are pairs of frequencies, and what depends on the sum alone has the same one
# twice.


def add_both(batch, power):
    """Add a number to a, and another to b."""
    pair = batch["input_ids"][:, :2]
    batch["input_ids"][:, :2] = (pair + power) % p
    return batch


both = ProductGroup(CyclicGroup(p), CyclicGroup(p))
pairs = extract_orbits(
    model,
    {"input_ids": tokens[:1]},
    layer="",
    action=add_both,
    symmetry=both,
    output=lambda out: out["hidden"][:, -1],
)
spectrum = response_spectrum(pairs.X, **pairs.metadata, symmetry=both)
weight = spectrum["variance"] / spectrum["variance"].sum()
energy = spectrum.filter(like="energy").mul(weight, axis=0).sum()

grid = pairs.X.reshape(p, p, -1)
waves = np.fft.fft2(grid - grid.mean(axis=(0, 1)), axes=(0, 1))
fourier = (np.abs(waves) ** 2).sum(axis=2)
same_twice = np.trace(fourier) / fourier.sum()
print(energy.nlargest(4).round(3).to_string())
print(f"of the Fourier transform, the same twice: {same_twice:.3f}")
