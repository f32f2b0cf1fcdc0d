"""How well any map, linear or not, predicts one activation from another."""

import warnings
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit
from sklearn.neural_network import MLPRegressor

from .._metrics import fvu

_RIDGES = tuple(10.0**exponent for exponent in range(-6, 3))
_EPOCHS = (0, 40)
_HIDDEN = 256
_BATCH = 64
_HELD_BACK = 0.2  # share of the inputs


class LinearThenMLP(RegressorMixin, BaseEstimator):
    """Ridge regression, and a small network for what it leaves."""

    # A network alone is the worse ceiling: in the time of a test it does not come near
    # to what least squares explains at once.

    def __init__(
        self,
        n_epochs: int = 40,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_epochs = n_epochs
        self.random_state = random_state

    def fit(self, X: NDArray, y: NDArray) -> Self:
        self.mean_, self.scale_ = X.mean(axis=0), X.std() or 1.0
        X = (X - self.mean_) / self.scale_
        self.linear_ = RidgeCV(_RIDGES).fit(X, y)
        rest = y - self.linear_.predict(X)
        self.rest_scale_ = rest.std() if self.n_epochs else 0.0
        if self.rest_scale_:
            self.network_ = MLPRegressor(
                hidden_layer_sizes=(_HIDDEN,),
                batch_size=min(_BATCH, len(X)),
                max_iter=self.n_epochs,
                tol=0.0,
                random_state=self.random_state,
            )
            with warnings.catch_warnings():  # the epochs are chosen, not reached
                warnings.simplefilter("ignore", ConvergenceWarning)
                self.network_.fit(X, rest / self.rest_scale_)
        return self

    def predict(self, X: NDArray) -> NDArray:
        X = (X - self.mean_) / self.scale_
        prediction = self.linear_.predict(X)
        if self.rest_scale_:
            rest = self.network_.predict(X).reshape(prediction.shape)
            prediction = prediction + self.rest_scale_ * rest
        return prediction

    def score(self, X: NDArray, y: NDArray, sample_weight: None = None) -> float:
        """1 - FVU, over all outputs together."""
        return 1 - fvu(y, self.predict(X))


def default_ceiling(random_state: np.random.RandomState) -> GridSearchCV:
    """Linear map, with or without a network, whichever is better on other groups."""
    seeds = random_state.randint(np.iinfo(np.int32).max, size=2)
    return GridSearchCV(
        LinearThenMLP(random_state=int(seeds[0])),
        {"n_epochs": list(_EPOCHS)},
        cv=GroupShuffleSplit(1, test_size=_HELD_BACK, random_state=int(seeds[1])),
        error_score="raise",
    )
