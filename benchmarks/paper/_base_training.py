"""Training of the base models: mean squared error on images turned at random."""

import numpy as np
import torch
from torch import nn


def fit_autoencoder(
    model: nn.Module,
    images: np.ndarray,
    *,
    max_epochs: int = 100,
    batch_size: int = 64,
    lr: float = 1e-3,
    rotation_probability: float = 1.0,
    random_state: int = 0,
    device: str = "auto",
) -> nn.Module:
    """Train an autoencoder as the paper trains its base models (Appendix C.2).

    Parameters
    ----------
    model : torch.nn.Module
        Maps images to images. Its weights are drawn anew from random_state.
    images : ndarray of shape (n_samples, n_channels, size, size)
        Images to learn from, float32.
    max_epochs, batch_size : int
        Passes over the images, and images per step.
    lr : float, default=1e-3
        Learning rate of Adam.
    rotation_probability : float, default=1.0
        Probability that an image of a batch is turned, by 0 to 3 quarter-turns.
    random_state : int, default=0
        Fixes the weights, the order of the images and the turns.
    device : str, default="auto"
        Where to train; "auto" uses a GPU if there is one.

    Returns
    -------
    model : torch.nn.Module
        The same model on the CPU, in evaluation mode. Its new attribute
        ``loss_curve_``, of shape (max_epochs,), holds the mean loss in each epoch.
    """
    seed = int(np.random.RandomState(random_state).randint(2**31 - 1))
    draw_weights(model, seed)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model, images = model.to(device).train(), torch.tensor(images, device=device)
    optimizer = torch.optim.Adam(model.parameters(), lr, fused=True)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(max_epochs):
        total = torch.zeros((), device=device)
        for batch in _batches(images, batch_size, rotation_probability, generator):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(batch), batch)
            loss.backward()
            optimizer.step()
            total += len(batch) * loss.detach()
        losses.append(total.item() / len(images))
    model.loss_curve_ = np.array(losses)
    return model.cpu().eval()


def _batches(images, batch_size, rotation_probability, generator):
    """All images once, in random order and turned at random."""
    for rows in torch.randperm(len(images), generator=generator).split(batch_size):
        turns = torch.randint(4, (len(rows),), generator=generator)
        turned = torch.rand(len(rows), generator=generator) < rotation_probability
        yield turn(images[rows], turns * turned)


def draw_weights(model: nn.Module, seed: int) -> None:
    """Draw all weights from a seed, and leave torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for module in model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()


def turn(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turn each image counter-clockwise by its own number of quarter-turns."""
    turned = images.clone()
    for n_turns in (1, 2, 3):
        rows = turns == n_turns
        turned[rows] = torch.rot90(images[rows], n_turns, dims=(2, 3))
    return turned
