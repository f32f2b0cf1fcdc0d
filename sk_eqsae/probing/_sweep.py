"""Many tasks: what is known is looked up, the rest computed in parallel."""

import pickle
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_memory
from tqdm import tqdm

from .._threads import one_thread
from ._mean_difference import FLOATS
from ._probes import as_memory
from ._reconstruction import TruncatedReconstruction
from ._truncation import Encoded, decode, encode, rows_for

PACKAGES_IN_KEY = ("sk-eqsae", "scikit-learn", "xgboost", "torch", "numpy")

Task = tuple[NDArray, ...]  # labels, 0 or 1, of the rows of each side of the split


class Rows(NamedTuple):
    """Rows of one side of the split: activations, and their powers if known."""

    X: Any
    power: NDArray | None


class Settings(NamedTuple):
    """All that a result depends on beside the labels of its task."""

    # The sides of the split are the rows to fit on and those to score on, test rows
    # first; they are encoded where the latents are the same in every task.

    sides: tuple[Rows, ...]
    transformer: Any
    probes: Mapping[str, Any]
    encoded: tuple[Encoded, ...] = ()


class Result(NamedTuple):
    """What a probe has reached on a task: F1 on the rows to score, test rows first."""

    f1: tuple[float, ...]
    converged: bool


def run_tasks(
    settings: Settings,
    tasks: Sequence[Task],
    memory: Any,
    n_jobs: int | None,
    verbose: int,
) -> list[dict[str, Result]]:
    """Look up the finished tasks, compute the others, in the order of `tasks`."""
    store = check_memory(as_memory(memory))
    evaluate = store.cache(_evaluate_task, ignore=["task", "settings"])
    keys = [""] * len(tasks)
    if store.location:  # fingerprints of all that a result depends on
        versions = [version(package) for package in PACKAGES_IN_KEY]
        shared = joblib.hash((settings, versions), coerce_mmap=True)
        keys = [joblib.hash((shared, *task)) for task in tasks]

    # The look-up in this process also writes the store's own files, which two workers
    # that start at once could otherwise find half-written.
    known = [evaluate.check_call_in_cache(key, None, None) for key in keys]
    missing = [t for t, there in enumerate(known) if not there]
    results = {
        t: evaluate(keys[t], tasks[t], settings)
        for t, there in enumerate(known)
        if there
    }
    if missing:
        kept = _kept_on_cluster(_encoded_once(settings))
        jobs = [delayed(evaluate)(keys[t], tasks[t], kept) for t in missing]
        # Held here too, so that worker threads, which share the limit, leave it. Each
        # result says if its probe has converged, so scikit-learn's do not warn one by
        # one; its Parallel takes the filter to the workers.
        with one_thread(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "", ConvergenceWarning, r"sklearn\.")
            finished = tqdm(
                _parallel(n_jobs)(jobs),
                total=len(tasks),
                initial=len(results),
                unit="task",
                desc="probes",
                disable=not verbose or sys.stderr is None,  # without a terminal
            )
            results.update(zip(missing, finished, strict=True))
    return [results[t] for t in range(len(tasks))]


def _kept_on_cluster(shared: Any) -> Any:
    """What tasks share, or a future of it that workers replace by their one copy."""
    # Left alone, joblib's dask backend sends it with every task; what its `scatter`
    # keeps is lost with a worker, but the result of a task is made again.
    backend, _ = get_active_backend()
    client = getattr(backend, "client", None)  # only that of dask has one
    if client is None:
        return shared
    import cloudpickle  # noqa: PLC0415  (comes with dask)

    with warnings.catch_warnings():
        # to send it once is what this is for
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        return client.submit(pickle.loads, cloudpickle.dumps(shared), pure=False)


def _parallel(n_jobs: int | None) -> Parallel:
    """Make workers that give each result when it is there, where they can."""
    try:
        return Parallel(n_jobs=n_jobs, return_as="generator")
    except ValueError:  # the multiprocessing backend gives all results at the end
        return Parallel(n_jobs=n_jobs)


def _evaluate_task(key: str, task: Task, settings: Settings) -> dict[str, Result]:
    """Result of each probe on one task; `key` stands for all the rest in the store."""
    # One thread, in every worker and without workers too: ties between neighbours and
    # the last bits of sums depend on the number of threads.
    with one_thread():
        seen, *unseen = _features(settings, task[0])
        results = {}
        for name, probe in settings.probes.items():
            fitted = clone(probe).fit(seen, task[0])
            f1 = tuple(
                float(f1_score(y, fitted.predict(Z), zero_division=0.0))
                for Z, y in zip(unseen, task[1:], strict=True)
            )
            results[name] = Result(f1, _has_converged(fitted))
        return results


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


def _features(settings: Settings, y: NDArray) -> list[Any]:
    """What the probes of a task see of the rows of each side, without column names."""
    sides, transformer, _, encoded = settings
    if encoded:  # as `TruncatedReconstruction` does, from latents that are known
        dtype = check_array(sides[0].X[:1], dtype=FLOATS).dtype
        selector = encoded[0].select(y, transformer.n_features_to_select)
        columns = selector.get_support(indices=True)
        return [
            decode(transformer.estimator, codes, columns, np.empty(rows.X.shape, dtype))
            for codes, rows in zip(encoded, sides, strict=True)
        ]
    if transformer is not None:
        fitted = clone(transformer).fit(sides[0].X, y)
        sides = tuple(
            rows._replace(
                X=fitted.transform(rows.X)
                if rows.power is None
                else fitted.reconstruct(rows.X, power=rows.power)
            )
            for rows in sides
        )
    return [np.asarray(Z) if hasattr(Z, "columns") else Z for Z, _ in sides]


def _encoded_once(settings: Settings) -> Settings:
    """Encode the rows if the latents are the same in every task."""
    transformer = settings.transformer
    frozen = isinstance(getattr(transformer, "estimator", None), FrozenEstimator)
    if type(transformer) is not TruncatedReconstruction or not frozen:
        return settings
    transformer._validate_params()
    infer = transformer.output == "equivariant"
    encoded = [_encoded(rows, transformer.estimator, infer) for rows in settings.sides]
    return settings._replace(encoded=tuple(encoded))


def _encoded(rows: Rows, sae: Any, infer: bool) -> Encoded:
    X = rows_for(sae, rows.X, check_array(rows.X, dtype=FLOATS))
    infer = infer and rows.power is None
    return encode(sae, X, power=rows.power, infer_power=infer)
