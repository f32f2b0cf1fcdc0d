"""SAELens and dictionary_learning, asked for what they make of files and rows."""

import json
import warnings
from functools import cache
from importlib import import_module

import numpy as np
import torch
from sklearn.base import clone

from sk_eqsae import (
    EquivariantSAE,
    GroupTiedSAE,
    TopKSAE,
    from_dictionary_learning,
    from_saelens,
)
from tests.fitted import data
from tests.instances import QUICK

FORMATS = ["saelens", "dictionary_learning"]
READERS = {
    "saelens": from_saelens,
    "dictionary_learning": from_dictionary_learning,
}

# estimator, and whether it gets orbits
_EXPORTABLE = {
    "default": (TopKSAE(24, k=3, **QUICK), False),
    "paper": (TopKSAE(24, k=3, recipe="paper", **QUICK), False),
    "all latents": (TopKSAE(5, k=5, **QUICK), False),
    "batch_topk": (TopKSAE(24, k=3, activation="batch_topk", **QUICK), False),
    "nested": (TopKSAE(24, k=3, nested=[4, 9], **QUICK), False),
    "group tied": (GroupTiedSAE(6, k=3, n_free=2, **QUICK), True),
    "no group": (EquivariantSAE(24, symmetry=1, k=3, hidden_dim=None, **QUICK), False),
}
CASES = [
    *((name, 0) for name in _EXPORTABLE),
    # but "group tied", where k then cuts between equal latents
    *((name, 1000) for name in ("default", "paper", "batch_topk")),
]


@cache
def exportable(name, offset):
    """A fitted autoencoder, and rows of another seed with as large a mean."""
    estimator, has_orbits = _EXPORTABLE[name]
    X, _, metadata = data()
    X = X + offset
    sae = clone(estimator).fit(X, **(metadata if has_orbits else {}))
    noise = np.random.default_rng(1).normal(size=X.shape)
    return sae, (X + noise).astype(np.float32)


def outputs(format, folder, X):
    """Latents and reconstructions that a library gives for rows as they are."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        autoencoder = _LOADERS[format](folder)
        Z = autoencoder.encode(torch.tensor(X, dtype=torch.float32))
        return Z.numpy(), autoencoder.decode(Z).numpy()


def _from_saelens(folder):
    return import_module("sae_lens").SAE.load_from_disk(str(folder))


def _from_dictionary_learning(folder):
    utils = import_module("dictionary_learning.utils")
    return utils.load_dictionary(str(folder), device="cpu")[0]


_LOADERS = {"saelens": _from_saelens, "dictionary_learning": _from_dictionary_learning}


def write_all(folder):
    """Write autoencoders of both libraries by their own means; their names."""
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)  # both draw their first weights
        return _write_saelens(folder) + _write_dictionary_learning(folder)


def _write_saelens(folder):
    lens = import_module("sae_lens")
    sizes = {"d_in": 12, "d_sae": 16}
    plain, uncentred, rescaled = (
        lens.TopKSAE(lens.TopKSAEConfig(**sizes, k=3, **settings))
        for settings in (
            {},
            {"apply_b_dec_to_input": False},
            {"rescale_acts_by_decoder_norm": True},
        )
    )
    trained = lens.TopKTrainingSAE(lens.TopKTrainingSAEConfig(**sizes, k=3))
    config = lens.BatchTopKTrainingSAEConfig(**sizes, k=3.0)
    batch = lens.BatchTopKTrainingSAE(config)
    batch.topk_threshold.fill_(0.5)
    for i, autoencoder in enumerate([plain, uncentred, rescaled, trained, batch]):
        _draw_weights(autoencoder, seed=i)
    plain.save_model(folder / "saelens_topk")
    uncentred.save_model(folder / "saelens_uncentred")
    rescaled.save_model(folder / "saelens_rescaled")
    trained.save_model(folder / "saelens_checkpoint")
    trained.save_inference_model(folder / "saelens_trained")
    batch.save_inference_model(folder / "saelens_batch_topk")
    return sorted(path.name for path in folder.glob("saelens_*"))


def _write_dictionary_learning(folder):
    trainers = "dictionary_learning.trainers"
    kinds = {
        "dictionary_learning_topk": import_module(f"{trainers}.top_k").AutoEncoderTopK,
        "dictionary_learning_batch_topk": import_module(
            f"{trainers}.batch_top_k"
        ).BatchTopKSAE,
    }
    for i, (name, kind) in enumerate(kinds.items()):
        autoencoder = kind(12, 16, 3)
        _draw_weights(autoencoder, seed=10 + i)
        if "batch" in name:
            autoencoder.threshold.fill_(0.5)
        trainer = {"dict_class": kind.__name__, "k": 3, "activation_dim": 12}
        # as their training.py does
        (folder / name).mkdir(parents=True)
        torch.save(autoencoder.state_dict(), folder / name / "ae.pt")
        text = json.dumps({"trainer": {**trainer, "dict_size": 16, "layer": 0}})
        (folder / name / "config.json").write_text(text)
    return list(kinds)


def _draw_weights(autoencoder, seed):
    """Random weights, in the memory order that the library has chosen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) / 2)


def rows():
    """Rows to encode."""
    return np.random.default_rng(0).normal(1, 2, size=(40, 12)).astype(np.float32)


def assert_same(sae, X, Z, X_hat):
    """Compare latents and reconstructions with ours, in units of `scale_`."""
    ours = sae.transform(X)
    assert (ours > 0).any()
    decoded = sae.inverse_transform(ours)
    # float32 itself rounds large numbers
    rounding = 4 * np.finfo(np.float32).eps * max(ours.max(), np.abs(decoded).max())
    tolerance = 1e-5 * sae.scale_ + rounding
    np.testing.assert_allclose(Z, ours, rtol=0, atol=tolerance)
    np.testing.assert_allclose(X_hat, decoded, rtol=0, atol=tolerance)


def format_of(name):
    """Library that has written one of `write_all`."""
    return next(format for format in FORMATS if name.startswith(format))
