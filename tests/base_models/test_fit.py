"""Training of base models: seeded, turned, stopped and kept."""

import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from sk_eqsae.base_models import CNNAutoencoder, MLPAutoencoder, fit_autoencoder
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
    assert_allclose(model.loss_curve_, ((reconstruction - images) ** 2).mean())


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


@pytest.mark.parametrize(
    "convert", [torch.as_tensor, lambda x: x.astype(np.float64), lambda x: x.tolist()]
)
def test_images_may_be_of_other_kinds(convert):
    images = small_images()
    given = fit_autoencoder(
        small_model(), convert(images), max_epochs=1, random_state=0
    )
    expected = fit_autoencoder(small_model(), images, max_epochs=1, random_state=0)
    assert_array_equal(weights(given), weights(expected))


def test_divergence_names_the_learning_rate():
    with pytest.raises(ValueError, match=r"lr=1e\+30"):
        fit_autoencoder(
            small_model(), small_images(), lr=1e30, max_epochs=5, random_state=0
        )


class Interrupted(nn.Linear):
    """Raises KeyboardInterrupt in the third epoch of two batches."""

    n_calls = 0

    def forward(self, x):
        if self.training:
            self.n_calls += 1
        if self.n_calls == 6:
            raise KeyboardInterrupt
        return super().forward(x)


def test_an_interrupt_keeps_the_epochs_done():
    model = small_model()
    model[1] = Interrupted(16, 5)
    with pytest.warns(ConvergenceWarning, match="interrupted after 2 of 50 epochs"):
        fit_autoencoder(
            model, small_images(40), batch_size=20, max_epochs=50, random_state=0
        )
    assert model.loss_curve_.shape == (2,)
    assert not model.training
    complete = fit_autoencoder(
        small_model(), small_images(40), batch_size=20, max_epochs=2, random_state=0
    )
    assert_array_equal(model.loss_curve_, complete.loss_curve_)


@pytest.mark.parametrize("verbose", [0, 1])
def test_progress_bar(capsys, verbose):
    fit_autoencoder(
        MLPAutoencoder(),
        make_shapes(4, random_state=0).images,
        max_epochs=2,
        verbose=verbose,
    )
    shown = capsys.readouterr()
    assert shown.out == ""
    assert bool(re.search(r"MLPAutoencoder.*2/2", shown.err)) == bool(verbose)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_epochs": 0}, "max_epochs == 0, must be >= 1"),
        ({"batch_size": 0}, "batch_size == 0, must be >= 1"),
        ({"lr": 0.0}, "lr == 0.0, must be > 0"),
        ({"rotation_probability": 1.5}, "rotation_probability == 1.5, must be <= 1"),
        ({"images": np.zeros((4, 4, 4))}, "images must have 4 axes"),
        ({"images": np.zeros((4, 1, 4, 6))}, "set rotation_probability=0"),
        ({"images": np.full((4, 1, 4, 4), np.nan)}, "Input images contains NaN"),
        ({"images": np.zeros((0, 1, 4, 4))}, "0 sample"),
        ({"images": np.zeros((4, 1, 8, 8))}, "do not fit the model"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(16, 3))}, "the shape"),
        ({"model": nn.Identity()}, "model has no parameters"),
    ],
)
def test_bad_arguments(arguments, message):
    given = {"model": small_model(), "images": small_images(4), "max_epochs": 1}
    with pytest.raises(ValueError, match=message):
        fit_autoencoder(**(given | arguments))


def test_a_class_is_no_model():
    with pytest.raises(TypeError, match=r"Make one first: MLPAutoencoder\(\)"):
        fit_autoencoder(MLPAutoencoder, small_images())


class Unseedable(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.scale * x


def test_parameters_that_cannot_be_drawn_anew():
    model = nn.Sequential(small_model(), Unseedable())
    with pytest.raises(ValueError, match=r"module '1' \(Unseedable\)"):
        fit_autoencoder(model, small_images())


def test_images_that_are_not_square_need_no_rotation():
    model = nn.Sequential(nn.Conv2d(1, 1, 1))
    images = np.zeros((4, 1, 4, 6), dtype=np.float32)
    fit_autoencoder(model, images, max_epochs=1, rotation_probability=0.0)
