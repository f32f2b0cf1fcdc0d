"""The two ways to train: what the recipe parameter stands for."""

import math
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval, validate_parameter_constraints

_COUNT = [Interval(Integral, 1, None, closed="left")]
_WEIGHT = [Interval(Real, 0, None, closed="left")]
_CONSTRAINTS = {
    "normalize": ["boolean"],
    "tied_init": ["boolean"],
    "unit_rows": ["boolean"],
    "lr_decay": [Interval(Real, 0, 1, closed="both")],
    "max_grad_norm": [Interval(Real, 0, None, closed="right")],
    "aux_weight": _WEIGHT,
    "aux_k": _COUNT,
    "consistency_weight": _WEIGHT,
    "dead_after": [Interval(Real, 0, None, closed="neither")],
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an autoencoder is trained.

    Parameters
    ----------
    normalize : bool, default=True
        Centre rows by the mean and divide them by one global root mean square.
    tied_init : bool, default=True
        Start a linear encoder as the decoder's transpose, biases at zero.
    unit_rows : bool, default=True
        Scale dictionary vectors to norm 1 after each step.
    lr_decay : float, default=0.3
        Share of the steps, at the end, over which lr falls linearly to zero.
    max_grad_norm : float, default=1
        Largest norm of all gradients together; longer ones are scaled down to it.
    aux_weight : float, default=1
        Weight of the auxiliary loss that revives dead latents: the squared error of
        rebuilding from them what the others leave.
    aux_k : int, default=32
        Dead latents that a row may use for it.
    consistency_weight : float, default=0.3
        Weight of the loss that makes codes of one orbit equal: the squared error of
        rebuilding the canonical row from those latents of a row that are active in
        the canonical row. Of :class:`~sk_eqsae.EquivariantSAE` alone.
    dead_after : float, default=1
        Epochs without being active after which a latent counts as dead. 100,000 rows
        count as an epoch if it has more.

    Raises
    ------
    InvalidParameterError
        A ValueError, if a value is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae import TopKSAE
    >>> from sk_eqsae.sae import Recipe
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> recipe = Recipe(aux_weight=0, lr_decay=0)
    >>> TopKSAE(8, k=2, recipe=recipe, max_epochs=3, random_state=0).fit(X).n_iter_
    3
    """

    normalize: bool = True
    tied_init: bool = True
    unit_rows: bool = True
    lr_decay: float = 0.3
    max_grad_norm: float = 1.0
    aux_weight: float = 1.0
    aux_k: int = 32
    consistency_weight: float = 0.3
    dead_after: float = 1.0

    def __post_init__(self) -> None:
        validate_parameter_constraints(_CONSTRAINTS, asdict(self), "Recipe")


RECIPES = {
    "default": Recipe(),
    # Appendix C.3 of the paper
    "paper": Recipe(
        normalize=False,
        tied_init=False,
        unit_rows=False,
        lr_decay=0.0,
        max_grad_norm=math.inf,
        aux_weight=0.0,
        consistency_weight=0.0,
    ),
}

# what lr, batch_size, max_epochs and max_steps stand for where they are None; by
# benchmarks/steps, more steps than these gain little
SCHEDULES: dict[str, dict[str, Any]] = {
    "default": {"lr": 2e-3, "batch_size": 256, "max_epochs": 200, "max_steps": 20_000},
    "paper": {"lr": 1e-3, "batch_size": 64, "max_epochs": 500, "max_steps": None},
}
