"""Many binary probing tasks: in parallel, resumable, with a progress bar."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_memory

from .._threads import one_thread
from .._warnings import warn
from ._cluster import keep_on_cluster
from ._probes import PAPER_PROBES, as_memory, check_probe_names, make_probe
from ._reconstruction import (
    FLOATS,
    TruncatedReconstruction,
    _check_power,
    _decode,
    _encode,
    _EncodedRows,
    _rows_for,
    _select_latents,
    _uses,
)

if TYPE_CHECKING:
    import pandas as pd

PACKAGES_IN_KEY = ("sk-eqsae", "scikit-learn", "xgboost", "torch", "numpy")
NAMED_IN_ERROR = 10
F1_COLUMNS = ("f1", "validation_f1")
POSITIVES = ("train_positives", "test_positives", "validation_positives")


class Rows(NamedTuple):
    """Rows of one side of the split: activations, powers, latents if shared."""

    X: Any
    power: NDArray | None
    encoded: Any = None


class Split(NamedTuple):
    """The rows that all tasks share: to fit on, and to score on, test rows first."""

    train: Rows
    scored: tuple[Rows, ...]


class Settings(NamedTuple):
    """All that a result depends on beside the labels of its task."""

    split: Split
    transformer: Any
    probes: Mapping[str, Any]


class Result(NamedTuple):
    """What a probe has reached on a task: F1 on the rows to score, test rows first."""

    f1: tuple[float, ...]
    converged: bool


class Task(NamedTuple):
    """Labels of one task, 0 or 1, on either side of the split."""

    y_train: NDArray
    y_scored: tuple[NDArray, ...]


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
        More rows to score on, to choose among probes, or numbers of latents, without
        a look at the test rows. Nothing is fitted on them.
    transformer : estimator, default=None
        What the probes see: the selected latents (:class:`MeanDifferenceSelector`),
        the reconstruction from them (:class:`TruncatedReconstruction` of a
        :class:`~sklearn.frozen.FrozenEstimator`), what any other transformer gives,
        or, if None, the rows as they are.
    probes : sequence of {"knn", "logistic", "xgboost"} or dict, default=all three
        Names of probes (:func:`make_probe`), or classifiers by name.
    power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
        Known power of each row, handed to the `reconstruct` of `transformer`, never to
        a `fit`; so freeze an SAE that was fitted with groups and power. Where the
        canonical inputs are upright, it tells the probe the orientation.
    task_names : sequence of str, default=None
        Name of each task. If None, the column names of `Y`, or `task 0`, `task 1`...
    task_kinds : sequence of str, default=None
        Kind of each task, such as `"SPO"`; copied to the table.
    memory : path or joblib.Memory, default=None
        Where finished tasks are stored. A run that was killed and is started again
        computes only what is missing. A result is used again only for the same rows,
        labels, split, powers, transformer (with its fitted state if it is frozen),
        probes and package versions. A function inside one of these is known by its
        name alone: use another folder after changing it.
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
        If a task has one class in the training, test or validation rows, two of these
        overlap, shapes disagree, or `power` is given for a transformer that cannot
        use it: whose SAE moves nothing, is not frozen, or was fitted without groups.

    Warns
    -----
    ConvergenceWarning
        Once for each probe that stopped at its `max_iter` in some of the tasks; the
        message says in how many.

    See Also
    --------
    make_probe : The settings of the probes.
    make_probe_search : One task, with a search over the SAE's parameters.

    References
    ----------
    .. [1] E. Erdogan and A. Lucic, "Group Equivariance Meets Mechanistic
       Interpretability: Equivariant Sparse Autoencoders", arXiv:2511.09432,
       section 4 and appendix C.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.probing import MeanDifferenceSelector, evaluate_probes
    >>> latents = np.random.default_rng(0).normal(size=(200, 8))
    >>> Y = latents[:, :2] > 0
    >>> table = evaluate_probes(
    ...     latents,
    ...     Y,
    ...     train=range(100),
    ...     test=range(100, 200),
    ...     transformer=MeanDifferenceSelector(1),
    ...     probes=["knn"],
    ...     task_names=["first", "second"],
    ... )
    >>> table[["task", "probe", "train_positives"]]
         task probe  train_positives
    0   first   knn               47
    1  second   knn               49
    """
    activations = _check_rows(X)
    n_rows = activations.shape[0]
    labels, names = _check_labels(Y, n_rows, task_names)
    kinds = _check_kinds(task_kinds, len(names))
    sides = {"train": train, "test": test, "validation": validation}
    rows = _check_split({s: r for s, r in sides.items() if r is not None}, n_rows)
    _check_classes({side: labels[r] for side, r in rows.items()}, names)
    transformer = None if transformer is None else clone(transformer)
    powers = _check_known_power(transformer, power, n_rows)
    classifiers = _check_probes(probes)

    fit_rows, *scored = rows.values()
    split = Split(
        _take_rows(activations, powers, fit_rows),
        tuple(_take_rows(activations, powers, part) for part in scored),
    )
    tasks = [
        Task(column[fit_rows], tuple(column[part] for part in scored))
        for column in labels.T
    ]
    results = _run_tasks(
        Settings(split, transformer, classifiers), tasks, memory, n_jobs, verbose
    )
    _warn_if_unconverged(names, classifiers, results)
    return _tabulate(names, kinds, tasks, classifiers, results)


