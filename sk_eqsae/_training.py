"""How every network of the package is trained: one lean skorch net."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ._checkpoint import Checkpoint, restore, state_of, without_weights
from ._training_rows import ShuffledBatches, Stream, StreamedBatches
from ._warnings import warn


class Trainable(nn.Module):
    """What can be trained: a loss of its own, and what goes on around a step."""

    def loss(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Mean losses of a batch, of shape (n_curves,) or (n_curves, n_networks).

        The first is minimised, the others are recorded.
        """
        raise NotImplementedError

    def before_step(self) -> None:
        """Change gradients."""

    def after_step(self) -> None:
        """Change weights."""


class DivergedError(ValueError):
    """The loss is not finite."""

    def __init__(self, loss: float, epoch: int, lr: float) -> None:
        super().__init__(
            f"training diverged: the loss is {loss} in epoch {epoch} with lr={lr:g}. "
            "Lower lr (the learning rate), or look for extreme values in X."
        )


@dataclass
class Place:
    """Where training is in an epoch."""

    n_batches: int = 0
    n_rows: int = 0  # of each network
    total: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float32))
    generator: Tensor | None = None  # its state at the beginning of the epoch

    def add(self, losses: Tensor, n_rows: int) -> None:
        """Count a batch, with its mean losses."""
        self.total = self.total + losses * n_rows
        self.n_rows += n_rows
        self.n_batches += 1


