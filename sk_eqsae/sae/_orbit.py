"""An autoencoder whose latents are learned in orbits of a group."""

from __future__ import annotations

import functools
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import replace
from numbers import Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, vstack
from sklearn.utils._param_validation import Interval, StrOptions
from torch.utils.data import Dataset, TensorDataset

from .._docs import fill
from .._estimator import ADAM_PARTS, Fitted
from .._rows import OrbitRows, Stream, TrainingRows, normalized, read_rows
from .._training import train
from ..groups import FiniteGroup
from ..groups._orbit_table import are_held_out
from ._base import Plan, kept_latents
from ._latent_orbits import LatentOrbits, counts_of, lengths_of
from ._matching import Matching, match_latents
from ._objective import Objective
from ._orbit_objective import OrbitObjective, SharedOrbitObjective, error_of
from ._recipe import Recipe
from ._symmetric import OrbitedSAE

_REGULAR_PART = 1 / 3  # of the steps, before latents are matched
_HELD_OUT = 0.1  # of the inputs, while equivariance="auto" looks for a strength
_MOST_JUDGES = 4_096  # rows of those that are looked at
_SHORT_PART = 1 / 8  # of the steps: after it, how much the losses cost changes little
_SHORT_DECAY = 0.5
_PROBES = 4
_TOLERANCE = 0.05  # of the error, beyond that of a regular autoencoder
_AIM = 0.04
_SLOPE = 1.4  # the excess grows with the strength to the power of about .7
_TINY = 1e-30
_MATCHED_ROWS = 2**18


