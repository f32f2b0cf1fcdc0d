"""How every network of the package is trained: one lean skorch net."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from tqdm.auto import tqdm

from ._checkpoint import Checkpoint, Place, remembered, restore
from ._streams import Stream, StreamedBatches
from ._warnings import warn

_GLOBAL_GENERATOR = threading.RLock()


class ShuffledBatches:
    """Iterate over a TensorDataset in batches of a new random order each time.

    Rows are taken by one index per batch instead of one fetch per row, which is
    what makes a DataLoader slow on arrays that are already in memory.

    Parameters
    ----------
    dataset : torch.utils.data.TensorDataset
        Tensors of equal length, all on one device.
    batch_size : int
        Rows per batch; the last batch may be smaller.
    seed : int
        Seed of the order.
    """

    def __init__(self, dataset: TensorDataset, batch_size: int, seed: int) -> None:
        self.tensors = dataset.tensors
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return math.ceil(len(self.tensors[0]) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self.beginning_at(0)

    def beginning_at(self, batch: int) -> Iterator[tuple[Tensor, ...]]:
        """Leave out the first batches of an epoch.

        Parameters
        ----------
        batch : int
            The first batch that is wanted.

        Yields
        ------
        tensors : tuple of torch.Tensor
            A batch.
        """
        first = self.tensors[0]
        order = torch.randperm(len(first), generator=self.generator)
        for rows in order.to(first.device).split(self.batch_size)[batch:]:
            yield tuple(tensor.index_select(0, rows) for tensor in self.tensors)


class DivergedError(ValueError):
    """The loss is not finite.

    Parameters
    ----------
    message : str
        What happened.
    model : int
        Which of the models trained at once.
    """

    def __init__(self, message: str, model: int) -> None:
        super().__init__(message)
        self.model = model


class Net(NeuralNet):
    """A skorch net without per-batch bookkeeping.

    Parameters
    ----------
    module : torch.nn.Module
        The network. A method ``loss(inputs, target)`` takes the place of the
        criterion; ``before_step()`` and ``after_step()`` are called around each step
        of the optimizer. A loss with an entry for each of several models trains
        them at once. An attribute ``squared_error``, of the shape of the loss, is
        recorded beside it.
    *args
        As for :class:`skorch.NeuralNet`.
    lrs : sequence of float
        Learning rate of each model that is trained.
    lr_decay : float
        Share of the steps, at the end, over which the learning rates fall linearly
        to zero.
    checkpoint : Checkpoint or None
        Where the state of training is written from time to time.
    **kwargs
        As for :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        module: nn.Module,
        *args: Any,
        lrs: Sequence[float],
        lr_decay: float = 0.0,
        checkpoint: Checkpoint | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, **kwargs)
        self.lrs = lrs
        self.lr_decay = lr_decay
        self.checkpoint = checkpoint

    def train_step(self, batch: tuple[Tensor, ...], **fit_params: Any) -> Tensor:
        """One step of the optimizer; what is recorded stays on the device."""
        inputs, target = batch[0], batch[-1]
        self.module_.zero_grad(set_to_none=True)
        loss = self._loss(inputs, target)
        loss.backward(torch.ones_like(loss))
        self._call_module("before_step")
        self.optimizer_.step()
        return self._recorded(loss.detach())

    def _recorded(self, loss: Tensor) -> Tensor:
        """Loss, and below it the squared error where the module keeps it."""
        error = getattr(self.module_, "squared_error", None)
        return torch.stack([loss, error] if isinstance(error, Tensor) else [loss])

    def _loss(self, inputs: Tensor, target: Tensor) -> Tensor:
        if hasattr(self.module_, "loss"):
            return self.module_.loss(inputs, target)
        return self.criterion_(self.module_(inputs), target)

    def _call_module(self, method: str) -> None:
        getattr(self.module_, method, lambda: None)()

    def run_single_epoch(
        self,
        iterator: Any,
        training: bool,
        prefix: str,
        step_fn: Callable,
        **fit_params: Any,
    ) -> None:
        """One pass over the data; the mean loss is read once, at its end."""
        if iterator is None:
            return
        self._set_training(training)
        place = self._place_in_epoch(iterator)
        n_steps = self.max_epochs * len(iterator)
        step = (len(self.history) - 1) * len(iterator) + place.n_batches
        for batch in self._batches(iterator, place):
            self._decay_lr(_decayed(step / n_steps, self.lr_decay))
            losses = step_fn(batch)
            self._call_module("after_step")
            place.add(losses, len(batch[0]) // losses[0].numel())  # rows of each model
            step += 1
            if self.checkpoint is not None:
                self.checkpoint.write_if_due(self, place)
        self._record(place.mean_losses())

    def _place_in_epoch(self, iterator: Any) -> Place:
        """Where to begin: at the first batch, or where a checkpoint was written."""
        if self.checkpoint is None:
            return Place()
        place, self.checkpoint.place = self.checkpoint.place or Place(), None
        if place.generator is None:
            place.generator = iterator.generator.get_state()
        return place

    def _batches(self, iterator: Any, place: Place) -> Iterator[tuple[Tensor, ...]]:
        if place.generator is None:
            return iter(iterator)
        iterator.generator.set_state(place.generator)
        return iterator.beginning_at(place.n_batches)

    def _decay_lr(self, factor: float) -> None:
        for group in self.optimizer_.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def _record(self, losses: NDArray) -> None:
        for model, each in enumerate(losses[0].flat):
            if not math.isfinite(each):
                raise DivergedError(
                    f"training diverged: the loss is {each} in epoch "
                    f"{len(self.history)} with lr={self.lrs[model]:g}. Lower lr (the "
                    "learning rate), or look for extreme values in X.",
                    model,
                )
        self.history.record("train_losses", losses)

    @property
    def loss_curves(self) -> NDArray:
        """Losses of each finished epoch, as they were recorded for each model."""
        losses = [e["train_losses"] for e in self.history if "train_losses" in e]
        return np.array(losses)


class EpochBar(Callback):
    """Progress bar over epochs.

    Parameters
    ----------
    description : str
        What is being trained.
    """

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
        self.bar_.set_postfix(loss=f"{net.history[-1, 'train_losses'][0].mean():.4g}")
        self.bar_.update()

    def on_train_end(self, net: Net, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()


def train(
    module: nn.Module,
    *rows: Tensor | Stream,
    lr: float | Sequence[float],
    batch_size: int,
    max_epochs: int,
    seed: int | Sequence[int],
    device: torch.device,
    criterion: type[nn.Module] = nn.MSELoss,
    lr_decay: float = 0.0,
    verbose: int = 0,
    description: str | None = None,
    batches: type[ShuffledBatches] = ShuffledBatches,
    checkpoint: Checkpoint | None = None,
    memory: dict[str, NDArray] | None = None,
    **batches_settings: Any,
) -> NDArray:
    """Train a module in place with Adam.

    Parameters
    ----------
    module : torch.nn.Module
        Network to train; it is moved to the device.
    *rows : torch.Tensor of shape (n_rows, ...), or one Stream
        What batches are made of: what goes in and what should come out. One tensor
        is both.
    lr : float or sequence of float
        Learning rate of Adam; that of each model where several are trained at once.
        Parameters with ``runs.i`` in their names belong to the i-th run of equal ones.
    batch_size, max_epochs : int
        Rows per step and passes over the data.
    seed : int or sequence of int
        Seed of the order of the rows, as `batches` takes it.
    device : torch.device
        Where to train.
    criterion : type of torch.nn.Module
        Loss of (output, target), of a module without its own.
    lr_decay : float
        Share of the steps, at the end, over which lr falls linearly to zero.
    verbose : int
        1 shows a progress bar over epochs.
    description : str or None
        What the progress bar calls it. None is the module's class.
    batches : type of ShuffledBatches
        Makes pairs of input and target from tensors.
    checkpoint : Checkpoint or None
        Where the state of training is written, and read from if there is one. The file
        is removed at the end.
    memory : dict of ndarray or None
        What the optimizer and the module remember of earlier calls, empty at first;
        renewed in place.
    **batches_settings
        What batches are made with beside dataset, batch_size and seed.

    Returns
    -------
    curves : ndarray of shape (n_curves, n_epochs) or (n_curves, n_epochs, n_models)
        Mean loss of each finished epoch and, of a module that keeps a squared error,
        the mean of that.

    Raises
    ------
    DivergedError
        If the loss is not finite; the message names the learning rate.

    Warns
    -----
    ConvergenceWarning
        If training was interrupted; the module keeps what it has learned.
    """
    lrs = list(map(float, np.atleast_1d(lr)))
    streamed = isinstance(rows[0], Stream)
    net = Net(
        module,
        criterion=criterion,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        optimizer__param_groups=_param_groups(lrs),
        lr=lrs[0],
        lrs=lrs,
        lr_decay=lr_decay,
        checkpoint=checkpoint,
        max_epochs=max_epochs,
        batch_size=batch_size,
        iterator_train=StreamedBatches if streamed else batches,
        iterator_train__seed=seed,
        train_split=None,
        callbacks=[EpochBar(description or type(module).__name__)]
        if verbose
        else "disable",
        verbose=0,
        device=device,
        **{f"iterator_train__{key}": value for key, value in batches_settings.items()},
    ).initialize()
    if memory:
        restore(memory, net)
    if checkpoint is not None:
        checkpoint.restore(net)
    on_device: list[Any] = [each.to(device) for each in rows]
    dataset = on_device[0] if streamed else TensorDataset(*on_device)
    net.partial_fit(dataset, y=None, epochs=max_epochs - len(net.history))
    if memory is not None:
        memory.update(remembered(net))
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


@contextmanager
def ordinary_modes() -> Iterator[None]:
    """Let a block train, whatever mode its caller has torch in.

    ``torch.set_grad_enabled(False)``, ``torch.inference_mode()`` and
    ``torch.set_default_device`` are common where activations are extracted.
    """
    with torch.inference_mode(mode=False), torch.enable_grad(), ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))  # slows down each call
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make torch's global generator start from a seed, and give it back unchanged.

    For code that can draw from no other generator. All threads share this one, so
    only one of them at a time is in such a block.

    Parameters
    ----------
    seed : int
        Seed of everything drawn inside the ``with`` block on the CPU.
    """
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn the ``device`` parameter into a torch device.

    Parameters
    ----------
    device : str or torch.device
        "auto" takes a GPU when there is one.

    Returns
    -------
    device : torch.device
        The device.
    """
    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def draw_seed(random_state: np.random.RandomState) -> int:
    """Draw a torch seed from a scikit-learn random state.

    Parameters
    ----------
    random_state : numpy.random.RandomState
        As returned by :func:`sklearn.utils.check_random_state`.

    Returns
    -------
    seed : int
        A seed.
    """
    return int(random_state.randint(2**31 - 1))


def _param_groups(lrs: list[float]) -> list[tuple[str, dict[str, float]]]:
    """Skorch's groups of parameters by name; what no name fits has the first rate."""
    runs = [lr for lr, _ in groupby(lrs)]
    return [(f"*runs.{i}.*", {"lr": lr}) for i, lr in enumerate(runs) if i]


def _decayed(progress: float, decay: float) -> float:
    """Factor of the learning rate when a share ``progress`` of the steps is done."""
    return 1.0 if progress <= 1 - decay else (1 - progress) / decay
