"""Several processes that train one autoencoder together."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from .._checkpoint import Checkpoint
from ._code import Code
from ._objective import Objective

_STEPS = 16  # from one question whether a checkpoint is due to the next

# parameters that may differ, or show in what training starts from
_OF_A_PROCESS = {"activation_transform", "device", "random_state", "verbose"}


def n_processes() -> int:
    """Count the processes that train together: those of torch.distributed.

    Returns
    -------
    n_processes : int
        1 if ``torch.distributed.init_process_group`` was not called.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


class SharedObjective(Objective):
    """An objective to which each process contributes its share of every batch.

    All processes have all rows and draw the same batches, as they have the same seed.
    The loss of a share is weighted by its part of the batch, so the sums of losses and
    gradients over processes are those of the batch, and every process takes the same
    step. Parameters are those of :class:`Objective`.
    """

    batch_rows = 0
    share_loss: Tensor

    def loss(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Loss of this process's share, times its part of the batch.

        Parameters
        ----------
        inputs, target : torch.Tensor of shape (n_rows, n_features)
            The whole batch.

        Returns
        -------
        loss : torch.Tensor of shape ()
            After :meth:`before_step` it is that of the batch.
        """
        if not self.batch_rows:
            self._begin_alike()
        self.batch_rows = len(inputs)
        rows, weight = _share(self.batch_rows)
        loss = super().loss(inputs[rows], target[rows]) * weight
        self.share_loss = loss.detach()
        self.squared_error = self.squared_error * weight
        return loss

    def _begin_alike(self) -> None:
        """Give all processes the weights of the first."""
        for parameter in self.parameters():
            dist.broadcast(parameter.detach(), src=0)

    def _note_activity(self, code: Code, n_rows: int) -> None:
        super()._note_activity(code, self.batch_rows)

    def _find_dead(self) -> None:
        self._join_idle()
        super()._find_dead()

    def _join_idle(self) -> None:
        """Latents are as idle as in the process that saw them active last."""
        dist.all_reduce(self.idle, dist.ReduceOp.MIN)

    def counters(self) -> dict[str, Tensor]:
        """Give what is counted from step to step, over all processes.

        Returns
        -------
        counters : dict of torch.Tensor
            For :meth:`restore`.
        """
        self._join_idle()
        return super().counters()

    def before_step(self) -> None:
        """Add up gradients and losses, and clip the sum."""
        # share_loss is the memory of the loss that the step reports
        _add_up([*self.module.gradients(), self.share_loss, self.squared_error])
        super().before_step()


def _share(n_rows: int) -> tuple[slice, float]:
    """Rows of a batch that this process takes, and how much their mean counts."""
    rank, size = dist.get_rank(), dist.get_world_size()
    first, last = rank * n_rows // size, (rank + 1) * n_rows // size
    # where there are fewer rows than processes, some take one that does not count
    return slice(first, max(last, first + 1)), (last - first) / n_rows


def _add_up(tensors: Iterable[Tensor]) -> None:
    """Sum each tensor over processes, in place."""
    sums = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
    for each in sums:
        each.wait()


class SharedCheckpoint(Checkpoint):
    """A file of the first process, from which all of them go on.

    Parameters are those of :class:`Checkpoint`; those of the first process count.
    """

    n_steps = 0

    def _is_due(self) -> bool:
        self.n_steps += 1
        if self.n_steps % _STEPS:  # to ask takes a message
            return False
        return _of_first(super()._is_due)

    def _write(self, state: dict[str, NDArray]) -> None:
        _of_first(partial(super()._write, state))

    def _found(self) -> dict[str, NDArray] | None:
        return _of_first(super()._found)

    def remove(self) -> None:
        """Remove the file, which has served."""
        _of_first(super().remove)


def _of_first(function: Callable[[], Any]) -> Any:
    """Give every process what the first one gets, be it an error."""
    result: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            result[0] = function()
        except (OSError, ValueError) as error:
            result[1] = error
    dist.broadcast_object_list(result, src=0)
    if result[1] is not None:
        raise result[1]
    return result[0]


def checkpoint_class() -> type[Checkpoint]:
    """Choose the checkpoint.

    Returns
    -------
    checkpoint_class : type of Checkpoint
        `SharedCheckpoint` if there are several processes.
    """
    return Checkpoint if n_processes() == 1 else SharedCheckpoint


def objective_class(sae: Any, run: Any) -> type[Objective]:
    """Choose the objective, and check that the processes can train together.

    Parameters
    ----------
    sae : BaseSAE
        What is fitted.
    run : Run
        Its fit, ready to train.

    Returns
    -------
    objective_class : type of Objective
        `SharedObjective` if there are several processes.

    Raises
    ------
    ValueError
        If they train something else than the first, or what needs whole batches.
    """
    if n_processes() == 1:
        return Objective
    _check_parameters(sae)
    settings: dict[str, Any] = {
        name: repr(value)
        for name, value in sae.get_params(deep=False).items()
        if name not in _OF_A_PROCESS
    }
    settings |= {"number of rows": len(run.tensors[0]), "random_state": run.seed}
    _check_agreement(settings, np.append(sae.mean_, sae.scale_))
    return SharedObjective


def _check_parameters(sae: Any) -> None:
    if sae.activation == "batch_topk":
        raise ValueError(
            "activation='batch_topk' chooses latents over the whole batch, of which "
            f"each of these {n_processes()} processes sees its share. Use "
            "activation='topk', or train in one process."
        )


def _check_agreement(settings: dict[str, Any], means: NDArray) -> None:
    """Raise, in every process, if one trains something else than the first."""
    everyone: list = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, (settings, means))
    first_settings, first_means = everyone[0]
    for rank, (its_settings, its_means) in enumerate(everyone):
        other = [k for k in first_settings if its_settings[k] != first_settings[k]]
        # but for rounding: the machines need not be of one kind
        if not other and not _close(its_means, first_means):
            other = ["values of X"]
        if other:
            raise ValueError(
                f"process {rank} trains with other {', '.join(other)} than process 0. "
                "Give every process the same parameters, the same rows, and the same "
                "int as random_state."
            )


def _close(means: NDArray, others: NDArray) -> bool:
    return means.shape == others.shape and np.allclose(means, others, rtol=1e-4)
