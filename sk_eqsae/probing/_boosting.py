"""XGBoost's classifier, for labels of any kind."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from xgboost import XGBClassifier

from .._estimator import as_entries


class BoostedTrees(XGBClassifier):
    """XGBClassifier, which itself takes no labels but 0, 1, 2 and so on."""

    def fit(self, X: ArrayLike, y: ArrayLike, **params: Any) -> Self:
        """Fit to the number of each label among all labels."""
        labels, codes = np.unique(as_entries(y, "y"), return_inverse=True)
        self.labels_ = np.arange(len(labels))  # those that XGBoost is to see
        super().fit(X, codes, **params)
        self.labels_ = labels
        return self

    @property
    def classes_(self) -> NDArray:
        """Labels, in the order of the columns of `predict_proba`."""
        return self.labels_

    def predict(self, X: ArrayLike, **params: Any) -> NDArray:
        """Label of each row, or its margin where that is asked for."""
        codes = super().predict(X, **params)
        return codes if codes.dtype.kind == "f" else self.labels_[codes]
