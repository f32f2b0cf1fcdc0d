"""What every estimator is: what it takes, what `fit` sets, and what surrounds a fit."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from ._shards import Shards

_PROCESS = os.getpid()  # that has imported the package
_SITE = "https://sk-eqsae.readthedocs.io/en/stable"
_FLOATS = (np.float64, np.float32)
_HALVES = (torch.float16, torch.bfloat16)
_LARGEST = float(np.finfo(np.float32).max) / 1e4  # latents are larger than entries
_SHOWN = 5


class FloatTransformer(TransformerMixin, BaseEstimator):
    """Gives float32 for float32, and links its HTML repr to its page."""

    _doc_link_module = "sk_eqsae"
    _doc_link_template = _SITE + "/generated/{page}.html"

    def _doc_link_url_param_generator(self) -> dict[str, Any]:
        room, name = type(self).__module__.split("._")[0], type(self).__name__
        # pages of the package's own names do not say the room
        page = f"{room}.{name}" if name == "PoseCanonicalizer" else f"sk_eqsae.{name}"
        return {"page": page}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@contextmanager
def all_or_nothing(estimator: BaseEstimator) -> Iterator[None]:
    """Leave an estimator as it was if anything is raised on the way."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@contextmanager
def ordinary_modes(device: str | torch.device = "cpu") -> Iterator[None]:
    """Compute as usual, whatever mode the caller has torch in."""
    # torch.set_grad_enabled(False), torch.inference_mode(), torch.autocast and
    # torch.set_default_device are common where activations are extracted. Where a
    # default device is set, it is `device` meanwhile.
    if os.getpid() != _PROCESS:
        # a fork does not bring OpenMP's threads along, and would wait for them for ever
        torch.set_num_threads(1)
    with torch.inference_mode(mode=False), torch.enable_grad(), ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device(device))  # slows down each call
        yield


def draw_seed(random_state: Any) -> int:
    """Draw a torch seed from a `random_state` parameter."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def unfrozen(estimator: Any) -> Any:
    """What a FrozenEstimator holds; anything else as it is."""
    while isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    return estimator


def is_on_disk(X: Any) -> bool:
    """Whether rows are read from files when they are asked for."""
    return isinstance(X, np.memmap | Shards)


def as_array(values: Any, name: str = "X") -> Any:
    """Make an array of what scikit-learn does not take, float32 of half precision."""
    # Those are tensors of any device, frames with two columns of one name, and masked
    # arrays, of which it would take what is under the mask.
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype in _HALVES else values).numpy()
    names = getattr(values, "columns", ())
    if len(set(names)) < len(names):
        values = np.asarray(values)
    if isinstance(values, np.ma.MaskedArray):
        _refuse_missing(np.ma.getmaskarray(values), name)
        values = values.data
    if getattr(values, "dtype", None) == np.dtype(object):
        _refuse_missing(pd.isna(values), name)  # None would become NaN, or stay
    dtypes = {getattr(values, "dtype", None)}
    if isinstance(values, pd.DataFrame):
        dtypes = {*values.dtypes}
    is_half = dtypes == {np.dtype(np.float16)}
    return values.astype(np.float32) if is_half and not is_on_disk(values) else values


def as_entries(values: ArrayLike, name: str) -> NDArray:
    """Make an array of what a user says of each row, with no missing value in it."""
    values = as_array(values, name)
    # in an array of strings, the NaN of a list would be the text "nan"
    is_array = hasattr(values, "__array__")
    entries = np.asarray(values) if is_array else np.asarray(values, dtype=object)
    _refuse_missing(pd.isna(entries), name)
    return np.asarray(values)


def _refuse_missing(is_missing: Any, name: str) -> None:
    marks = np.atleast_1d(is_missing)
    rows = np.flatnonzero(marks.any(axis=tuple(range(1, marks.ndim))))
    if len(rows):  # rows without an id would be one orbit
        raise ValueError(
            f"{name} has missing values (NaN, None, NaT, NA or masked) in "
            f"{name_rows(rows)}. Leave these rows out, or fill in what is missing."
        )


def as_places(values: ArrayLike, name: str, n: int, what: str) -> NDArray:
    """Make an array of numbers from 0 to n - 1, each of which names one of `what`."""
    places = as_entries(values, name)
    if places.ndim != 1 or places.size == 0 or places.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has to list {what} by their numbers, such as [0, 2], found an "
            f"array of {places.dtype} of shape {places.shape}."
        )
    if places.min() < 0 or places.max() >= n:
        raise ValueError(
            f"{name} names {what} from {places.min()} to {places.max()}, but there are "
            f"only those from 0 to {n - 1}."
        )
    return places


def name_rows(rows: NDArray) -> str:
    """Numbers of the first few rows, for a message."""
    shown = ", ".join(str(row) for row in rows[:_SHOWN])
    return f"rows {shown}{', ...' if len(rows) > _SHOWN else ''}"


def checked_array(estimator: BaseEstimator, X: ArrayLike, *, reset: bool) -> NDArray:
    """Validate X as scikit-learn does; float32 or float64 of shape (rows, features)."""
    # sums over rows in another memory order round differently
    X = as_array(X)
    with np.errstate(invalid="ignore"):  # scikit-learn's sum may be inf - inf
        X = validate_data(estimator, X, reset=reset, dtype=_FLOATS, order="C")
    check_not_too_large(X)
    return X


def check_not_too_large(X: NDArray) -> None:
    """Raise if rows hold what float32 cannot, or their latents would."""
    largest = max(X.max(), -X.min())
    if largest > _LARGEST:
        raise ValueError(
            f"X has entries as large as {largest:.0e}, too large for float32, in which "
            "networks are trained. Look for faulty rows, or divide X by a constant."
        )


def checked_rows(estimator: BaseEstimator, X: Any, *, reset: bool) -> Any:
    """Validate X, but leave on the disk what is there, for `read_rows` to check."""
    is_table = is_on_disk(X) and X.ndim == 2 and len(X) and X.dtype.kind in "fiu"
    if not is_table:
        return checked_array(estimator, X, reset=reset)
    return validate_data(estimator, X, reset=reset, skip_check_array=True)


class Fitted(NamedTuple):
    """A fitted attribute, or a part of one."""

    # of the attribute; of the items of a list or a dict, declared after it, "coefs_/0"
    # or, if all are alike, "coefs_/*"
    name: str
    # one or several in a row: dtypes of arrays, "int", "float" (finite, from 0),
    # "names" (an array of strings), "list", "dict", "none", or the name of a class
    dtype: str
    # sizes by name: the first attribute that has one decides it, the others must agree.
    # "" is any size, "..." any axes before, () one number. An int with a shape is that
    # size; a group has its order, an estimator its features
    shape: tuple[str, ...] = ()
    optional: bool = False


ADAM_PARTS = ("step", "exp_avg", "exp_avg_sq")
FEATURES = (
    Fitted("n_features_in_", "int", ("n_features",)),
    Fitted("feature_names_in_", "names", ("n_features",), optional=True),
)


def adam_state(i: int, shape: tuple[str, ...], *, optional: bool = False) -> tuple:
    """What Adam remembers of the i-th parameter, in an attribute `_memory`."""
    shapes = dict(zip(ADAM_PARTS, ((), shape, shape), strict=True))
    return tuple(
        Fitted(f"_memory/optimizer.{i}.{part}", "float32", of_part, optional)
        for part, of_part in shapes.items()
    )
