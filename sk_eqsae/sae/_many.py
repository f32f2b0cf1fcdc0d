"""Several autoencoders of one size on the same rows, trained at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from .._docs import fill
from .._fitting import ordinary_modes
from .._training import resolve_device, train
from ._base import BaseSAE, Plan
from ._code import Code, Selection, Stacked
from ._network import DenseNetwork, Network, normalize_rows
from ._objective import Objective
from ._sparse_step import Spare, SparseAutoencode, put, take

_MAX_LATENTS = 2**16  # of all models of a stack: more take much longer to sort
_MAX_ENTRIES = 2**18  # of a dictionary: with more, a step saves less than 5 %


class _Member(NamedTuple):
    """An estimator, a copy of it that is ready to train, and its place in the list."""

    place: int
    estimator: BaseSAE
    fitting: BaseSAE
    plan: Plan


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

    Each estimator is fitted as by its own ``fit``, up to rounding. Those that differ
    only in `k`, `lr`, `random_state` and `activation` take their steps together, which
    saves what a step costs beside its arithmetic: most of the time for small
    dictionaries. The others, those with latent orbits,
    and dictionaries of more than 2**18 entries, for which it saves nothing, are fitted
    one after another.

    Parameters
    ----------
    estimators : iterable of TopKSAE, EquivariantSAE, GroupTiedSAE or OrbitSAE
        What to fit, in place.
    X : array-like of shape (n_rows, n_features)
        Activations.
    y : None
        Ignored.
    {groups}
    {power}
    {site}

    Returns
    -------
    estimators : list of the same
        The fitted estimators.

    Raises
    ------
    TypeError
        If something else than an autoencoder of the package is passed.
    ValueError
        If an estimator comes twice or has a checkpoint, or if one's own ``fit`` would
        raise; the message names its index. That estimator is then left as it was, and
        those whose training had begun beside or before it are fitted.

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
    metadata = {"groups": groups, "power": power, "site": site}
    stacks: list[list[_Member]] = []
    _check_estimators(estimators)
    with ordinary_modes():
        for place, estimator in enumerate(estimators):
            with _named(place):
                fitting = copy(estimator)  # so that a failure leaves no trace
                fitting._validate_params()
                plan = fitting._prepare(X, metadata)
                _add(stacks, _Member(place, estimator, fitting, plan))
        failures = [failure for stack in stacks for failure in _fit_stack(stack)]
    if failures:
        place, error = failures[0]
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
            plan = replace(member.plan, dataset=stack[0].plan.dataset)  # held once
            stack.append(member._replace(plan=plan))
            return
    stacks.append([member])


def _has_room(stack: list[_Member]) -> bool:
    network = stack[0].plan.network
    return (
        isinstance(network, DenseNetwork)
        and type(stack[0].plan.objective) is Objective
        and network.components.numel() <= _MAX_ENTRIES
        and (len(stack) + 1) * network.n_latents <= _MAX_LATENTS
    )


def _fit_together(one: _Member, other: _Member) -> bool:
    ours, theirs = one.plan.dataset, other.plan.dataset
    return (
        isinstance(ours, TensorDataset)
        and isinstance(theirs, TensorDataset)
        and _settings(one) == _settings(other)
        and len(ours.tensors) == len(theirs.tensors)
        and all(map(torch.equal, ours.tensors, theirs.tensors))
    )


def _settings(member: _Member) -> tuple:
    """What members of a stack have in common."""
    estimator, network = member.fitting, member.plan.network
    return (
        [parameter.shape for parameter in network.parameters()],
        estimator._prefixes(network.n_latents).tolist(),
        estimator._schedule() | {"lr": None},
        estimator._recipe(),
    )


def _fit_stack(stack: list[_Member]) -> Iterator[tuple[int, ValueError]]:
    """Fit members; what went wrong with which of them."""
    stack = sorted(stack, key=_kept_together)
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


def _kept_together(member: _Member) -> tuple:
    """Neighbours of one learning rate share parameters, those of one k a selection."""
    fitting = member.fitting
    return fitting._schedule()["lr"], fitting.activation, fitting.k or 0


def _train(stack: list[_Member]) -> list[NDArray]:
    """Losses and squared errors of each member."""
    estimators, plans = [m.fitting for m in stack], [m.plan for m in stack]
    first, plan = estimators[0], plans[0]
    if len(stack) == 1:
        return [first._train(plan)]
    schedule, n_latents = first._schedule(), plan.network.n_latents
    lrs = [estimator._schedule()["lr"] for estimator in estimators]
    schedule["lr"] = [lr for lr, _ in groupby(lrs)]
    device = resolve_device(schedule["device"])
    objective = Objective(
        Stack([plan.network.to(device) for plan in plans], lrs),
        Stacked([each._training_selection(n_latents) for each in estimators]),
        first._recipe(),
        n_rows=len(plan.rows),
        prefixes=first._prefixes(n_latents),
        target_shift=plan.objective.target_shift,
    )
    curves = train(
        objective,
        plan.dataset,
        seed=[plan.seed for plan in plans],
        verbose=max(estimator.verbose for estimator in estimators),
        description=f"{len(stack)} {type(first).__name__}",
        **schedule,
    )
    return list(np.moveaxis(curves, -1, 0))


class Stack(Network):
    """Dense networks of one size, whose products are batched."""

    # Weights of one kind lie in one tensor, and rows and latents of one network come
    # after those of the other. Parameters are the parts of it with one learning rate,
    # for Adam takes its time for each parameter.

    metric = None

    def __init__(self, networks: Sequence[Network], lrs: Sequence[float]) -> None:
        super().__init__()
        self.n_networks = (len(networks),)
        self.n_each = networks[0].n_latents
        self.n_latents = len(networks) * self.n_each
        self.spare: Spare = {}
        sizes = [len(list(run)) for _, run in groupby(lrs)]
        weights = [dict(network.named_parameters()) for network in networks]
        self.kinds = {
            name: _Kind([each[name] for each in weights], sizes) for name in weights[0]
        }
        runs = zip(*(kind.parameters for kind in self.kinds.values()), strict=True)
        self.runs = nn.ModuleList(map(nn.ParameterList, runs))

    @property
    def places(self) -> NDArray:
        """Place of each latent in the dictionary of its network."""
        return np.tile(np.arange(self.n_each), *self.n_networks)

    def forward(self, inputs: Tensor, select: Selection) -> Tensor:
        """Sums of dictionary vectors, of shape (n_bags, n_features)."""
        return SparseAutoencode.apply(
            self._encoder_inputs(inputs),
            *self._last_layer(),
            self.kinds["components"].joined().flatten(0, 1),
            partial(self._encode, select),
            self.spare,
        )

    @torch.no_grad()
    def encode(self, inputs: Tensor, select: Selection) -> Code:
        """Active latents of rows of shape (n_networks * n_rows, n_features)."""
        inputs = self._encoder_inputs(inputs)
        return self._encode(select, inputs, *self._last_layer())

    def _layer(self, name: str) -> tuple[Tensor, Tensor]:
        weight, bias = (self.kinds[f"{name}.{each}"] for each in ("weight", "bias"))
        return weight.joined(), bias.joined()

    def _last_layer(self) -> Iterator[Tensor]:
        return (part.flatten(0, 1) for part in self._layer("encoder"))

    def _encode(
        self, select: Selection, inputs: Tensor, weight: Tensor, bias: Tensor
    ) -> Code:
        rows = inputs.view(*self.n_networks, -1, inputs.shape[1])
        out = take(self.spare, (*rows.shape[:2], self.n_each), inputs)
        weight = weight.view(len(rows), self.n_each, -1)
        torch.baddbmm(bias.view(len(rows), 1, -1), rows, weight.mT, out=out)
        code = select(out.flatten(0, 1))
        put(self.spare, out)
        return code

    def _encoder_inputs(self, inputs: Tensor) -> Tensor:
        if "hidden.weight" not in self.kinds:
            return inputs
        weight, bias = self._layer("hidden")
        rows = inputs.view(len(weight), -1, inputs.shape[1])
        return torch.baddbmm(bias.unsqueeze(1), rows, weight.mT).relu().flatten(0, 1)

    def offset(self) -> Tensor:
        """Decoder biases, of shape (n_networks, 1, 1, n_features)."""
        return self.kinds["intercept"].joined()[:, None, None]

    def gradients(self) -> list[Tensor]:
        """Gradients of each kind of weight, the two large ones first."""
        names = ["encoder.weight", "components"]
        names += [name for name in self.kinds if name not in names]
        gradients = (self.kinds[name].gradient for name in names)
        # tables, as the sparse step makes them and can take them again
        return [g.flatten(0, -2) for g in gradients if g is not None]

    def normalize_components(self) -> None:
        """Bring dictionary vectors to norm 1."""
        normalize_rows(self.kinds["components"].storage)


class _Kind:
    """One kind of weight of all networks, which keep theirs as parts of the whole."""

    def __init__(self, weights: list[nn.Parameter], sizes: list[int]) -> None:
        self.storage = torch.stack([weight.detach() for weight in weights])
        for weight, part in zip(weights, self.storage, strict=True):
            weight.data = part
        self.sizes = sizes  # how many networks have one learning rate
        self.parameters = list(map(nn.Parameter, self.storage.split(sizes)))
        self._gradient: Tensor | None = None

    def joined(self) -> Tensor:
        """Weights of shape (n_networks, ...), whose gradient reaches the parameters."""
        if len(self.parameters) == 1:
            return self.parameters[0]
        return _Join.apply(self, *self.parameters)

    @property
    def gradient(self) -> Tensor | None:
        """That of all networks, of which the parameters' are parts."""
        if len(self.parameters) == 1:
            return self.parameters[0].grad
        return self._gradient


class _Join(torch.autograd.Function):
    """Parameters that lie one below the other as one tensor, without a copy."""

    @staticmethod
    def forward(ctx: Any, kind: _Kind, *parameters: Tensor) -> Tensor:
        ctx.kind = kind
        return kind.storage.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # else the parameters would get copies, which clipping does not reach
        ctx.kind._gradient = grad = grad.contiguous()
        return None, *grad.split(ctx.kind.sizes)
