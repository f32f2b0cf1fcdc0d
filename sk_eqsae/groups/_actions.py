"""How groups act on the inputs of a model."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch.nn import functional

from .._docs import fill
from ._group import CyclicGroup, DihedralGroup, FiniteGroup, ProductGroup
from ._permutation_groups import GeneratedGroup, SymmetricGroup

Inputs = TypeVar("Inputs", np.ndarray, torch.Tensor)
Powers = Sequence[int] | np.ndarray
_N_CHANNELS = (1, 3, 4)  # as of grey, coloured and transparent images


class Action(ABC):
    """A group that acts on inputs; the base of all actions here."""

    _moved: Callable[..., Any]  # inputs, and each exponent from 0 to below the order

    @property
    @abstractmethod
    def symmetry(self) -> FiniteGroup:
        """The group that acts."""

    def __call__(self, inputs: Inputs, power: int | Powers) -> Inputs:
        """Move inputs by an element: its power, or one for each generator.

        The last generator acts first. What comes back is a new array of the same kind.
        """
        return self._moved(inputs, *_exponents(power, self.symmetry.generator_orders))


@fill
@dataclass(frozen=True)
class ImageRotation(Action):  # numpydoc ignore=PR02
    """Rotate images counter-clockwise by 360 / ``order`` degrees.

    Images have the shape (..., height, width). They have to be square, unless all that
    is asked for is a half-turn. A power that is a multiple of a quarter-turn moves
    pixels and changes none; any other is a bilinear interpolation with zeros outside,
    for which the group law holds approximately.

    Parameters
    ----------
    order : int, default=4
        Number of rotations that make a full turn.
    {channel_axis}

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
    channel_axis: int | None = None

    def __post_init__(self) -> None:
        _check_order(self.order)
        _check_channel_axis(self.channel_axis)

    @cached_property
    def symmetry(self) -> CyclicGroup:
        """The cyclic group that acts."""
        return CyclicGroup(self.order)

    def _moved(self, images: Inputs, power: int) -> Inputs:
        axes = _height_and_width(images, self.channel_axis)
        quarter_turns, remainder = divmod(4 * power, self.order)
        if remainder or quarter_turns % 2:
            _check_square(images, axes)
        if remainder:
            return _interpolated(images, axes, 2 * math.pi * power / self.order)
        if isinstance(images, torch.Tensor):
            return torch.rot90(images, quarter_turns, dims=axes).clone()
        return np.rot90(images, quarter_turns, axes=axes).copy()


