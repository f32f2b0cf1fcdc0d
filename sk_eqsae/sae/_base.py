"""What the autoencoders share: parameters, training, encoding, decoding."""

from collections.abc import Iterator
from numbers import Integral, Real
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
from sklearn.utils.validation import check_is_fitted, validate_data

from .._metrics import fvu
from .._training import draw_seed, resolve_device, train
from ._code import Code
from ._module import SAEModule
from ._objective import Objective
from ._outcome import sample, warn_if_dead, warn_if_far_off
from ._recipe import RECIPES, Recipe
from ._selection import BatchTopK, Selection, Threshold, TopK
from ._sparse_ops import decode_sparse
from ._torch_module import SparseAutoencoder

_DTYPES = (np.float64, np.float32)
_CHUNK_ENTRIES = 2**22  # latents held dense at a time: 16 MiB


class Run(NamedTuple):
    """A fit that is ready to train.

    Attributes
    ----------
    module : SAEModule
        What is trained.
    tensors : tuple of torch.Tensor
        Normalised rows, and their targets where they are not their own.
    seed : int
        Seed of the order of the rows.
    target_mean : ndarray of shape (n_features,)
        What was subtracted from the targets.
    previous_losses : ndarray of shape (n_epochs,)
        Losses of the epochs that training goes on from.
    """

    module: SAEModule
    tensors: tuple[torch.Tensor, ...]
    seed: int
    target_mean: NDArray
    previous_losses: NDArray


class BaseSAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of the sparse autoencoders; not for use by itself."""

    coefs_: list[NDArray]
    intercepts_: list[NDArray]
    components_: NDArray
    intercept_: NDArray
    mean_: NDArray
    scale_: float
    loss_curve_: NDArray
    hidden_dim: int | None

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "k": [Interval(Integral, 1, None, closed="left")],
        "hidden_dim": [Interval(Integral, 1, None, closed="left"), None],
        "activation": [StrOptions({"topk", "batch_topk"})],
        "nested": ["array-like", None],
        "recipe": [StrOptions(set(RECIPES)), Recipe],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "lr": [Interval(Real, 0, None, closed="neither"), None],
        "warm_start": ["boolean"],
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
        Z = np.zeros((len(X), len(self.components_)), dtype=X.dtype)
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

    def score(self, X: ArrayLike, y: None = None) -> float:
        """Share of the variance that the reconstruction explains, 1 - FVU.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        y : None
            Ignored.

        Returns
        -------
        score : float
            1 is perfect, 0 is as good as the per-feature mean of X.
        """
        X = self._check_rows(X)
        return 1 - fvu(X, self._decoded(X))

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

    def _is_going_on(self) -> bool:
        return self.warm_start and hasattr(self, "components_")

    def _check_rows(self, X: ArrayLike) -> NDArray:
        check_is_fitted(self)
        # sums over rows in another memory order round differently
        return validate_data(self, X, dtype=_DTYPES, order="C", reset=False)

    def _encode_csr(self, X: NDArray) -> csr_array:
        parts = [
            _csr(values, code, len(self.components_))
            for _, values, code in self._encode_chunks(X)
        ]
        return vstack(parts, format="csr")

    @torch.no_grad()
    def _encode_chunks(self, X: NDArray) -> Iterator[tuple[slice, NDArray, Code]]:
        """Latents in the units of the activations, and where they are."""
        scale = X.dtype.type(self.scale_)
        module, device = self._make_module()
        for rows in self._chunks(len(X)):
            inputs = self._normalized(X[rows]).to(device)
            code = _to_cpu(module.encode(inputs, self._selection()))
            yield rows, code.values.numpy().astype(X.dtype, copy=False) * scale, code

    @torch.no_grad()
    def _decoded(self, X: NDArray) -> NDArray:
        """D(E(x)) of each row, without holding the latents of all rows."""
        decoded = np.empty(X.shape, dtype=X.dtype)
        module, device = self._make_module()
        for rows in self._chunks(len(X)):
            inputs = self._normalized(X[rows]).to(device)
            code = module.encode(inputs, self._selection())
            part = decode_sparse(code, module.components)
            decoded[rows] = part.cpu().numpy() * self.scale_ + self.intercept_
        return decoded

    def _selection(self) -> Selection:
        if self.activation == "batch_topk":
            return Threshold(self.threshold_ / self.scale_)
        return TopK(self.k)

    def _chunks(self, n_rows: int) -> Iterator[slice]:
        return gen_batches(n_rows, max(1, _CHUNK_ENTRIES // len(self.components_)))

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

    def _fit_rows(self, X: NDArray, target: NDArray | None = None) -> Self:
        """Train on rows and their targets; without targets, rows are their own."""
        run = self._start(X, target)
        return self._finish(run, self._train(run))

    def _start(self, X: NDArray, target: NDArray | None = None) -> Run:
        """All of a fit that comes before training."""
        recipe = self._recipe()
        going_on = self._is_going_on()
        random_state = check_random_state(self.random_state)
        if not going_on:
            self._set_normalization(X, recipe)
        target_mean = self.mean_
        if target is not None and recipe.normalize:
            target_mean = _mean(target)
        if going_on:
            module = self._trained_module(target_mean)
        else:
            module = self._new_module(X.shape[1], draw_seed(random_state))
        targets = [] if target is None else [self._normalized(target, target_mean)]
        return Run(
            module,
            (self._normalized(X), *targets),
            draw_seed(random_state),
            target_mean,
            self.loss_curve_ if going_on else np.empty(0),
        )

    def _train(self, run: Run) -> NDArray:
        objective = Objective(
            run.module,
            self._training_selection(),
            self._recipe(),
            n_rows=len(run.tensors[0]),
            prefixes=self._prefixes(run.module.n_latents),
        )
        return train(
            objective,
            *run.tensors,
            lr=self._lr(),
            seed=run.seed,
            verbose=self.verbose,
            description=type(self).__name__,
            **self._schedule(),
        )

    def _training_selection(self) -> Selection:
        return BatchTopK(self.k) if self.activation == "batch_topk" else TopK(self.k)

    def _lr(self) -> float:
        return self.lr or self._recipe().lr

    def _schedule(self) -> dict[str, Any]:
        """Settings of training that fits at once have in common."""
        recipe = self._recipe()
        return {
            "lr_decay": recipe.lr_decay,
            "batch_size": self.batch_size or recipe.batch_size,
            "max_epochs": self.max_epochs or recipe.max_epochs,
            "device": resolve_device(self.device),
        }

    def _finish(self, run: Run, loss_curve: NDArray) -> Self:
        """Keep what was learned as arrays."""
        self._keep(run.module, run.target_mean)
        self.loss_curve_ = np.concatenate([run.previous_losses, loss_curve])
        self.n_iter_ = len(self.loss_curve_)
        if self.activation == "batch_topk":
            self.threshold_ = self._mean_threshold(run.tensors[0])
        self._warn_of_outcome(run)
        return self

    @torch.no_grad()
    def _warn_of_outcome(self, run: Run) -> None:
        n_latents = len(self.components_)
        rows = sample(len(run.tensors[0]), n_latents, self.k)
        inputs, target = run.tensors[0][rows], run.tensors[-1][rows]
        module, device = self._make_module()
        fires = np.zeros(n_latents, dtype=bool)
        for part in self._chunks(len(inputs)):
            code = _to_cpu(module.encode(inputs[part].to(device), self._selection()))
            fires[code.indices[code.values > 0].numpy()] = True
        if (target != target[0]).any():  # else the intercept is all there is to learn
            revives = self._recipe().aux_weight > 0
            warn_if_dead(fires, n_chances=len(inputs) * self.k, revives=revives)
            if len(self.loss_curve_):
                warn_if_far_off(self.loss_curve_[-1], target.numpy())

    def _recipe(self) -> Recipe:
        return RECIPES[self.recipe] if isinstance(self.recipe, str) else self.recipe

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
        """Mean over batches of the smallest latent that BatchTopK keeps."""
        module, device = self._make_module()
        smallest = []
        for rows in self._chunks(len(inputs)):
            values = module.encode(inputs[rows].to(device), BatchTopK(self.k)).values
            smallest.append(float(values.min()))
        return self.scale_ * float(np.mean(smallest))

    def _set_normalization(self, X: NDArray, recipe: Recipe) -> None:
        self.mean_ = np.zeros(X.shape[1])
        self.scale_ = 1.0
        if recipe.normalize:
            self.mean_ = _mean(X)
            self.scale_ = _root_mean_square(X - self.mean_) or 1.0

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
        if self.k > n_latents:
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
                f"warm_start=True goes on with the {len(self.components_)} latents "
                f"fitted before, but the parameters, such as n_components="
                f"{self.n_components}, now ask for {n_latents}. Set warm_start=False "
                "to start anew."
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
                f"warm_start=True goes on with the {before} hidden units fitted "
                f"before, but hidden_dim={self.hidden_dim} now asks for "
                f"{self._n_hidden()}. Set warm_start=False to start anew."
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


def _mean(X: NDArray) -> NDArray:
    return X.mean(axis=0, dtype=np.float64)


def _root_mean_square(X: NDArray) -> float:
    largest = np.abs(X).max()  # keeps squares of very large or small entries finite
    if largest == 0:
        return 0.0
    return float(largest * np.sqrt(np.square(X / largest).mean(dtype=np.float64)))


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
