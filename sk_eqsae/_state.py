"""What an estimator has fitted, where it is, and what becomes of it if a fit fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator


@contextmanager
def all_or_nothing(*estimators: BaseEstimator) -> Iterator[None]:
    """Leave estimators as they were if anything is raised on the way.

    Parameters
    ----------
    *estimators : estimator
        Whose attributes are put back.
    """
    before = [vars(estimator).copy() for estimator in estimators]
    try:
        yield
    except BaseException:
        for estimator, attributes in zip(estimators, before, strict=True):
            vars(estimator).clear()
            vars(estimator).update(attributes)
        raise


def unfrozen(estimator: Any) -> Any:
    """Take an estimator out of a FrozenEstimator.

    Parameters
    ----------
    estimator : object
        Anything.

    Returns
    -------
    estimator : object
        What was frozen, or the same.
    """
    while isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    return estimator
