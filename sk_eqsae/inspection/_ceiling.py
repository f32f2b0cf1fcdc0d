"""How well any map, linear or not, predicts one activation from another."""

import warnings
from numbers import Integral
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.neural_network import MLPRegressor
from sklearn.utils._param_validation import Interval

from .._metrics import fvu

_RIDGES = tuple(10.0**exponent for exponent in range(-6, 3))
_EPOCHS = (0, 40)
_HIDDEN = 256
_BATCH = 64


class LinearThenMLP(RegressorMixin, BaseEstimator):
    """Ridge regression, and a small network for what it leaves.

    A network alone is the worse ceiling: in the time of a test it does not come near
    to what least squares explains at once.

    Parameters
    ----------
    n_epochs : int, default=40
        Passes of the network over the rows. 0 leaves it out.
    random_state : int, RandomState instance or None, default=None
        Seed of the network.
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_epochs": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_epochs: int = 40,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_epochs = n_epochs
        self.random_state = random_state

    def fit(self, X: NDArray, y: NDArray) -> Self:
        """Fit both parts.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            Activations.
        y : ndarray of shape (n_rows, n_outputs)
            Activations to predict.

        Returns
        -------
        self : LinearThenMLP
            The fitted estimator.
        """
        self._validate_params()
        self.mean_, self.scale_ = X.mean(axis=0), X.std() or 1.0
        X = self._scaled(X)
        self.linear_ = RidgeCV(_RIDGES).fit(X, y)
        rest = y - self.linear_.predict(X)
        self.rest_scale_ = rest.std()
        self.network_ = None
        if self.n_epochs and self.rest_scale_:
            self.network_ = self._fit_network(X, rest / self.rest_scale_)
        return self

    def _fit_network(self, X: NDArray, rest: NDArray) -> MLPRegressor:
        network = MLPRegressor(
            hidden_layer_sizes=(_HIDDEN,),
            batch_size=min(_BATCH, len(X)),
            max_iter=self.n_epochs,
            tol=0.0,
            random_state=self.random_state,
        )
        with warnings.catch_warnings():  # the number of epochs is chosen, not reached
            warnings.simplefilter("ignore", ConvergenceWarning)
            return network.fit(X, rest)

    def _scaled(self, X: NDArray) -> NDArray:
        return (X - self.mean_) / self.scale_

    def predict(self, X: NDArray) -> NDArray:
        """Predict activations.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            Activations.

        Returns
        -------
        y : ndarray of shape (n_rows, n_outputs)
            Predicted activations.
        """
        X = self._scaled(X)
        prediction = self.linear_.predict(X)
        if self.network_ is not None:
            rest = self.network_.predict(X).reshape(prediction.shape)
            prediction = prediction + self.rest_scale_ * rest
        return prediction

    def score(self, X: NDArray, y: NDArray, sample_weight: None = None) -> float:
        """Share of the variance of y that is explained.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            Activations.
        y : ndarray of shape (n_rows, n_outputs)
            Activations to predict.
        sample_weight : None
            Ignored.

        Returns
        -------
        score : float
            1 - FVU.
        """
        return 1 - fvu(y, self.predict(X))


def default_ceiling(random_state: np.random.RandomState) -> GridSearchCV:
    """Linear map, with or without a network, whichever is better on held-back rows.

    Parameters
    ----------
    random_state : RandomState instance
        Draws the seeds.

    Returns
    -------
    search : GridSearchCV
        Unfitted; a fifth of the rows is held back for the choice, and the winner is
        fitted on all.
    """
    seeds = random_state.randint(np.iinfo(np.int32).max, size=2)
    return GridSearchCV(
        LinearThenMLP(random_state=int(seeds[0])),
        {"n_epochs": list(_EPOCHS)},
        cv=ShuffleSplit(1, test_size=0.2, random_state=int(seeds[1])),
        error_score="raise",
    )
