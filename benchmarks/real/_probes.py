"""What latents of a vision network tell, and what it does with reconstructions."""

from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from joblib import Memory
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

from sk_eqsae import splice

from . import _efficientnet as net
from ._methods import METHODS, Cell, fitted
from ._photographs import centre
from ._questions import edges, of_inputs, scores
from ._scan import aligned_sizes
from ._tables import grown
from ._vision import parts

LAYERS = ("block 4", "block 7", "block 10")
N_CLASS_GROUPS = 8


def run(args) -> None:
    """Fit, probe and splice what is missing; store and print the table."""
    n_steps = 60 if args.quick else 4_000
    layers = LAYERS[:1] if args.quick else LAYERS
    cells = [
        Cell(
            net.NAME, layer, symmetry, method, 64 if args.quick else 256, 8, s, n_steps
        )
        for s in range(args.seeds)
        for symmetry in ("C4", "mirror")
        for layer in layers
        for method in METHODS
    ]
    measured = partial(_measured, args=args, sizes=aligned_sizes(args))
    table = grown(measured, cells, args.out / "probes.csv")
    of_method = table.groupby(["symmetry", "layer", "method"], sort=False)
    print(of_method.mean(numeric_only=True).round(3).T.to_string())


def _measured(cell, *, args, sizes):
    """One autoencoder; the seed also draws the photographs that are held out."""
    layer = next(each for each in net.LAYERS if each.name == cell.layer)
    size = sizes[layer.name]
    sides = parts(layer, cell.symmetry, size, args, seed=cell.seed)
    sae = fitted(cell, sides[0])
    row = {**asdict(cell), "fvu": 1 - sae.score(sides[1].X)}
    kept = Memory(args.out / "activations", verbose=0).cache(class_groups)
    images = net.data(args)[0]
    labels, crops = kept(images), centre(images, size)
    row |= _spliced(layer, sae, crops[np.unique(sides[1].inputs)])
    shown = [edges(side, crops, net.ACTIONS[cell.symmetry]) for side in sides]
    for suffix, read in _readings(sae):
        codes = [read(side.X) for side in sides]
        whole = [of_inputs(Z, p, labels) for Z, p in zip(codes, sides, strict=True)]
        row |= scores(f"class{suffix}", *whole)
        sites = [(Z[e >= 0], e[e >= 0]) for Z, e in zip(codes, shown, strict=True)]
        row |= scores(f"edge{suffix}", *sites)
    return row


def _readings(sae):
    """Latents, and the largest of each of their orbits."""
    yield "", sae.transform
    if hasattr(sae, "latent_orbits_"):
        yield "_pooled", lambda X: sae.latent_orbits_.pool(sae.transform(X))


def class_groups(images: np.ndarray) -> np.ndarray:
    """Group of the class that the network names first, of each crop.

    Classes are grouped by the directions of their weights in the last layer (k-means).
    """
    model = net.network()
    weights = normalize(model.get_submodule("_fc").weight.detach().numpy())
    groups = KMeans(N_CLASS_GROUPS, n_init=10, random_state=0).fit_predict(weights)
    return groups[_logits(model, images).argmax(axis=1)]


def _logits(model, images):
    batches = torch.tensor(net.as_inputs(images)).split(64)
    with torch.no_grad():
        return torch.cat([model.eval()(batch) for batch in batches]).numpy()


def _spliced(layer, sae, images):
    """How often the network names the same class with the reconstruction in place."""
    model = net.network()
    first = _logits(model, images).argmax(axis=1)
    every = range(sae.components_.shape[0])
    found = {}
    for name, ablate in (("agreement", ()), ("agreement_of_mean", every)):
        if len(ablate) and hasattr(sae, "latent_orbits_"):
            continue  # the mean is the same for all methods
        with splice(model, layer.module, sae, sites="map", ablate=ablate) as spliced:
            found[name] = (_logits(spliced, images).argmax(axis=1) == first).mean()
    return found
