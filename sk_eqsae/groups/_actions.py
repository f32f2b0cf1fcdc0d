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
from numpy.typing import NDArray
from torch.nn import functional

from .._docs import fill
from ._group import CyclicGroup, DihedralGroup, FiniteGroup, ProductGroup
from ._permutation_groups import GeneratedGroup, SymmetricGroup

Inputs = TypeVar("Inputs", np.ndarray, torch.Tensor)
Powers = Sequence[int] | np.ndarray
Shape = tuple[int, ...]
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

    def site_permutation(
        self,
        grid: Sequence[int],
        power: int | Powers,
        *,
        input_shape: Sequence[int] | None = None,
    ) -> NDArray[np.int64]:
        """Say where an element moves the sites of a layer.

        Images and volumes move their sites as pixels. Shifts move them by the shift
        over the stride, permutations permute them if they are the things permuted, and
        rotations of points leave the nodes where they are.

        Parameters
        ----------
        grid : sequence of int
            Number of sites along each axis, such as (height, width) of a feature map.
        power : int or sequence of int
            The element: its power, or one for each generator.
        input_shape : sequence of int, default=None
            Shape of the inputs (n_inputs, ...), whose last axes, or last but one, are
            those of the grid. None stands for a site at each place of the inputs.

        Returns
        -------
        permutation : ndarray of int64 of shape (n_sites,)
            Entry u is the site to which the element moves site u; sites are numbered
            in C order.

        Raises
        ------
        ValueError
            If the element does not map the grid onto itself, or if it cannot be told
            which axes of the inputs are the grid.

        Examples
        --------
        >>> from sk_eqsae.groups import ImageRotation
        >>> ImageRotation(4).site_permutation((2, 2), 1)
        array([2, 0, 3, 1])
        """
        grid = _integers_of("grid", grid)
        shape = _integers_of("input_shape", input_shape or (1, *grid))
        exponents = _exponents(power, self.symmetry.generator_orders)
        index = np.arange(math.prod(grid)).reshape(1, *grid)
        # What moves maps tells which site came to u; where u goes is the inverse.
        moved = self._moved_sites(index, shape, *exponents)
        return np.argsort(moved, axis=None)

    def _moved_sites(self, index: NDArray, shape: Shape, *exponents: int) -> NDArray:
        """Move a map of shape (1, *grid), by each exponent below the order."""
        if index.ndim > 2:
            raise ValueError(
                f"{type(self).__name__} leaves nodes where they are, and cannot tell "
                f"how it moves a grid of {index.shape[1:]}. Set site_action=, which "
                "moves maps."
            )
        return index


class CyclicAction(Action):
    """An action of the cyclic group of its order."""

    order: int

    def __post_init__(self) -> None:
        _check_order(self.order)

    @cached_property
    def symmetry(self) -> CyclicGroup:
        """The cyclic group that acts."""
        return CyclicGroup(self.order)


@fill
@dataclass(frozen=True)
class ImageRotation(CyclicAction):  # numpydoc ignore=PR02
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
        super().__post_init__()
        _check_channel_axis(self.channel_axis)

    def _moved(self, images: Inputs, power: int) -> Inputs:
        axes = _height_and_width(images, self.channel_axis)
        quarter_turns, remainder = divmod(4 * power, self.order)
        if remainder or quarter_turns % 2:
            _check_square(images, axes)
        if remainder:
            return _interpolated(images, axes, 2 * math.pi * power / self.order)
        return _copy(_library(images).rot90(images, quarter_turns, axes))

    def _moved_sites(self, index: NDArray, shape: Shape, *exponents: int) -> NDArray:
        _check_image_grid(index, shape)
        if 4 * exponents[0] % self.order:
            raise ValueError(
                "sites of a grid move by quarter-turns alone, but order="
                f"{self.order} turns by 360 / {self.order} degrees. Use order=4 or 2."
            )
        return ImageRotation(self.order, channel_axis=-3)._moved(index, *exponents)


