"""Data with a known symmetry and known labels."""

from ._shape_tasks import ShapeTask, ShapeTasks, shape_tasks
from ._shapes import Shapes, make_shapes

__all__ = ["ShapeTask", "ShapeTasks", "Shapes", "make_shapes", "shape_tasks"]
