"""EleutherAI's sparsify: its own Trainer, every option at its default (signum).

Its Trainer reads activations from a language model's layer. Here the "model" is a
table of the rows, and a "sequence of tokens" is the list of the rows of one batch.
"""

import tempfile

import torch
from sparsify import SaeConfig, TrainConfig, Trainer

from ._fitted import Batches, Fitted, from_torch, isolated

_LAYER = "rows"


def fit(X, *, n_components, k, batch_size, epochs, seed, **options) -> Fitted:
    batches = Batches(X, batch_size, seed)
    sequences = [
        {"input_ids": rows} for _ in range(epochs) for rows in batches.indices()
    ]
    with tempfile.TemporaryDirectory() as folder, isolated(seed):
        config = TrainConfig(
            SaeConfig(num_latents=n_components, k=k),
            batch_size=1,
            init_seeds=[seed],
            hookpoints=[_LAYER],
            save_every=len(sequences) + 1,
            save_dir=folder,
            log_to_wandb=False,
            **options,
        )
        trainer = Trainer(config, sequences, _Table(batches.X))
        trainer.fit()
    # Not what it stores: an average of weights, which scores worse.
    coder = trainer.saes[_LAYER]
    return from_torch(
        lambda rows: _encode(coder, rows),
        lambda latents: latents @ coder.W_dec + coder.b_dec,
        coder.W_dec,
    )


def _encode(coder, rows):
    values, indices, _ = coder.encode(rows)
    return values.new_zeros(len(rows), coder.num_latents).scatter(1, indices, values)


class _Table(torch.nn.Module):
    """A "model" whose hidden state at token i is row i."""

    def __init__(self, X):
        super().__init__()
        self.rows = torch.nn.Embedding.from_pretrained(X)
        self.device = X.device
        self.dummy_inputs = {"input_ids": torch.zeros(1, 1, dtype=torch.long)}

    @property
    def base_model(self):
        return self

    def forward(self, input_ids):
        return self.rows(input_ids)
