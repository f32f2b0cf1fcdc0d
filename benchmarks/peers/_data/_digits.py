"""Activations of a small convolutional network that tells digits apart."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


def digits(n_train: int, n_test: int, seed: int) -> tuple:
    """Train on scikit-learn's digits; a row is what one place of an image evokes."""
    images, labels = load_digits(return_X_y=True)
    images = np.float32(images.reshape(-1, 1, 8, 8) / 16)
    parts = train_test_split(images, labels, test_size=0.25, random_state=seed)
    layers = _train(torch.from_numpy(parts[0]), torch.from_numpy(parts[2]), seed)
    rng = np.random.default_rng(seed)
    train, test = (_places(layers, images) for images in parts[:2])
    return rng.permutation(train)[:n_train], rng.permutation(test)[:n_test], None


def _train(images, labels, seed, epochs=30):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        model = nn.Sequential(layers, nn.Flatten(), nn.Linear(64 * 16, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(64):
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return layers


@torch.no_grad()
def _places(layers, images):
    activations = layers(torch.from_numpy(images))
    return activations.permute(0, 2, 3, 1).reshape(-1, 64).numpy()