@fill
class OrbitSAE(OrbitedSAE):
    r"""Sparse autoencoder whose latents are learned in orbits of a group.

    Dictionary and encoder are free, as those of :class:`TopKSAE`. Latents come in
    orbits, which the group permutes: with x_g the row that its element g makes of a
    row x, z and a the code of x and the pre-activations, and P_g the permutation, the
    loss is, for a strength s and one random g a step:

    .. math::

        \|x - D z(x)\|^2 + 0.3 s \|x_g - D r_g\|^2 + 0.1 s \|x_g - D P_g z(x)\|^2

    with r_g the ReLU of a(x_g) where P_g z(x) is active, and 0 elsewhere.
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
    The first third of the steps trains a regular autoencoder. Its latents are then
    put into orbits by the cosines of their codes along training orbits,
    ``A_g[i, j] = cos(z_i(x), z_j(x_g))``: latents take turns, those with the largest
    codes first, and each gets the orbit, of any subgroup of the group, with the largest
    mean of A_g over its latents i and j = g i. The other steps train with the losses,
    by an Adam that begins anew.

    Batches hold whole orbits, `batch_size` rows of them.

    ``equivariance="auto"`` holds a tenth of the inputs out at first. After the matching
    it trains for an eighth of the steps without the losses and with those of strength
    1, and takes 1 if that rebuilds the held-out rows by at most 5 % worse. Else it
    tries a weaker one, by the power law that was seen, four at most, and then 0. Where
    the losses become cheaper later, as on networks that follow the group well, that is
    weaker than need be: there, 1 set by hand makes codes permute better. The steps that
    are left go on from the matching, with all rows. `equivariance_` of 0 means that the
    losses cost too much; latents are then matched again in the end.

    `warm_start` and `partial_fit` go on with the orbits and the strength that there
    are. The first call of `partial_fit` trains a regular autoencoder and matches its
    latents; for those after, "auto" is 1.

    Examples
    --------
    Three directions of one orientation each, seen from four sides:

    >>> import numpy as np
    >>> from sk_eqsae import OrbitSAE
    >>> rng = np.random.default_rng(0)
    >>> x = np.abs(rng.normal(size=(200, 3))) @ np.eye(3, 12)
    >>> X = np.stack([np.roll(x, 3 * p, axis=1) for p in range(4)])
    >>> groups, power = np.tile(np.arange(200), 4), np.repeat(np.arange(4), 200)
    >>> settings = {"max_epochs": 60, "batch_size": 64, "lr": 0.01, "random_state": 0}
    >>> sae = OrbitSAE(12, k=3, **settings)
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
        max_steps: int | None = None,
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
        self.max_steps = max_steps
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
        n_latents = self._n_latents(X.shape[1])
        canonical = None if metadata["groups"] is None else table[:, 0]
        if self.order_ == 1:
            self._set_orbits(LatentOrbits(group, [0] * n_latents))
            self.equivariance_ = 0.0
            return TrainingRows(X, table[table >= 0], canonical=canonical)
        n_held_out = 0
        if self.equivariance == "auto" and not (partial or going_on):
            held_out = are_held_out(table, metadata["groups"], _HELD_OUT, seed)
            if not held_out.all():  # else a single input is judged by itself
                table, n_held_out = (
                    table[np.argsort(held_out, kind="stable")],
                    held_out.sum(),
                )
        rows = table[table >= 0]
        return OrbitRows(
            X,
            rows,
            canonical=canonical,
            elements=np.nonzero(table >= 0)[1],
            table=table,
            n_held_out=int(n_held_out),
        )

    def _n_latents(self, n_features: int) -> int:
        if not isinstance(self.orbit_lengths, dict):
            return super()._n_latents(n_features)
        counts = counts_of(self.symmetry_, self.orbit_lengths)
        n_in_orbits = int(counts @ lengths_of(self.symmetry_))
        if self.n_components not in {None, n_in_orbits}:
            raise ValueError(
                f"orbit_lengths={self.orbit_lengths!r} are {n_in_orbits} latents, but "
                f"n_components={self.n_components}. Leave n_components out, or change "
                "it."
            )
        if self.nested is not None:
            raise ValueError(
                "orbit_lengths is given together with nested, whose parts find their "
                "own. Set orbit_lengths='auto'."
            )
        return n_in_orbits

    @property
    def _rows_together(self) -> int:  # type: ignore[override]
        return self.order_

    def _objective_kind(
        self, rows: TrainingRows, seed: int
    ) -> Callable[..., Objective]:
        kind = super()._objective_kind(rows, seed)
        if not isinstance(rows, OrbitRows):
            return kind
        return functools.partial(
            OrbitObjective if kind is Objective else SharedOrbitObjective,
            group=self.symmetry_,
            is_whole=bool((rows.table >= 0).all()),
            seed=seed,
        )

    # Train. But for a trivial group, a plan is of OrbitRows and an OrbitObjective.

    def _train(self, plan: Plan) -> NDArray:
        """Losses and squared errors of each epoch of training, part by part."""
        objective = plan.objective
        if not isinstance(objective, OrbitObjective):
            return super()._train(plan)
        if self._is_going_on(plan.memory is not None):
            objective.set_moves(self.latent_orbits_)
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

    def _train_in_parts(self, plan: Any) -> NDArray:
        """Train regularly, match latents, choose a strength, train with the losses."""
        n_steps, self.equivariance_ = self._n_steps(len(plan.dataset)), 0.0
        n_regular = max(1, round(_REGULAR_PART * n_steps))
        if self.equivariance == 0:
            n_regular = n_steps
        n_left, strength = n_steps - n_regular, None
        before = replace(plan, dataset=_without(plan.dataset, plan.rows.n_held_out))
        curves, is_done = self._train_part(before, "1", n_regular, to_end=not n_left)
        self._match(plan)
        if n_left and is_done:
            strength = self._chosen_strength(before)
        if strength is not None:
            self.equivariance_ = plan.objective.strength = strength
            more, _ = self._train_part(plan, "3", n_left, to_end=True)
            curves = np.concatenate([curves, more], axis=1)
            if strength == 0:
                self._match(plan)
        if plan.checkpoint is not None:
            plan.checkpoint.remove_parts()
        return curves

    def _chosen_strength(self, plan: Any) -> float | None:
        """Find the strongest losses that cost little; None if that was interrupted."""
        if self.equivariance != "auto":
            return float(self.equivariance)
        rows, strength = self._rows_held_out(plan.rows), 1.0
        regular = self._error_of_short_part(plan, "2", 0.0, rows)
        for i in range(_PROBES):
            error = self._error_of_short_part(plan, f"2{i}", strength, rows)
            if np.isnan(error - regular):
                return None
            excess = error / max(regular, _TINY) - 1
            if excess <= _TOLERANCE:
                return strength
            strength *= (_AIM / excess) ** _SLOPE
        return 0.0

    def _error_of_short_part(
        self, plan: Any, name: str, strength: float, rows: torch.Tensor
    ) -> float:
        """Error of held-out rows after a short training; NaN if interrupted."""
        n_steps = max(1, round(_SHORT_PART * self._n_steps(len(plan.dataset))))
        objective = deepcopy(plan.objective)
        objective.strength = strength
        plan = replace(plan, objective=objective)
        _, is_done = self._train_part(plan, name, n_steps, lr_decay=_SHORT_DECAY)
        select = self._training_selection(objective.network.n_latents)
        if not is_done:
            return np.nan
        return objective.agreed(lambda: error_of(objective.network, rows, select))

    def _train_part(
        self,
        plan: Any,
        name: str,
        n_steps: int,
        *,
        to_end: bool = False,
        lr_decay: float = 0.0,
    ) -> tuple[NDArray, bool]:
        """Curves of a part of the training, and whether it was not interrupted."""
        schedule = self._schedule()
        if to_end:  # it falls over the same steps as if there were one part
            of_all = schedule["lr_decay"] * self._n_steps(len(plan.dataset))
            lr_decay = min(1.0, of_all / n_steps)
        checkpoint = plan.checkpoint
        n_batches = -(-len(plan.dataset) // schedule["batch_size"])
        n_epochs = -(-n_steps // n_batches)
        part = {"max_epochs": n_epochs, "max_steps": n_steps, "lr_decay": lr_decay}
        curves = train(
            plan.objective,
            plan.dataset,
            seed=plan.seed + (name != "1"),
            verbose=self.verbose,
            description=f"{type(self).__name__}, part {name}",
            checkpoint=None if checkpoint is None else checkpoint.of_part(name),
            **schedule | part,
        )
        return curves, curves.shape[1] == n_epochs

    def _rows_held_out(self, rows: OrbitRows) -> torch.Tensor:
        table = rows.table[len(rows.table) - rows.n_held_out :]
        found = (table if len(table) else rows.table).ravel()
        found = found[found >= 0]
        places = np.linspace(0, len(found) - 1, min(len(found), _MOST_JUDGES))
        chosen = found[places.astype(np.intp)]
        return normalized(read_rows(rows.X, chosen), self.mean_, self.scale_)

    # Match

    def _match(self, plan: Any) -> None:
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
        found = plan.objective.agreed(lambda: self._matching(plan.rows, part, counts))
        kinds = found.subgroup
        order = np.lexsort((found.coset, found.orbit, kinds[found.orbit], part))
        orbits = found.orbit[order][found.coset[order] == 0]
        latent_orbits = LatentOrbits(self.symmetry_, kinds[orbits])
        self._set_orbits(latent_orbits)
        plan.objective.reorder(order)
        plan.objective.set_moves(latent_orbits)
        if plan.memory is not None:
            _reorder_memory(plan.memory, order, len(self.coefs_))

    def _matching(
        self, rows: OrbitRows, part: NDArray, counts: NDArray | None
    ) -> Matching:
        codes = self._codes(rows)
        return match_latents(*codes, self.symmetry_, part=part, counts=counts)

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


def _without(dataset: Any, n_last: int) -> Dataset:
    """What training takes its batches from, but for the last orbits."""
    if isinstance(dataset, Stream):
        dataset = copy(dataset)
        dataset.n_rows -= n_last
        return dataset
    return TensorDataset(*(t[: len(t) - n_last] for t in dataset.tensors))


def _reorder_memory(memory: dict[str, NDArray], order: NDArray, n_layers: int) -> None:
    """Give what training remembers of latents another order."""
    parameters = (0, 2 * n_layers, 2 * n_layers + 1)  # dictionary, last layer
    names = [f"optimizer.{i}.{part}" for i in parameters for part in ADAM_PARTS[1:]]
    for name in ("module.idle", "module.is_dead", *names):
        memory[name] = memory[name][order]
