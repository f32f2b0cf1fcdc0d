"""Several autoencoders of one size on the same rows, trained at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from .._docs import fill
from .._estimator import checked_rows, ordinary_modes
from .._training import resolve_device, train
from ._base import BaseSAE, Plan
from ._code import Stacked
from ._network import DenseNetwork, Network
from ._objective import Objective

_MAX_LATENTS = 2**16  # of all models of a stack: more take much longer to sort
_MAX_ENTRIES = 2**18  # of a dictionary: with more, a step saves less than 5 %


class _Member(NamedTuple):
    """An estimator, a copy of it that is ready to train, and its place in the list."""

    place: int
    estimator: BaseSAE
    fitting: BaseSAE
    plan: Plan
    lr: float


@fill
def fit_many(
    estimators: Iterable[BaseSAE],
    X: ArrayLike,
    y: None = None,
    *,
    groups: ArrayLike | None = None,
    power: ArrayLike | None = None,
    site: ArrayLike | None = None,
) -> list[BaseSAE]:
    """Fit several autoencoders on the same rows, those of one size at once.

    Each is fitted as by its own ``fit``, up to rounding. Those that differ only in `k`,
    `lr`, `random_state` and `activation` take their steps together, which saves most of
    the time for small dictionaries. The others, those with latent orbits or a
    `checkpoint`, and dictionaries of more than 2**18 entries, come one after another.

    Parameters
    ----------
    estimators : iterable of TopKSAE, EquivariantSAE, GroupTiedSAE or OrbitSAE
        What to fit, in place.
    {X}
    {y}
    {metadata}

    Returns
    -------
    estimators : list of the same
        The fitted estimators.

    Raises
    ------
    TypeError, ValueError
        If something else is passed, an estimator comes twice, or one's own ``fit``
        would raise; the message names its index. That one is left as it was, and those
        whose training had begun beside or before it are fitted.

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
    estimators, stacks = list(estimators), list[list[_Member]]()
    metadata = {"groups": groups, "power": power, "site": site}
    _check_estimators(estimators)
    with ordinary_modes():
        for place, estimator in enumerate(estimators):
            with _named(place):
                fitting = copy(estimator)  # so that a failure leaves no trace
                fitting._validate_params()
                reset = not fitting._is_going_on(partial=False)
                rows = checked_rows(fitting, X, reset=reset)
                plan, lr = fitting._prepare(rows, metadata), fitting._schedule()["lr"]
                _add(stacks, _Member(place, estimator, fitting, plan, lr))
        failures = [failure for stack in stacks for failure in _fit_stack(stack)]
    for place, error in failures[:1]:
        with _named(place):
            raise error
    return estimators


def _check_estimators(estimators: Sequence[Any]) -> None:
    for index, estimator in enumerate(estimators):
        if not isinstance(estimator, BaseSAE):
            raise TypeError(
                f"estimators[{index}] is {estimator!r}, but only autoencoders of "
                "sk_eqsae can be fitted at once."
            )
        if twice := [i for i in range(index) if estimators[i] is estimator]:
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
    """Put a member in the first stack that has room and its rows, or in a new one."""
    plan: Any = member.plan
    for stack in stacks:
        rows: Any = stack[0].plan.dataset
        if (
            _kind(stack[0]) == _kind(member)
            and (len(stack) + 1) * plan.network.n_latents <= _MAX_LATENTS
            and all(map(torch.equal, rows.tensors, plan.dataset.tensors))
        ):
            stack.append(member._replace(plan=replace(plan, dataset=rows)))  # held once
            return
    stacks.append([member])


def _kind(member: _Member) -> Any:
    """What members of a stack have in common; of one that stands alone, its place."""
    estimator, plan = member.fitting, member.plan
    network = plan.network
    if (
        not isinstance(network, DenseNetwork)
        or type(plan.objective) is not Objective
        or not isinstance(plan.dataset, TensorDataset)
        or plan.checkpoint is not None
        or network.components.numel() > _MAX_ENTRIES
    ):
        return member.place
    return (
        len(plan.dataset.tensors),
        [parameter.shape for parameter in network.parameters()],
        estimator._prefixes(network.n_latents).tolist(),
        estimator._schedule() | {"lr": None},
        estimator._recipe(),
    )


