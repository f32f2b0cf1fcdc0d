"""What the autoencoders share: parameters, training, encoding, decoding."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse, vstack
from sklearn.base import ClassNamePrefixFeaturesOutMixin, _fit_context
from sklearn.utils import check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Dataset

from .._checkpoint import Checkpoint
from .._docs import fill
from .._estimator import (
    FEATURES,
    Fitted,
    FloatTransformer,
    adam_state,
    all_or_nothing,
    as_array,
    checked_rows,
    ordinary_modes,
)
from .._metrics import fvu_of_chunks
from .._rows import TrainingRows, dtype_in_memory, normalized, read_rows
from .._threads import product, threads_that_pay
from .._training import DivergedError, resolve_device, train
from ..groups._orbit_table import METADATA
from ._code import BatchTopK, Code, Selection, Threshold, TopK
from ._data_parallel import SharedCheckpoint, SharedObjective, check_agreement
from ._network import DenseNetwork, Network
from ._objective import Objective
from ._outcome import warn_of_outcome
from ._recipe import RECIPES, SCHEDULES, Recipe
from ._sparse_step import decode_sparse
from ._torch_module import SparseAutoencoder

_DTYPES = (np.float64, np.float32)
_CHUNK_ENTRIES = 2**22  # rows or dense latents held at a time: 16 MiB in float32
_DEFAULT_K = 32
_MB = 1e6
_PARTIAL_EPOCH = 10_000  # rows that count as one in dead_after, if a call has fewer
# parameters that training does not depend on, or that show in what it starts from
_NOT_OF_TRAINING = {
    "activation_transform",
    "checkpoint",
    "output",
    "random_state",
    "sparse_output",
    "symmetry",
    "verbose",
    "warm_start",
}


# what training remembers from one call of partial_fit to the next; None of fit
Memory = dict[str, NDArray] | None


@dataclass(frozen=True)
class Plan:
    """A fit that is ready to train."""

    rows: TrainingRows
    dataset: Dataset  # normalised rows, and their targets
    network: Network
    objective: Objective
    seed: int  # of the order of the rows
    target_mean: NDArray  # was subtracted from the targets
    previous: NDArray  # (2, n_epochs): curves of the epochs that training goes on from
    memory: Memory  # of partial_fit: what earlier calls have left
    checkpoint: Checkpoint | None


@fill
class BaseSAE(ClassNamePrefixFeaturesOutMixin, FloatTransformer):
    """Base class of the sparse autoencoders; not for use by itself."""

    # A fit is three steps: `_prepare` checks parameters and rows, finds what a subclass
    # adds (the symmetry, M), and makes the network; `_train` trains it; `_keep` keeps
    # what was learned as arrays.

    coefs_: list[NDArray]
    intercepts_: list[NDArray]
    components_: NDArray
    intercept_: NDArray
    mean_: NDArray
    scale_: float
    loss_curve_: NDArray
    error_curve_: NDArray
    hidden_dim: int | None
    _rows_together = 1  # that a batch holds all or none of

    _fitted: ClassVar[tuple] = (
        *FEATURES,
        Fitted("components_", "float32", ("n_components", "n_features")),
        Fitted("n_components_", "int", ("n_components",)),
        Fitted("coefs_", "list"),
        Fitted("coefs_/0", "float32", ("n_features", "n_units")),
        Fitted("coefs_/1", "float32", ("n_units", "n_components"), optional=True),
        Fitted("intercepts_", "list"),
        Fitted("intercepts_/0", "float32", ("n_units",)),
        Fitted("intercepts_/1", "float32", ("n_components",), optional=True),
        Fitted("intercept_", "float64", ("n_features",)),
        Fitted("mean_", "float64", ("n_features",)),
        Fitted("scale_", "float"),
        Fitted("threshold_", "float", optional=True),
        Fitted("_threshold_k", "int", optional=True),  # that it was found for
        Fitted("n_iter_", "int", ("n_epochs",)),
        Fitted("loss_curve_", "float64", ("n_epochs",)),
        Fitted("error_curve_", "float64", ("n_epochs",), optional=True),
        # of partial_fit: vectors are those that are trained, without their copies
        Fitted("_memory", "dict", optional=True),
        Fitted("_memory/target_mean", "float64", ("n_features",)),
        Fitted("_memory/module.idle", "float32", ("n_components",)),
        Fitted("_memory/module.is_dead", "uint8", ("n_components",)),
        Fitted("_memory/module._extra_state", "float64", ("n_state",)),
        *adam_state(0, ("n_vectors", "n_features")),  # the dictionary
        *adam_state(1, ("n_features",)),
        *adam_state(2, ("n_first", "n_features")),  # the encoder, layer by layer
        *adam_state(3, ("n_first",)),
        *adam_state(4, ("n_vectors", "n_units"), optional=True),
        *adam_state(5, ("n_vectors",), optional=True),
    )

    __metadata_request__fit: ClassVar[dict] = METADATA
    __metadata_request__partial_fit: ClassVar[dict] = METADATA
    __metadata_request__score: ClassVar[dict] = METADATA

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "k": [Interval(Integral, 1, None, closed="left"), None],
        "hidden_dim": [Interval(Integral, 1, None, closed="left"), None],
        "activation": [StrOptions({"topk", "batch_topk"})],
        "nested": ["array-like", None],
        "recipe": [StrOptions(set(RECIPES)), Recipe],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "max_steps": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "lr": [Interval(Real, 0, None, closed="neither"), None],
        "warm_start": ["boolean"],
        "buffer_size": [Interval(Real, 0, None, closed="neither")],
        "checkpoint": [str, PathLike, None],
        "sparse_output": ["boolean"],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
        site: ArrayLike | None = None,
    ) -> Self:
        """Train the autoencoder, after M where there is a symmetry.

        Parameters
        ----------
        {X}
        {y}
        {metadata}

        {self}

        Raises
        ------
        ValueError
            If groups and power do not describe orbits with one canonical row each, if
            sizes do not go together, or if training diverges. Nothing has changed then.

        Warns
        -----
        UserWarning
            If the estimator is for a symmetry and nothing says of which, if M is not to
            be trusted (:meth:`ActivationTransformFitter.fit`), or if poses look alike.
        ConvergenceWarning
            If all latents, or with a recipe that revives them more than 90 % of them,
            are dead, if reconstructions are far larger than the rows, or if training
            was interrupted.
        """
        return self._fit(X, partial=False, groups=groups, power=power, site=site)

    def partial_fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
        site: ArrayLike | None = None,
    ) -> Self:
        """Train on these rows once, going on from where the last call has ended.

        What the first call finds, the mean, the scale and the group, stays as it is.
        Adam and the search for dead latents go on, too. The learning rate is `lr` all
        the time: for the fall at the end of `fit`, lower it with ``set_params`` in the
        last calls. `dead_after` counts calls as epochs, or 10,000 rows if that is more.
        `threshold_` is of the rows of the last call. After `fit`, its weights are
        trained on.

        Parameters
        ----------
        {X}
        {y}
        groups : array-like of shape (n_rows,), default=None
            Input that each row is of. Orbits have to be whole.
        {power}
        {site}

        {self}

        Raises
        ------
        ValueError
            As `fit` does. A call that raises leaves the estimator as it was.
        """
        return self._fit(X, partial=True, groups=groups, power=power, site=site)

    @_fit_context(prefer_skip_nested_validation=False)
    def _fit(self, X: ArrayLike, *, partial: bool, **metadata: Any) -> Self:
        reset = not self._is_going_on(partial)
        with all_or_nothing(self), ordinary_modes():
            X = checked_rows(self, X, reset=reset)
            plan = self._prepare(X, metadata, partial=partial)
            return self._keep(plan, self._train(plan))

    def _prepare(
        self, X: Any, metadata: dict[str, Any], *, partial: bool = False
    ) -> Plan:
        """All of a fit that comes between the checks of X and training."""
        going_on = self._is_going_on(partial)
        random_state = check_random_state(self.random_state)
        # of the weights, of the order of the rows, of M
        seed, order_seed, seed_of_m = random_state.randint(2**31 - 1, size=3).tolist()
        rows = self._training_rows(X, metadata, partial, seed_of_m)
        memory = dict(getattr(self, "_memory", {})) if partial else None
        digest = None if partial or self.checkpoint is None else hashlib.sha256()
        target_mean = self._normalize(rows, digest, memory, going_on)
        n_latents = self._n_latents(rows.n_features)
        self._check_k(n_latents)
        with room_for(n_latents, rows.n_features):
            network = (
                self._trained_network(n_latents, target_mean, memory)
                if going_on
                else self._new_network(n_latents, rows.n_features, seed, memory)
            )
        curves = [self.loss_curve_, self.error_curve_] if going_on else np.empty((2, 0))
        previous = np.array(curves)
        order_seed += previous.shape[1] if partial else 0
        return Plan(
            rows,
            rows.dataset(
                (self.mean_, target_mean),
                self.scale_,
                network.coordinates,
                self.buffer_size * _MB,
            ),
            network,
            self._objective(rows, network, target_mean, partial, order_seed),
            order_seed,
            target_mean,
            previous,
            memory,
            None if digest is None else self._checkpoint(network, target_mean, digest),
        )

    def _is_going_on(self, partial: bool) -> bool:
        return (partial or self.warm_start) and hasattr(self, "components_")

    def _training_rows(
        self, X: Any, metadata: dict[str, Any], partial: bool, seed: int
    ) -> TrainingRows:
        """What goes in and what should come out; subclasses find the symmetry here."""
        return TrainingRows(X)

    def _normalize(
        self, rows: TrainingRows, digest: Any, memory: Memory, going_on: bool
    ) -> NDArray:
        """Set mean and scale, unless training goes on, and give the targets' mean."""
        normalize = self._recipe().normalize
        spreads = rows.spreads(digest)
        if not going_on:
            self.mean_, self.scale_ = np.zeros(rows.n_features), 1.0
            if normalize:
                self.scale_ = spreads[0].root_mean_square() or 1.0
                self.mean_ = rows.fixed(spreads[0].mean)
        target_mean = self.mean_
        if rows.targets is not None and normalize:
            target_mean = spreads[-1].mean
        if memory is not None:
            target_mean = memory.setdefault("target_mean", target_mean)
        return target_mean

    def _objective(
        self,
        rows: TrainingRows,
        network: Network,
        target_mean: NDArray,
        partial: bool,
        seed: int,
    ) -> Objective:
        target_shift = None
        if rows.targets is not None:
            shift = (target_mean - self.mean_) / self.scale_
            target_shift = torch.from_numpy(np.float32(shift))
        n_rows, prefixes = len(rows), self._prefixes(network.n_latents)
        return self._objective_kind(rows, seed)(
            network,
            self._training_selection(network.n_latents),
            self._recipe(),
            # of partial_fit nobody knows how many calls will follow
            n_rows=max(n_rows, _PARTIAL_EPOCH) if partial else n_rows,
            prefixes=prefixes,
            target_shift=target_shift,
        )

    def _objective_kind(
        self, rows: TrainingRows, seed: int
    ) -> Callable[..., Objective]:
        """What to train for, alone or together with other processes."""
        if not _in_several_processes():
            return Objective
        check_agreement(self, len(rows), seed)
        return SharedObjective

    def _train(self, plan: Plan) -> NDArray:
        """Losses and squared errors of each epoch."""
        once = {}
        if plan.memory is not None:
            once = {"max_epochs": 1, "max_steps": None, "lr_decay": 0.0}
        return train(
            plan.objective,
            plan.dataset,
            seed=plan.seed,
            verbose=self.verbose,
            description=type(self).__name__,
            checkpoint=plan.checkpoint,
            memory=plan.memory,
            **self._schedule() | once,
        )

    def _recipe(self) -> Recipe:
        return RECIPES[self.recipe] if isinstance(self.recipe, str) else self.recipe

    def _schedule(self) -> dict[str, Any]:
        """How `train` is to go about it, with what stands for None."""
        default = SCHEDULES["paper" if self.recipe == "paper" else "default"]
        # epochs that were asked for are done, however many steps they take
        budget = default["max_steps"] if self.max_epochs is None else None
        batch_size = self.batch_size or default["batch_size"]
        return {
            "lr": self.lr or default["lr"],
            "lr_decay": self._recipe().lr_decay,
            "batch_size": max(1, batch_size // self._rows_together),
            "max_epochs": self.max_epochs or default["max_epochs"],
            "max_steps": self.max_steps or budget,
            "device": self.device,
        }

    def _n_steps(self, n_rows: int) -> int:
        """Steps of the whole training."""
        schedule = self._schedule()
        n_steps = schedule["max_epochs"] * -(-n_rows // schedule["batch_size"])
        return min(n_steps, schedule["max_steps"] or n_steps)

    def _checkpoint(
        self, network: Network, target_mean: NDArray, digest: Any
    ) -> Checkpoint:
        fingerprint = {
            name: repr(value)
            for name, value in self.get_params(deep=False).items()
            if name not in _NOT_OF_TRAINING
        }
        start = hashlib.sha256()
        for value in (self.mean_, target_mean):
            start.update(value.tobytes())
        tensors = list(network.buffers())
        if self.random_state is not None:  # else weights are drawn anew, then restored
            tensors += network.parameters()
        for tensor in tensors:
            start.update(tensor.detach().numpy().tobytes())
        fingerprint |= {"estimator": type(self).__name__, "rows": digest.hexdigest()}
        fingerprint |= {"start": start.hexdigest()}
        kind = SharedCheckpoint if _in_several_processes() else Checkpoint
        return kind(self.checkpoint, fingerprint)

    def _keep(self, plan: Plan, curves: NDArray) -> Self:
        """Keep what was learned as arrays, and warn of what it has come to."""
        if not np.isfinite(curves).all():  # of one of several networks
            epoch = int(np.flatnonzero(~np.isfinite(curves[0]))[0]) + 1
            raise DivergedError(curves[0, epoch - 1], epoch, self._schedule()["lr"])
        self._set_or_drop("_memory", plan.memory)
        self._set_weights(plan.network, plan.target_mean)
        curves = np.concatenate([plan.previous, curves], axis=1)
        self.loss_curve_, self.error_curve_ = curves
        self.n_iter_ = len(self.loss_curve_)
        is_batch = self.activation == "batch_topk"
        threshold = self._mean_threshold(plan.rows) if is_batch else None
        self._set_or_drop("threshold_", threshold)
        self._set_or_drop("_threshold_k", kept_latents(self) if is_batch else None)
        if plan.memory is None:  # else there may be more calls to come
            warn_of_outcome(self, plan.rows, kept_latents(self))
        return self

    def _set_or_drop(self, name: str, value: Any) -> None:
        if value is not None:
            setattr(self, name, value)
        elif hasattr(self, name):
            delattr(self, name)

    def _set_weights(self, network: Network, target_mean: NDArray) -> None:
        self.coefs_, self.intercepts_, self.components_, intercept = network.to_arrays()
        self.n_components_ = len(self.components_)
        self.intercept_ = target_mean + self.scale_ * intercept.astype(np.float64)
        for weights in (*self.coefs_, *self.intercepts_, self.components_, intercept):
            if not np.isfinite(weights).all():  # the loss is that before the last step
                lr = self._schedule()["lr"]
                raise ValueError(
                    "training diverged: weights are not finite after the last step, "
                    f"with lr={lr:g}. Lower lr (the learning rate), or look for "
                    "extreme values in X."
                )

    # Networks

    def _new_network(
        self, n_latents: int, n_features: int, seed: int, memory: Memory
    ) -> Network:
        sizes = (n_features, n_latents, self.hidden_dim)
        return DenseNetwork(*sizes, tied_init=self._recipe().tied_init, seed=seed)

    def _check_k(self, n_latents: int) -> None:
        if kept_latents(self, n_latents) > n_latents:
            raise ValueError(
                f"k={self.k} is larger than the dictionary of {n_latents} latents "
                f"(n_components={self.n_components}). Lower k or raise n_components."
            )

    def _n_latents(self, n_features: int) -> int:
        return self.n_components or 8 * n_features

    def _n_hidden(self) -> int:
        return self.hidden_dim or 0

    def _trained_network(
        self, n_latents: int, target_mean: NDArray, memory: Memory
    ) -> Network:
        n_hidden = self.coefs_[0].shape[1] if len(self.coefs_) > 1 else 0
        if (n_latents, self._n_hidden()) != (self.n_components_, n_hidden):
            raise ValueError(
                f"partial_fit or warm_start=True goes on with the {self.n_components_} "
                f"latents and {n_hidden} hidden units fitted before, but n_components="
                f"{self.n_components} and hidden_dim={self.hidden_dim} now ask for "
                f"{n_latents} and {self._n_hidden()}. Call fit with warm_start=False "
                "to start anew."
            )
        intercept = ((self.intercept_ - target_mean) / self.scale_).astype(np.float32)
        return DenseNetwork.from_arrays(
            [c.copy() for c in self.coefs_],
            [b.copy() for b in self.intercepts_],
            self.components_.copy(),
            intercept,
        )

    # Which latents are active

    def _training_selection(self, n_latents: int) -> Selection:
        k = kept_latents(self, n_latents)
        return BatchTopK(k) if self.activation == "batch_topk" else TopK(k)

    def _prefixes(self, n_latents: int) -> NDArray:
        """Where the parts of the dictionary end that reconstruct by themselves."""
        if self.nested is None:
            return np.array([n_latents])
        sizes = np.asarray(self.nested)
        if (
            sizes.ndim != 1
            or sizes.dtype.kind not in "iu"
            or (np.diff(sizes, prepend=0, append=n_latents + 1) <= 0).any()
        ):
            raise ValueError(
                f"nested={self.nested} has to list growing numbers of latents, from 1 "
                f"to {n_latents}, which is all of them."
            )
        return sizes if sizes[-1] == n_latents else np.append(sizes, n_latents)

    def _selection(self) -> Selection:
        """What decides after the fit, with k and activation as they now are."""
        n_latents = len(self.components_)
        if self.activation == "batch_topk":
            if not hasattr(self, "threshold_"):
                raise ValueError(
                    "activation='batch_topk' was set after a fit with 'topk', which "
                    "has no threshold_. Call fit again."
                )
            k = getattr(self, "_threshold_k", kept_latents(self))
            if k != kept_latents(self):
                raise ValueError(
                    f"k={self.k} was set after a fit with activation='batch_topk', "
                    f"whose threshold_ keeps k={k} latents of a row on average. Call "
                    "fit again."
                )
            return Threshold(self.threshold_ / self.scale_)
        if not 1 <= kept_latents(self) <= n_latents:
            raise ValueError(
                f"k={self.k} was set after a fit with {n_latents} latents. It has to "
                f"be from 1 to {n_latents}; for more, raise n_components and call fit "
                "again."
            )
        return TopK(kept_latents(self))

    @torch.no_grad()
    def _mean_threshold(self, rows: TrainingRows) -> float:
        """Where BatchTopK draws the line between latents, a mean over chunks."""
        # That is half-way from the smallest one kept to the largest one dropped, so
        # that rounding does not decide.
        network, device = self._fitted_network()
        k = kept_latents(self)
        select = BatchTopK(min(k + 1, self.n_components_))
        limits, n_rows = [], []
        for chunk in self._chunks(len(rows)):
            inputs = rows.read(chunk.start, chunk.stop)[0]
            inputs = normalized(inputs, self.mean_, self.scale_).to(device)
            values = network.encode(inputs, select).values.sort(descending=True).values
            first_dropped = k * len(inputs)
            pair = torch.cat([values, values.new_zeros(1)])[first_dropped - 1 :][:2]
            limits.append(float(pair.mean()))
            n_rows.append(len(inputs))
        return self.scale_ * float(np.average(limits, weights=n_rows))

    # What a fitted estimator does

    def transform(self, X: ArrayLike) -> NDArray | csr_array:
        """Encode activations.

        Parameters
        ----------
        {X}

        Returns
        -------
        Z : ndarray or csr_array of shape (n_rows, n_components)
            Latents, non-negative, in the units of the activations and in the dtype
            of X. At most ``k`` of a row are non-zero, or with
            ``activation="batch_topk"`` those above `threshold_`.
        """
        X = self._checked(X)
        if self.sparse_output:
            return self._encode_csr(X)
        Z = np.zeros((len(X), len(self.components_)), dtype=dtype_in_memory(X))
        for rows, values, code in self._encode_chunks(X):
            Z[rows][code.bags.numpy(), code.indices.numpy()] = values
        return Z

    def inverse_transform(self, Z: ArrayLike | csr_array) -> NDArray:
        """Decode latents.

        Parameters
        ----------
        Z : array-like or sparse array of shape (n_rows, n_components)
            Latents.

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            Activations, in the dtype of Z.
        """
        check_is_fitted(self)
        Z = check_array(
            as_array(Z, "Z"), accept_sparse="csr", dtype=_DTYPES, input_name="Z"
        )
        if Z.shape[1] != len(self.components_):
            raise ValueError(
                f"Z has {Z.shape[1]} columns, but {type(self).__name__} has "
                f"{len(self.components_)} latents. Pass latents as transform returns "
                "them, with the ones that are not wanted set to 0 instead of removed."
            )
        # torch adds up rows of the dictionary four times as fast as scipy
        is_bags = issparse(Z) and Z.dtype == np.float32
        sums = self._weighted_sums(Z) if is_bags else product(Z, self.components_)
        return (sums + self.intercept_).astype(Z.dtype, copy=False)

    def _weighted_sums(self, Z: csr_array) -> NDArray:
        """Z D, of latents in CSR and float32."""
        arrays = (self.components_, Z.data, Z.indices, Z.indices, Z.indptr)
        writable = (np.require(array, requirements=["C", "W"]) for array in arrays)
        components, *code = map(torch.from_numpy, writable)
        with ordinary_modes(), threads_that_pay(Z.nnz * components.shape[1]):
            return decode_sparse(Code(*code), components).numpy()

    def score(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
        site: ArrayLike | None = None,
    ) -> float:
        """Share of the variance that the reconstruction explains, 1 - FVU.

        Parameters
        ----------
        {X}
        {y}
        {groups}
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            True powers of each row, by which EquivariantSAE moves what it rebuilds, or
            by inferred ones where there are none.
        {site}

        Returns
        -------
        score : float
            1 is perfect, 0 is as good as the per-feature mean of X.
        """
        rebuilt = self._rebuilt(self._checked(X), groups=groups, power=power, site=site)
        return 1 - fvu_of_chunks(rebuilt)

    def _rebuilt(self, X: Any, **metadata: Any) -> Iterator[tuple[NDArray, NDArray]]:
        """Rows and their reconstructions, chunk by chunk."""
        for chunk, _, decoded in self._decode_chunks(X):
            yield chunk, decoded

    def to_module(self) -> SparseAutoencoder:
        """Copy what was fitted into a plain torch module.

        Returns
        -------
        module : torch.nn.Module
            With ``encode(x)``, ``decode(z)`` and ``forward(x)``, which reconstructs,
            for tensors of activations of shape (..., n_features). It is in float32
            and on the CPU, and equals `transform` and `inverse_transform` but for
            rounding.

        Raises
        ------
        ValueError
            If the activations are so large or so small that float32 cannot hold them.

        Examples
        --------
        >>> import numpy as np
        >>> import torch
        >>> from sk_eqsae import TopKSAE
        >>> X = np.random.default_rng(0).normal(size=(100, 8)).astype("float32")
        >>> sae = TopKSAE(16, k=2, max_epochs=2, random_state=0).fit(X)
        >>> module = sae.to_module()
        >>> Z = module.encode(torch.from_numpy(X)).detach().numpy()
        >>> np.allclose(Z, sae.transform(X), atol=1e-5)
        True
        """
        check_is_fitted(self)
        return SparseAutoencoder(self)

    def _checked(self, X: ArrayLike) -> Any:
        check_is_fitted(self)
        return checked_rows(self, X, reset=False)

    def _encode_csr(self, X: Any) -> csr_array:
        """CSR latents, without the entries that the ReLU set to zero."""
        parts = []
        for _, values, code in self._encode_chunks(X):
            arrays = (values, code.indices.numpy(), code.offsets.numpy())
            shape = (len(code.offsets) - 1, len(self.components_))
            # a copy, for what follows works in place, and codes of one size share
            # offsets
            parts.append(csr_array(arrays, shape=shape, copy=True))
            parts[-1].sort_indices()
            parts[-1].eliminate_zeros()
        return vstack(parts, format="csr")

    def _encode_chunks(self, X: Any) -> Iterator[tuple[slice, NDArray, Code]]:
        """Places of rows, latents in the units of the activations, where they are."""
        for chunk, rows, on_device, _ in self._code_chunks(X):
            code = Code(*(part.cpu() for part in on_device[:4]))
            values = code.values.numpy().astype(chunk.dtype, copy=False)
            yield rows, values * chunk.dtype.type(self.scale_), code

    def _decode_chunks(self, X: Any) -> Iterator[tuple[NDArray, slice, NDArray]]:
        """Rows, their places, and D(E(x)) in their dtype."""
        for chunk, rows, code, components in self._code_chunks(X):
            with ordinary_modes(), torch.no_grad():
                part = decode_sparse(code, components).cpu().numpy()
            decoded = part * self.scale_ + self.intercept_
            yield chunk, rows, decoded.astype(chunk.dtype, copy=False)

    def _code_chunks(
        self, X: Any
    ) -> Iterator[tuple[NDArray, slice, Code, torch.Tensor]]:
        """Rows wherever they are, their places, their codes, and the dictionary."""
        select, chunks = self._selection(), list(self._chunks(len(X)))
        network, device = self._fitted_network()
        for rows in chunks:
            chunk = read_rows(X, rows)
            work = threads_that_pay(len(chunk) * self.components_.size)
            with ordinary_modes(), work:  # not around the yield: others have theirs
                inputs = normalized(chunk, self.mean_, self.scale_).to(device)
                code = network.encode(inputs, select)
            yield chunk, rows, code, network.components

    def _chunks(self, n_rows: int) -> Iterator[slice]:
        width = max(self.components_.shape)  # of a row, or of its latents
        return gen_batches(n_rows, max(1, _CHUNK_ENTRIES // width))

    def _fitted_network(self) -> tuple[DenseNetwork, torch.device]:
        device = resolve_device(self.device)
        with ordinary_modes():
            network = DenseNetwork.from_arrays(
                self.coefs_, self.intercepts_, self.components_, self.intercept_
            )
            return network.to(device, torch.float32), device

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)


@contextmanager
def room_for(n_latents: int, n_features: int) -> Iterator[None]:
    """Say what is too large where there is no memory for a network."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise ValueError(
            f"there is no memory for {n_latents} latents of {n_features} features: "
            f"lower n_components or hidden_dim ({error})."
        ) from error


def _in_several_processes() -> bool:
    """Whether processes of torch.distributed train together."""
    is_begun = dist.is_available() and dist.is_initialized()
    return is_begun and dist.get_world_size() > 1


def sparse_codes(sae: BaseSAE, X: ArrayLike) -> csr_array:
    """All latents of rows, of shape (n_rows, n_components), before any pooling."""
    return sae._encode_csr(sae._checked(X))


def kept_latents(sae: BaseSAE, n_latents: int | None = None) -> int:
    """How many latents of a row are kept: k, or what stands for None."""
    if sae.k is not None:
        return sae.k
    return min(_DEFAULT_K, n_latents or len(sae.components_))
