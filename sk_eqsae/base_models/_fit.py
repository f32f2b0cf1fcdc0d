"""Training of autoencoders of images with random quarter-turns."""

from collections.abc import Iterator
from numbers import Integral, Real
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_random_state, check_scalar
from torch.utils.data import TensorDataset

from .._training import (
    ShuffledBatches,
    draw_seed,
    ordinary_modes,
    resolve_device,
    seeded,
    train,
)

Module = TypeVar("Module", bound=torch.nn.Module)


class TurnedBatches(ShuffledBatches):
    """Shuffled batches in which images are turned at random, as input and target.

    Parameters
    ----------
    dataset : torch.utils.data.TensorDataset
        Images of shape (n_samples, n_channels, height, width).
    batch_size : int
        Images per batch.
    seed : int
        Seed of the order and of the turns.
    rotation_probability : float
        Probability that an image of a batch is turned, by 0 to 3 quarter-turns.
    """

    def __init__(
        self,
        dataset: TensorDataset,
        batch_size: int,
        seed: int,
        rotation_probability: float,
    ) -> None:
        super().__init__(dataset, batch_size, seed)
        self.rotation_probability = rotation_probability

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for (images,) in super().__iter__():
            turned = turn(images, self._draw_turns(len(images)))
            yield turned, turned

    def _draw_turns(self, n_images: int) -> torch.Tensor:
        turns = torch.randint(4, (n_images,), generator=self.generator)
        chosen = torch.rand(n_images, generator=self.generator)
        return turns * (chosen < self.rotation_probability)


