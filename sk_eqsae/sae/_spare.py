"""Memory that one training step leaves to the next."""

import torch
from torch import Tensor


class Spare:
    """Tensors that are no longer needed, to be written over.

    Large tensors that are freed go back to the operating system, and fresh pages
    cost a training step more time than its arithmetic.
    """

    def __init__(self) -> None:
        self._tensors: dict[tuple, list[Tensor]] = {}

    def put(self, tensor: Tensor) -> None:
        """Leave a tensor for :meth:`take`; nobody else may look at it any more.

        Parameters
        ----------
        tensor : torch.Tensor
            The tensor.
        """
        key = (tensor.shape, tensor.dtype, tensor.device)
        self._tensors.setdefault(key, []).append(tensor)

    def take(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Get a tensor whose entries may be anything.

        Parameters
        ----------
        shape : tuple of int
            Its shape.
        like : torch.Tensor
            Where dtype and device come from.

        Returns
        -------
        tensor : torch.Tensor
            One that was left here, or a new one.
        """
        left = self._tensors.get((torch.Size(shape), like.dtype, like.device))
        return left.pop() if left else like.new_empty(shape)
