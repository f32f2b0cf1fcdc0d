"""SAELens: its own SAETrainer, every option at its default.

Its faster mode, `use_sparse_activations`, fails on a CPU with the default rescaling of
latents by the norms of the decoder.
"""

from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer

from ._fitted import Batches, Fitted, from_torch, isolated


def fit(X, *, n_components, k, batch_size, epochs, seed) -> Fitted:
    batches = Batches(X, batch_size, seed).epochs(epochs)
    config = TopKTrainingSAEConfig(d_in=X.shape[1], d_sae=n_components, k=k)
    with isolated(seed):
        sae = TopKTrainingSAE(config)
        trainer_config = SAETrainerConfig(
            total_training_samples=epochs * len(X),
            train_batch_size_samples=batch_size,
            lr_end=3e-4,  # must be set, though a constant rate never ends
        )
        SAETrainer(trainer_config, sae, batches).fit()
    return from_torch(sae.encode, sae.decode, sae.W_dec)
