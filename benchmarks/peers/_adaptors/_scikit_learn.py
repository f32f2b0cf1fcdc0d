"""scikit-learn's MiniBatchDictionaryLearning, on rows scaled as in its example."""

import numpy as np
from sklearn.decomposition import MiniBatchDictionaryLearning

from ._fitted import Fitted


def fit(X, *, n_components, k, batch_size, epochs, seed) -> Fitted:
    mean = X.mean(axis=0)
    scale = np.sqrt(np.square(X - mean).mean())
    model = MiniBatchDictionaryLearning(
        n_components,
        max_iter=epochs,
        batch_size=batch_size,
        transform_algorithm="omp",
        transform_n_nonzero_coefs=k,
        random_state=seed,
    ).fit((X - mean) / scale)
    return Fitted(
        lambda rows: model.transform((rows - mean) / scale),
        lambda latents: latents @ model.components_ * scale + mean,
        model.components_,
    )