def _run_tasks(
    settings: Settings,
    tasks: Sequence[Task],
    memory: Any,
    n_jobs: int | None,
    verbose: int,
) -> list[dict[str, Result]]:
    """Look up the finished tasks, compute the others, in the order of `tasks`."""
    store = check_memory(as_memory(memory))
    evaluate = store.cache(_evaluate_task, ignore=["task", "settings"])
    keys = _task_keys(
        settings, tasks, stored=getattr(store, "location", True) is not None
    )

    # The look-up in this process also writes the store's own files, which two workers
    # that start at once could otherwise find half-written.
    found = [evaluate.check_call_in_cache(key, None, None) for key in keys]
    missing = [t for t, known in enumerate(found) if not known]
    if missing:
        settings = settings._replace(split=_encode_once(*settings[:2]))
        shared = keep_on_cluster(settings)
    jobs = (delayed(_numbered)(t, evaluate, keys[t], tasks[t], shared) for t in missing)
    results = {
        t: evaluate(keys[t], tasks[t], settings)
        for t, known in enumerate(found)
        if known
    }
    # Held here too, so that worker threads, which share the limit, find and leave it.
    with one_thread(), _silent_convergence():
        finished = _unordered_parallel(n_jobs)(jobs)
        results.update(_progress(finished, len(tasks), len(results), verbose))
    return [results[t] for t in range(len(tasks))]


@contextmanager
def _silent_convergence() -> Iterator[None]:
    """Let scikit-learn's probes not warn one by one, in workers neither.

    Each result says whether its probe has converged. Warnings of a transformer of this
    package, which come from other modules, are let through. Filters reach the workers
    through scikit-learn's Parallel.
    """
    with warnings.catch_warnings():
        module = r"sklearn\."
        warnings.filterwarnings("ignore", "", ConvergenceWarning, module)
        yield


def _task_keys(settings: Settings, tasks: Sequence[Task], *, stored: bool) -> list[str]:
    """Fingerprint of all that the result of each task depends on."""
    if not stored:
        return [""] * len(tasks)
    versions = [version(package) for package in PACKAGES_IN_KEY]
    shared = joblib.hash((settings, versions), coerce_mmap=True)
    return [joblib.hash((shared, *task)) for task in tasks]


def _numbered(
    number: int, function: Callable[..., dict], *args: Any
) -> tuple[int, dict[str, Result]]:
    """Call a function and say which call it was, for results that come unordered."""
    return number, function(*args)


def _unordered_parallel(n_jobs: int | None) -> Parallel:
    """Make workers that give each result when it is there, where they can."""
    try:
        return Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    except ValueError:  # the multiprocessing backend gives all results at the end
        return Parallel(n_jobs=n_jobs)


def _progress(
    finished: Iterable[Any], total: int, already_done: int, verbose: int
) -> Iterable[Any]:
    """Count the finished tasks on a progress bar."""
    if not verbose:
        return finished
    from tqdm import tqdm  # noqa: PLC0415

    return tqdm(finished, total=total, initial=already_done, unit="task", desc="probes")


def _evaluate_task(key: str, task: Task, settings: Settings) -> dict[str, Result]:
    """Result of each probe on one task; `key` stands for all the rest in the store."""
    split, transformer, probes = settings
    # One thread, in every worker and without workers too: ties between neighbours and
    # the last bits of sums depend on the number of threads.
    with one_thread():
        seen, *unseen = _features(split, task.y_train, transformer)
        fitted = {
            name: clone(probe).fit(seen, task.y_train) for name, probe in probes.items()
        }
        return {
            name: Result(
                tuple(map(partial(_probe_f1, probe), unseen, task.y_scored)),
                _has_converged(probe),
            )
            for name, probe in fitted.items()
        }


