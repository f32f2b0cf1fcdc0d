"""EleutherAI's sparsify with its other optimizer, Adam with linear decay."""

from . import _sparsify
from ._fitted import Fitted


def fit(X, *, batch_size, epochs, **settings) -> Fitted:
    steps = epochs * -(-len(X) // batch_size)
    return _sparsify.fit(
        X,
        batch_size=batch_size,
        epochs=epochs,
        optimizer="adam",
        # Its 1,000 steps of warm-up would be most of a short run.
        lr_warmup_steps=min(1000, steps // 10),
        **settings,
    )
