"""Warnings that point at the line of whoever called the package."""

import contextlib
import sys
import warnings
from pathlib import Path
from traceback import walk_stack

import joblib
import sklearn
import skorch

# What stands between a user's line and ours: a Pipeline, a grid search, a net.
_PASSED_OVER = (
    contextlib.__file__,
    *(
        str(Path(module).parent)
        for module in (__file__, sklearn.__file__, skorch.__file__, joblib.__file__)
    ),
)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line outside the package and the libraries that call it."""
    levels = enumerate(walk_stack(sys._getframe(1)), start=2)
    outside = (
        level
        for level, (frame, _) in levels
        if not frame.f_code.co_filename.startswith(_PASSED_OVER)
    )
    warnings.warn(message, category, stacklevel=next(outside, 2))
