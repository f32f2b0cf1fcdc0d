"""An autoencoder whose latents are learned in orbits of a group."""

from __future__ import annotations

import functools
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from numbers import Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, vstack
from sklearn.utils._param_validation import Interval, StrOptions

from .._docs import fill
from .._fitted import ADAM_PARTS, Fitted
from .._rows import OrbitRows, TrainingRows, normalized, read_rows
from .._training import train
from ..groups import FiniteGroup
from ..groups._orbit_table import are_held_out
from ._base import Plan, kept_latents
from ._latent_orbits import LatentOrbits, counts_of, lengths_of
from ._matching import match_latents
from ._objective import Objective
from ._orbit_objective import OrbitObjective, Watch
from ._orbited import OrbitedSAE
from ._recipe import Recipe

_REGULAR_PART = 1 / 3  # of the epochs, before latents are matched
_HELD_OUT = 0.1  # of the inputs, for equivariance="auto"
_MOST_JUDGES = 4_096  # rows of those that are looked at
_TOLERANCE = 1.05  # times the error of a regular autoencoder
_MATCHED_ROWS = 2**18


@fill
class OrbitSAE(OrbitedSAE):
    """Sparse autoencoder whose latents are learned in orbits of a group.

    Dictionary and encoder are free, as those of :class:`TopKSAE`. Latents come in
    orbits, which the group permutes: with x_g the row that its element g makes of a
    row x, z and a the code of x and the pre-activations, and P_g the permutation, the
    loss is, for a strength s and one random g a step::

        ||x - D z(x)||^2 + .3 s ||x_g - D [ReLU(a(x_g)) where P_g z(x) is active]||^2
                         + .1 s ||x_g - D P_g z(x)||^2

    So codes move with the rows as far as the network follows the group, without a
    matrix M. `transform` needs no groups and power.

    Parameters
    ----------
    n_components : int, default=None
        Number of latents. None is 8 times the number of features.
    {sae_symmetry}
    {k}
    hidden_dim : int, default=None
        Width of the encoder's hidden layer. None makes the encoder linear.
    orbit_lengths : "auto" or dict, default="auto"
        Number of latent orbits of each length, such as ``{4: 16, 2: 64, 1: 64}``, or
        of each subgroup that leaves their first latents alone, by its name in
        ``symmetry.subgroups``. "auto" finds them from the codes of the training rows,
        see Notes.
    equivariance : "auto" or float, default="auto"
        Strength s of the losses that make codes permute. 0 is a regular autoencoder
        whose latents are put into orbits afterwards. "auto" is the largest one up to 1
        with which held-out rows are rebuilt nearly as well as by a regular
        autoencoder, see Notes.
    output : {"equivariant", "invariant"}, default="equivariant"
        What `transform` returns. "equivariant": all latents. "invariant": the largest
        latent of each latent orbit.
    {training}

    Attributes
    ----------
    n_orbits_ : int
        Number of latent orbits.
    orbit_lengths_ : dict
        Number of latent orbits of each length, or of each subgroup.
    latent_orbits_ : LatentOrbits
        Orbit and coset of each latent; latents of an orbit lie side by side.
    equivariance_ : float
        Strength of the losses at the end of training.
    components_ : ndarray of shape (n_components, n_features)
        Dictionary: row i is the direction of latent i.
    canonical_code_ : ndarray of shape (n_components,)
        Mean latents of canonical rows; only if `fit` got groups and power.
    symmetry_ : FiniteGroup
        The group.
    order_ : int
        Order of the group.
    {fitted}

    See Also
    --------
    GroupTiedSAE : Codes that permute exactly, by a matrix M.
    TopKSAE : The regular autoencoder.
    sk_eqsae.inspection.code_equivariance : How far codes permute.

    Notes
    -----
    The first third of the epochs trains a regular autoencoder. Its latents are then
    put into orbits by the cosines of their codes along training orbits,
    ``A_g[i, j] = cos(z_i(x), z_j(x_g))``: latents take turns, those with the largest
    codes first, and each gets the orbit, of any subgroup of the group, with the largest
    mean of A_g over its latents i and j = g i. The other epochs train with the losses,
    by an Adam that begins anew. With `max_epochs` of 1 there are none.

    Batches hold whole orbits, `batch_size` rows of them.

    ``equivariance="auto"`` holds a tenth of the inputs out, and trains twice after the
    matching: without the losses, and with them. The strength of the second falls
    where it rebuilds held-out rows by more than 3 % worse than the first did at the
    same step, and rises, to 1 at most, where it does not. If its error is more than
    5 % larger in the end, the first is kept, matched again, and `equivariance_` is 0.
    That takes twice the time of a regular fit. `warm_start` and `partial_fit` go on
    with the orbits and the strength that there are; the first call of `partial_fit`
    trains a regular autoencoder and matches its latents, "auto" is 1 in those after.

    Examples
    --------
    Three directions of one orientation each, seen from four sides:

    >>> import numpy as np
    >>> from sk_eqsae import OrbitSAE
    >>> rng = np.random.default_rng(0)
    >>> x = np.abs(rng.normal(size=(200, 3))) @ np.eye(3, 12)
    >>> X = np.stack([np.roll(x, 3 * p, axis=1) for p in range(4)])
    >>> groups, power = np.tile(np.arange(200), 4), np.repeat(np.arange(4), 200)
    >>> sae = OrbitSAE(12, k=3, max_epochs=60, batch_size=64, random_state=0)
    >>> sae = sae.fit(X.reshape(-1, 12), groups=groups, power=power)
    >>> sae.orbit_lengths_
    {4: 3}
    >>> sae.score(X.reshape(-1, 12)) > 0.9
    True

    The code of a moved row is nearly the code of the row, moved:

    >>> code, moved = (sae.transform(rows) for rows in X[:2])
    >>> error = np.square(moved - sae.latent_orbits_.permute(code, 1)).sum()
    >>> bool(error < 0.1 * np.square(moved).sum())
    True
    """

    _fitted: ClassVar[tuple] = (
        *(f for f in OrbitedSAE._fitted if f.name != "activation_transform_"),
        Fitted("equivariance_", "float"),
    )

    _parameter_constraints: ClassVar[dict] = {
        **OrbitedSAE._parameter_constraints,
        "equivariance": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
    }
    _parameter_constraints.pop("activation_transform")

    def __init__(
        self,
        n_components: int | None = None,
        *,
        symmetry: int | FiniteGroup | None = None,
        k: int | None = None,
        hidden_dim: int | None = None,
        orbit_lengths: dict[int | str, int] | str = "auto",
        equivariance: float | str = "auto",
        output: str = "equivariant",
        activation: str = "topk",
        nested: ArrayLike | None = None,
        recipe: str | Recipe = "default",
        max_epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        warm_start: bool = False,
        buffer_size: float = 256,
        checkpoint: str | PathLike | None = None,
        sparse_output: bool = False,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.symmetry = symmetry
        self.k = k
        self.hidden_dim = hidden_dim
        self.orbit_lengths = orbit_lengths
        self.equivariance = equivariance
        self.output = output
        self.activation = activation
        self.nested = nested
        self.recipe = recipe
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.warm_start = warm_start
        self.buffer_size = buffer_size
        self.checkpoint = checkpoint
        self.sparse_output = sparse_output
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # Prepare

    def _training_rows(
        self, X: Any, metadata: dict[str, Any], partial: bool, seed: int
    ) -> TrainingRows:
        """Whole orbits; some inputs are held out where a strength is chosen."""
        group, table = self._find_orbits(X, metadata, partial)
        going_on = self._is_going_on(partial)
        if going_on and group != self.symmetry_:
            raise ValueError(
                f"warm_start=True goes on with latent orbits of {self.symmetry_}, but "
                f"the rows are of {group}. Set warm_start=False to start anew."
            )
        self.symmetry_, self.order_ = group, group.order
        self._check_lengths(self._n_latents(X.shape[1]))
        canonical = None if metadata["groups"] is None else table[:, 0]
        if self.order_ == 1:
            return TrainingRows(X, table[table >= 0], canonical=canonical)
        held_out = np.zeros(len(table), dtype=bool)
        if self.equivariance == "auto" and not (partial or going_on):
            held_out = are_held_out(table, metadata["groups"], _HELD_OUT, seed)
        judges = table[held_out]
        if not held_out.all():  # else a single input is judged by itself
            table = table[~held_out]
        rows = table[table >= 0]
        return OrbitRows(X, rows, canonical=canonical, table=table, held_out=judges)

    def _check_lengths(self, n_latents: int) -> None:
        if not isinstance(self.orbit_lengths, dict):
            return
        counts = counts_of(self.symmetry_, self.orbit_lengths)
        n_in_orbits = counts @ lengths_of(self.symmetry_)
        if n_in_orbits != n_latents:
            raise ValueError(
                f"orbit_lengths={self.orbit_lengths!r} are {n_in_orbits} latents, but "
                f"n_components={n_latents}. Leave n_components out, or change it."
            )
        if self.nested is not None:
            raise ValueError(
                "orbit_lengths is given together with nested, whose parts find their "
                "own. Set orbit_lengths='auto'."
            )

    def _n_latents(self, n_features: int) -> int:
        if self.n_components is None and isinstance(self.orbit_lengths, dict):
            counts = counts_of(self.symmetry_, self.orbit_lengths)
            return int(counts @ lengths_of(self.symmetry_))
        return super()._n_latents(n_features)

    def _schedule(self) -> dict[str, Any]:
        """Steps are of whole orbits."""
        schedule = super()._schedule()
        n_orbits = max(1, schedule["batch_size"] // self.order_)
        return schedule | {"batch_size": n_orbits}

    def _objective_kind(
        self, rows: TrainingRows, seed: int
    ) -> Callable[..., Objective]:
        kind = super()._objective_kind(rows, seed)
        if not isinstance(rows, OrbitRows):
            return kind
        if kind is not Objective:
            raise ValueError(
                "OrbitSAE trains in one process. Leave torch.distributed out, or take "
                "GroupTiedSAE, which several processes can train."
            )
        is_whole = bool((rows.table >= 0).all())
        settings = {"group": self.symmetry_, "is_whole": is_whole, "seed": seed}
        return functools.partial(OrbitObjective, **settings)

    # Train

    def _train(self, plan: Plan) -> NDArray:
        """Losses and squared errors of each epoch of training, part by part."""
        objective = plan.objective
        if not isinstance(objective, OrbitObjective):
            self._set_orbits(LatentOrbits(self.symmetry_, [0] * plan.network.n_latents))
            self.equivariance_ = 0.0
            return super()._train(plan)
        if self._is_going_on(plan.memory is not None):
            self._set_moves(objective)
            objective.strength = self.equivariance_ = self._strength()
            return super()._train(plan)
        if plan.memory is None:
            return self._train_in_parts(plan)
        curves = super()._train(plan)
        self._match(plan)
        self.equivariance_ = 1.0 if self.equivariance == "auto" else self._strength()
        return curves

    def _strength(self) -> float:
        """That of the losses where training goes on."""
        if self.equivariance == "auto":
            return self.equivariance_
        return float(self.equivariance)

    def _train_in_parts(self, plan: Plan) -> NDArray:
        """Train regularly, match latents, train on with the losses."""
        n_epochs = self._schedule()["max_epochs"]
        n_regular = max(1, round(_REGULAR_PART * n_epochs))
        if self.equivariance == 0:
            n_regular = n_epochs
        curves = [self._train_part(plan, "1", n_regular)]
        self._match(plan)
        self.equivariance_, n_left = 0.0, n_epochs - n_regular
        if n_left and curves[0].shape[1] == n_regular:  # else it was interrupted
            steer = self.equivariance == "auto"
            strength = 1.0 if steer else float(self.equivariance)
            regular = self._regular(plan, n_left) if steer else None
            plan.objective.strength = strength
            curves.append(self._train_part(plan, "3", n_left))
            self.equivariance_ = plan.objective.strength
            if regular is not None:
                self._take_better(plan, regular)
        if plan.checkpoint is not None:
            for name in "123":
                plan.checkpoint.of_part(name).remove()
        return np.concatenate(curves, axis=1)

    def _train_part(self, plan: Plan, name: str, n_epochs: int) -> NDArray:
        schedule = self._schedule()
        n_all, lr_decay = schedule["max_epochs"], schedule["lr_decay"]
        # the learning rate falls over the same steps as if it were one training
        decay = 0.0 if name == "1" else min(1.0, lr_decay * n_all / n_epochs)
        if n_epochs == n_all:
            decay = lr_decay
        part = None
        if plan.checkpoint is not None:
            part = plan.checkpoint.of_part(name)
        return train(
            plan.objective,
            plan.dataset,
            seed=plan.seed + (name != "1"),
            verbose=self.verbose,
            description=f"{type(self).__name__}, part {name}",
            checkpoint=part,
            **schedule | {"max_epochs": n_epochs, "lr_decay": decay},
        )

    def _regular(self, plan: Plan, n_epochs: int) -> OrbitObjective:
        """What training without the losses leads to, whose errors steer the other."""
        n_steps = n_epochs * -(-len(plan.rows.table) // self._schedule()["batch_size"])
        rows = self._rows_held_out(plan.rows)
        watch = functools.partial(
            Watch, rows, self._training_selection(plan.network.n_latents), n_steps
        )
        regular = deepcopy(plan.objective)
        regular.watch = watch()
        self._train_part(replace(plan, objective=regular), "2", n_epochs)
        plan.objective.watch = watch(regular.errors)
        return regular

    def _rows_held_out(self, rows: OrbitRows) -> torch.Tensor:
        found = rows.held_out[rows.held_out >= 0]
        places = np.linspace(0, len(found) - 1, min(len(found), _MOST_JUDGES))
        chosen = found[places.astype(np.intp)]
        return normalized(read_rows(rows.X, chosen), self.mean_, self.scale_)

    def _take_better(self, plan: Plan, regular: OrbitObjective) -> None:
        """Take the weights trained without the losses where those cost too much."""
        watch, network = plan.objective.watch, plan.network
        allowed = _TOLERANCE * watch.error(regular.network)
        if watch.error(network) > allowed:
            network.load_state_dict(regular.network.state_dict())
            self._match(plan)
            self.equivariance_ = 0.0

    # Match

    def _match(self, plan: Plan) -> None:
        """Put latents into orbits by their codes, and bring those of one together."""
        self._set_weights(plan.network, plan.target_mean)
        if self.activation == "batch_topk":
            self.threshold_ = self._mean_threshold(plan.rows)
            self._threshold_k = kept_latents(self)
        n_latents = plan.network.n_latents
        prefixes = self._prefixes(n_latents)
        part = np.searchsorted(prefixes, np.arange(n_latents), side="right")
        counts = None
        if isinstance(self.orbit_lengths, dict):
            counts = counts_of(self.symmetry_, self.orbit_lengths)
        codes = self._codes(plan.rows)
        found = match_latents(*codes, self.symmetry_, part=part, counts=counts)
        kinds = found.subgroup
        order = np.lexsort((found.coset, found.orbit, kinds[found.orbit], part))
        orbits = found.orbit[order][found.coset[order] == 0]
        self._set_orbits(LatentOrbits(self.symmetry_, kinds[orbits]))
        plan.objective.reorder(order)
        if plan.memory is not None:
            _reorder_memory(plan.memory, order, len(self.coefs_))
        self._set_moves(plan.objective)

    def _codes(self, rows: OrbitRows) -> tuple[csr_array, NDArray]:
        """Codes of training orbits, evenly spaced, and the table of those."""
        n_orbits = min(len(rows.table), max(1, _MATCHED_ROWS // self.order_))
        chosen = np.linspace(0, len(rows.table) - 1, n_orbits).astype(np.intp)
        table = rows.table[chosen]
        inputs = table[table >= 0]
        Z = vstack(
            [
                self._encode_csr(read_rows(rows.X, inputs[chunk]))
                for chunk in self._chunks(len(inputs))
            ],
            format="csr",
        )
        places = np.full(table.shape, -1)
        places[table >= 0] = np.arange(len(inputs))
        return Z, places

    def _set_moves(self, objective: OrbitObjective) -> None:
        orbits = self.latent_orbits_
        objective.set_moves(np.stack([orbits.places(g) for g in range(self.order_)]))


def _reorder_memory(memory: dict[str, NDArray], order: NDArray, n_layers: int) -> None:
    """Give what training remembers of latents another order."""
    parameters = (0, 2 * n_layers, 2 * n_layers + 1)  # dictionary, last layer
    names = [f"optimizer.{i}.{part}" for i in parameters for part in ADAM_PARTS[1:]]
    for name in ("module.idle", "module.is_dead", *names):
        memory[name] = memory[name][order]
