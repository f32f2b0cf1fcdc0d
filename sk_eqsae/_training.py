"""How every network of the package is trained: one lean skorch net."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset
from tqdm.auto import tqdm

from ._checkpoint import Checkpoint, restore, state_of, without_weights
from ._rows import Stream
from ._threads import threads_that_pay
from ._warnings import warn


class Trainable(nn.Module):
    """What can be trained: a loss of its own, and what goes on around a step."""

    def loss(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Mean losses of a batch, of shape (n_curves,) or (n_curves, n_networks).

        The first is minimised, the others are recorded.
        """
        raise NotImplementedError

    def learn(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Leave gradients of a batch with the weights; its mean losses."""
        losses = self.loss(inputs, target)
        # as losses[0].sum().backward(), in half as many small operations
        of_first = torch.zeros_like(losses)
        of_first[0] = 1.0
        losses.backward(of_first)
        return losses.detach()

    def before_step(self) -> Tensor | None:
        """Change gradients, or give what the optimizer has to divide them by."""
        return None

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


class ShuffledBatches:
    """Batches of a TensorDataset, in a new random order each time."""

    # Rows are taken by one index per batch instead of one fetch per row, which is what
    # makes a DataLoader slow on arrays that are already in memory. Of several seeds
    # each has its own order, and a batch holds the rows of one after those of the
    # other.

    def __init__(
        self,
        dataset: TensorDataset,
        batch_size: int,
        seed: Sequence[int],
        device: torch.device,
    ) -> None:
        self.tensors = [tensor.to(device) for tensor in dataset.tensors]
        self.batch_size = batch_size
        self.generators = [torch.Generator().manual_seed(each) for each in seed]

    def __len__(self) -> int:
        return math.ceil(len(self.tensors[0]) / self.batch_size)

    def beginning_at(self, batch: int) -> Iterator[tuple[Tensor, ...]]:
        """Batches of one epoch, without the first ones."""
        n_rows, device = len(self.tensors[0]), self.tensors[0].device
        orders = [torch.randperm(n_rows, generator=g) for g in self.generators]
        order = torch.stack(orders).to(device)
        for rows in order.split(self.batch_size, dim=1)[batch:]:
            yield tuple(
                tensor.index_select(0, rows.flatten()) for tensor in self.tensors
            )


class StreamedBatches:
    """Batches of a stream, in a new order each time."""

    # Blocks of neighbouring rows are drawn without replacement until the buffer is
    # full, and the rows in the buffer are shuffled. So rows of a batch come from
    # hundreds of random places, and each row is used once in an epoch.

    def __init__(
        self, stream: Stream, batch_size: int, seed: Sequence[int], device: torch.device
    ) -> None:
        self.stream, self.device = stream, device
        self.batch_size = batch_size
        self.generators = [torch.Generator().manual_seed(each) for each in seed]
        # whole batches, so that there are as many as without a buffer
        self.fill_rows = max(1, stream.buffer_rows // batch_size) * batch_size
        self.buffer: list[Tensor] = []

    def __len__(self) -> int:
        return math.ceil(len(self.stream) / self.batch_size)

    def beginning_at(self, batch: int) -> Iterator[tuple[Tensor, ...]]:
        """Batches of one epoch, without the first ones, which are not read."""
        blocks = self._blocks()
        for first in range(0, len(self.stream), self.fill_rows):
            last = min(first + self.fill_rows, len(self.stream))
            order = torch.randperm(last - first, generator=self.generators[0])
            batches = order.split(self.batch_size)
            if batch < len(batches):
                rows_read = self._fill(blocks, first, last)
                for rows in order.to(self.device).split(self.batch_size)[batch:]:
                    yield tuple(tensor.index_select(0, rows) for tensor in rows_read)
            batch = max(0, batch - len(batches))

    def _blocks(self) -> NDArray:
        """First and last row of all blocks, in a random order."""
        starts = np.arange(0, len(self.stream), self.stream.block_rows)
        stops = np.minimum(starts + self.stream.block_rows, len(self.stream))
        order = torch.randperm(len(starts), generator=self.generators[0]).numpy()
        return np.column_stack([starts, stops])[order]

    def _fill(self, blocks: NDArray, first: int, last: int) -> list[Tensor]:
        """Read what lies from one place to another in a row of blocks."""
        ends = np.cumsum(blocks[:, 1] - blocks[:, 0])
        place = first
        while place < last:
            block = int(np.searchsorted(ends, place, side="right"))
            n_rows = min(last, int(ends[block])) - place
            start = int(blocks[block, 1] - (ends[block] - place))
            self._keep(self.stream.read(start, start + n_rows), place - first)
            place += n_rows
        return [whole[: last - first].to(self.device) for whole in self.buffer]

    def _keep(self, tensors: tuple[Tensor, ...], place: int) -> None:
        """Copy rows into the buffer, whose memory serves all epochs."""
        if not self.buffer:
            n_rows = min(self.fill_rows, len(self.stream))
            self.buffer = [t.new_empty(n_rows, *t.shape[1:]) for t in tensors]
        for whole, part in zip(self.buffer, tensors, strict=True):
            whole[place : place + len(part)] = part


class Net(NeuralNet):
    """A skorch net without per-batch bookkeeping, whose module is a `Trainable`."""

    # It takes `n_steps` steps, which may end inside of the last epoch; learning rates
    # fall linearly to zero over the last `lr_decay` of them.

    def __init__(
        self,
        module: Trainable,
        *args: Any,
        n_steps: int,
        lr_decay: float = 0.0,
        checkpoint: Checkpoint | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, **kwargs)
        self.n_steps = n_steps
        self.lr_decay = lr_decay
        self.checkpoint = checkpoint

    def train_step(self, batch: tuple[Tensor, ...], **fit_params: Any) -> Tensor:
        """One step of the optimizer; the losses stay on the device."""
        self.module_.zero_grad(set_to_none=True)
        losses = self.module_.learn(batch[0], batch[-1])
        # fused Adam divides by it on its way, which saves a walk over all gradients
        self.optimizer_.grad_scale = self.module_.before_step()
        self.optimizer_.step()
        return losses

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
        step = (len(self.history) - 1) * len(iterator) + place.n_batches
        batches = iterator.beginning_at(place.n_batches)
        for batch in islice(batches, self.n_steps - step):
            self._decay_lr(step / self.n_steps)
            losses = step_fn(batch)
            self.module_.after_step()
            place.add(losses, len(batch[0]) // losses[0].numel())
            step += 1
            self.n_done = step
            self.notify("on_batch_end")
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


class StepBar(Callback):
    """Progress bar over steps, with the time left."""

    def __init__(self, description: str) -> None:
        self.description = description

    def on_train_begin(self, net: Net, **kwargs: Any) -> None:
        """Open the bar."""
        self.bar_ = tqdm(
            disable=sys.stderr is None,  # of a program without a terminal
            total=net.n_steps,
            desc=self.description,
            unit="step",
        )

    def on_batch_end(self, net: Net, **kwargs: Any) -> None:
        """Move the bar by one step, at first to where a checkpoint was written."""
        if not self.bar_.n:
            self.bar_.initial = self.bar_.n = net.n_done - 1
        self.bar_.update()

    def on_epoch_end(self, net: Net, **kwargs: Any) -> None:
        """Show the loss of the epoch, and its number."""
        loss = net.history[-1, "losses"][0].mean()
        self.bar_.set_postfix(epoch=len(net.history), loss=f"{loss:.4g}")

    def on_train_end(self, net: Net, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()


def resolve_device(device: str | torch.device) -> torch.device:
    """The torch device of a `device` parameter; "auto" takes a GPU if there is one."""
    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(
    module: Trainable,
    dataset: Dataset,
    *,
    lr: float | Sequence[float],
    batch_size: int,
    max_epochs: int,
    max_steps: int | None = None,
    seed: int | Sequence[int],
    device: str | torch.device,
    lr_decay: float = 0.0,
    verbose: int = 0,
    description: str | None = None,
    checkpoint: Checkpoint | None = None,
    memory: dict[str, NDArray] | None = None,
) -> NDArray:
    """Train a module in place with Adam; mean losses (n_curves, n_epochs, ...)."""
    # Of several networks, `seed` has one for each, and parameters with the i-th of
    # several `lr` have ``runs.i`` in their names. `memory` is what the optimizer and
    # the module remember of earlier calls, empty at first; it is renewed in place.
    lrs, bar = np.atleast_1d(lr).tolist(), description or type(module).__name__
    n_batches = math.ceil(len(dataset) / batch_size)  # type: ignore[arg-type]
    n_steps = min(max_epochs * n_batches, max_steps or math.inf)
    max_epochs = math.ceil(n_steps / n_batches)
    net = Net(
        module,
        optimizer__param_groups=[
            (f"*runs.{i}.*", {"lr": each}) for i, each in enumerate(lrs) if i
        ],
        lr=lrs[0],
        n_steps=int(n_steps),
        lr_decay=lr_decay,
        checkpoint=checkpoint,
        max_epochs=max_epochs,
        callbacks=[StepBar(bar)] if verbose else "disable",
        **_of_skorch(dataset, batch_size, seed, resolve_device(device)),
    ).initialize()
    if memory is not None:
        restore(memory, net)
    if checkpoint is not None:
        checkpoint.restore(net, Place)
    n_products = batch_size * sum(p.numel() for p in module.parameters())
    with threads_that_pay(n_products):
        net.partial_fit(dataset, y=None, epochs=max_epochs - len(net.history))
    if memory is not None:
        memory.update(without_weights(state_of(net)))
    curves = net.loss_curves
    if not len(curves):
        curves = np.empty((0, 2, *np.shape(seed)))
    if len(curves) < max_epochs:
        warn(
            f"Training was interrupted after {len(curves)} of {max_epochs} "
            "epochs; what was learned so far is kept.",
            ConvergenceWarning,
        )
    elif checkpoint is not None:
        checkpoint.finish(net, Place())
    return curves.swapaxes(0, 1)


def _of_skorch(
    dataset: Dataset, batch_size: int, seed: int | Sequence[int], device: torch.device
) -> dict[str, Any]:
    """Settings of a net that say how rows come and what it is not to do."""
    streamed = isinstance(dataset, Stream)
    return {
        "criterion": nn.Identity,  # the module has a loss of its own
        "optimizer": torch.optim.Adam,
        "optimizer__fused": True,
        "batch_size": batch_size,
        "iterator_train": StreamedBatches if streamed else ShuffledBatches,
        "iterator_train__seed": np.atleast_1d(seed).tolist(),
        "iterator_train__device": device,
        "train_split": None,
        "verbose": 0,
        "device": device,
    }
