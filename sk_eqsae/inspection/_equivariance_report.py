"""How equivariant activations are, with what the number has to stand against."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state, check_scalar

from .._docs import fill
from .._estimator import unfrozen
from ..activations import Orbits
from ..groups import ActivationTransformFitter
from ..sae._base import sparse_codes
from ._bootstrap import errors_by_orbit, r2_with_intervals
from ._ceiling import default_ceiling
from ._checks import check_transform
from ._code_equivariance import check_orbited, code_equivariance, rebuilt
from ._equivariance import Pairs, pairs_by_element, predicted

_FEWEST = 5  # groups

Predict = Callable[[Pairs], NDArray]


@fill
def equivariance_report(
    train: Orbits,
    test: Orbits,
    *,
    activation_transform: BaseEstimator | None = None,
    ceiling: BaseEstimator | None = None,
    sae: Any = None,
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
        The ceiling: one free map per power, without any law of a group.
    ``"identity"``
        M = I. If it explains as much as M, the activations are nearly invariant.
    ``"shuffled"``
        M fitted on training orbits whose rows were dealt to other orbits at random.
        With an exact law it scores about -1, because M cannot shrink to the mean.

    An autoencoder with latent orbits is a fifth, ``"codes"``: canonical rows are
    encoded, their codes permuted, and decoded.

    Parameters
    ----------
    train, test : Orbits
        Activations to fit on and to compare on, without a common group.
    activation_transform : estimator, default=None
        How M is fitted on `train`. None is
        ``ActivationTransformFitter(train.symmetry)``. A fitted one in a FrozenEstimator
        is taken as it is; that it has not seen `test` is your promise.
    ceiling : estimator, default=None
        Regressor for the ceiling, from (n_orbits, n_features) to the same shape.
        None is ridge regression, plus a network with one hidden layer of 256 units
        on what it leaves if that is better on a fifth of the training groups.
    sae : GroupTiedSAE or OrbitSAE, default=None
        Fitted autoencoder, without a look at `test`, whose codes are looked at, too.
    n_bootstrap : int, default=1000
        Resamples of the groups in `test`, each with all sites of its inputs.
    confidence_level : float, default=0.95
        Probability that the interval covers.
    {evaluation_state}

    Returns
    -------
    pandas.DataFrame
        One row per map and power (0 aside), then per map the `power` "mean": `map`,
        `power` (a tuple if there are several generators), `r2` (1 - FVU against the
        per-feature mean of that power), and the bootstrap interval over groups from
        `low` to `high`. `r2` is NaN for a power whose test rows do not vary; "mean" is
        over the others. With `sae` also the `code_equivariance` of ``"codes"`` on
        `test`, NaN of the others.

    Raises
    ------
    TypeError, ValueError
        If train or test are no Orbits, share a group, have no power but 0 in common or
        different symmetries, or one has fewer than five groups; if `sae` has no latent
        orbits or another symmetry.

    Notes
    -----
    The interval is for the fitted maps, not for other training sets. It leaves out
    resamples that hold a power in one orbit or none, and is NaN if nine tenths do.

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
    check_scalar(n_bootstrap, "n_bootstrap", Integral, min_val=1)
    inside = {"min_val": 0, "max_val": 1, "include_boundaries": "neither"}
    check_scalar(confidence_level, "confidence_level", Real, **inside)
    _check_parts(train, test)
    if activation_transform is None:
        activation_transform = _default_fitter(train, test)
    check_transform(activation_transform, fitted=False)
    if sae is not None:
        check_orbited(sae)
        if sae.symmetry_ != test.symmetry:
            raise ValueError(
                f"sae was fitted for {sae.symmetry_}, but test has the symmetry "
                f"{test.symmetry}. Give the orbits that it was made for."
            )
    random_state = check_random_state(random_state)
    maps, pairs = _fit_maps(train, test, activation_transform, ceiling, random_state)
    if sae is not None:
        maps["codes"] = partial(_by_moved_codes, sae)
    errors = np.stack([errors_by_orbit(predict, pairs) for predict in maps.values()])
    numbers = r2_with_intervals(
        pairs, errors, n_bootstrap, confidence_level, random_state
    )
    powers = [*(pair.power for pair in pairs), "mean"]
    report = pd.DataFrame(
        [
            (name, power, *numbers[m, p])
            for m, name in enumerate(maps)
            for p, power in enumerate(powers)
        ],
        columns=["map", "power", "r2", "low", "high"],
    )
    if sae is None:
        return report
    found = code_equivariance(sae, test.X, **test.metadata).drop(columns="cross_fvu")
    return report.merge(found.assign(map="codes"), how="left", on=["map", "power"])


def _by_moved_codes(sae: Any, pairs: Pairs) -> NDArray:
    """What the codes of canonical rows stand for once they are permuted."""
    Z = sparse_codes(sae, pairs.canonical)
    return rebuilt(sae, sae.latent_orbits_.permute(Z, pairs.power))


def _check_parts(train: Orbits, test: Orbits) -> None:
    parts = {"train": train, "test": test}
    for name, part in parts.items():
        if not hasattr(part, "groups"):
            raise TypeError(
                f"{name} has to be Orbits, as extract_orbits or Orbits(X, groups, "
                f"power) makes them, found {type(part).__name__}."
            )
    common = np.intersect1d(train.groups, test.groups)
    if len(common):
        raise ValueError(
            f"train and test share {len(common)} group id(s), such as {common[0]}, so "
            "test is not held out. Split with Orbits.split, or give different "
            "inputs different ids."
        )
    for name, part in parts.items():
        n_groups = len(np.unique(part.groups))
        if n_groups < _FEWEST:
            raise ValueError(
                f"{name} has {n_groups} group(s), but {_FEWEST} are the fewest that a "
                "comparison can be made with. Add inputs."
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
    fitter = clone(activation_transform).fit(train.X, None, **train.metadata)
    shuffled = fitted_on_shuffled(activation_transform, train, random_state)
    seen, pairs = (
        {p.element: p for p in pairs_by_element(fitter, o.X, **o.metadata)}
        for o in (train, test)
    )
    common = _seen_in_both(seen, pairs)
    is_own = ceiling is None  # chosen on other inputs
    search, free = default_ceiling(random_state) if is_own else ceiling, {}
    for p in (seen[e] for e in common):
        inputs = {"groups": p.inputs[p.orbits]} if is_own else {}
        free[p.element] = clone(search).fit(p.canonical, p.moved, **inputs)
    maps: dict[str, Predict] = {
        "M": partial(predicted, fitter),
        "nonlinear": lambda p: free[p.element].predict(p.canonical),
        "identity": lambda p: p.canonical,
        "shuffled": partial(predicted, shuffled),
    }
    return maps, [pairs[e] for e in common]


def _seen_in_both(train: dict[int, Pairs], test: dict[int, Pairs]) -> list[int]:
    common = [element for element in test if element in train]
    if not common:
        found = [", ".join(str(p.power) for p in o.values()) for o in (train, test)]
        raise ValueError(
            "train and test have no power other than 0 in common: train has "
            f"{found[0]}, test {found[1]}. Split whole orbits with Orbits.split, or "
            "add rows."
        )
    return common


def fitted_on_shuffled(
    activation_transform: BaseEstimator,
    train: Orbits,
    random_state: np.random.RandomState,
) -> BaseEstimator:
    """M of orbits whose rows, the canonical one aside, come from any orbit."""
    powers, element = np.unique(train.power, axis=0, return_inverse=True)
    dealt = np.arange(len(train))
    for e in np.flatnonzero(powers.reshape(len(powers), -1).any(axis=1)):
        rows = np.flatnonzero(element.ravel() == e)
        dealt[rows] = random_state.permutation(rows)
    told = {name: values[dealt] for name, values in train.metadata.items()}
    with warnings.catch_warnings():  # that this M is not to be trusted is its purpose
        warnings.simplefilter("ignore", UserWarning)
        return clone(unfrozen(activation_transform)).fit(train.X, None, **told)
