"""The generators' matrices by gradient descent, as the paper finds M."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .._training import train
from ._group import FiniteGroup


def descend(
    X: NDArray, table: NDArray, group: FiniteGroup, **settings: Any
) -> tuple[NDArray, NDArray]:
    """Minimise equation 3 from the identity.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Activations.
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element, -1 where there is none.
    group : FiniteGroup
        The group.
    **settings
        Of :func:`sk_eqsae._training.train`.

    Returns
    -------
    generators : ndarray of shape (n_generators, n_features, n_features)
        One matrix per generator.
    loss_curve : ndarray of shape (n_epochs,)
        Mean loss of each epoch over the mean squared norm of a row.
    """
    module = MovedCanonical(X.shape[1], group)
    scale = np.abs(X).max() or 1.0
    rows = table[:, module.targets]
    target = np.where(rows[..., np.newaxis] >= 0, X[rows] / scale, np.nan)
    (loss_curve, *_) = train(
        module,
        torch.from_numpy((X[table[:, 0]] / scale).astype(np.float32)),
        torch.from_numpy(target.astype(np.float32)),
        criterion=ObservedSquaredError,
        **settings,
    )
    squares = np.square(X / scale, dtype=np.float64).sum(axis=1).mean() or 1.0
    M = module.M.detach().cpu().numpy().astype(np.float64)
    return M, loss_curve / squares


class MovedCanonical(nn.Module):
    """Move canonical rows by every element, each generator from the identity.

    Each element but the first is a generator times an element that comes before it,
    and each generator's last power closes its cycle: the paper's p = 1, ..., order.

    Parameters
    ----------
    n_features : int
        Width of a row.
    group : FiniteGroup
        The group.
    """

    def __init__(self, n_features: int, group: FiniteGroup) -> None:
        super().__init__()
        self.M = nn.Parameter(
            torch.eye(n_features, dtype=torch.float32).repeat(group.n_generators, 1, 1)
        )
        self.steps = _steps(group)
        self.targets = [element for _, _, element in self.steps]

    def forward(self, canonical: torch.Tensor) -> torch.Tensor:
        """Move canonical rows.

        Parameters
        ----------
        canonical : tensor of shape (n_orbits, n_features)
            Rows of power 0.

        Returns
        -------
        moved : tensor of shape (n_orbits, n_steps, n_features)
            Where the elements in ``targets`` take them.
        """
        known = {0: canonical}
        moved = []
        for generator, before, element in self.steps:
            moved.append(known[before] @ self.M[generator].T)
            known.setdefault(element, moved[-1])
        return torch.stack(moved, dim=1)


def _steps(group: FiniteGroup) -> list[tuple[int, int, int]]:
    """List (generator, element before, element after), each element once."""
    steps = []
    for element in np.argsort(group.powers.sum(axis=1), kind="stable")[1:]:
        generator = int(np.flatnonzero(group.powers[element])[0])
        shorter = (
            group.powers[element] - np.eye(group.n_generators, dtype=int)[generator]
        )
        steps.append(
            (generator, int(group.elements_of(shorter[None])[0]), int(element))
        )
    for generator, order in enumerate(group.generator_orders):
        last = (order - 1) * np.eye(group.n_generators, dtype=int)[generator]
        steps.append((generator, int(group.elements_of(last[None])[0]), 0))
    return steps


class ObservedSquaredError(nn.Module):
    """Squared error summed over features, mean over powers and orbits (equation 3).

    A missing row of an orbit is NaN in the target and adds nothing.
    """

    def forward(self, moved: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean over orbits and powers of the squared distance.

        Parameters
        ----------
        moved, target : tensor of shape (n_orbits, n_steps, n_features)
            Where rows were taken and where they should be.

        Returns
        -------
        loss : tensor
            A number.
        """
        difference = torch.where(target.isnan(), 0.0, moved - target)
        return difference.square().sum(2).mean()
