"""Many binary probing tasks: in parallel, resumable, with a progress bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing

from .._docs import fill
from .._warnings import warn
from ._probes import PAPER_PROBES
from ._questions import (
    check_classes,
    check_known_power,
    check_labels,
    check_probes,
    check_rows,
    check_split,
)
from ._sweep import Result, Rows, Settings, run_tasks


@fill
def evaluate_probes(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    train: ArrayLike,
    test: ArrayLike,
    validation: ArrayLike | None = None,
    transformer: Any = None,
    probes: Sequence[str] | Mapping[str, Any] = PAPER_PROBES,
    power: ArrayLike | None = None,
    task_names: Sequence[str] | None = None,
    task_kinds: Sequence[str] | None = None,
    memory: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Fit probes for many binary tasks and report their F1 on held-out rows.

    For each task a clone of `transformer` is fitted on the training rows with the
    labels of that task, and each probe on what it gives.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_rows, n_features)
        Activations or latents.
    Y : array-like of shape (n_rows, n_tasks)
        Label of each row in each task, 0 or 1.
    train, test : array-like of int, or of bool of shape (n_rows,)
        Rows to fit on and rows to score on, as indices or as a mask. Keep orbits
        whole.
    validation : array-like of int, or of bool of shape (n_rows,), default=None
        More rows to score on, to choose among probes without a look at the test rows.
    transformer : estimator, default=None
        What the probes see: selected latents (:class:`MeanDifferenceSelector`), the
        reconstruction from them (:class:`TruncatedReconstruction`), what any other
        transformer gives, or, if None, the rows as they are.
    probes : sequence of {"knn", "logistic", "xgboost"} or dict, default=all three
        Names of probes (:func:`make_probe`), or classifiers by name, which get arrays
        or CSR.
    power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
        Known power of each row, handed to the `reconstruct` of `transformer`, never to
        a `fit`; so freeze an SAE that was fitted with groups and power. Where the
        canonical inputs are upright, it tells the probe the orientation.
    task_names : sequence of str, default=None
        Name of each task. If None, the column names of `Y`, or `task 0`, `task 1`...
    task_kinds : sequence of str, default=None
        Kind of each task, such as `"SPO"`; copied to the table.
    memory : path or joblib.Memory, default=None
        Where finished tasks are stored, so that a run that was killed goes on. A result
        is used again only for the same data, estimators and package versions.
    n_jobs : int, default=None
        Number of tasks that run at once, each in one thread. The table does not
        depend on it.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    pandas.DataFrame
        One row per task and probe, in the order of the tasks: `task`, `kind`,
        `probe`, `f1`, and the number of positive rows `train_positives` and
        `test_positives`; with `validation`, also `validation_f1` and
        `validation_positives`.

    Raises
    ------
    ValueError
        If a task has one class in some of the rows, these overlap, shapes disagree, or
        `power` is given for a transformer that cannot use it.

    {paper}

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sk_eqsae.probing import MeanDifferenceSelector, evaluate_probes
    >>> latents = np.random.default_rng(0).normal(size=(200, 8))
    >>> Y = pd.DataFrame(latents[:, :2] > 0, columns=["first", "second"])
    >>> settings = {"transformer": MeanDifferenceSelector(1), "probes": ["knn"]}
    >>> train, test = np.split(np.arange(200), 2)
    >>> table = evaluate_probes(latents, Y, train=train, test=test, **settings)
    >>> table[["task", "probe", "train_positives"]]
         task probe  train_positives
    0   first   knn               47
    1  second   knn               49
    """
    rows = check_rows(X)
    labels, names = check_labels(Y, rows.shape[0], task_names)
    kinds = [None] * len(names) if task_kinds is None else list(task_kinds)
    if len(kinds) != len(names):
        raise ValueError(
            f"task_kinds has {len(kinds)} entries for {len(names)} columns of Y; give "
            "one kind per task"
        )
    given = {"train": train, "test": test, "validation": validation}
    sides = check_split(given, rows.shape[0])
    check_classes(labels, sides, names)
    transformer = None if transformer is None else clone(transformer)
    powers = check_known_power(transformer, power, rows.shape[0])
    classifiers = check_probes(probes)

    split = tuple(
        Rows(_safe_indexing(rows, side), None if powers is None else powers[side])
        for side in sides.values()
    )
    tasks = [tuple(column[side] for side in sides.values()) for column in labels.T]
    settings = Settings(split, transformer, classifiers)
    results = run_tasks(settings, tasks, memory, n_jobs, verbose)
    _warn_if_unconverged(names, list(classifiers), results)
    positives, found = ("train_positives", "test_positives", "validation_positives"), []
    for name, kind, task, by_probe in zip(names, kinds, tasks, results, strict=True):
        counts = {p: int(y.sum()) for p, y in zip(positives, task, strict=False)}
        for probe in classifiers:
            f1 = dict(zip(("f1", "validation_f1"), by_probe[probe].f1, strict=False))
            found.append({"task": name, "kind": kind, "probe": probe, **f1, **counts})
    return pd.DataFrame(found)


def _warn_if_unconverged(
    names: Sequence[str], probes: Sequence[str], results: Sequence[Mapping[str, Result]]
) -> None:
    """Warn once for each probe that has not converged in some task."""
    for probe in probes:
        tasks = [
            name
            for name, by_probe in zip(names, results, strict=True)
            if not by_probe[probe].converged
        ]
        if tasks:
            warn(
                f"probe {probe!r} has not converged in {len(tasks)} of {len(names)} "
                f"tasks, the first of them {tasks[0]!r}: it stopped at max_iter. "
                "Raise its max_iter, as in probes={'logistic': make_probe('logistic')"
                ".set_params(logistic__max_iter=10_000)}.",
                ConvergenceWarning,
            )
