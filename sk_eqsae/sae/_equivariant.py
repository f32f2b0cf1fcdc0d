"""The paper's equivariant sparse autoencoder."""

from collections.abc import Iterator
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from .._metrics import fvu_of_chunks
from .._fitted import Fitted
from .._state import all_or_nothing
from ..activations._rows import checked_rows, read_rows
from ..groups import ActivationTransformFitter, FiniteGroup
from ..groups._orbit_table import orbit_table, power_of_each_row
from ..groups._trust import pose_sample, warn_if_no_symmetry, warn_if_poses_look_alike
from ._activation_transform import (
    fit_activation_transform,
    partial_fit_activation_transform,
)
from ._base import BaseSAE
from ._recipe import Recipe
from ._rows import TrainingRows
from ._torch_module import EquivariantAutoencoder


class EquivariantSAE(BaseSAE):
    """Sparse autoencoder whose codes are the same for all copies of an input.

    Every row of an orbit is encoded and decoded to the orbit's canonical row (the
    invariance loss, equation 2 of [1]_), and a matrix M moves it back to where it
    was (equation 1)::

        D(E(psi(g^p x))) = psi(x)    and    M^p D(E(psi(g^p x))) = psi(g^p x)

    Parameters
    ----------
    n_components : int, default=None
        Number of latents. None is 8 times the number of features.
    symmetry : int or FiniteGroup, default=None
        The group: the order of a cyclic group, or one such as ``DihedralGroup(4)``.
        None is the cyclic group of the powers given to `fit`; without any the group is
        trivial and the estimator equals :class:`TopKSAE`.
    k : int, default=None
        Number of latents kept per row. None is 32, or `n_components` if that is less.
    hidden_dim : int, default=512
        Width of the encoder's hidden layer. None makes the encoder linear, which
        may fail to learn to be invariant.
    activation_transform : estimator, default=None
        How M is fitted: it is cloned and fitted on the same orbits. None is
        ``ActivationTransformFitter()``. Wrap a fitted one in
        :class:`sklearn.frozen.FrozenEstimator` to keep it.
    activation : {"topk", "batch_topk"}, default="topk"
        Which latents are active. "topk": the `k` largest of each row. "batch_topk":
        while training the largest of a batch, `k` per row on average; afterwards
        those above a threshold, so that a row may have more or fewer.
    nested : array-like of shape (n_prefixes,), default=None
        Sizes of prefixes of the dictionary that reconstruct rows by themselves
        (Matryoshka): the loss is the mean over them and the whole dictionary, which
        puts the most useful latents first.
    recipe : {"default", "paper"} or Recipe, default="default"
        How to train, see :class:`TopKSAE`.
    max_epochs : int, default=None
        Passes over the data. None is 200, or 500 for `recipe="paper"`.
    batch_size : int, default=None
        Rows per step. None is 256, or 64 for `recipe="paper"`.
    lr : float, default=None
        Learning rate of Adam. None is 2e-3, or 1e-3 for `recipe="paper"`.
    warm_start : bool, default=False
        If True, `fit` goes on from the weights of the last fit.
    buffer_size : float, default=256
        Megabytes of rows to hold while training on a memory map or
        :class:`~sk_eqsae.activations.Shards`, from which batches are drawn. Rows that
        fit into it are loaded once and give what an array of them gives.
    checkpoint : path, default=None
        File to which `fit` writes the state of training each minute, and from which
        it goes on if it was killed, to the same weights to the bit. It is removed at
        the end. Each fit needs a path of its own.
    sparse_output : bool, default=False
        If True, `transform` returns a CSR array.
    device : str or torch.device, default="auto"
        Where to compute. "auto" uses a GPU when there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights and of the order of the rows. The global random
        states of numpy and torch stay as they are.
    verbose : int, default=0
        1 shows a progress bar over epochs.

    Attributes
    ----------
    activation_transform_ : estimator
        Fitted M.
    symmetry_ : FiniteGroup
        The group.
    order_ : int
        Order of the group.
    components_ : ndarray of shape (n_components, n_features)
        Dictionary: row i is the direction of latent i in canonical activations.
    intercept_ : ndarray of shape (n_features,)
        What a row without active latents decodes to.
    coefs_ : list of ndarray
        Encoder weights, each of shape (n_inputs, n_outputs).
    intercepts_ : list of ndarray
        Encoder biases, each of shape (n_outputs,).
    mean_ : ndarray of shape (n_features,)
        Subtracted from a row before it is encoded.
    scale_ : float
        Divides a row before it is encoded.
    threshold_ : float
        Latents above it are active; `activation="batch_topk"` only.
    loss_curve_ : ndarray of shape (n_epochs,)
        Mean invariance loss of each epoch, in units of `scale_` squared, with what
        the recipe adds to it.
    error_curve_ : ndarray of shape (n_epochs,)
        The part of the loss that is the squared error of canonical rows, without
        what the recipe adds, in the same units. Times `scale_` squared and over the
        variance of the rows it is the FVU of the epoch; with `nested` it is a mean
        over all prefixes. Older files do not have it.
    n_iter_ : int
        Epochs done. Fewer than asked for if the fit was interrupted.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had them.

    See Also
    --------
    TopKSAE : The regular autoencoder.
    ActivationTransformFitter : The matrix M.

    Notes
    -----
    The method needs canonical rows that the rest of the orbit determines: if any row
    of an orbit could have been chosen as the canonical one, the target of the
    invariance loss cannot be predicted for a new input.

    The invariance loss asks that all rows of an orbit are decoded to the same row, not
    that they have the same code: a large dictionary then keeps several nearly equal
    vectors, each of them for rows of one power, and the code tells the power. The
    default recipe adds a consistency loss: a row x also has to rebuild its canonical
    row c from the latents that c has, as large as they are in x,
    ``||c - D(E(x) at the active latents of c)||^2``, times
    `Recipe.consistency_weight`. With it codes are invariant as far as the encoder can
    tell the canonical row; the pooled latents of :class:`GroupTiedSAE` are so by
    construction. Without a hidden layer the encoder cannot follow, and the loss costs
    more reconstruction than it is worth.

    References
    ----------
    .. [1] Erdogan, Lucic. "Group Equivariance Meets Mechanistic Interpretability:
       Equivariant Sparse Autoencoders". arXiv:2511.09432, 2025. Section 3.

    Examples
    --------
    Three shared directions seen from four sides:

    >>> import numpy as np
    >>> from sk_eqsae import EquivariantSAE
    >>> rng = np.random.default_rng(0)
    >>> x = np.abs(rng.normal(size=(200, 3))) @ np.eye(3, 12)
    >>> X = np.stack([np.roll(x, 3 * p, axis=1) for p in range(4)], axis=1)
    >>> groups, power = np.repeat(np.arange(200), 4), np.tile(np.arange(4), 200)
    >>> sae = EquivariantSAE(16, k=4, hidden_dim=64, max_epochs=60, random_state=0)
    >>> sae = sae.fit(X.reshape(-1, 12), groups=groups, power=power)
    >>> Z = sae.transform(X.reshape(-1, 12))
    >>> Z.shape
    (800, 16)
    >>> bool((sae.predict_power(X.reshape(-1, 12)) == power).mean() > 0.95)
    True
    >>> sae.score(X.reshape(-1, 12), groups=groups, power=power) > 0.8
    True
    """

    symmetry_: FiniteGroup

    _fitted: ClassVar[tuple] = (
        *BaseSAE._fitted,
        Fitted("symmetry_", "FiniteGroup", ("order",)),
        Fitted("order_", "int", ("order",)),
        Fitted("activation_transform_", "ActivationTransformFitter", ("n_features",)),
    )

    _parameter_constraints: ClassVar[dict] = {
        **BaseSAE._parameter_constraints,
        "symmetry": [Interval(Integral, 1, None, closed="left"), FiniteGroup, None],
        "activation_transform": [HasMethods(["fit", "act"]), None],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        symmetry: int | FiniteGroup | None = None,
        k: int | None = None,
        hidden_dim: int | None = 512,
        activation_transform: BaseEstimator | None = None,
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
        self.activation_transform = activation_transform
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

    def fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> Self:
        """Fit M and train the autoencoder.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        y : None
            Ignored.
        groups : array-like of shape (n_rows,), default=None
            Orbit id of each row.
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Powers of the generators of each row; 0 is the canonical row.

        Returns
        -------
        self : EquivariantSAE
            The fitted estimator.

        Raises
        ------
        ValueError
            If groups and power do not describe orbits with one canonical row each,
            if k is larger than the dictionary, or if training diverges.

        Warns
        -----
        UserWarning
            If M is not to be trusted (:meth:`ActivationTransformFitter.fit`), or if an
            element other than the identity leaves more than half of the canonical
            rows alone, so that `predict_power` cannot tell poses apart.
        ConvergenceWarning
            If all latents, or with a recipe that revives them more than 90 % of them,
            are dead, if reconstructions are far larger than the rows, or if training
            was interrupted.
        """
        with all_or_nothing(self):
            return self._fit_rows(self._training_rows(X, groups=groups, power=power))

    def partial_fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> Self:
        """Train on these rows once, going on from where the last call has ended.

        What the first call finds, mean, scale, group, stays as it is; M is fitted to
        the orbits of all calls. Adam
        and the search for dead latents go on, too. The learning rate is `lr` all the
        time: for the fall at the end of `fit`, lower it with ``set_params`` in the
        last calls. `dead_after` counts calls as epochs, or 10,000 rows if that is
        more. `threshold_` is of the rows of the last call. After `fit`, its weights are
        trained on, but M is fitted anew, to the orbits of this call.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        y : None
            Ignored.
        groups : array-like of shape (n_rows,), default=None
            Orbit id of each row. Orbits have to be whole, ids belong to their call.
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Powers of the generators of each row; 0 is the canonical row.

        Returns
        -------
        self : EquivariantSAE
            The fitted estimator.

        Raises
        ------
        ValueError
            As `fit` does. A call that raises leaves the estimator as it was.

        Warns
        -----
        UserWarning
            If M is not to be trusted, or if `fit` was called before, of whose orbits
            no sums are left.
        """
        with all_or_nothing(self):
            metadata = {"groups": groups, "power": power}
            rows = self._training_rows(X, partial=True, **metadata)
            return self._fit_rows(rows, partial=True)

    @_fit_context(prefer_skip_nested_validation=False)
    def _training_rows(
        self,
        X: ArrayLike,
        *,
        groups: ArrayLike | None,
        power: ArrayLike | None,
        partial: bool = False,
    ) -> TrainingRows:
        """Check parameters and orbits, and fit M; rows and their targets."""
        X = checked_rows(self, X, reset=not self._is_going_on(partial))
        known = self.symmetry_ if partial and hasattr(self, "symmetry_") else None
        self.symmetry_, table = orbit_table(
            groups, power, symmetry=known or self.symmetry, n_rows=len(X)
        )
        self.order_ = self.symmetry_.order
        warn_if_no_symmetry(self, groups, "trains a plain TopKSAE")
        self._fit_activation_transform(X, groups, power, partial)
        if not partial:
            some = read_rows(X, pose_sample(table[:, 0]))
            warn_if_poses_look_alike(some, self.activation_transform_)
        rows = table[table >= 0]
        if self.order_ == 1:
            return TrainingRows(X, rows)
        canonical = np.broadcast_to(table[:, :1], table.shape)
        return TrainingRows(X, rows, canonical[table >= 0])

    def _fit_activation_transform(
        self,
        X: NDArray,
        groups: ArrayLike | None,
        power: ArrayLike | None,
        partial: bool,
    ) -> None:
        fitter = self.activation_transform
        if fitter is None:
            fitter = ActivationTransformFitter(self.symmetry_)
        before = getattr(self, "activation_transform_", None) if partial else None
        fit = partial_fit_activation_transform if partial else fit_activation_transform
        self.activation_transform_ = fit(
            before or clone(fitter), self.symmetry_, X, groups=groups, power=power
        )

    def inverse_transform(
        self, Z: ArrayLike | csr_array, *, power: ArrayLike | None = None
    ) -> NDArray:
        """Decode latents to canonical activations, or move them on.

        Parameters
        ----------
        Z : array-like or sparse array of shape (n_rows, n_components)
            Latents.
        power : int or array-like of shape (n_rows,) or (n_rows, n_generators)
            Powers of the generators that move each row. None leaves it canonical.

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            M^power (intercept + Z D), in the dtype of Z.
        """
        canonical = self._inverse(Z)
        return canonical if power is None else self._move(canonical, power)

    def _move(self, canonical: NDArray, power: ArrayLike) -> NDArray:
        return self.activation_transform_.act(canonical, power)

    def predict_power(self, X: ArrayLike) -> NDArray:
        """Pose of each row: the power that explains it best.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.

        Returns
        -------
        power : ndarray of shape (n_rows,) or (n_rows, n_generators)
            The p that minimises ||x - M^p D(E(x))||, the first on ties.
        """
        chunks = self._decode_chunks(self._check_rows(X))
        return np.concatenate(
            [self._poses(chunk, canonical) for chunk, _, canonical in chunks]
        )

    def _poses(self, X: NDArray, canonical: NDArray) -> NDArray:
        powers = self.symmetry_.powers
        powers = powers if self.symmetry_.n_generators > 1 else powers[:, 0]
        distances = np.empty((self.order_, len(X)))
        for element, power in enumerate(powers):
            # squares of float32 may leave its range
            difference = (X - self._move(canonical, power)).astype(np.float64)
            distances[element] = np.einsum("ij,ij->i", difference, difference)
        return powers[distances.argmin(axis=0)]

    def reconstruct(self, X: ArrayLike, *, power: ArrayLike | None = None) -> NDArray:
        """Equivariant reconstruction M^p D(E(x)).

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        power : int or array-like of shape (n_rows,) or (n_rows, n_generators)
            True powers of each row. None infers it with :meth:`predict_power`.

        Returns
        -------
        reconstruction : ndarray of shape (n_rows, n_features)
            Reconstructed activations, in the dtype of X.
        """
        X = self._check_rows(X)
        chunks = self._reconstruct_chunks(X, power)
        return np.concatenate([moved for _, moved in chunks])

    def _reconstruct_chunks(
        self, X: Any, power: ArrayLike | None
    ) -> Iterator[tuple[NDArray, NDArray]]:
        """Rows, and M^p D(E(x)) of each."""
        powers = None if power is None else self._power_of_each(power, len(X))
        for chunk, rows, canonical in self._decode_chunks(X):
            if powers is None:
                its_power = self._poses(chunk, canonical)
            else:
                its_power = powers[rows]
            yield chunk, self._move(canonical, its_power)

    def _power_of_each(self, power: ArrayLike, n_rows: int) -> NDArray:
        n_generators = self.symmetry_.n_generators
        power = power_of_each_row(power, n_rows, n_generators)
        return power if n_generators > 1 else power[:, 0]

    def to_module(self) -> EquivariantAutoencoder:
        """Copy what was fitted, with M, into a plain torch module.

        Returns
        -------
        module : torch.nn.Module
            With ``encode(x)``, ``decode(z, power=None)``, ``predict_power(x)`` and
            ``forward(x, power=None)``, which reconstructs as :meth:`reconstruct`
            does, for tensors of activations of shape (..., n_features). It is in
            float32 and on the CPU. Powers have to be whole.

        Raises
        ------
        ValueError
            If `activation_transform_` cannot give M as matrices.
        """
        check_is_fitted(self)
        return EquivariantAutoencoder(self)

    def score(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> float:
        """Share of the variance that the equivariant reconstruction explains.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        y : None
            Ignored.
        groups : array-like of shape (n_rows,), default=None
            Orbit id of each row. Given with power, both must describe orbits.
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            True powers of each row. None infers it.

        Returns
        -------
        score : float
            1 - FVU: 1 is perfect, 0 is as good as the per-feature mean of X.
        """
        X = self._check_rows(X)
        if groups is not None:
            orbit_table(groups, power, symmetry=self.symmetry_, n_rows=len(X))
        return 1 - fvu_of_chunks(self._reconstruct_chunks(X, power))
