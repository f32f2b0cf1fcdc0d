"""What is timed."""

import subprocess
import sys

import numpy as np
import torch

from sk_eqsae import ActivationTransformFitter, TopKSAE
from sk_eqsae.sae._sparse_ops import TopKCode  # no public name runs the bare step

from ._rounds import interleaved

N_FEATURES = 256


def training_step(n_components: int, batch_size: int, k: int, rounds: int) -> dict:
    """Compare one epoch of fit with bare loops over the same batches.

    "fit" is all of ``TopKSAE.fit``, "bare" the same sparse step in a plain loop
    without skorch, "dense" a plain loop with a dense code and torch's own gradients.
    """
    n_batches = max(30, 6400 // batch_size)
    X = np.random.default_rng(0).normal(size=(n_batches * batch_size, N_FEATURES))
    X = X.astype(np.float32)
    epochs = 2
    settings = {"k": k, "recipe": "paper", "batch_size": batch_size, "random_state": 0}
    sae = TopKSAE(n_components, max_epochs=epochs, **settings)
    bare = _loop(X, n_components, k, batch_size, epochs, TopKCode.apply)
    dense = _loop(X, n_components, k, batch_size, epochs, _dense_forward)
    contenders = {"bare": bare, "fit": lambda: sae.fit(X), "dense": dense}
    case = {"n_components": n_components, "batch_size": batch_size, "k": k}
    times = interleaved(contenders, rounds)
    per_step = {
        key: value / (epochs * n_batches) if key.endswith("_ms") else value
        for key, value in times.items()
    }
    return case | per_step


def _loop(X, n_components, k, batch_size, epochs, forward):  # noqa: PLR0917
    def run():
        torch.manual_seed(0)
        encoder = torch.nn.Linear(N_FEATURES, n_components)
        decoder = torch.nn.Linear(n_components, N_FEATURES)
        components = torch.nn.Parameter(decoder.weight.detach().T.contiguous())
        parameters = [encoder.weight, encoder.bias, components, decoder.bias]
        optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
        data = torch.from_numpy(X)
        for _ in range(epochs):
            for rows in torch.randperm(len(data)).split(batch_size):
                batch = data[rows]
                output = forward(batch, *parameters, k)
                optimizer.zero_grad(set_to_none=True)
                (output - batch).square().sum(1).mean().backward()
                optimizer.step()

    return run


def _dense_forward(batch, weight, bias, components, intercept, k):  # noqa: PLR0917
    latents = torch.nn.functional.linear(batch, weight, bias)
    values, indices = latents.topk(k, dim=1)
    code = torch.zeros_like(latents).scatter(1, indices, values.relu())
    return code @ components + intercept


def activation_transform(n_orbits: int, rounds: int) -> dict:
    """Compare the closed form of M with 150 epochs of Adam."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_orbits, N_FEATURES)).astype(np.float32)
    X = np.stack([np.roll(x, 64 * p, axis=1) for p in range(4)], axis=1)
    groups, power = np.indices(X.shape[:2])
    orbits = {"groups": groups.ravel(), "power": power.ravel()}
    X = X.reshape(-1, N_FEATURES)
    fitters = {
        "exact": ActivationTransformFitter(4),
        "free": ActivationTransformFitter(4, group_law="free"),
        "adam": ActivationTransformFitter(
            4, solver="adam", group_law="free", random_state=0
        ),
    }
    contenders = {n: lambda f=f: f.fit(X, **orbits) for n, f in fitters.items()}
    return {"n_orbits": n_orbits} | interleaved(contenders, rounds)


def import_time(rounds: int) -> dict:
    """Compare importing the package with importing what it builds on."""
    base = "import torch, sklearn, skorch"
    contenders = {
        "dependencies": lambda: subprocess.run(
            [sys.executable, "-c", base], check=True
        ),
        "package": lambda: subprocess.run(
            [sys.executable, "-c", f"{base}, sk_eqsae"], check=True
        ),
    }
    times = interleaved(contenders, rounds)
    return times | {"added_ms": times["package_ms"] - times["dependencies_ms"]}
