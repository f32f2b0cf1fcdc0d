"""Rows to learn from, one kind a file, drawn anew for each seed."""

from ._problems import PROBLEMS, Problem, load

__all__ = ["PROBLEMS", "Problem", "load"]
