"""Training of base models: seeded and turned."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from benchmarks.paper import CNNAutoencoder, MLPAutoencoder, fit_autoencoder
from sk_eqsae.datasets import make_shapes


def small_model():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 5), nn.Linear(5, 16), nn.Unflatten(1, (1, 4, 4))
    )


def small_images(n_samples=40):
    return np.random.RandomState(0).rand(n_samples, 1, 4, 4).astype(np.float32)


def weights(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach().numpy()


class Recorder(nn.Module):
    """Returns what it gets and remembers it; the weight has no effect."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen = []

    def forward(self, images):
        if self.training:
            self.seen.append(images.detach().clone())
        return images + 0 * self.layer.weight.sum()


@pytest.mark.parametrize("Model", [MLPAutoencoder, CNNAutoencoder])
def test_loss_falls(Model):
    images = make_shapes(64, random_state=0).images
    model = fit_autoencoder(
        Model(), images, max_epochs=6, batch_size=16, random_state=0
    )
    assert model.loss_curve_.shape == (6,)
    assert model.loss_curve_[-1] < 0.7 * model.loss_curve_[0]
    assert not any(module.training for module in model.modules())


def test_loss_curve_is_the_mean_squared_error():
    images = small_images()
    model = fit_autoencoder(
        small_model(),
        images,
        lr=1e-12,
        max_epochs=2,
        batch_size=7,
        rotation_probability=0.0,
        random_state=0,
    )
    with torch.no_grad():
        reconstruction = model(torch.as_tensor(images)).numpy()
    expected = ((reconstruction - images) ** 2).mean()
    assert_allclose(model.loss_curve_, expected, rtol=1e-6)


def test_same_seed_gives_the_same_weights_to_the_bit():
    first, again, other = (
        fit_autoencoder(small_model(), small_images(), max_epochs=3, random_state=seed)
        for seed in (0, 0, 1)
    )
    assert_array_equal(weights(first), weights(again))
    assert_array_equal(first.loss_curve_, again.loss_curve_)
    assert not np.allclose(weights(first), weights(other))


def test_training_begins_anew():
    model = small_model()
    images = small_images()
    first = weights(fit_autoencoder(model, images, max_epochs=2, random_state=0))
    again = weights(fit_autoencoder(model, images, max_epochs=2, random_state=0))
    assert_array_equal(first, again)


def test_global_random_state_is_untouched():
    model = small_model()
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    fit_autoencoder(model, small_images(), max_epochs=1, random_state=0)
    assert_array_equal(torch.get_rng_state(), torch_state)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def turns_seen(rotation_probability, n_samples=400, max_epochs=3):
    """How often images came with 0, 1, 2 and 3 quarter-turns, per epoch."""
    images = small_images(n_samples)
    model = fit_autoencoder(
        Recorder(),
        images,
        max_epochs=max_epochs,
        rotation_probability=rotation_probability,
        random_state=0,
    )
    assert_array_equal(model.loss_curve_, 0)  # the target is turned like the input
    turns = {np.rot90(x[0], k).tobytes(): (i, k)
             for i, x in enumerate(images) for k in range(4)}  # fmt: skip
    seen = [turns[x[0].tobytes()] for x in torch.cat(model.seen).numpy()]
    return np.array(seen).reshape(max_epochs, n_samples, 2)


@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_images_are_turned_with_the_given_probability(probability):
    seen = turns_seen(probability)
    share = np.bincount(seen[..., 1].ravel(), minlength=4) / seen[..., 1].size
    expected = probability / 4 + np.array([1 - probability, 0, 0, 0])
    assert_allclose(share, expected, atol=4.5 * np.sqrt(0.25 / 1200))
    if probability == 0:
        assert share[0] == 1


def test_each_epoch_shows_each_image_once_in_a_new_order_and_turn():
    seen = turns_seen(1.0)
    for epoch in seen:
        assert_array_equal(np.sort(epoch[:, 0]), np.arange(400))
    assert not np.array_equal(seen[0, :, 0], seen[1, :, 0])
    by_image = [epoch[np.argsort(epoch[:, 0]), 1] for epoch in seen]
    assert not np.array_equal(by_image[0], by_image[1])
    assert not np.array_equal(seen[0, :, 0], np.arange(400))


def test_images_are_left_alone():
    images = small_images()
    before = images.copy()
    fit_autoencoder(small_model(), images, max_epochs=2, random_state=0)
    assert_array_equal(images, before)
