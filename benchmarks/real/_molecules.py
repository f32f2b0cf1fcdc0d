"""CHGNet, a trained interatomic network: what it leaves alone, and what it permutes."""

import warnings
from functools import partial
from itertools import cycle

import numpy as np
import pandas as pd
from chgnet.model.model import CHGNet
from pymatgen.core import Lattice, Structure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_eqsae import TopKSAE, extract_orbits, scan_symmetry
from sk_eqsae.activations import Nodes

from ._methods import compare
from ._tables import store

SHAPE = (128, 8)  # latents and k
TURN, SWAP = "quarter-turn", "swap of two atoms"
LAYERS = ["atom_conv_layers.0", "atom_conv_layers.2"]
CATIONS = ("Li", "Na", "K", "Mg", "Ca", "Sr", "Ti", "Mn", "Fe", "Zn")
ANIONS = ("O", "S", "F", "Cl")
KINDS = {  # atoms of a cell: cation or anion, and where
    "rock salt": [("A", (0, 0, 0)), ("X", (0.5, 0.5, 0.5))],
    "zinc blende": [("A", (0, 0, 0)), ("X", (0.25, 0.25, 0.25))],
    "perovskite": [
        *[("A", (0, 0, 0)), ("B", (0.5, 0.5, 0.5))],
        *[("X", place) for place in ((0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5))],
    ],
}


def run(args) -> None:
    """Scan for turns and swaps, probe the atoms, fit autoencoders; store and print."""
    warnings.filterwarnings("ignore", module="pymatgen")
    model = CHGNet.load(use_device="cpu", verbose=False)
    layers = LAYERS[-1:] if args.quick else LAYERS
    many = _crystals(60 if args.quick else 3_000, np.random.default_rng(1))
    table = pd.concat([_turns(model, many, layers), _swaps(model, many, layers)])
    store(table, args.out / "molecules.csv")
    print(table.to_string(index=False))
    crystals = _crystals(60 if args.quick else 400, np.random.default_rng(0))
    probes = pd.DataFrame([_probes(model, crystals, layer) for layer in layers])
    store(probes, args.out / "molecules_probes.csv")
    print(probes.round(3).to_string(index=False))
    cases = {(layer, TURN): partial(_of_atoms, model, many, layer) for layer in layers}
    cases[layers[-1], SWAP] = partial(_of_cells, model, many, layers[-1])
    compare(args, "atoms", "CHGNet", cases, SHAPE)


def _crystals(n, rng):
    """Perturbed crystals of three kinds, of random elements."""
    return [_crystal(list(KINDS)[i % len(KINDS)], rng) for i in range(n)]


def _crystal(kind, rng):
    a, b = rng.choice(CATIONS, 2, replace=False)
    species = {"A": a, "B": b, "X": rng.choice(ANIONS)}
    atoms = KINDS[kind]
    length = rng.uniform(2.8, 3.4) if len(atoms) == 2 else rng.uniform(3.8, 4.4)
    lattice = Lattice(length * (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))))
    places = np.array([place for _, place in atoms]) + rng.normal(
        scale=0.02, size=(len(atoms), 3)
    )
    return Structure(lattice, [species[name] for name, _ in atoms], places)


def turned(crystals: list, power: int) -> list:
    """Each crystal turned by quarter-turns about the third axis."""
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turn = np.linalg.matrix_power(quarter, power)
    return [
        Structure(Lattice(c.lattice.matrix @ turn.T), c.species, c.frac_coords)
        for c in crystals
    ]


def swapped(crystals: list, power: int) -> list:
    """The first two atoms of each crystal change their places in the list."""
    if power == 0:
        return list(crystals)
    return [Structure.from_sites([c[1], c[0], *c[2:]]) for c in crystals]


def _read(model):
    """How `extract_orbits` and `scan_symmetry` read CHGNet."""
    return {
        "collate": lambda some: [model.graph_converter(c) for c in some],
        "forward": lambda chgnet, graphs: chgnet(graphs, task="e"),
        "batch_size": 16,
    }


def _atoms(crystals):
    """Sites of single atoms, and what quarter-turns do to them."""
    nodes = Nodes(sizes=[len(c) for c in crystals])
    turn = {"action": turned, "symmetry": 4, "site_action": lambda maps, power: maps}
    return {"sites": nodes}, turn


def _of_atoms(model, crystals, layer):
    """Orbits of single atoms."""
    sites, turn = _atoms(crystals)
    return extract_orbits(model, crystals, layer=layer, **sites, **turn, **_read(model))


def _turns(model, crystals, layers):
    sites, turn = _atoms(crystals)
    how = sites | _read(model)
    actions = {TURN: turn}
    return scan_symmetry(
        model, crystals, layers=layers, actions=actions, random_state=0, **how
    )


def _cells(crystals):
    """Whole cells of five atoms, and a swap of the first two."""
    cells = [c for c in crystals if len(c) == 5]
    swap = {"action": swapped, "symmetry": 2}
    return cells, {"output": lambda atoms: atoms.reshape(len(atoms) // 5, -1)}, swap


def _of_cells(model, crystals, layer):
    """Orbits of whole cells."""
    cells, how, swap = _cells(crystals)
    return extract_orbits(model, cells, layer=layer, **how, **swap, **_read(model))


def _swaps(model, crystals, layers):
    """The scan, and how far a swap is from the matrix that swaps two atoms."""
    cells, how, swap = _cells(crystals)
    how |= _read(model)
    table = scan_symmetry(
        model, cells, layers=layers, actions={SWAP: swap}, random_state=0, **how
    )
    errors = []
    for layer in table.layer:
        orbits = _of_cells(model, cells, layer)
        n = orbits.X.shape[1] // 5
        matrix = np.kron(np.eye(5)[[1, 0, 2, 3, 4]], np.eye(n))
        moved = orbits.X[orbits.power == 0] @ matrix.T
        errors.append(np.abs(moved - orbits.X[orbits.power == 1]).max())
    return table.assign(error_of_swap=errors)


def _probes(model, crystals, layer):
    """Do latents tell the element, and the kind of crystal that an atom is in?"""
    orbits = _of_atoms(model, crystals, layer)
    element = orbits.at([[str(s) for s in c.species] for c in crystals])
    kinds = [[name] * len(c) for name, c in zip(cycle(KINDS), crystals, strict=False)]
    kind = orbits.at(kinds)
    train, test = orbits.split(random_state=0)
    in_test = np.isin(orbits.groups, test.groups)
    sae = TopKSAE(128, k=8, max_epochs=60, random_state=0).fit(train.X)
    result = {"layer": layer, "fvu": 1 - sae.score(test.X)}
    for name, labels in (("element", element), ("kind", kind)):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        probe.fit(sae.transform(train.X), labels[~in_test])
        found = probe.predict(sae.transform(test.X))
        result[name] = accuracy_score(labels[in_test], found)
        result[f"{name}_most_frequent"] = np.unique(
            labels[in_test], return_counts=True
        )[1].max() / np.sum(in_test)
    return result