@fill
@dataclass(frozen=True)
class ImageFlip(Action):  # numpydoc ignore=PR02
    """Mirror inputs along one axis.

    Parameters
    ----------
    axis : int, default=-1
        Axis to reverse: -1 swaps left and right of an image, -2 top and bottom,
        wherever the channels are. Not the first, which numbers the samples.
    {channel_axis}

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
    channel_axis: int | None = None

    def __post_init__(self) -> None:
        _check_channel_axis(self.channel_axis)

    @cached_property
    def symmetry(self) -> CyclicGroup:
        """The cyclic group that acts."""
        return CyclicGroup(2)

    def _moved(self, inputs: Inputs, power: int) -> Inputs:
        axis = self.axis
        if axis < 0:  # of images, counted from behind
            axis += 1 + _height_and_width(inputs, self.channel_axis)[1]
        axis = _check_axis(inputs, axis)
        if isinstance(inputs, torch.Tensor):
            return inputs.flip(axis) if power else inputs.clone()
        return (np.flip(inputs, axis) if power else inputs).copy()


@dataclass(frozen=True)
class CyclicShift(Action):  # numpydoc ignore=PR02
    """Shift inputs along one axis by 1 / ``order`` of its length, around the end.

    Entries move towards higher indices.

    Parameters
    ----------
    axis : int
        Axis to shift along; not the first, which numbers the samples.
    order : int
        Number of shifts that bring every entry back; must divide the axis' length.

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

    @cached_property
    def symmetry(self) -> CyclicGroup:
        """The cyclic group that acts."""
        return CyclicGroup(self.order)

    def _moved(self, inputs: Inputs, power: int) -> Inputs:
        axis = _check_axis(inputs, self.axis)
        length = inputs.shape[axis]
        if length % self.order:
            raise ValueError(
                f"CyclicShift(axis={self.axis}, order={self.order}) needs a length "
                f"divisible by the order along that axis, found inputs of shape "
                f"{tuple(inputs.shape)}. Choose an order that divides {length}, or "
                "pad the inputs."
            )
        shift = power * (length // self.order)
        if isinstance(inputs, torch.Tensor):
            return inputs.roll(shift, axis)
        return np.roll(inputs, shift, axis)


@dataclass(frozen=True)
class AxisRotation(Action):  # numpydoc ignore=PR02
    """Rotate point clouds by 360 / ``order`` degrees about a coordinate axis.

    Points have the shape (..., 3) and a floating dtype. They turn counter-clockwise
    when the axis points at the viewer (the right-hand rule). Quarter-turns are exact;
    other rotations are as exact as the inputs' dtype.

    Parameters
    ----------
    axis : {0, 1, 2}
        Coordinate that the rotation leaves alone: x, y or z.
    order : int
        Number of rotations that make a full turn.

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

    @cached_property
    def symmetry(self) -> CyclicGroup:
        """The cyclic group that acts."""
        return CyclicGroup(self.order)

    def _moved(self, points: Inputs, power: int) -> Inputs:
        _check_inputs(points, min_ndim=1)
        _check_floating(points, "AxisRotation")
        if points.shape[-1] != 3:
            raise ValueError(
                "AxisRotation needs points with 3 coordinates on the last axis, found "
                f"inputs of shape {tuple(points.shape)}."
            )
        cos, sin = _cos_sin(power, self.order)
        first, second = (self.axis + 1) % 3, (self.axis + 2) % 3
        outputs = points.clone() if isinstance(points, torch.Tensor) else points.copy()
        a, b = points[..., first], points[..., second]
        outputs[..., first] = cos * a - sin * b
        outputs[..., second] = sin * a + cos * b
        return outputs


@fill
@dataclass(frozen=True)
class ImageDihedral(Action):  # numpydoc ignore=PR02
    """Rotate and mirror images: the dihedral group D_n.

    The generators are r, the rotation counter-clockwise by 360 / ``n_rotations``
    degrees, and s, which swaps left and right. Images have the shape (..., height,
    width), square unless all that is asked for is half-turns and flips.

    Parameters
    ----------
    n_rotations : int, default=4
        Number of rotations that make a full turn. The group law is exact for 1, 2
        and 4; others interpolate, as :class:`ImageRotation` does.
    {channel_axis}

    Raises
    ------
    ValueError
        If n_rotations is not positive; on a call, if the images do not fit.

    See Also
    --------
    ImageRotation : Rotations alone.
    ImageFlip : The flip alone.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.groups import ImageDihedral
    >>> action = ImageDihedral()
    >>> action.symmetry
    DihedralGroup(n=4)
    >>> action(np.array([[[1, 2], [3, 4]]]), (1, 1))  # first flip, then rotate
    array([[[1, 3],
            [2, 4]]])
    """

    n_rotations: int = 4
    channel_axis: int | None = None

    def __post_init__(self) -> None:
        _check_order(self.n_rotations, "n_rotations")
        _check_channel_axis(self.channel_axis)

    @cached_property
    def symmetry(self) -> DihedralGroup:
        """The dihedral group that acts."""
        return DihedralGroup(self.n_rotations)

    def _moved(self, images: Inputs, n_turns: int, n_flips: int) -> Inputs:
        flip = ImageFlip(channel_axis=self.channel_axis)
        turn = ImageRotation(self.n_rotations, self.channel_axis)
        return turn(flip(images, n_flips), n_turns)


@dataclass(frozen=True)
class GridShift(Action):  # numpydoc ignore=PR02
    """Shift inputs along several axes, around the ends: a product of cyclic groups.

    Generator i shifts along ``axes[i]`` by 1 / ``orders[i]`` of its length, towards
    higher indices.

    Parameters
    ----------
    axes : sequence of int
        Axes to shift along; not the first, which numbers the samples.
    orders : sequence of int
        Number of shifts along each axis that bring every entry back; must divide
        the axis' length.

    See Also
    --------
    CyclicShift : Shifts along one axis.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.groups import GridShift
    >>> action = GridShift(axes=(-2, -1), orders=(2, 3))
    >>> action.symmetry
    ProductGroup(CyclicGroup(n=2), CyclicGroup(n=3))
    >>> action(np.array([[[1, 2, 3], [4, 5, 6]]]), (1, 1))
    array([[[6, 4, 5],
            [3, 1, 2]]])
    """

    axes: tuple[int, ...]
    orders: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", _integers_of("axes", self.axes))
        object.__setattr__(self, "orders", _integers_of("orders", self.orders))
        if len(self.axes) != len(self.orders) or not self.axes:
            raise ValueError(
                "GridShift needs one order for each axis and at least one axis, found "
                f"axes={self.axes} and orders={self.orders}."
            )
        for order in self.orders:
            _check_order(order)
        _check_different(self.axes, self.axes)

    @cached_property
    def symmetry(self) -> ProductGroup:
        """The product of cyclic groups that acts."""
        return ProductGroup(*(CyclicGroup(order) for order in self.orders))

    def _moved(self, inputs: Inputs, *n_shifts: int) -> Inputs:
        counted = [_check_axis(inputs, axis) % inputs.ndim for axis in self.axes]
        _check_different(counted, self.axes)
        for axis, order, n in zip(self.axes, self.orders, n_shifts, strict=True):
            inputs = CyclicShift(axis, order)(inputs, n)
        return inputs


@dataclass(frozen=True)
class ChannelPermutation(Action):  # numpydoc ignore=PR02
    """Permute the entries along one axis: the symmetric group S_n.

    Entry i of an input is entry pi(i) of the output, for the permutation pi that the
    powers of the cycles c2, c3, ..., cn make.

    Parameters
    ----------
    n : int
        Length of the axis, 2 to 5.
    axis : int, default=1
        Axis to permute; not the first, which numbers the samples.

    See Also
    --------
    SymmetricGroup : The group and its generators, the cycles c2, c3, ..., cn.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.groups import ChannelPermutation
    >>> action = ChannelPermutation(3)
    >>> action.symmetry
    SymmetricGroup(n=3)
    >>> action(np.array([[7, 8, 9]]), (0, 1))  # channel 0 becomes channel 1, ...
    array([[9, 7, 8]])
    """

    n: int
    axis: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", SymmetricGroup(self.n).n)

    @cached_property
    def symmetry(self) -> SymmetricGroup:
        """The symmetric group that acts."""
        return SymmetricGroup(self.n)

    def _moved(self, inputs: Inputs, *exponents: int) -> Inputs:
        axis = _check_axis(inputs, self.axis)
        if inputs.shape[axis] != self.n:
            raise ValueError(
                f"ChannelPermutation(n={self.n}, axis={self.axis}) needs {self.n} "
                f"entries along that axis, found inputs of shape {tuple(inputs.shape)}."
            )
        element = self.symmetry.elements_of([exponents])[0]
        source = self.symmetry.permutations[self.symmetry.inverses[element]]
        if isinstance(inputs, torch.Tensor):
            return inputs.index_select(axis, torch.tensor(source, device=inputs.device))
        return inputs.take(source, axis)


@dataclass(frozen=True)
class CubeRotation(Action):
    """Rotate point clouds by quarter-turns about the axes: the rotations of a cube.

    Points have the shape (..., 3) and a floating dtype. The generators are the
    counter-clockwise quarter-turns g1, g2 and g3 about x, y and z; the group has 24
    elements and is isomorphic to S_4. Every element is g1^p1 g2^p2 g3^p3, most of them
    in several ways.

    See Also
    --------
    AxisRotation : Rotations about one axis.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.groups import CubeRotation
    >>> action = CubeRotation()
    >>> action.symmetry.order, action.symmetry.generator_orders
    (24, (4, 4, 4))
    >>> action(np.array([[[1.0, 2.0, 3.0]]]), (1, 0, 1))  # about z, then about x
    array([[[-2., -3.,  1.]]])
    """

    @property
    def symmetry(self) -> GeneratedGroup:
        """The rotation group of the cube, as permutations of +x, +y, +z, -x, -y, -z."""
        return _cube_group()

    def _moved(
        self, points: Inputs, about_x: int, about_y: int, about_z: int
    ) -> Inputs:
        for axis, n_turns in ((2, about_z), (1, about_y), (0, about_x)):
            points = AxisRotation(axis, 4)(points, n_turns)
        return points


@cache
def _cube_group() -> GeneratedGroup:
    about_x = (0, 2, 4, 3, 5, 1)  # y becomes z, z becomes -y
    about_y = (5, 1, 0, 2, 4, 3)
    about_z = (1, 3, 2, 4, 0, 5)
    x, y, z = range(3)
    return GeneratedGroup(
        (about_x, about_y, about_z),
        relations=(
            *(((axis, 4),) for axis in (x, y, z)),
            ((x, 1), (y, 1)) * 3,
            ((x, 2), (y, 1)) * 2,
            ((x, 1), (y, 1), (x, -1), (z, -1)),  # a quarter-turn takes y to z
        ),
    )


def _check_order(order: int, name: str = "order") -> None:
    if not isinstance(order, int | np.integer) or order < 1:
        raise ValueError(f"{name} must be a positive integer, found {order!r}.")


def _check_different(axes: Sequence[int], shown: tuple[int, ...]) -> None:
    if len(set(axes)) < len(axes):
        raise ValueError(
            f"axes={shown} names an axis twice: give each axis once, with one order."
        )


def _integers_of(name: str, values: Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(operator.index(value) for value in values)
    except TypeError as error:
        raise ValueError(
            f"{name} must be a sequence of integers, found {values!r}."
        ) from error


def _check_inputs(inputs: object, min_ndim: int) -> None:
    if not isinstance(inputs, np.ndarray | torch.Tensor):
        raise TypeError(
            "inputs must be a numpy array or a torch tensor, found "
            f"{type(inputs).__name__}."
        )
    if np.ma.is_masked(inputs):
        raise ValueError("inputs have masked entries: fill them in, or leave them out.")
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


def _check_channel_axis(axis: int | None) -> None:
    if axis not in (None, -3, -1):
        raise ValueError(
            f"channel_axis must be -3, for images (..., channels, height, width), -1, "
            f"for images (..., height, width, channels), or None, found {axis!r}."
        )


def _height_and_width(
    images: np.ndarray | torch.Tensor, channel_axis: int | None
) -> tuple[int, int]:
    """Axes of the height and the width, counted from behind."""
    _check_inputs(images, min_ndim=2)
    if channel_axis is None and images.ndim > 3:
        first, last = images.shape[-3], images.shape[-1]
        if last in _N_CHANNELS and first not in _N_CHANNELS:
            raise ValueError(
                f"inputs of shape {tuple(images.shape)} look as if their last axis "
                "held channels. Set channel_axis=-1 if it does, and channel_axis=-3 "
                "if it is the width."
            )
    return (-3, -2) if channel_axis == -1 else (-2, -1)


def _check_square(images: np.ndarray | torch.Tensor, axes: tuple[int, int]) -> None:
    height, width = (images.shape[axis] for axis in axes)
    if height != width:
        raise ValueError(
            f"ImageRotation needs square images on the axes {axes}, found inputs of "
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


def _exponents(power: int | Powers, orders: Sequence[int]) -> list[int]:
    """Exponents of the generators, modulo their orders."""
    given = np.atleast_1d(np.asarray(power, dtype=object))
    try:
        exponents = [operator.index(p) for p in given]
    except TypeError:
        exponents = []
    if len(exponents) != len(orders):
        expected = f"{len(orders)} integers, one for each generator"
        raise TypeError(
            f"power must be {'one integer' if len(orders) == 1 else expected}, found "
            f"{power!r}."
        )
    return [p % order for p, order in zip(exponents, orders, strict=True)]


def _cos_sin(power: int, order: int) -> tuple[float, float]:
    """Cosine and sine of power/order of a full turn, exact for quarter-turns."""
    quarter_turns, remainder = divmod(4 * power, order)
    if not remainder:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[quarter_turns]
    angle = 2 * math.pi * power / order
    return math.cos(angle), math.sin(angle)


def _interpolated(images: Any, axes: tuple[int, int], angle: float) -> Any:
    """Rotate images counter-clockwise by an angle in radians."""
    _check_floating(images, "ImageRotation by other than quarter-turns")
    if isinstance(images, np.ndarray):
        tensor = torch.tensor(images, device="cpu")
        return _interpolated(tensor, axes, angle).numpy()
    images = images.movedim(axes, (-2, -1))
    height, width = images.shape[-2:]
    channels = images.reshape(1, -1, height, width)
    cos, sin = math.cos(angle), math.sin(angle)
    # Where each output pixel comes from: x to the right, y downwards.
    source = images.new_tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]])
    with torch.autocast(images.device.type, enabled=False):
        grid = functional.affine_grid(source, list(channels.shape), False)
        turned = functional.grid_sample(channels, grid, align_corners=False)
    return turned.reshape(images.shape).movedim((-2, -1), axes).contiguous()