def turn(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turn each image counter-clockwise by its own number of quarter-turns.

    Parameters
    ----------
    images : tensor of shape (n_samples, n_channels, size, size)
        Images.
    turns : tensor of shape (n_samples,), on the CPU
        Quarter-turns from 0 to 3.

    Returns
    -------
    turned : tensor of the same shape
        Turned images.
    """
    turned = images.clone()
    for quarter_turns in (1, 2, 3):
        rows = (turns == quarter_turns).nonzero().squeeze(1).to(images.device)
        if len(rows):
            turned[rows] = torch.rot90(images[rows], quarter_turns, dims=(2, 3))
    return turned


def fit_autoencoder(
    model: Module,
    images: ArrayLike | torch.Tensor,
    *,
    max_epochs: int = 100,
    lr: float = 1e-3,
    batch_size: int = 64,
    rotation_probability: float = 1.0,
    random_state: int | np.random.RandomState | None = None,
    device: str | torch.device = "auto",
    verbose: int = 0,
) -> Module:
    """Train an autoencoder of images as the paper trains its base models.

    Mean squared error, Adam at a constant learning rate, and images that are turned
    by random quarter-turns, anew in each epoch.

    Parameters
    ----------
    model : torch.nn.Module
        Maps images to images, such as :class:`MLPAutoencoder`. As in any ``fit``,
        training begins anew: the weights are drawn from random_state, whatever they
        were before. The model is changed in place and stays on its device.
    images : array-like or tensor of shape (n_samples, n_channels, size, size)
        Images to learn from.
    max_epochs : int, default=100
        Passes over the images.
    lr : float, default=1e-3
        Learning rate of Adam.
    batch_size : int, default=64
        Images per step.
    rotation_probability : float, default=1.0
        Probability that an image of a batch is turned, by 0, 1, 2 or 3 quarter-turns
        with equal probability; otherwise it is shown as it is. With 1.0 the model
        sees all rotations equally often, with 0.0 none; values between make models
        that are equivariant in part.
    random_state : int, RandomState instance or None, default=None
        Fixes the weights, the order of the images and the rotations. The global
        random state of torch and numpy is left alone.
    device : str or torch.device, default="auto"
        Where to train; "auto" uses a GPU if there is one.
    verbose : int, default=0
        1 shows a progress bar over epochs.

    Returns
    -------
    model : torch.nn.Module
        The trained model in evaluation mode. Its new attribute ``loss_curve_``, an
        array of shape (n_epochs,), holds the mean loss in each epoch.

    Raises
    ------
    ValueError
        If a parameter is out of range, if the images do not fit the model, or if
        the loss becomes NaN or infinite: lower lr then.

    Warns
    -----
    ConvergenceWarning
        If training is interrupted (Ctrl-C); what was learned until then is kept.

    See Also
    --------
    MLPAutoencoder, CNNAutoencoder : The paper's base models.
    sk_eqsae.extract_orbits : The next step.

    Notes
    -----
    Appendix C.2 of the paper [1]_: 10,000 images, 100 epochs, batch size 64, Adam
    with learning rate 1e-3. The kind of loss is not stated there.

    References
    ----------
    .. [1] E. Erdogan and A. Lucic, "Group Equivariance Meets Mechanistic
       Interpretability: Equivariant Sparse Autoencoders", arXiv:2511.09432.

    Examples
    --------
    >>> from sk_eqsae.base_models import MLPAutoencoder, fit_autoencoder
    >>> from sk_eqsae.datasets import make_shapes
    >>> images = make_shapes(64, random_state=0).images
    >>> model = fit_autoencoder(MLPAutoencoder(), images, max_epochs=3, random_state=0)
    >>> model.loss_curve_.shape
    (3,)
    """
    check_scalar(max_epochs, "max_epochs", Integral, min_val=1)
    check_scalar(batch_size, "batch_size", Integral, min_val=1)
    check_scalar(lr, "lr", Real, min_val=0, include_boundaries="neither")
    check_scalar(
        rotation_probability, "rotation_probability", Real, min_val=0, max_val=1
    )
    data = _check_images(images, rotation_probability)
    _check_model(model, data[:1])
    seed = draw_seed(check_random_state(random_state))
    home = next(model.parameters()).device
    with seeded(seed), ordinary_modes():
        _reset_parameters(model)
        (loss_curve, *_) = train(
            model,
            torch.tensor(data),
            criterion=torch.nn.MSELoss,
            lr=lr,
            batch_size=batch_size,
            max_epochs=max_epochs,
            seed=seed,
            device=resolve_device(device),
            verbose=verbose,
            batches=TurnedBatches,
            rotation_probability=rotation_probability,
        )
    model.loss_curve_ = loss_curve
    return model.to(home).eval()


def _check_images(
    images: ArrayLike | torch.Tensor, rotation_probability: float
) -> NDArray[np.float32]:
    data = check_array(images, dtype=np.float32, allow_nd=True, input_name="images")
    if data.ndim != 4:
        raise ValueError(
            "images must have 4 axes (n_samples, n_channels, height, width), found "
            f"shape {data.shape}."
        )
    if rotation_probability > 0 and data.shape[2] != data.shape[3]:
        raise ValueError(
            "images must be square to be turned by quarter-turns, found shape "
            f"{data.shape}. Crop or pad them, or set rotation_probability=0."
        )
    return data


def _check_model(model: torch.nn.Module, data: NDArray[np.float32]) -> None:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module instance, found {model!r}. Make one "
            "first: MLPAutoencoder()."
        )
    if next(model.parameters(), None) is None:
        raise ValueError("model has no parameters to train.")
    _check_initialisable(model)
    _check_shapes(model, data)


def _check_initialisable(model: torch.nn.Module) -> None:
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if own and not hasattr(module, "reset_parameters"):
            raise ValueError(
                f"model cannot be initialised from random_state: its module {name!r} "
                f"({type(module).__name__}) has parameters and no method "
                "reset_parameters(). Add one."
            )


def _check_shapes(model: torch.nn.Module, data: NDArray[np.float32]) -> None:
    first = torch.tensor(data[:1], device=next(model.parameters()).device)
    try:
        with torch.no_grad():
            output = model.eval()(first)
    except RuntimeError as error:
        raise ValueError(
            f"images of shape {data.shape} do not fit the model: {error}"
        ) from error
    if output.shape != first.shape:
        raise ValueError(
            "model must return images of the shape that it is given: for input of "
            f"shape {tuple(first.shape)} found {tuple(output.shape)}."
        )


def _reset_parameters(model: torch.nn.Module) -> None:
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
