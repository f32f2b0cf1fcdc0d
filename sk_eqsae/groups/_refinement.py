"""The exact law by gradient descent from the closed form."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from .._training import train
from .._warnings import warn
from ._closed_form import ExactLaw
from ._gradient_descent import ObservedSquaredError

_BATCH = 1_024
_DECAY = 0.5  # share of the steps in which the learning rate falls to zero
_WORSE = 0.01  # share of a row's mean square that descent may lose without a warning


def refine(
    law: ExactLaw, X: NDArray, table: NDArray, **settings: Any
) -> tuple[ExactLaw, NDArray]:
    """Minimise equation 3 over all matrices S Q_g S^-1.

    The orthogonal representation Q and the directions with variance are those of
    the closed form, so every relation of the group holds all along.

    Parameters
    ----------
    law : ExactLaw
        The closed form.
    X : ndarray of shape (n_rows, n_features)
        Activations.
    table : ndarray of shape (n_orbits, order)
        Row of each orbit and element, -1 where there is none.
    **settings
        Of :func:`sk_eqsae._training.train`.

    Returns
    -------
    law : ExactLaw
        The refined one.
    loss_curve : ndarray of shape (n_epochs,)
        Mean loss of each epoch over the mean squared norm of a row.

    Warns
    -----
    ConvergenceWarning
        If that makes the loss clearly worse. Wherever it does not lower the loss, the
        closed form comes back as it was: often there is nothing to gain.
    """
    rows = X @ law.whitening.vectors.astype(X.dtype)
    squares = np.square(rows, dtype=np.float64)  # may leave the range of float32
    scale = float(np.sqrt(squares.sum(axis=1).mean())) or 1.0
    target = np.where((table >= 0)[..., np.newaxis], rows[table] / scale, np.nan)
    canonical = rows[table[:, 0]] / law.whitening.root
    module = MovedWhite(law, scale)
    tensors = _tensor(canonical), _tensor(target[:, 1:])
    before = _loss(module, *tensors)
    (loss_curve, *_) = train(
        module, *tensors, criterion=ObservedSquaredError, lr_decay=_DECAY, **settings
    )
    after = _loss(module.cpu(), *tensors)
    if not after <= before + _WORSE:
        _warn_of_descent(settings["lr"])
    if not after < before:
        return law, loss_curve
    skew = module.skew.detach().numpy().astype(np.float64)
    return replace(law, skew=skew), loss_curve


def _warn_of_descent(lr: float) -> None:
    warn(
        f"Gradient descent with lr={lr:g} has come out above the loss of the closed "
        "form, which is kept. Lower lr (the learning rate), or set solver='lstsq'.",
        ConvergenceWarning,
    )


@torch.no_grad()
def _loss(module: nn.Module, canonical: torch.Tensor, target: torch.Tensor) -> float:
    total = 0.0
    for rows, goal in zip(canonical.split(_BATCH), target.split(_BATCH), strict=True):
        total += float(ObservedSquaredError()(module(rows), goal)) * len(rows)
    return total / len(canonical)


class MovedWhite(nn.Module):
    """Move white canonical rows by every element of an exact law.

    Parameters
    ----------
    law : ExactLaw
        Where to start.
    scale : float
        What coordinates of rows are divided by.
    """

    def __init__(self, law: ExactLaw, scale: float) -> None:
        super().__init__()
        group, n = law.representation.group, law.rank
        matrices = np.array([law.representation.matrix(g) for g in range(group.order)])
        self.skew = nn.Parameter(_tensor(np.eye(n) if law.skew is None else law.skew))
        self.register_buffer("matrices", _tensor(matrices[1:]))
        self.register_buffer("root", _tensor(law.whitening.root / scale))

    def forward(self, canonical: torch.Tensor) -> torch.Tensor:
        """Move canonical rows.

        Parameters
        ----------
        canonical : tensor of shape (n_orbits, n)
            Rows of power 0, in white coordinates.

        Returns
        -------
        moved : tensor of shape (n_orbits, order - 1, n)
            Where the elements but the identity take them, in scaled coordinates
            along the directions with variance.
        """
        straight = torch.linalg.solve(self.skew, canonical.T)
        moved = self.skew @ (self.matrices @ straight)
        return moved.permute(2, 0, 1) * self.root


def _tensor(array: NDArray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))
