"""Several processes that train one autoencoder together."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from .._checkpoint import Checkpoint, PartCheckpoint
from ._code import Code
from ._objective import Objective

_STEPS = 16  # from one question whether a checkpoint is due to the next

# parameters that may differ, or show in what training starts from
_OF_A_PROCESS = {"activation_transform", "device", "random_state", "verbose"}


class SharedObjective(Objective):
    """An objective to which each process contributes its share of every batch."""

    # All processes have all rows and draw the same batches, as they have the same seed.
    # The loss of a share is weighted by its part of the batch, so the sums of losses
    # and gradients over processes are those of the batch, and every process takes the
    # same step.

    batch_rows = 0
    weight = 1.0  # of the share in its batch

    def learn(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Losses of the whole batch, with the gradient of this process's share."""
        if not self.batch_rows:  # give all processes the weights of the first
            for parameter in self.parameters():
                dist.broadcast(parameter.detach(), src=0)
        rows, self.weight = self._share(target)
        losses = super().learn(inputs[rows], target[rows]) * self.weight
        dist.all_reduce(losses)
        return losses

    def _share(self, target: Tensor) -> tuple[slice, float]:
        """Rows of a batch that this process takes, and how much their mean counts."""
        self.batch_rows = n_rows = len(target)
        rank, size = dist.get_rank(), dist.get_world_size()
        first, last = rank * n_rows // size, (rank + 1) * n_rows // size
        # where there are fewer rows than processes, some take one that does not count
        return slice(first, max(last, first + 1)), (last - first) / n_rows

    def _note_activity(self, code: Code, n_rows: int) -> None:
        super()._note_activity(code, self.batch_rows)

    def _is_time_to_check(self, n_rows: int) -> bool:
        is_time = super()._is_time_to_check(n_rows)
        if is_time:
            self._join_idle()
        return is_time

    def _join_idle(self) -> None:
        """Latents are as idle as in the process that saw them active last."""
        dist.all_reduce(self.idle, dist.ReduceOp.MIN)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """State of the training, over all processes."""
        self._join_idle()
        return super().state_dict(*args, **kwargs)

    def before_step(self) -> Tensor | None:
        """Add up gradients, and clip the sum."""
        gradients = self.network.gradients()
        sums = [dist.all_reduce(g.mul_(self.weight), async_op=True) for g in gradients]
        for each in sums:
            each.wait()
        return super().before_step()


class SharedCheckpoint(Checkpoint):
    """A file of the first process, from which all of them go on."""

    n_steps = 0

    def _is_due(self) -> bool:
        self.n_steps += 1
        if self.n_steps % _STEPS:  # to ask takes a message
            return False
        return of_first(super()._is_due)

    def _write(self, state: dict[str, NDArray]) -> None:
        of_first(partial(super()._write, state))

    def _found(self) -> dict[str, NDArray] | None:
        return of_first(super()._found)

    def remove(self) -> None:
        """Remove the file, which has served."""
        of_first(super().remove)

    def remove_parts(self) -> None:
        """Remove the files of all parts."""
        of_first(super().remove_parts)

    def of_part(self, name: str) -> PartCheckpoint:
        """The file of a part of the training, which is kept until all are done."""
        part = _SharedPartCheckpoint(self.folder, {})
        part.path = super().of_part(name).path
        return part


class _SharedPartCheckpoint(SharedCheckpoint, PartCheckpoint):
    pass


def of_first(function: Callable[[], Any]) -> Any:
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


def check_agreement(sae: Any, n_rows: int, seed: int) -> None:
    """Raise, in every process, if they train different things, or what takes one."""
    if sae.activation == "batch_topk":
        raise ValueError(
            "activation='batch_topk' chooses latents over the whole batch, of which "
            f"each of these {dist.get_world_size()} processes sees its share. Use "
            "activation='topk', or train in one process."
        )
    settings: dict[str, Any] = {
        name: repr(value)
        for name, value in sae.get_params(deep=False).items()
        if name not in _OF_A_PROCESS
    }
    settings |= {"number of rows": n_rows, "random_state": seed}
    everyone: list = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, (settings, np.append(sae.mean_, sae.scale_)))
    first_settings, first_means = everyone[0]
    for rank, (its_settings, its_means) in enumerate(everyone):
        other = [k for k in first_settings if its_settings[k] != first_settings[k]]
        # but for rounding: the machines need not be of one kind
        if not other and (
            its_means.shape != first_means.shape
            or not np.allclose(its_means, first_means, rtol=1e-4)
        ):
            other = ["values of X"]
        if other:
            raise ValueError(
                f"process {rank} trains with other {', '.join(other)} than process 0. "
                "Give every process the same parameters, the same rows, and the same "
                "int as random_state."
            )
