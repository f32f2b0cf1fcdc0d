"""Matrices by gradient descent: free ones as the paper does, and exact ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.utils.data import TensorDataset

from .._estimator import ordinary_modes
from .._training import Trainable, train
from .._warnings import warn
from ._exact_law import ExactLaw
from ._group import FiniteGroup

_BATCH = 1_024
_DECAY = 0.5  # share of the steps in which the learning rate falls to zero
_WORSE = 0.01  # share of a row's mean square, to lose without a warning


def descend(
    X: NDArray, table: NDArray, group: FiniteGroup, **settings: Any
) -> tuple[NDArray, NDArray]:
    """Minimise equation 3 from the identity; the generators and the loss curve."""
    # Losses (n_epochs,) are over the mean squared norm of a row. Settings are those of
    # `sk_eqsae._training.train`.
    steps = _steps(group)
    rows = table[:, [element for _, _, element in steps]]
    scale = np.abs(X).max() or 1.0
    target = np.where(rows[..., np.newaxis] >= 0, X[rows] / scale, np.nan)
    tensors = _tensor(X[table[:, 0]] / scale), _tensor(target)
    with ordinary_modes():
        module = MovedCanonical(X.shape[1], group.n_generators, steps)
        (loss_curve, *_) = train(module, TensorDataset(*tensors), **settings)
    squares = np.square(X / scale, dtype=np.float64).sum(axis=1).mean() or 1.0
    M = module.M.detach().cpu().numpy().astype(np.float64)
    return M, loss_curve / squares


def refine(
    law: ExactLaw, X: NDArray, table: NDArray, **settings: Any
) -> tuple[ExactLaw, NDArray]:
    """Minimise equation 3 over all matrices S Q_g S^-1, from a closed form."""
    # The orthogonal representation Q and the directions with variance stay those of the
    # closed form, so every relation of the group holds all along. Where descent does
    # not lower the loss, the closed form comes back as it was: often there is nothing
    # to gain. If that makes the loss clearly worse, it warns.
    rows = X @ law.whitening.vectors.astype(X.dtype)
    squares = np.square(rows, dtype=np.float64)  # may leave the range of float32
    scale = float(np.sqrt(squares.sum(axis=1).mean())) or 1.0
    target = np.where((table >= 0)[..., np.newaxis], rows[table] / scale, np.nan)
    canonical = rows[table[:, 0]] / law.whitening.root
    with ordinary_modes():
        module = MovedWhite(law, scale)
        tensors = _tensor(canonical), _tensor(target[:, 1:])
        before = _loss(module, *tensors)
        dataset = TensorDataset(*tensors)
        (loss_curve, *_) = train(module, dataset, lr_decay=_DECAY, **settings)
        after = _loss(module.cpu(), *tensors)
    if not after <= before + _WORSE:
        warn(
            f"Gradient descent with lr={settings['lr']:g} has come out above the loss "
            "of the closed form, which is kept. Lower lr (the learning rate), or set "
            "solver='lstsq'.",
            ConvergenceWarning,
        )
    if not after < before:
        return law, loss_curve
    skew = module.skew.detach().numpy().astype(np.float64)
    return replace(law, skew=skew), loss_curve


@torch.no_grad()
def _loss(module: Moved, canonical: torch.Tensor, target: torch.Tensor) -> float:
    total = 0.0
    for rows, goal in zip(canonical.split(_BATCH), target.split(_BATCH), strict=True):
        total += float(module.loss(rows, goal)[0]) * len(rows)
    return total / len(canonical)


class Moved(Trainable):
    """Move canonical rows by elements of the group, the loss of equation 3."""

    def loss(self, canonical: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean over orbits and powers of the squared distance from the target, (1,).

        A missing row of an orbit is NaN in the target and adds nothing.
        """
        difference = torch.where(target.isnan(), 0.0, self(canonical) - target)
        return difference.square().sum(2).mean()[None]


class MovedCanonical(Moved):
    """Move canonical rows by every element, each generator from the identity."""

    # Each element but the first is a generator times an element that comes before it,
    # and each generator's last power closes its cycle: the paper's p = 1, ..., order.

    def __init__(
        self, n_features: int, n_generators: int, steps: list[tuple[int, int, int]]
    ) -> None:
        super().__init__()
        identity = torch.eye(n_features, dtype=torch.float32)
        self.M = nn.Parameter(identity.repeat(n_generators, 1, 1))
        self.steps = steps

    def forward(self, canonical: torch.Tensor) -> torch.Tensor:
        """Where steps take rows (n_orbits, n): (n_orbits, n_steps, n)."""
        known = {0: canonical}
        moved = []
        for generator, before, element in self.steps:
            moved.append(known[before] @ self.M[generator].T)
            known.setdefault(element, moved[-1])
        return torch.stack(moved, dim=1)


def _steps(group: FiniteGroup) -> list[tuple[int, int, int]]:
    """List (generator, element before, element after), each element once."""
    unit = np.eye(group.n_generators, dtype=np.int64)
    elements = np.argsort(group.powers.sum(axis=1), kind="stable")[1:]
    first = (group.powers[elements] > 0).argmax(axis=1)
    before = group.elements_of(group.powers[elements] - unit[first])
    last = group.elements_of((np.array(group.generator_orders) - 1)[:, None] * unit)
    steps = [*zip(first, before, elements, strict=True)]
    steps += [(k, element, 0) for k, element in enumerate(last)]
    return [(int(k), int(start), int(end)) for k, start, end in steps]


class MovedWhite(Moved):
    """Move white canonical rows by every element of an exact law.

    Coordinates of rows are divided by the scale.
    """

    def __init__(self, law: ExactLaw, scale: float) -> None:
        super().__init__()
        group, n = law.representation.group, law.rank
        matrices = np.array([law.representation.matrix(g) for g in range(group.order)])
        self.skew = nn.Parameter(_tensor(np.eye(n) if law.skew is None else law.skew))
        self.register_buffer("matrices", _tensor(matrices[1:]))
        self.register_buffer("root", _tensor(law.whitening.root / scale))

    def forward(self, canonical: torch.Tensor) -> torch.Tensor:
        """Where elements but the identity take rows: (n_orbits, order - 1, n).

        Rows are white, (n_orbits, n); what they become is not.
        """
        straight = torch.linalg.solve(self.skew, canonical.T)
        moved = self.skew @ (self.matrices @ straight)
        return moved.permute(2, 0, 1) * self.root


def _tensor(array: NDArray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))