def _probe_f1(probe: Any, X: Any, y: NDArray) -> float:
    """F1 of the class 1, 0 if the probe never predicts it."""
    return float(f1_score(y, probe.predict(X), zero_division=0.0))


def _has_converged(probe: Any) -> bool:
    """Whether a fitted classifier stopped before its largest number of iterations."""
    last = probe[-1] if isinstance(probe, Pipeline) else probe
    last = getattr(last, "best_estimator_", last)
    largest = getattr(last, "max_iter", None)
    if largest is None or getattr(last, "n_iter_", None) is None:
        return True
    # -1 is no limit, and boosting adds as many trees as it is told to
    if largest < 0 or isinstance(last, HistGradientBoostingClassifier):
        return True
    return bool(np.max(last.n_iter_) < largest)


def _warn_if_unconverged(
    names: Sequence[str],
    probes: Iterable[str],
    results: Sequence[Mapping[str, Result]],
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


def _features(split: Split, y: NDArray, transformer: Any) -> list[Any]:
    """What the probes of a task see of the training rows and of those to score."""
    sides = (split.train, *split.scored)
    if transformer is None:
        return [rows.X for rows in sides]
    if split.train.encoded is not None:
        return _rebuilt(split, y, transformer)
    fitted = clone(transformer).fit(split.train.X, y)
    return [
        fitted.transform(rows.X)
        if rows.power is None
        else fitted.reconstruct(rows.X, power=rows.power)
        for rows in sides
    ]


def _rebuilt(split: Split, y: NDArray, truncated: TruncatedReconstruction) -> list[Any]:
    """Do what `TruncatedReconstruction` does, from latents that are known."""
    sae, dtype = truncated.estimator, check_array(split.train.X[:1], dtype=FLOATS).dtype
    pieces = split.train.encoded.pieces()
    selector = _select_latents(pieces, y, truncated.n_features_to_select)
    columns = selector.get_support(indices=True)
    return [
        _decode(sae, rows.encoded.pieces(), columns, np.empty(rows.X.shape, dtype))
        for rows in (split.train, *split.scored)
    ]


def _encode_once(split: Split, transformer: Any) -> Split:
    """Encode the rows if the latents are the same in every task."""
    frozen = isinstance(getattr(transformer, "estimator", None), FrozenEstimator)
    if type(transformer) is not TruncatedReconstruction or not frozen:
        return split
    transformer._validate_params()
    encode = partial(
        _encode_rows,
        sae=transformer.estimator,
        infer_power=transformer.output == "equivariant",
    )
    return Split(encode(split.train), tuple(map(encode, split.scored)))


def _encode_rows(rows: Rows, sae: Any, infer_power: bool) -> Rows:
    """Add latents and powers to the rows."""
    X = _rows_for(sae, rows.X, check_array(rows.X, dtype=FLOATS))
    infer = infer_power and rows.power is None
    pieces = _encode(sae, X, power=rows.power, infer_power=infer)
    return rows._replace(encoded=_EncodedRows.join(pieces))


def _take_rows(X: Any, power: NDArray | None, rows: NDArray) -> Rows:
    """Rows of one side of the split."""
    return Rows(_safe_indexing(X, rows), None if power is None else power[rows])


def _tabulate(
    names: Sequence[str],
    kinds: Sequence[str | None],
    tasks: Sequence[Task],
    probes: Iterable[str],
    results: Sequence[Mapping[str, Result]],
) -> pd.DataFrame:
    """Table with one row per task and probe."""
    import pandas as pd  # noqa: PLC0415  (slow to import)

    rows = [
        {
            "task": name,
            "kind": kind,
            "probe": probe,
            **_entries(task, by_probe[probe].f1),
        }
        for name, kind, task, by_probe in zip(names, kinds, tasks, results, strict=True)
        for probe in probes
    ]
    return pd.DataFrame(rows)


def _entries(task: Task, scores: Sequence[float]) -> dict[str, float]:
    """Scores of a probe on a task, and how many rows were positive."""
    positives = [int(y.sum()) for y in (task.y_train, *task.y_scored)]
    return dict(zip(F1_COLUMNS, scores)) | dict(zip(POSITIVES, positives))  # noqa: B905


def _check_rows(X: ArrayLike) -> Any:
    """Rows as floats; a DataFrame stays one, for SAEs that know its columns."""
    checked = check_array(X, input_name="X", accept_sparse="csr", dtype=FLOATS)
    return X if hasattr(X, "columns") else checked


def _check_labels(
    Y: ArrayLike, n_rows: int, task_names: Sequence[str] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Labels of shape (n_rows, n_tasks) as 0 and 1, and the names of the tasks."""
    labels = np.asarray(Y)
    if labels.ndim != 2 or len(labels) != n_rows:
        raise ValueError(
            f"Y has shape {labels.shape}; give one row per row of X ({n_rows}) and one "
            "column per task"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"Y has values other than 0 and 1, such as {_first_other(labels)!r}; give "
            "one binary column per task"
        )
    default = getattr(Y, "columns", [f"task {t}" for t in range(labels.shape[1])])
    names = [str(name) for name in (default if task_names is None else task_names)]
    if len(names) != labels.shape[1]:
        raise ValueError(
            f"task_names has {len(names)} entries for {labels.shape[1]} columns of Y; "
            "give one name per task"
        )
    return labels.astype(np.int64), names


def _first_other(labels: NDArray) -> Any:
    """First label that is neither 0 nor 1."""
    return labels[~np.isin(labels, (0, 1))].tolist()[0]


def _check_kinds(
    task_kinds: Sequence[str] | None, n_tasks: int
) -> Sequence[str | None]:
    """Kind of each task, None where it is not known."""
    if task_kinds is None:
        return [None] * n_tasks
    if len(task_kinds) != n_tasks:
        raise ValueError(
            f"task_kinds has {len(task_kinds)} entries for {n_tasks} columns of Y; "
            "give one kind per task"
        )
    return task_kinds


def _check_split(
    sides: Mapping[str, ArrayLike], n_rows: int
) -> dict[str, NDArray[np.intp]]:
    """Indices of the rows of each side, which share none."""
    rows = {side: _check_indices(given, n_rows, side) for side, given in sides.items()}
    for one, other in combinations(rows, 2):
        both = np.intersect1d(rows[one], rows[other])
        if both.size:
            raise ValueError(
                f"{one} and {other} share {both.size} rows, the first of them "
                f"{both[0]}; a row may be in one of them only"
            )
    return rows


def _check_indices(rows: ArrayLike, n_rows: int, name: str) -> NDArray[np.intp]:
    """Row indices from indices or a mask."""
    given: NDArray = np.asarray(rows)
    if given.dtype == bool and given.shape == (n_rows,):
        given = np.flatnonzero(given)
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iu":
        raise ValueError(
            f"{name} is an array of {given.dtype} of shape {given.shape}; give row "
            f"indices, or a mask of shape ({n_rows},), that name at least one row"
        )
    if given.min() < 0 or given.max() >= n_rows:
        raise ValueError(
            f"{name} names rows from {given.min()} to {given.max()}, but X has rows 0 "
            f"to {n_rows - 1}"
        )
    return given.astype(np.intp)


def _check_classes(sides: Mapping[str, NDArray], names: Sequence[str]) -> None:
    """Raise if a task has one class on a side of the split."""
    for side, labels in sides.items():
        constant = np.flatnonzero(labels.min(axis=0) == labels.max(axis=0))
        if constant.size:
            shown = ", ".join(repr(names[t]) for t in constant[:NAMED_IN_ERROR])
            more = constant.size - NAMED_IN_ERROR
            raise ValueError(
                f"one class only in the {side} rows of {constant.size} task(s): {shown}"
                f"{f' and {more} more' if more > 0 else ''}; leave these columns out "
                f"of Y or choose {side} rows that have both classes"
            )


def _check_known_power(
    transformer: Any, power: ArrayLike | None, n_rows: int
) -> NDArray | None:
    """Powers, for a transformer that can be told them."""
    if power is None:
        return None
    if not hasattr(transformer, "reconstruct"):
        raise ValueError(
            f"power was given, but transformer={transformer!r} has no reconstruct that "
            "could use it; leave power=None or use TruncatedReconstruction"
        )
    frozen = isinstance(transformer, FrozenEstimator)
    sae = transformer if frozen else getattr(transformer, "estimator", transformer)
    powers = _check_power(sae, power, n_rows)
    if _uses(sae, "groups"):
        raise ValueError(
            f"power was given, but {sae!r} would be fitted for each task without "
            "groups, so that no power could move its reconstruction; fit it once with "
            "groups= and power=, and give TruncatedReconstruction(FrozenEstimator(sae))"
        )
    return powers


def _check_probes(probes: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Unfitted classifiers by name."""
    check_probe_names(probes)
    if isinstance(probes, Mapping):
        return {str(name): clone(probe) for name, probe in probes.items()}
    return {kind: make_probe(kind) for kind in probes}
