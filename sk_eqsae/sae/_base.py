"""What the autoencoders share: parameters, training, encoding, decoding."""

import hashlib
from collections.abc import Iterator
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, vstack
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._checkpoint import Checkpoint
from .._doc_link import DocLinkMixin
from .._fitted import FEATURES, Fitted, adam_state
from .._metrics import fvu_of_chunks
from .._streams import Stream
from .._training import draw_seed, ordinary_modes, resolve_device, train
from ..activations._rows import checked_rows, dtype_in_memory, read_rows
from ._code import Code
from ._data_parallel import checkpoint_class, objective_class
from ._module import SAEModule
from ._outcome import sample, warn_if_dead, warn_if_far_off
from ._recipe import RECIPES, SCHEDULES, Recipe
from ._rows import Spread, TrainingRows, new_digest
from ._selection import BatchTopK, Selection, Threshold, TopK
from ._sparse_ops import decode_sparse
from ._torch_module import SparseAutoencoder

_DTYPES = (np.float64, np.float32)
_CHUNK_ENTRIES = 2**22  # rows or dense latents held at a time: 16 MiB in float32
_READ_AT_ONCE = 64  # neighbouring rows of a sample from the disk
_MB = 1e6
_DEFAULT_K = 32
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


class Run(NamedTuple):
    """A fit that is ready to train.

    Attributes
    ----------
    module : SAEModule
        What is trained.
    tensors : tuple of torch.Tensor, or of one Stream
        Normalised rows, and their targets where they are not their own.
    seed : int
        Seed of the order of the rows.
    target_mean : ndarray of shape (n_features,)
        What was subtracted from the targets.
    target_shift : torch.Tensor of shape (n_features,) or None
        What turns a target into a row that may go in; None if they are the same.
    previous : ndarray of shape (2, n_epochs)
        Losses and squared errors of the epochs that training goes on from.
    digest : str or None
        Hash of all rows, where there is a checkpoint.
    memory : dict of ndarray or None
        Of partial_fit: what the calls before have left, empty at first.
    """

    module: SAEModule
    tensors: tuple[Any, ...]
    seed: int
    target_mean: NDArray
    target_shift: torch.Tensor | None
    previous: NDArray
    digest: str | None
    memory: dict[str, NDArray] | None = None


