"""The paper's 180 binary tasks on images of shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._estimator import as_places
from ._shape_tiles import N_ORIENTATIONS, N_TILES, SHAPE_NAMES, tile_index, turned
from ._shapes import POSITION_NAMES, Shapes, check_quarter_turns

_N_SHAPES = len(SHAPE_NAMES)
_N_POSITIONS = len(POSITION_NAMES)


@dataclass(frozen=True)
class ShapeTask:  # numpydoc ignore=PR02
    """One yes-or-no question about an image of shapes.

    Parameters
    ----------
    shape : str
        The image holds this shape.
    position : str or None, default=None
        The quadrant that the shape must be in; None allows any.
    orientation : int or None, default=None
        The quarter-turns that the shape must have from its upright form; None
        allows any.

    Examples
    --------
    >>> from sk_eqsae.datasets import ShapeTask
    >>> task = ShapeTask("arrow", position="top-left", orientation=3)
    >>> task.kind, task.name
    ('SPO', 'SPO(arrow,top-left,3)')
    """

    shape: str
    position: str | None = None
    orientation: int | None = None

    @property
    def kind(self) -> str:
        """What the task asks for: "S", "SO", "SP" or "SPO"."""
        position = "" if self.position is None else "P"
        orientation = "" if self.orientation is None else "O"
        return f"S{position}{orientation}"

    @property
    def name(self) -> str:
        """Kind and arguments, such as "SPO(arrow,top-left,3)"."""
        arguments = (self.shape, self.position, self.orientation)
        return f"{self.kind}({','.join(str(a) for a in arguments if a is not None)})"

    def __str__(self) -> str:
        return self.name


class ShapeTasks(Sequence[ShapeTask]):
    """An immutable sequence of tasks that can label images.

    Parameters
    ----------
    tasks : iterable of ShapeTask
        The tasks, in the order of the columns of :meth:`label_matrix`.

    Raises
    ------
    TypeError, ValueError
        If one of them is no ShapeTask, or asks for what there is not; a rectangle and a
        diagonal have two orientations, all others four.

    Examples
    --------
    >>> from sk_eqsae import make_shapes
    >>> from sk_eqsae.datasets import ShapeTask, ShapeTasks
    >>> tasks = ShapeTasks([ShapeTask("arrow"), ShapeTask("arrow", "top-left")])
    >>> tasks.names
    ('S(arrow)', 'SP(arrow,top-left)')
    >>> tasks.label_matrix(make_shapes(5, random_state=0)).shape
    (5, 2)
    """

    def __init__(self, tasks: Sequence[ShapeTask]) -> None:
        self._tasks = tuple(tasks)
        for index, task in enumerate(self._tasks):
            _check_task(task, f"tasks[{index}]")

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each task."""
        return tuple(task.name for task in self._tasks)

    @property
    def kinds(self) -> NDArray[np.str_]:
        """Kind of each task: "S", "SO", "SP" or "SPO"."""
        return np.array([task.kind for task in self._tasks], dtype="<U3")

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, index: int | slice) -> Any:
        found: Any = self._tasks[index]
        return ShapeTasks(found) if isinstance(index, slice) else found

    def __repr__(self) -> str:
        return f"<ShapeTasks: {len(self)} binary tasks>"

    def label_matrix(
        self,
        shapes: Shapes,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> NDArray[np.int8]:
        """Answer every task for every image, or for every row of orbits of images.

        Parameters
        ----------
        shapes : Shapes
            The images.
        groups, power : array-like of shape (n_rows,), default=None
            Index of the image of each row, and its counter-clockwise quarter-turns, as
            `Orbits` of a rotation of order 4 hold them.

        Returns
        -------
        labels : ndarray of shape (n_rows, n_tasks), dtype int8
            1 where the answer is yes. ``n_rows`` is ``len(shapes)`` without groups
            and power.

        Raises
        ------
        ValueError
            If only one of groups and power is given, or if they do not fit the images.
        """
        shape, orientation = _rows_of(shapes, groups, power)
        columns = [_COLUMN[task] for task in self._tasks]
        return _answer_all(shape, orientation)[:, columns]


def shape_tasks() -> ShapeTasks:
    """Make the 180 binary tasks of the paper.

    Eight ask for a shape (S), 28 for a shape in an orientation (SO), 32 for a shape
    in a position (SP) and 112 for a shape in a position and an orientation (SPO).
    Only the answers to the S tasks stay the same when the image is rotated.

    Returns
    -------
    tasks : ShapeTasks
        The tasks in this order, with ``names``, ``kinds`` and ``label_matrix``.

    Notes
    -----
    Share of negative rows, exact, over all four rotations; "2" and "4" are shapes
    with two and four orientations, "mean" is over the tasks:

    ====  ============================  =========================  =========
    kind  "upright" images              "random" images            the paper
    ====  ============================  =========================  =========
    S     58.6 %                        58.6 %                     ~58 %
    SP    87.5 %                        87.5 %                     87-89 %
    SO    2: 79.3, 4: 89.7, mean 88.2   2: 77.2, 4: 88.1, mean     87-89 %
                                        86.5
    SPO   2: 93.8, 4: 96.9, mean 96.4   the same                   97 %
    ====  ============================  =========================  =========

    The two differ only in SO, where the shapes of an "upright" image share one
    orientation. "upright" spans the paper's 87-89 %, which "random" does not reach.

    Examples
    --------
    >>> from sk_eqsae.datasets import shape_tasks
    >>> tasks = shape_tasks()
    >>> len(tasks), tasks.names[-1]
    (180, 'SPO(semicircle,top-right,3)')
    """
    return ShapeTasks(_ALL_TASKS)


_TURNS = [
    (shape, orientation)
    for shape, n_orientations in zip(SHAPE_NAMES, N_ORIENTATIONS, strict=True)
    for orientation in range(n_orientations)
]
_ALL_TASKS = (  # in the order of the columns of `_answer_all`
    *(ShapeTask(s) for s in SHAPE_NAMES),
    *(ShapeTask(s, None, o) for s, o in _TURNS),
    *(ShapeTask(s, p) for s in SHAPE_NAMES for p in POSITION_NAMES),
    *(ShapeTask(s, p, o) for s, o in _TURNS for p in POSITION_NAMES),
)
_COLUMN = {task: column for column, task in enumerate(_ALL_TASKS)}


def _check_task(task: ShapeTask, name: str) -> None:
    if not isinstance(task, ShapeTask):
        raise TypeError(
            f"{name} has to be a ShapeTask, such as ShapeTask('arrow'), found "
            f"{type(task).__name__}."
        )
    known: dict[str, tuple] = {
        "shape": SHAPE_NAMES,
        "position": (None, *POSITION_NAMES),
    }
    if task.shape in SHAPE_NAMES:
        n_orientations = N_ORIENTATIONS[SHAPE_NAMES.index(task.shape)]
        known["orientation"] = (None, *range(n_orientations))
    for part, values in known.items():
        if getattr(task, part) not in values:
            raise ValueError(
                f"{name} is {task}, but there is no {part} {getattr(task, part)!r}. "
                f"There are {', '.join(map(str, values))}."
            )


def _rows_of(
    shapes: Shapes, groups: ArrayLike | None, power: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if groups is None and power is None:
        return shapes.shape, shapes.orientation
    if groups is None or power is None:
        given, missing = ("power", "groups") if groups is None else ("groups", "power")
        raise ValueError(
            f"{given} was given without {missing}: a row is image groups[row] rotated "
            "power[row] times. Pass both, or neither for the images as they are."
        )
    groups = as_places(groups, "groups", len(shapes), "images")
    power = check_quarter_turns(power, len(groups))
    return turned(shapes.shape[groups], shapes.orientation[groups], power)


def _answer_all(
    shape: NDArray[np.int64], orientation: NDArray[np.int64]
) -> NDArray[np.int8]:
    by_tile = np.zeros((len(shape), N_TILES, _N_POSITIONS), dtype=np.int8)
    by_shape = np.zeros((len(shape), _N_SHAPES, _N_POSITIONS), dtype=np.int8)
    row, position = np.ogrid[: len(shape), :_N_POSITIONS]
    by_tile[row, tile_index(shape, orientation), position] = 1
    by_shape[row, shape, position] = 1
    return np.hstack(
        [
            by_shape.max(axis=2),
            by_tile.max(axis=2),
            by_shape.reshape(len(shape), -1),
            by_tile.reshape(len(shape), -1),
        ]
    )
