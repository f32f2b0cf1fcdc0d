"""A training step on a GPU, or on any other device of torch."""

from importlib.util import find_spec

import numpy as np
import torch

from sk_eqsae import TopKSAE

from ._cases import EPOCHS, DenseLoop, per_step
from ._rounds import interleaved


def step_on(
    device: str,
    n_components: int,
    n_features: int,
    rounds: int,
    *,
    batch_size: int = 1024,
    n_batches: int = 10,
    k: int = 32,
) -> dict:
    """Compare steps of the paper recipe on a device.

    "fit" is all of a fit, "dense" a loop with a dense code and torch's own gradients,
    "sparsify" the coder of that library, with its Triton kernels on a GPU, if it is
    installed. All with fused Adam.
    """
    X = np.random.default_rng(0).normal(size=(n_batches * batch_size, n_features))
    X = X.astype(np.float32)
    loop = DenseLoop(X, n_components, k, batch_size, device=device)
    sae = TopKSAE(n_components, k=k, recipe="paper", random_state=0, device=device)
    sae.set_params(batch_size=batch_size, max_epochs=EPOCHS)
    contenders = {"fit": lambda: sae.fit(X), "dense": lambda: loop.run(fused=True)}
    if find_spec("sparsify"):
        contenders["sparsify"] = lambda: _sparsify(loop)
    times = per_step(interleaved(contenders, rounds), EPOCHS * n_batches)
    sizes = {"n_components": n_components, "n_features": n_features}
    name = torch.cuda.get_device_name(device) if "cuda" in device else device
    return {"device": name, "batch_size": batch_size, "k": k} | sizes | times


def _sparsify(loop):
    from sparsify import SaeConfig, SparseCoder  # noqa: PLC0415

    config = SaeConfig(num_latents=loop.n_components, k=loop.k)
    coder = SparseCoder(loop.data.shape[1], config, loop.data.device)
    loop.train(coder, lambda batch: coder(batch).fvu, fused=True)