def _fit_stack(stack: list[_Member]) -> Iterator[tuple[int, ValueError]]:
    """Fit members; what went wrong with which of them."""
    # neighbours of one learning rate share parameters, those of one k a selection
    stack.sort(key=lambda m: (m.lr, m.fitting.activation, m.fitting.k or 0))
    try:
        curves = _train(stack)
    except ValueError as error:
        yield stack[0].place, error
        return
    for member, curve in zip(stack, curves, strict=True):
        try:
            member.fitting._keep(member.plan, curve)
        except ValueError as error:
            yield member.place, error
        else:
            member.estimator.__dict__ = member.fitting.__dict__


def _train(stack: list[_Member]) -> list[NDArray]:
    """Losses and squared errors of each member."""
    first, plan = stack[0].fitting, stack[0].plan
    if len(stack) == 1:
        return [first._train(plan)]
    n_latents, device = plan.network.n_latents, resolve_device(first.device)
    runs = {lr: len(list(run)) for lr, run in groupby(stack, lambda m: m.lr)}
    objective = Objective(
        Stack([m.plan.network.to(device) for m in stack], [*runs.values()]),
        Stacked([m.fitting._training_selection(n_latents) for m in stack]),
        first._recipe(),
        n_rows=len(plan.rows),
        prefixes=first._prefixes(n_latents),
        target_shift=plan.objective.target_shift,
    )
    curves = train(
        objective,
        plan.dataset,
        seed=[m.plan.seed for m in stack],
        verbose=max(m.estimator.verbose for m in stack),
        description=f"{len(stack)} {type(first).__name__}",
        **first._schedule() | {"lr": [*runs]},
    )
    return [*np.moveaxis(curves, -1, 0)]


class Stack(Network):
    """Dense networks of one size, whose products are batched."""

    # Weights of one kind lie in one table, of which each network keeps its part, and
    # rows and latents of one network come after those of the other. What Adam steps on
    # are the parts with one learning rate, for it takes its time for each parameter.

    metric = None

    def __init__(self, networks: Sequence[Network], runs: list[int]) -> None:
        super().__init__()
        self.n_networks = (len(networks),)
        self.n_latents = len(networks) * networks[0].n_latents
        self.spare = {}
        weights = [dict(network.named_parameters()) for network in networks]
        self.tables: dict[str, Tensor] = {}
        for name in dict.fromkeys(["encoder.weight", "components", *weights[0]]):
            table = torch.stack([each[name].detach() for each in weights])
            for each, part in zip(weights, table, strict=True):
                each[name].data = part
            self.tables[name] = table.requires_grad_()
        self.components = self.tables["components"]
        self.weights = list(self.tables.values())  # as `zero_grad` wants them
        split = [table.detach().split(runs) for table in self.weights]
        self.runs = nn.ModuleList(map(nn.ParameterList, zip(*split, strict=True)))

    def gradients(self) -> list[Tensor]:
        """Those of the tables, as the sparse step makes them and takes them again."""
        return [gradient.flatten(0, -2) for gradient in super().gradients()]

    def leave_gradients(
        self, weight: Tensor, bias: Tensor, components: Tensor, offset: Tensor
    ) -> None:
        """Give each to the table that it is of, and its parts to the parameters."""
        names = ("encoder.weight", "encoder.bias", "components", "intercept")
        made = (weight, bias, components, offset)
        for name, gradient in zip(names, made, strict=True):
            self.tables[name].grad = gradient.view_as(self.tables[name])
        runs: Any = self.runs
        for i, table in enumerate(self.weights):
            assert table.grad is not None
            parts = table.grad.split([len(run[i]) for run in runs])
            for run, part in zip(runs, parts, strict=True):
                run[i].grad = part

    def encoder_inputs(self, inputs: Tensor) -> Tensor:
        """Rows (n_networks * n_rows, ...), or what hidden layers make of them."""
        if "hidden.weight" not in self.tables:
            return inputs
        weight, bias = (self.tables[f"hidden.{name}"] for name in ("weight", "bias"))
        rows = inputs.view(*self.n_networks, -1, inputs.shape[1])
        return torch.baddbmm(bias[:, None], rows, weight.mT).relu().flatten(0, 1)

    def last_layer(self) -> tuple[Tensor, Tensor]:
        """Weights and biases of all networks, one below the other."""
        weight, bias = (self.tables[f"encoder.{name}"] for name in ("weight", "bias"))
        return weight.flatten(0, 1), bias.flatten()

    def dictionary(self) -> Tensor:
        """Vectors of all networks, one below the other."""
        return self.components.flatten(0, 1)

    def offset(self) -> Tensor:
        """Decoder biases, of shape (n_networks, 1, 1, n_features)."""
        return self.tables["intercept"][:, None, None]
