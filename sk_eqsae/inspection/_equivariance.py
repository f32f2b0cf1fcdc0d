"""How much of the way activations move a matrix explains, and what to compare with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_array, check_random_state, check_scalar

from .._fitting import unfrozen
from .._metrics import are_constant, fvu
from ..activations import Orbits
from ..groups import ActivationTransformFitter
from ..groups._group import FiniteGroup
from ..groups._orbit_table import orbit_table
from ._ceiling import default_ceiling
from ._fitter import check_fitter, check_kind

if TYPE_CHECKING:
    import pandas as pd

_FEWEST_ORBITS = 5
_CHUNK = 100  # resamples at a time
_FEWEST_RESAMPLES = 0.1  # share that must have a value, or there is no interval
_ROUNDING = 8 * np.finfo(np.float64).eps


class Pairs(NamedTuple):
    """Canonical rows and the rows that one element of the group makes of them."""

    element: int
    power: int | tuple[int, ...]
    orbits: NDArray  # which of the n_orbits have both rows
    n_orbits: int
    canonical: NDArray
    moved: NDArray


Predict = Callable[[Pairs], NDArray]


def equivariance_error(
    activation_transform: BaseEstimator,
    X: ArrayLike,
    *,
    groups: ArrayLike,
    power: ArrayLike,
) -> float:
    """Share of the variance of transformed activations that M leaves unexplained.

    The mean over the elements e of the group, the identity aside, of the FVU between
    M_e times the canonical row of each orbit and its row e::

        error = mean over e of
            sum |psi(e x) - M_e psi(x)|^2 / sum |psi(e x) - mean of psi(e x)|^2

    Parameters
    ----------
    activation_transform : estimator
        Fitted M.
    X : array-like of shape (n_rows, n_features)
        Activations, of orbits that M was not fitted on.
    groups : array-like of shape (n_rows,)
        Orbit id of each row.
    power : array-like of shape (n_rows,) or (n_rows, n_generators)
        Power of the generator, or generators, of each row.

    Returns
    -------
    error : float
        0 is exact; 1 is what predicting the mean of each power scores.

    Raises
    ------
    ValueError
        If groups and power do not describe orbits, or no row is moved.

    See Also
    --------
    equivariance_report : Per power, with baselines, intervals and a ceiling.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae import ActivationTransformFitter
    >>> from sk_eqsae.inspection import equivariance_error
    >>> x = np.random.default_rng(0).normal(size=(60, 2))
    >>> X = np.concatenate([x, x[:, ::-1]])  # the input mirrored, features swapped
    >>> groups, power = np.tile(np.arange(60), 2), np.repeat([0, 1], 60)
    >>> train, test = groups < 40, groups >= 40
    >>> fitter = ActivationTransformFitter()
    >>> fitter = fitter.fit(X[train], groups=groups[train], power=power[train])
    >>> error = equivariance_error(
    ...     fitter, X[test], groups=groups[test], power=power[test]
    ... )
    >>> error < 1e-6
    True
    """
    pairs = _pairs(activation_transform, X, groups, power)
    return float(
        np.mean([fvu(p.moved, _moved(activation_transform, p)) for p in pairs])
    )


def r2_per_feature(
    activation_transform: BaseEstimator,
    X: ArrayLike,
    *,
    groups: ArrayLike,
    power: ArrayLike,
) -> pd.DataFrame:
    """Share of the variance of each feature that M explains, for each power.

    Parameters
    ----------
    activation_transform : estimator
        Fitted M.
    X : array-like of shape (n_rows, n_features)
        Activations, of orbits that M was not fitted on.
    groups : array-like of shape (n_rows,)
        Orbit id of each row.
    power : array-like of shape (n_rows,) or (n_rows, n_generators)
        Power of the generator, or generators, of each row.

    Returns
    -------
    pandas.DataFrame of shape (n_powers, n_features)
        R2, one row per power other than 0. NaN for a feature without variance. The
        mean of a row, weighted by the features' variances, is the R2 of that power.

    Raises
    ------
    ValueError
        If groups and power do not describe orbits, or no row is moved.

    Examples
    --------
    A feature that M moves well and one that it cannot know:

    >>> import numpy as np
    >>> from sk_eqsae import ActivationTransformFitter
    >>> from sk_eqsae.inspection import r2_per_feature
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 2))
    >>> X = np.concatenate([x, np.column_stack([-x[:, 0], rng.normal(size=200)])])
    >>> groups, power = np.tile(np.arange(200), 2), np.repeat([0, 1], 200)
    >>> fitter = ActivationTransformFitter().fit(X, groups=groups, power=power)
    >>> r2 = r2_per_feature(fitter, X, groups=groups, power=power)
    >>> bool(r2.loc[1, 0] > 0.99), bool(r2.loc[1, 1] < 0.1)
    (True, True)
    """
    import pandas as pd  # noqa: PLC0415

    pairs = _pairs(activation_transform, X, groups, power)
    r2 = [_r2_of_features(p.moved, _moved(activation_transform, p)) for p in pairs]
    columns = getattr(activation_transform, "feature_names_in_", None)
    index = pd.Index([p.power for p in pairs], name="power", tupleize_cols=False)
    return pd.DataFrame(r2, index=index, columns=columns)


def equivariance_report(
    train: Orbits,
    test: Orbits,
    *,
    activation_transform: BaseEstimator | None = None,
    ceiling: BaseEstimator | None = None,
    n_bootstrap: int = 1000,
    confidence_level: float = 0.95,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """How equivariant activations are, with what the number has to stand against.

    Four maps from the canonical row of an orbit to its other rows are fitted on
    `train` and compared on `test`:

    ``"M"``
        The matrix.
    ``"nonlinear"``
        The ceiling: one free map per power, without any law of a group. If it
        explains more than M, linearity or the law has a price; if it explains less,
        the law spares data that a free map would need.
    ``"identity"``
        M = I. If it explains as much as M, the activations are nearly invariant.
    ``"shuffled"``
        M fitted on training orbits whose rows were dealt to other orbits at random.
        What it explains, any matrix would. With an exact law it scores about -1
        where M has to learn everything, because M cannot shrink to the mean.

    Parameters
    ----------
    train, test : Orbits
        Activations to fit on and to compare on, without a common orbit; see
        :meth:`~sk_eqsae.activations.Orbits.split`.
    activation_transform : estimator, default=None
        How M is fitted: cloned and fitted on `train`. None is
        ``ActivationTransformFitter(train.symmetry)``; if
        neither has a group, ``ActivationTransformFitter(order)`` with the larger
        order of the two. A fitted one in :class:`sklearn.frozen.FrozenEstimator` is
        taken as it is; that it has not seen `test` is then the caller's promise.
    ceiling : estimator, default=None
        Regressor for the ceiling, from (n_orbits, n_features) to the same shape.
        None is ridge regression, plus a network with one hidden layer of 256 units
        on what it leaves if that is better on a fifth of the training orbits.
    n_bootstrap : int, default=1000
        Resamples of the test orbits, the same for all maps and powers.
    confidence_level : float, default=0.95
        Probability that the interval covers.
    random_state : int, RandomState instance or None, default=None
        Fixes the shuffling, the ceiling and the resamples.

    Returns
    -------
    pandas.DataFrame
        One row per map and power (0 aside), then per map the `power` "mean": `map`,
        `power` (a tuple if there are several generators), `r2` (1 - FVU against the
        per-feature mean of that power), and the bootstrap interval over orbits from
        `low` to `high`. Powers without a row in either part are left out. `r2` is NaN
        for a power whose test rows do not vary, such as a single one; "mean" is over
        the others.

    Raises
    ------
    ValueError
        If train and test share an orbit, or one of them has fewer than five; if they
        have no power other than 0 in common; if their groups differ and
        activation_transform is None.

    See Also
    --------
    equivariance_error : One number for a fitted M.
    r2_per_feature : Which features M explains.
    TransformFidelityDisplay : The table as a picture.

    Notes
    -----
    The interval is the bootstrap's percentile interval with orbits as units, for the
    fitted maps; it says nothing of how much another training set would change them.

    Where orbits lack rows, a resample may hold a power in no orbit, or in one alone,
    drawn once or more often. It has no variance then, and so no R2 of that power and
    no mean over the powers: a mean over the others would be another quantity. The
    interval is taken over the resamples that have a value, and is NaN if fewer than a
    tenth have one.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.activations import Orbits
    >>> from sk_eqsae.inspection import equivariance_report
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 3))
    >>> X = np.concatenate([np.roll(x, p, axis=1) for p in range(3)])
    >>> X = X + 0.1 * rng.normal(size=X.shape)
    >>> orbits = Orbits(X, np.tile(np.arange(100), 3), np.repeat(np.arange(3), 100))
    >>> report = equivariance_report(*orbits.split(random_state=0), random_state=0)
    >>> report[report.power == "mean"].set_index("map").r2.round(1).to_dict()
    {'M': 1.0, 'nonlinear': 1.0, 'identity': -1.0, 'shuffled': -1.6}
    """
    import pandas as pd  # noqa: PLC0415

    check_scalar(n_bootstrap, "n_bootstrap", Integral, min_val=1)
    check_scalar(
        confidence_level,
        "confidence_level",
        Real,
        min_val=0,
        max_val=1,
        include_boundaries="neither",
    )
    _check_parts(train, test)
    if activation_transform is None:
        activation_transform = _default_fitter(train, test)
    check_kind(activation_transform)
    random_state = check_random_state(random_state)
    maps, pairs = _fit_maps(train, test, activation_transform, ceiling, random_state)
    errors = np.stack([_errors(predict, pairs) for predict in maps.values()])
    n_orbits = errors.shape[-1]
    resamples = _resamples(n_orbits, n_bootstrap, random_state)
    r2 = _r2(pairs, errors, np.ones((1, n_orbits)))
    samples = np.concatenate([_r2(pairs, errors, counts) for counts in resamples])
    known = ~np.isnan(r2).all(axis=(0, 1))
    low, high = _interval(_with_mean(samples, known), confidence_level)
    r2 = _with_mean(r2, known)[0]
    powers = [*(pair.power for pair in pairs), "mean"]
    return pd.DataFrame(
        [
            (name, power, r2[m, p], low[m, p], high[m, p])
            for m, name in enumerate(maps)
            for p, power in enumerate(powers)
        ],
        columns=["map", "power", "r2", "low", "high"],
    )


def _pairs(
    activation_transform: BaseEstimator,
    X: ArrayLike,
    groups: ArrayLike,
    power: ArrayLike,
) -> list[Pairs]:
    """Pairs of rows for each element of the group but the identity."""
    check_fitter(activation_transform)
    X = _check_rows(X, activation_transform)
    group = activation_transform.symmetry_
    _, table = orbit_table(groups, power, symmetry=group, n_rows=len(X))
    pairs = [
        _pairs_of(element, group, X, table)
        for element in range(1, group.order)
        if (table[:, element] >= 0).any()
    ]
    if not pairs:
        raise ValueError(
            "power: no row has any other power than 0, so there is nothing that M "
            "could explain. Add the rows of transformed inputs."
        )
    return pairs


def _check_rows(X: ArrayLike, activation_transform: BaseEstimator) -> NDArray:
    X = check_array(X, dtype=(np.float64, np.float32))
    if X.shape[1] != activation_transform.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but activation_transform was fitted on "
            f"{activation_transform.n_features_in_}. Give activations of the same "
            "layer."
        )
    return X


def _pairs_of(element: int, group: FiniteGroup, X: NDArray, table: NDArray) -> Pairs:
    powers = group.powers[element].tolist()
    orbits = np.flatnonzero(table[:, element] >= 0)
    return Pairs(
        element=element,
        power=powers[0] if len(powers) == 1 else tuple(powers),
        orbits=orbits,
        n_orbits=len(table),
        canonical=X[table[orbits, 0]].astype(np.float64),
        moved=X[table[orbits, element]].astype(np.float64),
    )


def _moved(activation_transform: BaseEstimator, pairs: Pairs) -> NDArray:
    return pairs.canonical @ activation_transform.matrix(pairs.power).T


def _r2_of_features(moved: NDArray, predicted: NDArray) -> NDArray:
    unexplained = np.square(moved - predicted).sum(axis=0)
    variance = np.square(moved - moved.mean(axis=0)).sum(axis=0)
    varies = (variance > 0) & ~are_constant(moved)
    ratio = np.full(len(variance), np.nan)
    return 1 - np.divide(unexplained, variance, out=ratio, where=varies)


def _check_parts(train: Orbits, test: Orbits) -> None:
    for name, part in (("train", train), ("test", test)):
        if not hasattr(part, "groups"):
            raise TypeError(
                f"{name} has to be Orbits, as extract_orbits or Orbits(X, groups, "
                f"power) makes them, found {type(part).__name__}."
            )
    common = np.intersect1d(train.groups, test.groups)
    if len(common):
        raise ValueError(
            f"train and test share {len(common)} orbit id(s), such as {common[0]}, so "
            "test is not held out. Split with Orbits.split, or give orbits of "
            "different inputs different ids."
        )
    for name, part in (("train", train), ("test", test)):
        n_orbits = len(np.unique(part.groups))
        if n_orbits < _FEWEST_ORBITS:
            raise ValueError(
                f"{name} has {n_orbits} orbit(s), but {_FEWEST_ORBITS} are the fewest "
                "that a comparison can be made with. Add orbits."
            )


def _default_fitter(train: Orbits, test: Orbits) -> ActivationTransformFitter:
    """How M of the group of the orbits is fitted."""
    if train.symmetry != test.symmetry:
        raise ValueError(
            f"train has the symmetry {train.symmetry!r}, but test {test.symmetry!r}. "
            "Give orbits of one group, or activation_transform="
            "ActivationTransformFitter(...) with that which holds."
        )
    return ActivationTransformFitter(train.symmetry)


def _fit_maps(
    train: Orbits,
    test: Orbits,
    activation_transform: BaseEstimator,
    ceiling: BaseEstimator | None,
    random_state: np.random.RandomState,
) -> tuple[dict[str, Predict], list[Pairs]]:
    """The four maps, and the test rows that they are compared on."""
    fitter = _fitted(activation_transform, train.X, train.groups, train.power)
    shuffled = _fitted_on_shuffled(activation_transform, train, random_state)
    seen = {p.element: p for p in _pairs(fitter, train.X, train.groups, train.power)}
    pairs = _pairs(fitter, test.X, test.groups, test.power)
    pairs = _seen_in_both(pairs, seen)
    ceiling = default_ceiling(random_state) if ceiling is None else ceiling
    free = {
        p.element: clone(ceiling).fit(seen[p.element].canonical, seen[p.element].moved)
        for p in pairs
    }
    maps: dict[str, Predict] = {
        "M": partial(_moved, fitter),
        "nonlinear": lambda p: free[p.element].predict(p.canonical),
        "identity": lambda p: p.canonical,
        "shuffled": partial(_moved, shuffled),
    }
    return maps, pairs


def _seen_in_both(pairs: list[Pairs], seen: dict[int, Pairs]) -> list[Pairs]:
    common = [p for p in pairs if p.element in seen]
    if not common:
        raise ValueError(
            "train and test have no power other than 0 in common: train has "
            f"{_powers_of(seen.values())}, test {_powers_of(pairs)}. Split whole "
            "orbits with Orbits.split, or add rows."
        )
    return common


def _powers_of(pairs: Iterable[Pairs]) -> str:
    return ", ".join(str(p.power) for p in pairs)


def _fitted(
    activation_transform: BaseEstimator,
    X: NDArray,
    groups: NDArray,
    power: NDArray,
) -> BaseEstimator:
    return clone(activation_transform).fit(X, None, groups=groups, power=power)


def _fitted_on_shuffled(
    activation_transform: BaseEstimator,
    train: Orbits,
    random_state: np.random.RandomState,
) -> BaseEstimator:
    """M of orbits whose rows, the canonical one aside, come from any orbit."""
    activation_transform = unfrozen(activation_transform)
    powers, element = np.unique(train.power, axis=0, return_inverse=True)
    groups = train.groups.copy()
    for e in np.flatnonzero(powers.reshape(len(powers), -1).any(axis=1)):
        rows = np.flatnonzero(element.ravel() == e)
        groups[rows] = random_state.permutation(groups[rows])
    with warnings.catch_warnings():  # that this M is not to be trusted is its purpose
        warnings.simplefilter("ignore", UserWarning)
        return _fitted(activation_transform, train.X, groups, train.power)


def _errors(predict: Predict, pairs: list[Pairs]) -> NDArray:
    """Squared error of each power and orbit, 0 where the orbit lacks the row."""
    errors = np.zeros((len(pairs), pairs[0].n_orbits))
    for error, p in zip(errors, pairs, strict=True):
        predicted = np.reshape(predict(p), p.moved.shape)
        error[p.orbits] = np.square(p.moved - predicted).sum(axis=1)
    return errors


def _resamples(
    n_orbits: int, n_bootstrap: int, random_state: np.random.RandomState
) -> Iterator[NDArray]:
    """How often each orbit is drawn, some resamples at a time."""
    for start in range(0, n_bootstrap, _CHUNK):
        size = min(_CHUNK, n_bootstrap - start)
        yield random_state.multinomial(n_orbits, np.full(n_orbits, 1 / n_orbits), size)


def _r2(pairs: list[Pairs], errors: NDArray, counts: NDArray) -> NDArray:
    """R2 of each resample, map and power, NaN where the rows drawn do not vary."""
    unexplained = np.einsum("mpo,ro->rmp", errors, counts, optimize=True)
    variance = np.stack([_deviations(p, counts[:, p.orbits]) for p in pairs], axis=1)
    variance = np.broadcast_to(variance[:, np.newaxis], unexplained.shape)
    ratio = np.full(unexplained.shape, np.nan)
    return 1 - np.divide(unexplained, variance, out=ratio, where=variance > 0)


def _deviations(pairs: Pairs, counts: NDArray) -> NDArray:
    """Squared deviations from the mean of each resample, summed over features.

    They are the difference of two sums, and 0 where nothing but rounding is left of
    it: the rows drawn are copies of one.
    """
    rows = pairs.moved - pairs.moved.mean(axis=0)
    rows[:, are_constant(pairs.moved)] = 0
    squares = counts @ np.square(rows).sum(axis=1)
    n_rows = np.maximum(counts.sum(axis=1), 1)
    deviations = squares - np.square(counts @ rows).sum(axis=1) / n_rows
    rounding = _ROUNDING * pairs.n_orbits * squares
    return np.where(deviations > rounding, deviations, 0)


def _with_mean(r2: NDArray, known: NDArray) -> NDArray:
    """R2 of the powers, and then its mean over those that are known in `test`."""
    mean = np.full_like(r2[..., :1], np.nan)
    if known.any():
        mean = r2[..., known].mean(axis=-1, keepdims=True)
    return np.concatenate([r2, mean], axis=-1)


def _interval(samples: NDArray, confidence_level: float) -> NDArray:
    """Ends of the percentile interval of each map and power."""
    tail = (1 - confidence_level) / 2
    of_each = samples.reshape(len(samples), -1).T
    ends = [_quantiles(values, [tail, 1 - tail]) for values in of_each]
    return np.transpose(ends).reshape(2, *samples.shape[1:])


def _quantiles(values: NDArray, levels: list[float]) -> NDArray:
    """Quantiles of the values that are no NaN, if there are enough of them."""
    known = values[~np.isnan(values)]
    if len(known) < max(1, _FEWEST_RESAMPLES * len(values)):
        return np.full(len(levels), np.nan)
    return np.quantile(known, levels)
