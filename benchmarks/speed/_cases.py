"""What is timed."""

import subprocess
import sys
import time
from functools import partial

import joblib
import numpy as np
import torch
from distributed import Client
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score
from xgboost import XGBClassifier

from sk_eqsae import (
    ActivationTransformFitter,
    GroupTiedSAE,
    MeanDifferenceSelector,
    TopKSAE,
    evaluate_probes,
    fit_many,
)

from ._rounds import interleaved

N_FEATURES = 256
EPOCHS = 2


def training_step(n_components: int, batch_size: int, k: int, rounds: int) -> dict:
    """Compare fits of some fifty steps with dense loops over as many batches.

    "fit_paper" is all of ``TopKSAE.fit`` with the paper recipe and "fit" with the
    default one, with what a fit does once, before and after; "dense" a loop with a
    dense code and torch's own gradients and Adam, "dense_fused" the same with fused
    Adam. "roofline" is the encoder's matrix product and the memory traffic of Adam
    alone, at the rates measured in the same round.
    """
    n_batches = max(20, 1600 // batch_size)
    X = np.random.default_rng(0).normal(size=(n_batches * batch_size, N_FEATURES))
    X = X.astype(np.float32)
    loop = DenseLoop(X, n_components, k, batch_size)
    settings = {"k": k, "batch_size": batch_size, "max_epochs": EPOCHS}
    fits = {
        name: TopKSAE(n_components, recipe=recipe, random_state=0, **settings)
        for name, recipe in [("fit_paper", "paper"), ("fit", "default")]
    }
    contenders = {
        "fit_paper": lambda: fits["fit_paper"].fit(X),
        "fit": lambda: fits["fit"].fit(X),
        "dense": lambda: loop.run(fused=False),
        "dense_fused": lambda: loop.run(fused=True),
        "roofline": loop.roofline,
    }
    case = {"n_components": n_components, "batch_size": batch_size, "k": k}
    return case | per_step(interleaved(contenders, rounds), EPOCHS * n_batches)


def per_step(times: dict, n_steps: int) -> dict:
    """Divide times, not ratios, by the number of steps."""
    return {
        key: value / n_steps if key.endswith("_ms") else value
        for key, value in times.items()
    }


class DenseLoop:
    """A bare training loop with a dense code and torch's own gradients."""

    def __init__(self, X, n_components, k, batch_size, *, device="cpu"):
        self.data = torch.from_numpy(X).to(device)
        self.n_components, self.k, self.batch_size = n_components, k, batch_size

    def run(self, *, fused, epochs=EPOCHS):
        """Train a linear encoder and decoder."""
        torch.manual_seed(0)
        module = torch.nn.ModuleDict(
            {
                "encoder": torch.nn.Linear(self.data.shape[1], self.n_components),
                "decoder": torch.nn.Linear(self.n_components, self.data.shape[1]),
            }
        ).to(self.data.device)

        def loss(batch):
            latents = module["encoder"](batch)
            values, indices = latents.topk(self.k, dim=1)
            code = torch.zeros_like(latents).scatter(1, indices, values.relu())
            return (module["decoder"](code) - batch).square().sum(1).mean()

        self.train(module, loss, fused=fused, epochs=epochs)

    def roofline(self):
        """Matrix product of the encoder, and as much memory as Adam has to touch."""
        batch = self.data[: self.batch_size]
        weight = torch.randn(self.n_components, N_FEATURES)
        latents = torch.empty(len(batch), self.n_components)
        # Adam reads weight, gradient and two moments, and writes all but the gradient
        source, target = torch.zeros(2, 7 * weight.numel())
        for _ in range(EPOCHS * len(self.data) // self.batch_size):
            torch.mm(batch, weight.T, out=latents)
            target.copy_(source)  # one read and one write each: both weights' Adam

    def train(self, module, loss, *, fused, epochs=EPOCHS):
        """Minimise a function of batches in random order."""
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=fused)
        for _ in range(epochs):
            order = torch.randperm(len(self.data), device=self.data.device)
            for rows in order.split(self.batch_size):
                module.zero_grad()
                loss(self.data[rows]).backward()
                optimizer.step()


def threads(n_components: int, n_features: int, batch_size: int, rounds: int) -> dict:
    """Compare fits and dense loops whose torch may use one thread and two."""
    n_batches = 50
    X = np.random.default_rng(0).normal(size=(n_batches * batch_size, n_features))
    X = X.astype(np.float32)
    loop = DenseLoop(X, n_components, 8, batch_size)
    sae = TopKSAE(n_components, k=8, batch_size=batch_size, random_state=0)
    sae.set_params(max_epochs=EPOCHS)
    fitted = clone(sae).fit(X)
    work = {
        "fit": lambda: sae.fit(X),
        "dense": lambda: loop.run(fused=True),
        "transform": lambda: fitted.transform(X),
    }
    case = {
        "n_components": n_components,
        "n_features": n_features,
        "batch_size": batch_size,
    }
    for name, run in work.items():
        contenders = {f"{name}_of_{n}": partial(_with_threads, n, run) for n in (1, 2)}
        case |= interleaved(contenders, rounds)
    return case


def _with_threads(n: int, run) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        run()
    finally:
        torch.set_num_threads(before)


def two_layer_step(rounds: int) -> dict:
    """Compare a fit with a hidden layer of 512 with one without."""
    X = np.random.default_rng(0).normal(size=(3200, N_FEATURES)).astype(np.float32)
    settings = {"k": 32, "recipe": "paper", "batch_size": 64, "random_state": 0}
    linear = TopKSAE(2048, max_epochs=EPOCHS, **settings)
    two_layer = TopKSAE(2048, hidden_dim=512, max_epochs=EPOCHS, **settings)
    contenders = {
        "linear": lambda: linear.fit(X),
        "two_layer": lambda: two_layer.fit(X),
    }
    return per_step(interleaved(contenders, rounds), EPOCHS * 50)


def tied_step(
    n_latents: int, batch_size: int, rounds: int, n_hidden: int | None = None
) -> dict:
    """Compare a fit of a dictionary tied by C4 with a regular one's.

    Both have as many latents and hidden units, if any; the tied one has a fourth of
    the weights. M is given.
    """
    n_batches = max(20, 1600 // batch_size)
    X = np.random.default_rng(0).normal(size=(n_batches * batch_size, N_FEATURES))
    X = X.astype(np.float32)
    orbits = np.stack([np.roll(X[:256], p * N_FEATURES // 4, axis=1) for p in range(4)])
    groups, power = np.tile(np.arange(256), 4), np.repeat(np.arange(4), 256)
    M = ActivationTransformFitter(4)
    M.fit(orbits.reshape(-1, N_FEATURES), groups=groups, power=power)
    settings = {"k": 32, "recipe": "paper", "batch_size": batch_size}
    settings |= {"max_epochs": EPOCHS, "random_state": 0}
    regular = TopKSAE(n_latents, hidden_dim=n_hidden, **settings)
    tied = GroupTiedSAE(
        orbit_lengths={4: n_latents // 4},
        hidden_dim=None if n_hidden is None else n_hidden // 4,
        activation_transform=FrozenEstimator(M),
        **settings,
    )
    contenders = {"regular": lambda: regular.fit(X), "tied": lambda: tied.fit(X)}
    case = {"n_latents": n_latents, "batch_size": batch_size, "k": 32}
    case["n_hidden"] = n_hidden
    return case | per_step(interleaved(contenders, rounds), EPOCHS * n_batches)


def probing_sweep(rounds: int, n_rows: int = 4_000, n_tasks: int = 8) -> dict:
    """Compare a sweep of XGBoost probes over CSR latents with a plain loop.

    The loop is what one would write: for each task, select 32 of the dense latents
    and fit XGBoost with its own threads.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_FEATURES)).astype(np.float32)
    Y = (X[:, :n_tasks] + X[:, 1 : n_tasks + 1] > 1).astype(int)
    sae = TopKSAE(2048, k=32, max_epochs=1, random_state=0, sparse_output=True)
    Z = sae.fit_transform(X)
    train, test = np.split(np.arange(n_rows), [3 * n_rows // 4])

    def loop():
        dense = Z.toarray()
        for y in Y.T:
            selector = MeanDifferenceSelector(32).fit(dense[train], y[train])
            probe = XGBClassifier(n_estimators=100, max_depth=6, learning_rate=0.3)
            probe.fit(selector.transform(dense[train]), y[train])
            f1_score(y[test], probe.predict(selector.transform(dense[test])))

    def sweep():
        evaluate_probes(
            Z,
            Y,
            train=train,
            test=test,
            transformer=MeanDifferenceSelector(32),
            probes=("xgboost",),
            n_jobs=2,
        )

    return interleaved({"sweep": sweep, "loop": loop}, rounds)


def probing_backends(rounds: int, n_rows: int = 10_000, n_tasks: int = 40) -> dict:
    """Compare a sweep in one process, in two of loky, and on two workers of dask.

    All have started before they are timed.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_FEATURES)).astype(np.float32)
    Y = (X[:, :n_tasks] + X[:, 1 : n_tasks + 1] > 1).astype(int)
    train, test = np.split(np.arange(n_rows), [3 * n_rows // 4])

    def sweep(backend, n_jobs):
        with joblib.parallel_config(backend, n_jobs=n_jobs):
            evaluate_probes(X, Y, train=train, test=test, probes=("logistic",))

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        contenders = {
            "alone": partial(sweep, "loky", 1),
            "loky": partial(sweep, "loky", 2),
            "dask": partial(sweep, "dask", -1),
        }
        return interleaved(contenders, rounds)


def long_fit() -> dict:
    """Time 500 epochs of 10,000 rows, 2,048 latents, once."""
    X = np.random.default_rng(0).normal(size=(10_000, N_FEATURES)).astype(np.float32)
    result = {}
    for recipe in ("default", "paper"):
        sae = TopKSAE(2048, k=32, recipe=recipe, max_epochs=500, random_state=0)
        start = time.perf_counter()
        sae.fit(X)
        result[f"{recipe}_s"] = time.perf_counter() - start
    return result


def many(
    n_components: int, n_features: int, batch_size: int, n_models: int, rounds: int
) -> dict:
    """Compare `fit_many` with fits one after another, per model and step.

    The models are a sweep over seeds, over k ("k") or over learning rates ("lr").
    """
    n_batches = 50
    X = np.random.default_rng(0).normal(size=(n_batches * batch_size, n_features))
    X = X.astype(np.float32)
    sweeps = {
        "many": ("random_state", range(n_models)),
        "many_k": ("k", range(4, 4 + n_models)),
        "many_lr": ("lr", np.linspace(1e-3, 4e-3, n_models).tolist()),
    }

    def estimators(name, values):
        fixed = {"k": 8, "random_state": 0, "batch_size": batch_size}
        fixed |= {"max_epochs": EPOCHS}
        return [TopKSAE(n_components, **(fixed | {name: value})) for value in values]

    def in_turn():
        for estimator in estimators(*sweeps["many"]):
            estimator.fit(X)

    contenders = {"in_turn": in_turn} | {
        name: lambda sweep=sweep: fit_many(estimators(*sweep), X)
        for name, sweep in sweeps.items()
    }
    case = {
        "n_components": n_components,
        "n_features": n_features,
        "batch_size": batch_size,
        "n_models": n_models,
    }
    times = interleaved(contenders, rounds)
    return case | per_step(times, n_models * EPOCHS * n_batches)


def transform(rounds: int) -> dict:
    """Compare coding 20,000 rows with the encoder's matrix product alone."""
    X = np.random.default_rng(0).normal(size=(20_000, N_FEATURES)).astype(np.float32)
    dense = TopKSAE(2048, k=32, max_epochs=1, batch_size=1024, random_state=0).fit(X)
    sparse = clone(dense).set_params(sparse_output=True).fit(X)
    rows, weight = torch.from_numpy(X), torch.randn(2048, N_FEATURES)

    def product():
        for part in rows.split(2048):
            part @ weight.T

    Z = sparse.transform(X)
    contenders = {
        "gemm": product,
        "csr": lambda: sparse.transform(X),
        "dense": lambda: dense.transform(X),
        "score": lambda: dense.score(X),
        "inverse": lambda: sparse.inverse_transform(Z),
    }
    return interleaved(contenders, rounds)


def peak_memory() -> dict:
    """Resident memory of a process that fits 40,000 rows, and of one that does not."""
    fit = "TopKSAE(2048, k=32, max_epochs=1, random_state=0).fit(X)"
    return {"data_mb": _resident("0"), "fit_mb": _resident(fit)}


def _resident(statement):
    code = (
        "import re, numpy as np; from sk_eqsae import TopKSAE;"
        "X = np.random.default_rng(0).normal(size=(40_000, 256)).astype(np.float32);"
        f"{statement};"
        # not ru_maxrss, which begins with that of the process that started this one
        "status = open('/proc/self/status').read();"
        r"print(int(re.search(r'VmHWM:\s+(\d+)', status).group(1)) / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


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