class BaseSAE(
    DocLinkMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Base class of the sparse autoencoders; not for use by itself."""

    coefs_: list[NDArray]
    intercepts_: list[NDArray]
    components_: NDArray
    intercept_: NDArray
    mean_: NDArray
    scale_: float
    loss_curve_: NDArray
    error_curve_: NDArray
    hidden_dim: int | None

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
        Fitted("n_iter_", "int", ("n_epochs",)),
        Fitted("loss_curve_", "float64", ("n_epochs",)),
        Fitted("error_curve_", "float64", ("n_epochs",), optional=True),
        # of partial_fit; vectors are those that are trained, without their copies
        Fitted("_memory", "dict", optional=True),
        Fitted("_memory/target_mean", "float64", ("n_features",)),
        Fitted("_memory/counters.idle", "float32", ("n_components",)),
        Fitted("_memory/counters.dead", "int64", ("n_dead",)),
        Fitted("_memory/counters.rows_until_check", "float64", ("one",)),
        *adam_state("module.components", ("n_vectors", "n_features")),
        *adam_state("module.intercept", ("n_features",)),
        *adam_state("module.encoder.weight", ("n_vectors", "n_inputs")),
        *adam_state("module.encoder.bias", ("n_vectors",)),
        *adam_state("module.hidden.weight", ("n_hidden", "n_features"), optional=True),
        *adam_state("module.hidden.bias", ("n_hidden",), optional=True),
    )

    __metadata_request__fit: ClassVar[dict] = {"groups": True, "power": True}
    __metadata_request__partial_fit: ClassVar[dict] = {"groups": True, "power": True}
    __metadata_request__score: ClassVar[dict] = {"groups": True, "power": True}

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "k": [Interval(Integral, 1, None, closed="left"), None],
        "hidden_dim": [Interval(Integral, 1, None, closed="left"), None],
        "activation": [StrOptions({"topk", "batch_topk"})],
        "nested": ["array-like", None],
        "recipe": [StrOptions(set(RECIPES)), Recipe],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
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

    def transform(self, X: ArrayLike) -> NDArray | csr_array:
        """Encode activations.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.

        Returns
        -------
        Z : ndarray or csr_array of shape (n_rows, n_components)
            Latents, non-negative, in the units of the activations and in the dtype
            of X. At most ``k`` of a row are non-zero, or with
            ``activation="batch_topk"`` those above `threshold_`.
        """
        X = self._check_rows(X)
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
        return self._inverse(Z)

    def score(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> float:
        """Share of the variance that the reconstruction explains, 1 - FVU.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        y : None
            Ignored.
        groups : array-like of shape (n_rows,), default=None
            Not needed.
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Not needed.

        Returns
        -------
        score : float
            1 is perfect, 0 is as good as the per-feature mean of X.
        """
        X = self._check_rows(X)
        chunks = self._decode_chunks(X)
        return 1 - fvu_of_chunks((chunk, decoded) for chunk, _, decoded in chunks)

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

    def _is_going_on(self, partial: bool = False) -> bool:
        return (partial or self.warm_start) and hasattr(self, "components_")

    def _check_rows(self, X: ArrayLike) -> Any:
        check_is_fitted(self)
        return checked_rows(self, X, reset=False)

    def _read_chunks(self, X: Any) -> Iterator[tuple[NDArray, slice]]:
        """Rows, wherever they are, and their places."""
        for rows in self._chunks(len(X)):
            yield read_rows(X, rows), rows

    def _encode_csr(self, X: NDArray) -> csr_array:
        parts = [
            _csr(values, code, len(self.components_))
            for _, values, code in self._encode_chunks(X)
        ]
        return vstack(parts, format="csr")

    @torch.no_grad()
    def _encode_chunks(self, X: Any) -> Iterator[tuple[slice, NDArray, Code]]:
        """Latents in the units of the activations, and where they are."""
        module, device = self._make_module()
        for chunk, rows in self._read_chunks(X):
            inputs = self._normalized(chunk).to(device)
            code = _to_cpu(module.encode(inputs, self._selection()))
            values = code.values.numpy().astype(chunk.dtype, copy=False)
            yield rows, values * chunk.dtype.type(self.scale_), code

    def _decoded(self, X: Any) -> NDArray:
        """D(E(x)) of each row, without holding the latents of all rows."""
        decoded = np.empty(X.shape, dtype=dtype_in_memory(X))
        for _, rows, part in self._decode_chunks(X):
            decoded[rows] = part
        return decoded

    @torch.no_grad()
    def _decode_chunks(self, X: Any) -> Iterator[tuple[NDArray, slice, NDArray]]:
        """Rows, their places, and D(E(x)) in their dtype."""
        module, device = self._make_module()
        for chunk, rows in self._read_chunks(X):
            inputs = self._normalized(chunk).to(device)
            code = module.encode(inputs, self._selection())
            part = decode_sparse(code, module.components).cpu().numpy()
            decoded = part * self.scale_ + self.intercept_
            yield chunk, rows, decoded.astype(chunk.dtype, copy=False)

    def _selection(self) -> Selection:
        self._check_selection()
        if self.activation == "batch_topk":
            return Threshold(self.threshold_ / self.scale_)
        return TopK(kept_latents(self))

    def _check_selection(self) -> None:
        """Raise an error if k or activation, set since the fit, do not go with it."""
        n_latents = len(self.components_)
        if self.activation == "batch_topk":
            if not hasattr(self, "threshold_"):
                raise ValueError(
                    "activation='batch_topk' was set after a fit with 'topk', which "
                    "has no threshold_. Call fit again."
                )
        elif not 1 <= kept_latents(self) <= n_latents:
            raise ValueError(
                f"k={self.k} was set after a fit with {n_latents} latents. It has to "
                f"be from 1 to {n_latents}; for more, raise n_components and call fit "
                "again."
            )

    def _chunks(self, n_rows: int) -> Iterator[slice]:
        width = max(self.components_.shape)  # of a row, or of its latents
        return gen_batches(n_rows, max(1, _CHUNK_ENTRIES // width))

    def _normalized(self, X: NDArray, mean: NDArray | None = None) -> torch.Tensor:
        with np.errstate(over="ignore"):
            rows = (X - (self.mean_ if mean is None else mean)) / self.scale_
            rows = rows.astype(np.float32)
        if not np.isfinite(rows).all():
            raise ValueError(
                f"X has entries as large as {np.abs(X).max():.0e}, too large for "
                f"float32 in units of the training data (scale_={self.scale_:.0e}). "
                "Look at the units of X."
            )
        return torch.from_numpy(rows)

    def _make_module(self) -> tuple[SAEModule, torch.device]:
        device = resolve_device(self.device)
        module = SAEModule.from_arrays(
            self.coefs_, self.intercepts_, self.components_, self.intercept_
        )
        return module.to(device, torch.float32), device

    def _inverse(self, Z: ArrayLike | csr_array) -> NDArray:
        check_is_fitted(self)
        Z = check_array(Z, accept_sparse="csr", dtype=_DTYPES)
        if Z.shape[1] != len(self.components_):
            raise ValueError(
                f"Z has {Z.shape[1]} columns, but {type(self).__name__} has "
                f"{len(self.components_)} latents. Pass latents as transform returns "
                "them, with the ones that are not wanted set to 0 instead of removed."
            )
        return (Z @ self.components_ + self.intercept_).astype(Z.dtype, copy=False)

    def _fit_rows(self, rows: TrainingRows, *, partial: bool = False) -> Self:
        with ordinary_modes():
            run = self._start(rows, partial=partial)
            return self._finish(run, self._train(run))

    def _start(self, rows: TrainingRows, *, partial: bool = False) -> Run:
        """All of a fit that comes before training."""
        recipe = self._recipe()
        going_on = self._is_going_on(partial)
        random_state = check_random_state(self.random_state)
        previous = self._curves() if going_on else np.empty((2, 0))
        memory = dict(getattr(self, "_memory", {})) if partial else None
        digest = None if partial or self.checkpoint is None else new_digest()
        spreads = rows.spreads(digest)
        if not going_on:
            self._set_normalization(spreads[0], recipe)
        target_mean = self.mean_
        if rows.targets is not None and recipe.normalize:
            target_mean = spreads[-1].mean
        if memory is not None:
            target_mean = memory.setdefault("target_mean", target_mean)
        if going_on:
            module = self._trained_module(target_mean)
        else:
            module = self._new_module(rows.shape[1], draw_seed(random_state))
        means = [self.mean_, target_mean]

        def normalize(*arrays: NDArray) -> tuple[torch.Tensor, ...]:
            pairs = zip(arrays, means, strict=False)
            return tuple(self._normalized(X, mean) for X, mean in pairs)

        return Run(
            module,
            rows.normalized(normalize, self.buffer_size * _MB),
            draw_seed(random_state) + (previous.shape[1] if partial else 0),
            target_mean,
            self._target_shift(rows, target_mean),
            previous,
            digest and digest.hexdigest(),
            memory,
        )

    def _target_shift(
        self, rows: TrainingRows, target_mean: NDArray
    ) -> torch.Tensor | None:
        if rows.targets is None:
            return None
        return torch.from_numpy(np.float32((target_mean - self.mean_) / self.scale_))

    def _train(self, run: Run) -> NDArray:
        partial = run.memory is not None
        n_rows, schedule = len(run.tensors[0]), self._schedule()
        if partial:  # nobody knows how many calls will follow
            n_rows = max(n_rows, _PARTIAL_EPOCH)
            schedule |= {"max_epochs": 1, "lr_decay": 0.0}
        objective = objective_class(self, run)(
            run.module,
            self._training_selection(run.module.n_latents),
            self._recipe(),
            n_rows=n_rows,
            prefixes=self._prefixes(run.module.n_latents),
            target_shift=run.target_shift,
        )
        return train(
            objective,
            *run.tensors,
            lr=self._lr(),
            seed=run.seed,
            verbose=self.verbose,
            description=type(self).__name__,
            checkpoint=None if partial else self._checkpoint(run),
            memory=run.memory,
            **schedule,
        )

    def _checkpoint(self, run: Run) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        fingerprint = {
            name: repr(value)
            for name, value in self.get_params(deep=False).items()
            if name not in _NOT_OF_TRAINING
        }
        weights = dict(run.module.state_dict())
        if self.random_state is None:  # they are drawn anew, and then overwritten
            weights = dict(run.module.named_buffers())
        start = hashlib.sha256()
        for value in (self.mean_, run.target_mean, *weights.values()):
            start.update(np.asarray(value).tobytes())
        fingerprint |= {
            "estimator": type(self).__name__,
            "X, groups or power": str(run.digest),
            "starting weights (by random_state, group, M, warm_start)": (
                start.hexdigest()
            ),
        }
        return checkpoint_class()(self.checkpoint, fingerprint)

    def _training_selection(self, n_latents: int) -> Selection:
        k = kept_latents(self, n_latents)
        return BatchTopK(k) if self.activation == "batch_topk" else TopK(k)

    def _lr(self) -> float:
        return self.lr or self._defaults()["lr"]

    def _schedule(self) -> dict[str, Any]:
        """Settings of training that fits at once have in common."""
        recipe, defaults = self._recipe(), self._defaults()
        return {
            "lr_decay": recipe.lr_decay,
            "batch_size": self.batch_size or defaults["batch_size"],
            "max_epochs": self.max_epochs or defaults["max_epochs"],
            "device": resolve_device(self.device),
        }

    def _curves(self) -> NDArray:
        """Losses and squared errors so far; the latter may not be known."""
        unknown = np.full(len(self.loss_curve_), np.nan)
        return np.array([self.loss_curve_, getattr(self, "error_curve_", unknown)])

    def _finish(self, run: Run, curves: NDArray) -> Self:
        """Keep what was learned as arrays."""
        self._keep(run.module, run.target_mean)
        self.n_components_ = len(self.components_)
        curves = np.concatenate([run.previous, curves], axis=1)
        self.loss_curve_, errors = curves
        if np.isfinite(errors).all():
            self.error_curve_ = errors
        self.n_iter_ = len(self.loss_curve_)
        if run.memory is not None:
            self._memory = run.memory
        elif hasattr(self, "_memory"):
            del self._memory
        if self.activation == "batch_topk":
            self.threshold_ = self._mean_threshold(run.tensors[0])
        elif hasattr(self, "threshold_"):
            del self.threshold_
        if run.memory is None:  # else there may be more calls to come
            self._warn_of_outcome(run)
        return self

    @torch.no_grad()
    def _warn_of_outcome(self, run: Run) -> None:
        n_latents = len(self.components_)
        k = kept_latents(self)
        rows = sample(len(run.tensors[0]), n_latents, k)
        inputs, target = _chosen(run.tensors, rows)
        module, device = self._make_module()
        fires = np.zeros(n_latents, dtype=bool)
        for part in self._chunks(len(inputs)):
            code = _to_cpu(module.encode(inputs[part].to(device), self._selection()))
            fires[code.indices[code.values > 0].numpy()] = True
        if (target != target[0]).any():  # else the intercept is all there is to learn
            revives = self._recipe().aux_weight > 0
            warn_if_dead(fires, n_chances=len(inputs) * k, revives=revives)
            if len(self.loss_curve_):
                normalized = self._recipe().normalize
                warn_if_far_off(
                    self.loss_curve_[-1], target.numpy(), normalized=normalized
                )

    def _recipe(self) -> Recipe:
        return RECIPES[self.recipe] if isinstance(self.recipe, str) else self.recipe

    def _defaults(self) -> dict[str, Any]:
        """What lr, batch_size and max_epochs are where they are None."""
        return SCHEDULES["paper" if self.recipe == "paper" else "default"]

    def _prefixes(self, n_components: int) -> NDArray:
        """Where the parts of the dictionary end that reconstruct by themselves."""
        if self.nested is None:
            return np.array([n_components])
        sizes = np.asarray(self.nested)
        if (
            sizes.ndim != 1
            or sizes.dtype.kind not in "iu"
            or (np.diff(sizes, prepend=0, append=n_components + 1) <= 0).any()
        ):
            raise ValueError(
                f"nested={self.nested} has to list growing numbers of latents, from 1 "
                f"to {n_components}, which is all of them."
            )
        return sizes if sizes[-1] == n_components else np.append(sizes, n_components)

    @torch.no_grad()
    def _mean_threshold(self, inputs: torch.Tensor) -> float:
        """Mean over rows of the smallest latent that BatchTopK keeps in their chunk."""
        module, device = self._make_module()
        smallest, n_rows = [], []
        for rows in self._chunks(len(inputs)):
            chunk = inputs[rows].to(device)
            values = module.encode(chunk, BatchTopK(kept_latents(self))).values
            smallest.append(float(values.min()))
            n_rows.append(len(chunk))
        return self.scale_ * float(np.average(smallest, weights=n_rows))

    def _set_normalization(self, spread: Spread, recipe: Recipe) -> None:
        self.mean_ = np.zeros(len(spread.mean))
        self.scale_ = 1.0
        if recipe.normalize:
            self.mean_ = spread.mean
            self.scale_ = spread.root_mean_square() or 1.0

    def _new_module(self, n_features: int, seed: int) -> SAEModule:
        sizes = (n_features, self._check_sizes(n_features), self.hidden_dim)
        return self._initialized(seed, SAEModule, *sizes)

    def _initialized(
        self, seed: int, kind: type[SAEModule], *arguments: Any
    ) -> SAEModule:
        # not torch's global generator, which fits in other threads would draw from
        generator = torch.Generator().manual_seed(seed)
        module = kind(*arguments, generator=generator)
        if self._recipe().tied_init:
            module.initialize_tied(generator)
        return module

    def _check_sizes(self, n_features: int) -> int:
        n_latents = self._n_latents(n_features)
        if (self.k or 1) > n_latents:
            raise ValueError(
                f"k={self.k} is larger than the dictionary of {n_latents} latents "
                f"(n_components={self.n_components}, n_features={n_features}). Lower "
                "k or raise n_components."
            )
        return n_latents

    def _n_latents(self, n_features: int) -> int:
        return self.n_components or 8 * n_features

    def _trained_module(self, target_mean: NDArray) -> SAEModule:
        n_latents = self._check_sizes(self.n_features_in_)
        if n_latents != len(self.components_):
            raise ValueError(
                f"partial_fit or warm_start=True goes on with the "
                f"{len(self.components_)} latents fitted before, but the parameters, "
                f"such as n_components="
                f"{self.n_components}, now ask for {n_latents}. Call fit with "
                "warm_start=False to start anew."
            )
        self._check_hidden_layer()
        intercept = ((self.intercept_ - target_mean) / self.scale_).astype(np.float32)
        return SAEModule.from_arrays(
            [c.copy() for c in self.coefs_],
            [b.copy() for b in self.intercepts_],
            self.components_.copy(),
            intercept,
        )

    def _check_hidden_layer(self) -> None:
        before = self.coefs_[0].shape[1] if len(self.coefs_) > 1 else 0
        if self._n_hidden() != before:
            raise ValueError(
                f"partial_fit or warm_start=True goes on with the {before} hidden "
                f"units fitted before, but hidden_dim={self.hidden_dim} now asks for "
                f"{self._n_hidden()}. Call fit with warm_start=False to start anew."
            )

    def _n_hidden(self) -> int:
        return self.hidden_dim or 0

    def _keep(self, module: SAEModule, target_mean: NDArray) -> None:
        self.coefs_, self.intercepts_, self.components_, intercept = module.to_arrays()
        self.intercept_ = target_mean + self.scale_ * intercept.astype(np.float64)
        for weights in (*self.coefs_, *self.intercepts_, self.components_, intercept):
            if not np.isfinite(weights).all():  # the loss is that before the last step
                raise ValueError(
                    "training diverged: weights are not finite after the last step, "
                    f"with lr={self._lr():g}. Lower lr (the learning rate), or look "
                    "for extreme values in X."
                )

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        """Tags for scikit-learn: float32 and float64 come out as they went in."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def kept_latents(sae: BaseSAE, n_latents: int | None = None) -> int:
    """How many latents of a row are kept: k, or what stands for None."""
    if sae.k is not None:
        return sae.k
    return min(_DEFAULT_K, n_latents or len(sae.components_))


def sparse_codes(sae: BaseSAE, X: ArrayLike) -> csr_array:
    """All latents of rows, of shape (n_rows, n_components), before any pooling."""
    return sae._encode_csr(sae._check_rows(X))


def _chosen(
    tensors: tuple[Any, ...], rows: NDArray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Some rows that go in, and those that should come out."""
    if isinstance(tensors[0], Stream):
        last = np.minimum(rows[::_READ_AT_ONCE] + _READ_AT_ONCE, len(tensors[0]))
        places = zip(np.maximum(last - _READ_AT_ONCE, 0), last, strict=True)
        read = [tensors[0].read(*place) for place in places]
        tensors = tuple(torch.cat(parts) for parts in zip(*read, strict=True))
        rows = np.arange(len(tensors[0]))
    return tensors[0][rows], tensors[-1][rows]


def _to_cpu(code: Code) -> Code:
    return Code(*(part.cpu() for part in code[:4]))


def _csr(values: NDArray, code: Code, n_components: int) -> csr_array:
    """CSR latents of one chunk, without the entries that the ReLU set to zero."""
    shape = (len(code.offsets) - 1, n_components)
    # a copy, for what follows works in place, and codes of one size share offsets
    parts = (values, code.indices.numpy(), code.offsets.numpy())
    latents = csr_array(parts, shape=shape, copy=True)
    latents.sort_indices()
    latents.eliminate_zeros()
    return latents