class Net(NeuralNet):
    """A skorch net without per-batch bookkeeping, whose module is a `Trainable`.

    Learning rates fall linearly to zero over the last `lr_decay` of all steps.
    """

    def __init__(
        self,
        module: Trainable,
        *args: Any,
        lr_decay: float = 0.0,
        checkpoint: Checkpoint | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, **kwargs)
        self.lr_decay = lr_decay
        self.checkpoint = checkpoint

    def train_step(self, batch: tuple[Tensor, ...], **fit_params: Any) -> Tensor:
        """One step of the optimizer; the losses stay on the device."""
        self.module_.zero_grad(set_to_none=True)
        losses = self.module_.loss(batch[0], batch[-1])
        losses[0].sum().backward()
        self.module_.before_step()
        self.optimizer_.step()
        return losses.detach()

    def run_single_epoch(
        self,
        iterator: Any,
        training: bool,
        prefix: str,
        step_fn: Callable,
        **fit_params: Any,
    ) -> None:
        """One pass over the data; the mean losses are read once, at its end."""
        if iterator is None:
            return
        self._set_training(training)
        place = self._place_in_epoch(iterator)
        n_steps = self.max_epochs * len(iterator)
        step = (len(self.history) - 1) * len(iterator) + place.n_batches
        for batch in iterator.beginning_at(place.n_batches):
            self._decay_lr(step / n_steps)
            losses = step_fn(batch)
            self.module_.after_step()
            place.add(losses, len(batch[0]) // losses[0].numel())
            step += 1
            if self.checkpoint is not None:
                self.checkpoint.write_if_due(self, place)
        self._record(place.total.cpu().numpy().astype(np.float64) / place.n_rows)

    def _place_in_epoch(self, iterator: Any) -> Place:
        """Where to begin: at the first batch, or where a checkpoint was written."""
        if self.checkpoint is None:
            return Place()
        generator = iterator.generators[0]
        place, self.checkpoint.place = self.checkpoint.place or Place(), None
        if place.generator is None:
            place.generator = generator.get_state()
        else:
            generator.set_state(place.generator)
        return place

    def _decay_lr(self, progress: float) -> None:
        factor = min(1.0, (1 - progress) / self.lr_decay) if self.lr_decay else 1.0
        for group in self.optimizer_.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def _record(self, losses: NDArray) -> None:
        """Keep an epoch's losses; stop if no network has one that is finite."""
        if not np.isfinite(losses[0]).any():
            raise DivergedError(losses[0].flat[0], len(self.history), self.lr)
        self.history.record("losses", losses)

    @property
    def loss_curves(self) -> NDArray:
        """Losses of each finished epoch, of shape (n_epochs, n_curves, ...)."""
        return np.array([e["losses"] for e in self.history if "losses" in e])


class EpochBar(Callback):
    """Progress bar over epochs."""

    def __init__(self, description: str) -> None:
        self.description = description

    def on_train_begin(self, net: Net, **kwargs: Any) -> None:
        """Open the bar."""
        self.bar_ = tqdm(
            total=net.max_epochs,
            initial=len(net.history),
            desc=self.description,
            unit="epoch",
        )

    def on_epoch_end(self, net: Net, **kwargs: Any) -> None:
        """Move the bar by one epoch."""
        self.bar_.set_postfix(loss=f"{net.history[-1, 'losses'][0].mean():.4g}")
        self.bar_.update()

    def on_train_end(self, net: Net, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()


def train(
    module: Trainable,
    dataset: Dataset,
    *,
    lr: float | Sequence[float],
    batch_size: int,
    max_epochs: int,
    seed: int | Sequence[int],
    device: torch.device,
    lr_decay: float = 0.0,
    verbose: int = 0,
    description: str | None = None,
    checkpoint: Checkpoint | None = None,
    memory: dict[str, NDArray] | None = None,
) -> NDArray:
    """Train a module in place with Adam.

    Parameters
    ----------
    module : Trainable
        What to train; it is moved to the device.
    dataset : TensorDataset or Stream
        What goes in and what should come out. One tensor is both.
    lr : float or sequence of float
        Learning rate of Adam; that of each of several networks, the i-th of which has
        ``networks.i`` in the names of its parameters.
    batch_size, max_epochs : int
        Rows per step and passes over the data.
    seed : int or sequence of int
        Seed of the order of the rows, of each network.
    device : torch.device
        Where to train.
    lr_decay : float
        Share of the steps, at the end, over which lr falls linearly to zero.
    verbose : int
        1 shows a progress bar over epochs.
    description : str or None
        What the progress bar calls it. None is the module's class.
    checkpoint : Checkpoint or None
        Where the state of training is written, and read from if there is one.
    memory : dict of ndarray or None
        What the optimizer and the module remember of earlier calls, empty at first;
        renewed in place.

    Returns
    -------
    curves : ndarray of shape (n_curves, n_epochs) or (n_curves, n_epochs, n_networks)
        Mean losses of each finished epoch.
    """
    lrs, seeds = np.atleast_1d(lr).tolist(), np.atleast_1d(seed).tolist()
    net = Net(
        module,
        criterion=nn.Identity,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        optimizer__param_groups=[
            (f"*networks.{i}.*", {"lr": each}) for i, each in enumerate(lrs) if i
        ],
        lr=lrs[0],
        lr_decay=lr_decay,
        checkpoint=checkpoint,
        max_epochs=max_epochs,
        batch_size=batch_size,
        iterator_train=StreamedBatches
        if isinstance(dataset, Stream)
        else ShuffledBatches,
        iterator_train__seed=seeds,
        iterator_train__device=device,
        train_split=None,
        callbacks=[EpochBar(description or type(module).__name__)]
        if verbose
        else "disable",
        verbose=0,
        device=device,
    ).initialize()
    if memory is not None:
        restore(memory, net)
    if checkpoint is not None:
        checkpoint.restore(net, Place)
    net.partial_fit(dataset, y=None, epochs=max_epochs - len(net.history))
    if memory is not None:
        memory.update(without_weights(state_of(net)))
    curves = net.loss_curves
    if not len(curves):
        curves = np.empty((0, 2, *np.shape(lr)))
    if len(curves) < max_epochs:
        warn(
            f"Training was interrupted after {len(curves)} of {max_epochs} "
            "epochs; what was learned so far is kept.",
            ConvergenceWarning,
        )
    elif checkpoint is not None:
        checkpoint.remove()
    return curves.swapaxes(0, 1)
