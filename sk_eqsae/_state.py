"""What an estimator has fitted, and what becomes of it when a fit fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from sklearn.base import BaseEstimator


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
