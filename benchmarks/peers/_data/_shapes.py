"""Activations of the paper's two base models, on images of shapes and their turns."""

from benchmarks.paper import CNNAutoencoder, MLPAutoencoder, fit_autoencoder
from sk_eqsae import extract_orbits, make_shapes
from sk_eqsae.groups import ImageRotation


def mlp_shapes(n_train: int, n_test: int, seed: int) -> tuple:
    """Train the MLP and read its activations."""
    return _activations(MLPAutoencoder(), 20, n_train, n_test, seed)


def cnn_shapes(n_train: int, n_test: int, seed: int) -> tuple:
    """Train the convolutional network and read its activations."""
    return _activations(CNNAutoencoder(), 6, n_train, n_test, seed)


def _activations(model, epochs, n_train, n_test, seed):
    n_rows = n_train + n_test
    n_images = -(-n_rows // 4) + 100  # some to spare: the split is not to the row
    shapes = make_shapes(n_images, orientation="random", random_state=seed)
    fit_autoencoder(model, shapes.images, max_epochs=epochs, random_state=seed)
    orbits = extract_orbits(
        model,
        shapes.images,
        layer="encoder",
        action=ImageRotation(order=4),
        base=shapes.base_id,
    )
    train, test = orbits.split(n_test / n_rows, random_state=seed)
    return train.X[:n_train], test.X[:n_test], None
