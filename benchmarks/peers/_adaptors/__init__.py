"""One way to train a sparse autoencoder a file, all behind one function."""

from importlib import import_module
from importlib.util import find_spec

OURS = "ours"
REFERENCE = "dense"
# method -> (module here, optional package that it needs)
_METHODS = {
    OURS: ("_ours", None),
    REFERENCE: ("_dense", None),
    "sparsify": ("_sparsify", "sparsify"),
    "sparsify-adam": ("_sparsify_adam", "sparsify"),
    "sae-lens": ("_sae_lens", "sae_lens"),
    "overcomplete": ("_overcomplete", "overcomplete"),
    "dictionary-learning": ("_dictionary_learning", "dictionary_learning"),
    "scikit-learn": ("_scikit_learn", None),
}
METHODS = tuple(_METHODS)


def load(method: str):
    """Import the function that trains a method.

    ``fit(X, *, n_components, k, batch_size, epochs, seed) -> Fitted``
    """
    return import_module(f".{_METHODS[method][0]}", __name__).fit


def is_installed(method: str) -> bool:
    """Whether the package that a method needs is there."""
    package = _METHODS[method][1]
    return package is None or find_spec(package) is not None
