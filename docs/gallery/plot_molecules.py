"""
Molecules, atom by atom
=======================

A network that predicts energies of molecules of three to six atoms, read at each atom.
Two symmetries: quarter-turns, which it has to learn, and swaps of two atoms, which it
knows by construction.
"""

# %%
# Molecules of different sizes, and a network
# -------------------------------------------

import matplotlib.pyplot as plt
import numpy as np
import torch

from sk_eqsae import (
    ActivationTransformFitter,
    TopKSAE,
    extract_orbits,
)
from sk_eqsae.activations import Nodes
from sk_eqsae.groups import AxisRotation, ChannelPermutation
from sk_eqsae.inspection import feature_families

rng = np.random.default_rng(0)
molecules = [
    {
        "place": rng.normal(size=(n, 3)).astype("float32"),
        "charge": rng.choice([-1.0, 1.0], size=n).astype("float32"),
    }
    for n in rng.integers(3, 7, size=200)
]
sizes = [len(one["charge"]) for one in molecules]


def one_batch(items):
    """All atoms one after the other, and the molecule of each."""
    counts = torch.tensor([len(one["charge"]) for one in items])
    return {
        "place": torch.from_numpy(
            np.concatenate([one["place"] for one in items])
        ),
        "charge": torch.from_numpy(
            np.concatenate([one["charge"] for one in items])
        ),
        "owner": torch.arange(len(items)).repeat_interleave(counts),
    }


def pairs_of(owner):
    """Pairs of different atoms of one molecule."""
    same = owner[:, None] == owner
    return torch.nonzero(same.fill_diagonal_(False), as_tuple=True)


class Network(torch.nn.Module):
    """Messages between atoms, a row per atom, a sum per molecule."""

    def __init__(self, width=32):
        super().__init__()
        self.pairs = torch.nn.Sequential(
            torch.nn.Linear(5, width),
            torch.nn.SiLU(),
            torch.nn.Linear(width, width),
        )
        self.atoms = torch.nn.Sequential(
            torch.nn.Linear(width, width), torch.nn.SiLU()
        )
        self.head = torch.nn.Linear(width, 1)

    def forward(self, place, charge, owner):
        """Energies."""
        i, j = pairs_of(owner)
        ends = torch.stack([charge[i], charge[j]], dim=1)
        pairs = self.pairs(
            torch.cat([place[j] - place[i], ends], dim=1)
        )
        atoms = place.new_zeros(len(place), pairs.shape[1])
        energies = self.head(self.atoms(atoms.index_add(0, i, pairs)))
        total = place.new_zeros(int(owner[-1]) + 1)
        return total.index_add(0, owner, energies[:, 0])


def energy(place, charge, owner):
    """What the network has to learn: charges that attract and repel."""
    i, j = pairs_of(owner)
    far = (place[i] - place[j]).norm(dim=1)
    total = place.new_zeros(int(owner[-1]) + 1)
    return total.index_add(
        0, owner[i], charge[i] * charge[j] * torch.exp(-far)
    )


def turn(items, power):
    """Quarter-turns about the vertical axis."""
    about_z = AxisRotation(axis=2, order=4)
    return [
        one | {"place": about_z(one["place"], power)} for one in items
    ]


torch.manual_seed(0)
model = Network()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
batches = [one_batch(turn(molecules, power)) for power in range(4)]
for step in range(200):
    batch = batches[step % 4]
    error = (model(**batch) - energy(**batch)).square().mean()
    optimizer.zero_grad()
    error.backward()
    optimizer.step()

# %%
# Quarter-turns
# -------------
# Atoms keep their numbers, which ``site_action`` says. M explains how the rows of atoms
# move.

read = {
    "layer": "atoms",
    "sites": Nodes(sizes=sizes),
    "collate": one_batch,
}
turned = extract_orbits(
    model,
    molecules,
    action=turn,
    symmetry=4,
    site_action=lambda maps, power: maps,
    **read,
)
train, test = turned.split(random_state=0)
M = ActivationTransformFitter(4).fit(train.X, **train.metadata)
print(turned)
print(f"R2 of M {M.score(test.X, **test.metadata):.2f}")

# %%
# Permutations of three atoms
# ---------------------------
# They move the sites as well, so a row follows its atom. The network treats all atoms
# alike: rows do not change, and M is the identity.

first_three = ChannelPermutation(3)
of_sites = ChannelPermutation(3, axis=2)


def permute(items, power):
    """Permute the first three atoms of each molecule."""
    return [
        {
            name: np.concatenate(
                [first_three(part[None, :3], power)[0], part[3:]]
            )
            for name, part in one.items()
        }
        for one in items
    ]


def permute_sites(maps, power):
    """Say the same of a map (1, 1, n_atoms)."""
    first = of_sites(maps[..., :3], power)
    return np.concatenate([first, maps[..., 3:]], axis=-1)


permuted = extract_orbits(
    model,
    molecules,
    action=permute,
    symmetry=first_three.symmetry,
    site_action=permute_sites,
    **read,
)


def of_identity(orbits):
    """R2 of M = I: how well canonical rows do for the moved ones."""
    rows = orbits.X.reshape(-1, orbits.order, orbits.X.shape[1])
    moved = rows[:, 1:]
    error = np.square(moved - rows[:, :1]).sum()
    return (
        1 - error / np.square(moved - moved.mean(axis=(0, 1))).sum()
    )


figure, axis = plt.subplots(figsize=(4.2, 2.8), layout="constrained")
for i, orbits in enumerate([turned, permuted]):
    train, test = orbits.split(random_state=0)
    fitted = ActivationTransformFitter(orbits.symmetry)
    fitted.fit(train.X, **train.metadata)
    r2 = fitted.score(test.X, **test.metadata), of_identity(test)
    axis.bar(
        [i - 0.2], r2[0], 0.38, color="#0072B2", label="M" * (i == 0)
    )
    axis.bar(
        [i + 0.2],
        r2[1],
        0.38,
        color="#E69F00",
        label="M = I" * (i == 0),
    )
axis.set(
    xticks=[0, 1],
    xticklabels=["quarter-turns", "permutations"],
    ylabel="R2 on molecules not seen",
)
axis.legend(frameon=False)
plt.show()

# %%
# Features of atoms
# -----------------
# Quarter-turns again. Which latents of a plain dictionary are turned copies of each
# other?

train, test = turned.split(random_state=0)
sae = TopKSAE(64, k=6, max_epochs=10, random_state=0).fit(train.X)
families = feature_families(
    sae, test.X, **test.metadata, random_state=0
)
print(f"R2 {sae.score(test.X):.2f}")
print(families["kind"].value_counts())
