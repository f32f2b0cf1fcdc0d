"""The three probes of the paper, and a search over them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from .._docs import fill
from .._estimator import as_array
from ._mean_difference import MeanDifferenceSelector

PAPER_PROBES = ("knn", "logistic", "xgboost")


class ToArray(TransformerMixin, BaseEstimator):
    """Makes an array of CSR rows, and of frames, whose names XGBoost may refuse."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Do nothing."""
        return self

    def transform(self, X: Any) -> NDArray:
        """Rows of shape (n_rows, n_features)."""
        # sums over rows in another memory order, as of a frame, round differently
        return np.asarray(X.toarray() if sparse.issparse(X) else as_array(X), order="C")

    def __sklearn_is_fitted__(self) -> bool:
        """There is nothing to fit."""
        return True


def f1_of_any_labels(estimator: Any, X: ArrayLike, y: ArrayLike) -> float:
    """F1 of the class 1, or if there is none, of the last; of several, their mean."""
    classes = estimator.classes_.tolist()
    settings: dict[str, Any] = {"average": "macro"}
    if len(classes) == 2:
        settings = {"pos_label": 1 if 1 in classes else classes[-1]}
    return f1_score(y, estimator.predict(X), **settings)


def as_memory(memory: Any) -> Any:
    """Turn a path into the string that scikit-learn asks for."""
    return os.fspath(memory) if isinstance(memory, os.PathLike) else memory


def check_probe_names(probes: Any) -> None:
    """Raise if a list of probes is one string, and so a list of letters."""
    if isinstance(probes, str):
        raise ValueError(f"probes={probes!r} is one string; give a list, [{probes!r}]")


def _classifier(kind: str, random_state: int | None) -> Any:
    if kind == "knn":
        return KNeighborsClassifier(n_neighbors=16)
    if kind == "logistic":
        return SGDClassifier(
            loss="log_loss",
            penalty="l2",
            alpha=1e-4,
            learning_rate="constant",
            eta0=1e-3,
            random_state=random_state,
        )
    from ._boosting import BoostedTrees  # noqa: PLC0415  (xgboost is slow to import)

    return BoostedTrees(
        n_estimators=100,
        max_depth=6,
        learning_rate=0.3,
        reg_lambda=1.0,
        n_jobs=1,
        random_state=random_state,
    )


@fill
def make_probe(kind: str, *, random_state: int | None = 0) -> Pipeline:
    """Make one of the paper's probes, unfitted.

    Parameters
    ----------
    kind : {"knn", "logistic", "xgboost"}
        `"knn"`: 16 nearest neighbours, Euclidean distance. `"logistic"`: logistic
        regression, L2 strength 1e-4, learning rate 1e-3. `"xgboost"`: 100 trees of
        depth 6, learning rate 0.3, L2 strength 1.
    random_state : int or None, default=0
        Seed of the order in which the logistic probe sees the rows.

    Returns
    -------
    sklearn.pipeline.Pipeline
        A classifier. Its last step has the name `kind`, so that a parameter is set
        by, for example, `knn__n_neighbors`.

    Notes
    -----
    The logistic probe is stochastic gradient descent at a constant learning rate, which
    has both numbers of the paper, on standardised features: F1 falls by up to 0.6 on
    small activations as they come.

    {paper}

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sk_eqsae.probing import make_probe
    >>> X, y = make_classification(random_state=0)
    >>> probe = make_probe("logistic").fit(X, y)
    >>> probe.predict(X).shape
    (100,)
    """
    if kind not in PAPER_PROBES:
        known = ", ".join(map(repr, PAPER_PROBES))
        raise ValueError(f"kind={kind!r} is not a probe; choose one of {known}")
    scale = [("scale", StandardScaler())] if kind == "logistic" else []
    classifier = _classifier(kind, random_state)
    return Pipeline([("dense", ToArray()), *scale, (kind, classifier)])


def make_probe_search(
    sae: Any,
    *,
    n_features_to_select: Sequence[int] = (8, 16, 32),
    probes: Sequence[str] = PAPER_PROBES,
    cv: Any = 3,
    scoring: Any = "f1",
    memory: Any = None,
    n_jobs: int | None = None,
) -> GridSearchCV:
    """Make a search for the best probe on the selected latents of an SAE.

    In each fold the SAE is fitted on the training orbits, latents are selected with
    the labels of these, and a probe is fitted on them. Orbits are never cut, so the
    search is told the orbit of each row.

    Parameters
    ----------
    sae : estimator
        The SAE, with `fit` and `transform`.
    n_features_to_select : sequence of int, default=(8, 16, 32)
        Numbers of latents to try.
    probes : sequence of {"knn", "logistic", "xgboost"}, default=all three
        Probes to try.
    cv : int or cross-validation splitter, default=3
        A number of folds of whole orbits, or a splitter.
    scoring : str or callable, default="f1"
        Score that the search maximises. "f1" is F1 of the class 1 or, if there is none,
        of the last of two classes in sorted order; of more classes, their mean F1.
    memory : path or joblib.Memory, default=None
        Where the fitted SAEs are kept, so that each fold fits one SAE and not one per
        candidate.
    n_jobs : int, default=None
        Number of candidates and folds that run at once.

    Returns
    -------
    sklearn.model_selection.GridSearchCV
        The search, unfitted, over a pipeline with the steps `sae`, `select` and
        `probe`.

    Examples
    --------
    Orbits are for the splitter; an SAE with a symmetry takes them as `sae__groups` and
    `sae__power`, too, where metadata routing is not enabled.

    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from sk_eqsae.probing import make_probe_search
    >>> rng = np.random.default_rng(0)
    >>> X, groups = rng.normal(size=(120, 6)), np.repeat(np.arange(30), 4)
    >>> y = (X[:, 0] > 0).astype(int)
    >>> search = make_probe_search(
    ...     PCA(), n_features_to_select=(2, 6), probes=("knn", "logistic")
    ... )
    >>> search.fit(X, y, groups=groups).best_params_["select__n_features_to_select"]
    6
    """
    check_probe_names(probes)
    steps = [
        ("sae", sae),
        ("select", MeanDifferenceSelector()),
        ("probe", make_probe(probes[0])),
    ]
    candidates = {
        "select__n_features_to_select": list(n_features_to_select),
        "probe": [make_probe(kind) for kind in probes],
    }
    return GridSearchCV(
        Pipeline(steps, memory=as_memory(memory)),
        candidates,
        cv=GroupKFold(cv) if isinstance(cv, Integral) else cv,
        scoring=f1_of_any_labels if scoring == "f1" else scoring,
        n_jobs=n_jobs,
    )
