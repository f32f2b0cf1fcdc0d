"""Several autoencoders of one size on the same rows, trained at once."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .._state import all_or_nothing
from .._streams import Stream
from .._training import DivergedError, ordinary_modes, train
from ._base import BaseSAE, Run
from ._equivariant import EquivariantSAE
from ._objective import Objective
from ._selection import Stacked
from ._stack import Stack, StackedBatches
from ._topk import TopKSAE

_MAX_LATENTS = 2**16  # of all models of a stack: more take much longer to sort
_MAX_ENTRIES = 2**18  # of a dictionary: with more, a step saves less than 5 %


class _Member(NamedTuple):
    """An estimator that is ready to train, and its place in what the user passed."""

    place: int
    estimator: BaseSAE
    run: Run


def fit_many(
    estimators: Iterable[TopKSAE | EquivariantSAE],
    X: ArrayLike,
    y: None = None,
    *,
    groups: ArrayLike | None = None,
    power: ArrayLike | None = None,
) -> list[TopKSAE | EquivariantSAE]:
    """Fit several autoencoders on the same rows, those of one size at once.

    Each estimator is fitted as by its own ``fit``. Those that may differ only in `k`,
    `lr`, `random_state`, `activation` and the recipe's `max_grad_norm`, `aux_weight`
    and `consistency_weight` (if none is 0) and `aux_k` take their steps together, which
    saves what a step costs beside its arithmetic: most of the time for small
    dictionaries. The others, and dictionaries of more than 2**18 entries, for which it
    saves nothing, are fitted one after another.

    Parameters
    ----------
    estimators : iterable of TopKSAE or EquivariantSAE
        What to fit, in place.
    X : array-like of shape (n_rows, n_features)
        Activations.
    y : None
        Ignored.
    groups : array-like of shape (n_rows,), default=None
        Orbit id of each row; TopKSAE ignores it.
    power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
        Powers of the generators of each row; TopKSAE ignores it.

    Returns
    -------
    estimators : list of TopKSAE or EquivariantSAE
        The fitted estimators.

    Raises
    ------
    TypeError
        If an estimator is neither TopKSAE nor EquivariantSAE.
    ValueError
        If an estimator comes twice or has a checkpoint, or if one's own ``fit`` would
        raise; the message names its index. All estimators are then left as they were.

    See Also
    --------
    TopKSAE : The regular autoencoder.
    EquivariantSAE : A dictionary whose codes ignore a symmetry of the inputs.

    Notes
    -----
    On a CPU each equals its separate fit to the bit, curves included; a hidden
    layer may round differently where `batch_size` times `hidden_dim` is no multiple of
    16. On a GPU they may differ by rounding.

    Weights, gradients and moments of those trained together are held all at once, the
    normalised rows only once.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_eqsae import TopKSAE, fit_many
    >>> X, _ = load_digits(return_X_y=True)
    >>> grid = [TopKSAE(128, k=k, max_epochs=20, random_state=0) for k in (4, 8, 16)]
    >>> scores = [sae.score(X) for sae in fit_many(grid, X)]
    >>> scores == sorted(scores)
    True
    """
    estimators = list(estimators)
    _check_estimators(estimators)
    stacks: list[list[_Member]] = []
    with all_or_nothing(*estimators), ordinary_modes():
        for index, estimator in enumerate(estimators):
            with _named(index):
                rows = estimator._training_rows(X, groups=groups, power=power)
                _add(stacks, _Member(index, estimator, estimator._start(rows)))
        for stack in stacks:
            _fit_stack(stack)
    return estimators


def _check_estimators(estimators: Sequence[Any]) -> None:
    for index, estimator in enumerate(estimators):
        if not isinstance(estimator, TopKSAE | EquivariantSAE):
            raise TypeError(
                f"estimators[{index}] is {estimator!r}, but only TopKSAE and "
                "EquivariantSAE can be fitted at once. Call its own fit."
            )
        if estimator.checkpoint is not None:
            raise ValueError(
                f"estimators[{index}] has checkpoint={estimator.checkpoint!r}, but "
                "fits at once write none. Set it to None, or call its own fit."
            )
        twice = [i for i in range(index) if estimators[i] is estimator]
        if twice:
            raise ValueError(
                f"estimators[{index}] is estimators[{twice[0]}]. Pass a clone of it, "
                "for one estimator holds one fit."
            )


@contextmanager
def _named(index: int) -> Iterator[None]:
    """Say in errors which estimator is meant."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"estimators[{index}]: {error}") from error


def _add(stacks: list[list[_Member]], member: _Member) -> None:
    """Put a member in the first stack that it fits, or in a new one."""
    for stack in stacks:
        if _has_room(stack) and _fit_together(stack[0], member):
            # one copy of the rows for all
            run = member.run._replace(tensors=stack[0].run.tensors)
            stack.append(member._replace(run=run))
            return
    stacks.append([member])


def _has_room(stack: list[_Member]) -> bool:
    n_components, n_features = stack[0].run.module.components.shape
    if n_components * n_features > _MAX_ENTRIES:
        return False
    return (len(stack) + 1) * n_components <= _MAX_LATENTS


def _fit_together(one: _Member, other: _Member) -> bool:
    ours, theirs = one.run.tensors, other.run.tensors
    if isinstance(ours[0], Stream) or isinstance(theirs[0], Stream):
        return False
    return (
        _settings(one) == _settings(other)
        and len(ours) == len(theirs)
        and all(map(torch.equal, ours, theirs))
    )


def _settings(member: _Member) -> tuple:
    """What members of a stack have in common."""
    estimator, module = member.estimator, member.run.module
    recipe = estimator._recipe()
    return (
        [parameter.shape for parameter in module.parameters()],
        estimator._prefixes(module.n_latents).tolist(),
        estimator._schedule(),
        recipe.unit_rows,
        recipe.dead_after,
        recipe.aux_weight > 0,
        recipe.consistency_weight > 0,
    )


def _fit_stack(stack: list[_Member]) -> None:
    stack = sorted(stack, key=_place_in_stack)
    try:
        curves = _train(stack)
    except DivergedError as error:
        with _named(stack[error.model].place):
            raise
    for member, curve in zip(stack, curves, strict=True):
        with _named(member.place):
            member.estimator._finish(member.run, curve)


def _place_in_stack(member: _Member) -> tuple:
    """Neighbours of one learning rate share parameters, those of one k a selection."""
    estimator = member.estimator
    return estimator._lr(), estimator.activation, estimator.k


def _train(stack: list[_Member]) -> list[NDArray]:
    """Losses and squared errors of each member."""
    estimators, runs = [m.estimator for m in stack], [m.run for m in stack]
    first = estimators[0]
    if len(stack) == 1:
        return [first._train(runs[0])]
    schedule = first._schedule()
    lrs = [estimator._lr() for estimator in estimators]
    objective = Objective(
        Stack([run.module.to(schedule["device"]) for run in runs], lrs),
        Stacked([estimator._training_selection() for estimator in estimators]),
        [estimator._recipe() for estimator in estimators],
        n_rows=len(runs[0].tensors[0]),
        prefixes=first._prefixes(runs[0].module.n_latents),
        target_shift=runs[0].target_shift,
    )
    curves = train(
        objective,
        *runs[0].tensors,
        lr=lrs,
        seed=[run.seed for run in runs],
        batches=StackedBatches,
        verbose=max(estimator.verbose for estimator in estimators),
        description=f"{len(stack)} {type(first).__name__}",
        **schedule,
    )
    return list(np.moveaxis(curves, -1, 0))
