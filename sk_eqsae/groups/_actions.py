"""How a cyclic group acts on the inputs of a model."""

import math
import operator
from dataclasses import dataclass
from typing import ClassVar, TypeVar, overload

import numpy as np
import torch
from torch.nn import functional

Inputs = TypeVar("Inputs", np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class ImageRotation:  # numpydoc ignore=PR02
    """Rotate images counter-clockwise by 360 / ``order`` degrees.

    A power that is a multiple of a quarter-turn moves pixels and changes none; any
    other is a bilinear interpolation with zeros outside, for which the group law
    holds approximately.

    Parameters
    ----------
    order : int, default=4
        Number of rotations that make a full turn.

    Raises
    ------
    ValueError
        If order is not positive; on a call, if the images do not fit.

    See Also
    --------
    ImageFlip : Mirror images.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.groups import ImageRotation
    >>> rotation = ImageRotation(order=4)
    >>> rotation(np.array([[[1, 2], [3, 4]]]), 1)
    array([[[2, 4],
            [1, 3]]])
    """

    order: int = 4

    def __post_init__(self) -> None:
        _check_order(self.order)

    def __call__(self, inputs: Inputs, power: int) -> Inputs:
        """Rotate each image ``power`` times.

        Parameters
        ----------
        inputs : ndarray or tensor of shape (..., height, width)
            Images; square, unless all that is asked for is a half-turn.
        power : int
            Number of rotations.

        Returns
        -------
        outputs : ndarray or tensor of shape (..., height, width)
            New array of the same kind.
        """
        _check_inputs(inputs, min_ndim=2)
        power = _reduced(power, self.order)
        quarter_turns, remainder = divmod(4 * power, self.order)
        if remainder or quarter_turns % 2:
            _check_square(inputs)
        if remainder:
            return _interpolated(inputs, 2 * math.pi * power / self.order)
        if isinstance(inputs, torch.Tensor):
            return torch.rot90(inputs, quarter_turns, dims=(-2, -1)).clone()
        return np.rot90(inputs, quarter_turns, axes=(-2, -1)).copy()


@dataclass(frozen=True)
class ImageFlip:  # numpydoc ignore=PR02
    """Mirror inputs along one axis.

    Parameters
    ----------
    axis : int, default=-1
        Axis to reverse: -1 swaps left and right of an image, -2 top and bottom.

    See Also
    --------
    ImageRotation : Rotate images.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.groups import ImageFlip
    >>> ImageFlip()(np.array([[1, 2, 3]]), 1)
    array([[3, 2, 1]])
    """

    axis: int = -1

    order: ClassVar[int] = 2

    def __call__(self, inputs: Inputs, power: int) -> Inputs:
        """Mirror each input if ``power`` is odd.

        Parameters
        ----------
        inputs : ndarray or tensor of shape (n_samples, ...)
            Inputs to mirror.
        power : int
            Number of reflections.

        Returns
        -------
        outputs : ndarray or tensor of the same shape
            New array of the same kind.
        """
        axis = _check_axis(inputs, self.axis)
        flipped = _reduced(power, self.order) == 1
        if isinstance(inputs, torch.Tensor):
            return inputs.flip(axis) if flipped else inputs.clone()
        return (np.flip(inputs, axis) if flipped else inputs).copy()


@dataclass(frozen=True)
class CyclicShift:  # numpydoc ignore=PR02
    """Shift inputs along one axis by 1 / ``order`` of its length, around the end.

    Parameters
    ----------
    axis : int
        Axis to shift along; not the first, which numbers the samples.
    order : int
        Number of shifts that bring every entry back; must divide the axis' length.

    Raises
    ------
    ValueError
        If order is not positive; on a call, if the inputs do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.groups import CyclicShift
    >>> CyclicShift(axis=-1, order=3)(np.arange(6).reshape(1, 6), 1)
    array([[4, 5, 0, 1, 2, 3]])
    """

    axis: int
    order: int

    def __post_init__(self) -> None:
        _check_order(self.order)

    def __call__(self, inputs: Inputs, power: int) -> Inputs:
        """Shift each input ``power`` times towards higher indices.

        Parameters
        ----------
        inputs : ndarray or tensor of shape (n_samples, ...)
            Inputs to shift.
        power : int
            Number of shifts.

        Returns
        -------
        outputs : ndarray or tensor of the same shape
            New array of the same kind.
        """
        axis = _check_axis(inputs, self.axis)
        length = inputs.shape[axis]
        if length % self.order:
            raise ValueError(
                f"CyclicShift(axis={self.axis}, order={self.order}) needs a length "
                f"divisible by the order along that axis, found inputs of shape "
                f"{tuple(inputs.shape)}. Choose an order that divides {length}, or "
                "pad the inputs."
            )
        shift = _reduced(power, self.order) * (length // self.order)
        if isinstance(inputs, torch.Tensor):
            return inputs.roll(shift, axis)
        return np.roll(inputs, shift, axis)


@dataclass(frozen=True)
class AxisRotation:  # numpydoc ignore=PR02
    """Rotate point clouds by 360 / ``order`` degrees about a coordinate axis.

    Counter-clockwise when the axis points at the viewer (the right-hand rule).
    Quarter-turns are exact; other rotations are as exact as the inputs' dtype.

    Parameters
    ----------
    axis : {0, 1, 2}
        Coordinate that the rotation leaves alone: x, y or z.
    order : int
        Number of rotations that make a full turn.

    Raises
    ------
    ValueError
        If axis or order is out of range; on a call, if the inputs are no points.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.groups import AxisRotation
    >>> AxisRotation(axis=2, order=4)(np.array([[[1.0, 0.0, 5.0]]]), 1)
    array([[[0., 1., 5.]]])
    """

    axis: int
    order: int

    def __post_init__(self) -> None:
        _check_order(self.order)
        if self.axis not in (0, 1, 2):
            raise ValueError(
                f"axis must be 0, 1 or 2 (x, y or z), found {self.axis!r}."
            )

    def __call__(self, inputs: Inputs, power: int) -> Inputs:
        """Rotate each point ``power`` times.

        Parameters
        ----------
        inputs : ndarray or tensor of shape (..., 3)
            Points, real floating numbers.
        power : int
            Number of rotations.

        Returns
        -------
        outputs : ndarray or tensor of shape (..., 3)
            New array of the same kind.
        """
        _check_inputs(inputs, min_ndim=1)
        _check_floating(inputs, "AxisRotation")
        if inputs.shape[-1] != 3:
            raise ValueError(
                "AxisRotation needs points with 3 coordinates on the last axis, found "
                f"inputs of shape {tuple(inputs.shape)}."
            )
        cos, sin = _cos_sin(_reduced(power, self.order), self.order)
        first, second = (self.axis + 1) % 3, (self.axis + 2) % 3
        outputs = inputs.clone() if isinstance(inputs, torch.Tensor) else inputs.copy()
        a, b = inputs[..., first], inputs[..., second]
        outputs[..., first] = cos * a - sin * b
        outputs[..., second] = sin * a + cos * b
        return outputs


def _check_order(order: int) -> None:
    if not isinstance(order, int | np.integer) or order < 1:
        raise ValueError(f"order must be a positive integer, found {order!r}.")


def _check_inputs(inputs: object, min_ndim: int) -> None:
    if not isinstance(inputs, np.ndarray | torch.Tensor):
        raise TypeError(
            "inputs must be a numpy array or a torch tensor, found "
            f"{type(inputs).__name__}."
        )
    if inputs.ndim < min_ndim:
        raise ValueError(
            f"inputs must have at least {min_ndim} axes, found shape "
            f"{tuple(inputs.shape)}."
        )


def _check_axis(inputs: np.ndarray | torch.Tensor, axis: int) -> int:
    _check_inputs(inputs, min_ndim=2)
    if not -inputs.ndim <= axis < inputs.ndim:
        raise ValueError(
            f"axis={axis} does not exist in inputs of shape {tuple(inputs.shape)}."
        )
    if axis % inputs.ndim == 0:
        raise ValueError(
            f"axis={axis} is the first axis of inputs of shape "
            f"{tuple(inputs.shape)}, which numbers the samples: the action would mix "
            "them. Choose another axis."
        )
    return axis


def _check_square(images: np.ndarray | torch.Tensor) -> None:
    height, width = images.shape[-2:]
    if height != width:
        raise ValueError(
            "ImageRotation needs square images on the last two axes, found inputs of "
            f"shape {tuple(images.shape)}. Crop or pad them, or use "
            "ImageRotation(order=2): half-turns fit any image."
        )


def _check_floating(inputs: np.ndarray | torch.Tensor, action: str) -> None:
    floating = (
        inputs.is_floating_point()
        if isinstance(inputs, torch.Tensor)
        else np.issubdtype(inputs.dtype, np.floating)
    )
    if not floating:
        raise ValueError(
            f"{action} computes new values and needs inputs of a floating dtype, "
            f"found {inputs.dtype}. Convert the inputs, for example to float32."
        )


def _reduced(power: int, order: int) -> int:
    try:
        return operator.index(power) % order
    except TypeError as error:
        raise TypeError(
            f"power must be one integer, found {type(power).__name__}."
        ) from error


def _cos_sin(power: int, order: int) -> tuple[float, float]:
    """Cosine and sine of power/order of a full turn, exact for quarter-turns."""
    quarter_turns, remainder = divmod(4 * power, order)
    if not remainder:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[quarter_turns]
    angle = 2 * math.pi * power / order
    return math.cos(angle), math.sin(angle)


@overload
def _interpolated(images: np.ndarray, angle: float) -> np.ndarray: ...
@overload
def _interpolated(images: torch.Tensor, angle: float) -> torch.Tensor: ...
def _interpolated(
    images: np.ndarray | torch.Tensor, angle: float
) -> np.ndarray | torch.Tensor:
    """Rotate counter-clockwise by an angle in radians."""
    _check_floating(images, "ImageRotation by other than quarter-turns")
    if isinstance(images, np.ndarray):
        return _interpolated(torch.tensor(images), angle).numpy()
    height, width = images.shape[-2:]
    channels = images.reshape(1, -1, height, width)
    cos, sin = math.cos(angle), math.sin(angle)
    # Where each output pixel comes from: x to the right, y downwards.
    source = images.new_tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]])
    grid = functional.affine_grid(source, [1, channels.shape[1], height, width], False)
    return functional.grid_sample(channels, grid, align_corners=False).reshape(
        images.shape
    )
