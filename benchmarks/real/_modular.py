"""A transformer on (a + b) mod p: do autoencoders find its Fourier features?

That such networks compute with a few frequencies is known: Nanda et al., Progress
measures for grokking via mechanistic interpretability, 2023; Zhong et al., The clock
and the pizza, 2023.
"""

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import pandas as pd
import torch
from torch import nn

from sk_eqsae import ActivationTransformFitter, extract_orbits
from sk_eqsae.inspection import response_spectrum

from ._methods import METHODS, fitted
from ._tables import grown, store

WIDTH, HIDDEN, HEADS = 64, 256, 4
LAYERS = ("hidden", "back", "head")  # hidden units, what they add, logits


@dataclass(frozen=True)
class Cell:
    """One autoencoder of one network."""

    p: int
    layer: str
    method: str
    n_latents: int
    k: int
    seed: int
    n_steps: int


class Transformer(nn.Module):
    """One layer of attention and one MLP over the tokens a, b and "="."""

    def __init__(self, p: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(p + 1, WIDTH), nn.Embedding(3, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.hidden = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU())
        self.back = nn.Linear(HIDDEN, WIDTH)
        self.head = nn.Linear(WIDTH, p)

    def forward(self, tokens):
        """Logits of a + b, of shape (n, p), from tokens of shape (n, 3)."""
        x = self.tokens(tokens) + self.places.weight
        x = x[:, -1] + self.attention(x[:, -1:], x, x, need_weights=False)[0][:, 0]
        return self.head(x + self.back(self.hidden(x)))


def run(args) -> None:
    """Fit what is missing; store and print the tables."""
    primes, seeds = ((7,), 1) if args.quick else ((31, 59), args.seeds)
    n_steps = 50 if args.quick else 3_000
    matrices = [
        _of_matrix(p, layer, seed, args.quick)
        for seed in range(seeds)
        for p in primes
        for layer in LAYERS
    ]
    matrices = pd.DataFrame(matrices)
    store(matrices, args.out / "modular_matrix.csv")
    print(matrices.round(4).to_string(index=False))
    cells = [
        Cell(p, layer, method, 4 * p, 4, seed, n_steps)
        for layer in LAYERS[:2]
        for seed in range(seeds)
        for p in primes
        for method in METHODS
    ]
    fit = partial(_fit, quick=args.quick)
    table = grown(fit, cells, args.out / "modular.csv")
    of_kind = table.groupby(["layer", "p", "method"], sort=False)
    columns = ["fvu", "one_frequency", "dead", "n_things"]
    print(of_kind[columns].agg(["mean", "std"]).round(3).to_string())


@lru_cache
def _trained(p, seed, quick):
    """A network that adds, and its accuracy on pairs that it has not seen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Transformer(p)
        pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
        tokens = torch.cat([pairs, torch.full((p * p, 1), p)], dim=1)
        order = torch.randperm(p * p)
        seen, unseen = order.tensor_split([int(0.8 * p * p)])
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1.0)
        for _ in range(20 if quick else 2_500):
            batch = tokens[seen[torch.randint(len(seen), (512,))]]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), batch[:, :2].sum(1) % p)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            found = model(tokens[unseen]).argmax(1)
        accuracy = (found == tokens[unseen][:, :2].sum(1) % p).float().mean()
    return model.eval(), float(accuracy)


def _orbits(p, layer, seed, quick):
    """What a layer puts out at "=", a row for each a; an orbit for each b."""
    model, _ = _trained(p, seed, quick)
    b = np.arange(p)
    inputs = np.stack([np.zeros_like(b), b, np.full_like(b, p)], axis=1)

    def action(tokens, power):
        moved = np.array(tokens)
        moved[:, 0] = (moved[:, 0] + power) % p
        return moved

    return extract_orbits(model, inputs, layer=layer, action=action, symmetry=p)


def _of_matrix(p, layer, seed, quick):
    """M, and its energies beside those of the Fourier transform of the rows."""
    orbits = _orbits(p, layer, seed, quick)
    train, test = orbits.split(random_state=seed)
    fitter = ActivationTransformFitter(p).fit(train.X, **train.metadata)
    spectrum = response_spectrum(orbits.X, **orbits.metadata)
    energies = spectrum.filter(like="energy").mul(spectrum.variance, axis=0).sum()
    energies /= energies.sum()
    waves = np.fft.rfft(orbits.X.reshape(p, p, -1) - orbits.X.mean(axis=0), axis=1)
    fourier = np.square(np.abs(waves)).sum(axis=(0, 2))
    fourier[1:] *= 2
    fourier /= fourier.sum()
    share = np.sort(fourier[1:])[::-1].cumsum() / fourier[1:].sum()
    return {
        "p": p,
        "layer": layer,
        "seed": seed,
        "accuracy": _trained(p, seed, quick)[1],
        "r2": fitter.score(test.X, **test.metadata),
        "fft_error": np.abs(energies.to_numpy() - fourier).max(),
        "n_frequencies_90": int(np.searchsorted(share, 0.9) + 1),
        "frequencies": " ".join(map(str, np.argsort(-fourier[1:])[:6] + 1)),
        "one_frequency": _in_one_frequency(test.X, test),  # of units as they are
    }


def _in_one_frequency(codes, orbits):
    """Share of a latent's moves in its strongest frequency, weighted by the moves."""
    spectrum = response_spectrum(codes, **orbits.metadata)
    energies = spectrum.filter(like="energy").iloc[:, 1:].to_numpy()
    moves = (spectrum.variance * np.nan_to_num(energies.sum(axis=1))).to_numpy()
    strongest = (spectrum.variance * np.nan_to_num(energies.max(axis=1))).to_numpy()
    return strongest.sum() / moves.sum() if moves.any() else np.nan


def _fit(cell, *, quick):
    orbits = _orbits(cell.p, cell.layer, cell.seed, quick)
    train, test = orbits.split(random_state=cell.seed)
    sae = fitted(cell, train)
    return {
        **vars(cell),
        "fvu": 1 - sae.score(test.X),
        "one_frequency": _in_one_frequency(sae.transform(test.X), test),
        "dead": 1 - (sae.transform(train.X) > 0).any(axis=0).mean(),
        "n_things": getattr(sae, "n_orbits_", cell.n_latents),
        "orbit_lengths": str(getattr(sae, "orbit_lengths_", "")),
    }
