"""dictionary_learning: its own trainSAE and TopKTrainer.

Options are at their defaults but for `normalize_activations`, which its README calls
"very helpful", and a warm-up that is no more than a tenth of a short run.
"""

import tempfile
from pathlib import Path

from dictionary_learning.trainers.top_k import AutoEncoderTopK, TopKTrainer
from dictionary_learning.training import trainSAE

from ._fitted import Batches, Fitted, from_torch, isolated


def fit(X, *, n_components, k, batch_size, epochs, seed) -> Fitted:
    batches = Batches(X, batch_size, seed)
    steps = epochs * len(batches)
    config = {
        "trainer": TopKTrainer,
        "steps": steps,
        "activation_dim": X.shape[1],
        "dict_size": n_components,
        "k": k,
        "layer": 0,
        "lm_name": "",
        "warmup_steps": min(1000, steps // 10),
        "seed": seed,
        "device": "cpu",
    }
    with tempfile.TemporaryDirectory() as folder, isolated(seed):
        trainSAE(
            _Rows(batches, epochs),
            [config],
            steps,
            save_dir=folder,
            normalize_activations=True,
            device="cpu",
        )
        sae = AutoEncoderTopK.from_pretrained(Path(folder, "trainer_0", "ae.pt"))
    return from_torch(sae.encode, sae.decode, sae.decoder.weight.T)


class _Rows:
    """All batches, and again from the start: trainSAE reads some to find the scale."""

    def __init__(self, batches, epochs):
        self.batches = batches
        self.n_epochs = epochs

    def __iter__(self):
        return self.batches.epochs(self.n_epochs)