@fill
@dataclass(frozen=True)
class ImageFlip(CyclicAction):  # numpydoc ignore=PR02
    """Mirror inputs along one axis.

    Parameters
    ----------
    axis : int, default=-1
        Axis to reverse: -1 swaps left and right of an image, -2 top and bottom,
        wherever the channels are. Not the first, which numbers the samples.
    {channel_axis}

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.groups import ImageFlip
    >>> ImageFlip()(np.array([[1, 2, 3]]), 1)
    array([[3, 2, 1]])
    """

    axis: int = -1
    channel_axis: int | None = None

    order = 2  # no field

    def __post_init__(self) -> None:
        _check_channel_axis(self.channel_axis)

    def _moved(self, inputs: Inputs, power: int) -> Inputs:
        axis = self.axis
        if axis < 0:  # of images, counted from behind
            axis += 1 + _height_and_width(inputs, self.channel_axis)[1]
        axis = _check_axis(inputs, axis)
        return _copy(_library(inputs).flip(inputs, (axis,)) if power else inputs)

    def _moved_sites(self, index: NDArray, shape: Shape, *exponents: int) -> NDArray:
        _check_image_grid(index, shape, min_ndim=1)
        axis = self.axis
        if axis >= 0:  # from behind, where the axes of the grid are
            axis -= len(shape) - (self.channel_axis == -1)
        is_in_grid = axis > -index.ndim
        return ImageFlip(axis, -3)._moved(index, *exponents) if is_in_grid else index


@dataclass(frozen=True)
class CyclicShift(CyclicAction):  # numpydoc ignore=PR02
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
        return _library(inputs).roll(inputs, shift, axis)

    def _moved_sites(self, index: NDArray, shape: Shape, *exponents: int) -> NDArray:
        axis = _axis_in_grid(self.axis, index.shape[1:], shape)
        if axis is None:
            return index
        n = index.shape[axis + 1]
        if n % self.order:  # the shift over the stride is n / order
            works = [d for d in range(1, n + 1) if n % d == 0]
            raise ValueError(
                f"a shift by 1 / {self.order} of the length moves the {n} sites along "
                f"it by {n / self.order:.3g}, not by whole ones. Orders that work: "
                f"{', '.join(map(str, works))}."
            )
        return np.roll(index, exponents[0] * (n // self.order), axis + 1)


@dataclass(frozen=True)
class AxisRotation(CyclicAction):  # numpydoc ignore=PR02
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
        super().__post_init__()
        if self.axis not in (0, 1, 2):
            raise ValueError(
                f"axis must be 0, 1 or 2 (x, y or z), found {self.axis!r}."
            )

    def _moved(self, points: Inputs, power: int) -> Inputs:
        _check_inputs(points, min_ndim=1)
        _check_floating(points, "AxisRotation")
        if points.shape[-1] != 3:
            raise ValueError(
                "AxisRotation needs points with 3 coordinates on the last axis, found "
                f"inputs of shape {tuple(points.shape)}."
            )
        angle = 2 * math.pi * power / self.order
        cos, sin = math.cos(angle), math.sin(angle)
        if 4 * power % self.order == 0:
            cos, sin = round(cos), round(sin)
        first, second = (self.axis + 1) % 3, (self.axis + 2) % 3
        outputs = _copy(points)
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

    def _moved_sites(self, index: NDArray, shape: Shape, *exponents: int) -> NDArray:
        n_turns, n_flips = exponents
        index = ImageFlip()._moved_sites(index, shape, n_flips)
        return ImageRotation(self.n_rotations)._moved_sites(index, shape, n_turns)


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

    def _moved_sites(self, index: NDArray, shape: Shape, *exponents: int) -> NDArray:
        for axis, order, n in zip(self.axes, self.orders, exponents, strict=True):
            index = CyclicShift(axis, order)._moved_sites(index, shape, n)
        return index


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

    def _moved_sites(self, index: NDArray, shape: Shape, *exponents: int) -> NDArray:
        is_row = index.shape[1:] == (self.n,)  # of the things that are permuted
        axis = 0 if is_row else _axis_in_grid(self.axis, index.shape[1:], shape)
        if axis is None:
            return index
        return ChannelPermutation(self.n, axis + 1)._moved(index, *exponents)


@dataclass(frozen=True)
class CubeRotation(Action):  # numpydoc ignore=PR02
    """Rotate points or volumes by quarter-turns: the rotations of a cube.

    The generators are the counter-clockwise quarter-turns g1, g2 and g3 about x, y and
    z; the group has 24 elements and is isomorphic to S_4. Every element is
    g1^p1 g2^p2 g3^p3, most of them in several ways.

    Parameters
    ----------
    kind : {"points", "volumes"}, default="points"
        What the inputs are: points of shape (..., 3) and a floating dtype, or cubic
        volumes of shape (..., x, y, z).

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

    kind: str = "points"

    def __post_init__(self) -> None:
        if self.kind not in ("points", "volumes"):
            raise ValueError(
                f"kind must be 'points' or 'volumes', found {self.kind!r}."
            )

    @property
    def symmetry(self) -> GeneratedGroup:
        """The rotation group of the cube, as permutations of +x, +y, +z, -x, -y, -z."""
        return _cube_group()

    def _moved(
        self, inputs: Inputs, about_x: int, about_y: int, about_z: int
    ) -> Inputs:
        for axis, n_turns in ((2, about_z), (1, about_y), (0, about_x)):
            if self.kind == "points":
                inputs = AxisRotation(axis, 4)(inputs, n_turns)
            else:
                inputs = _turned_volume(inputs, axis, n_turns)
        return inputs

    def _moved_sites(self, index: NDArray, shape: Shape, *exponents: int) -> NDArray:
        if self.kind == "points" and index.ndim != 4:
            return super()._moved_sites(index, shape, *exponents)
        return CubeRotation("volumes")._moved(index, *exponents)


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


def _turned_volume(volumes: Inputs, axis: int, n_turns: int) -> Inputs:
    """Rotate volumes (..., x, y, z) by quarter-turns about an axis."""
    _check_inputs(volumes, min_ndim=4)
    if len(set(volumes.shape[-3:])) > 1:
        raise ValueError(
            "CubeRotation needs cubes on the last three axes, found shape "
            f"{tuple(volumes.shape)}. Crop or pad them."
        )
    plane = (axis + 1) % 3 - 3, (axis + 2) % 3 - 3  # from the first to the second
    return _copy(_library(volumes).rot90(volumes, n_turns, plane))


def _check_image_grid(
    index: np.ndarray, input_shape: tuple[int, ...], min_ndim: int = 2
) -> None:
    grid = index.shape[1:]
    # Images (n, channels, height, width) have no more axes than a map of channels.
    if len(grid) < min_ndim or len(input_shape) > len(grid) + 2:
        raise ValueError(
            f"an action on images moves maps of height and width, found the grid "
            f"{grid} for inputs of shape {input_shape}. Say how the tokens lie, such "
            "as sites=Tokens(grid=(14, 14), prefix=1), or set site_action=."
        )


def _axis_in_grid(
    axis: int, grid: tuple[int, ...], input_shape: tuple[int, ...]
) -> int | None:
    """Axis of a grid that an axis of the inputs is, or None if it is none."""
    ndim = len(input_shape)
    runs = [range(end - len(grid), end) for end in (ndim, ndim - 1)]
    fitting = [run for run in runs if _fits(run, grid, input_shape)]
    remedy = (
        "Set site_action=, which moves maps, such as CyclicShift(axis=-1, order=4)."
    )
    if not fitting or ndim > len(grid) + 2:
        raise ValueError(
            f"sites on the grid {grid} do not lie at equal steps along inputs of shape "
            f"{input_shape}, whose length over the number of sites must be whole, as "
            f"of a layer with circular padding. {remedy}"
        )
    if axis % ndim in fitting[0]:
        return axis % ndim - fitting[0].start
    if axis % ndim in fitting[-1]:
        raise ValueError(
            f"axis={axis} of inputs of shape {input_shape} may be an axis of the grid "
            f"{grid}, or hold channels. {remedy}"
        )
    return None


def _fits(run: range, grid: tuple[int, ...], input_shape: tuple[int, ...]) -> bool:
    """Whether a grid lies at equal steps along these axes, not the first, of inputs."""
    is_last = run.stop == len(input_shape)  # only there may sites be the denser ones
    return run.start > 0 and all(
        input_shape[axis] % n == 0 or (is_last and n % input_shape[axis] == 0)
        for axis, n in zip(run, grid, strict=True)
    )


def _library(inputs: Any) -> Any:
    """Library whose functions take such inputs."""
    return torch if isinstance(inputs, torch.Tensor) else np


def _copy(inputs: Any) -> Any:
    return inputs.clone() if isinstance(inputs, torch.Tensor) else inputs.copy()


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


def _check_floating(inputs: Any, action: str) -> None:
    is_tensor = isinstance(inputs, torch.Tensor)
    if not (inputs.is_floating_point() if is_tensor else inputs.dtype.kind == "f"):
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
