"""An autoencoder whose dictionary is closed under a group."""

from numbers import Integral
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    _check_feature_names_in,
    _is_fitted,
    check_is_fitted,
)

from .._fitted import Fitted
from .._state import all_or_nothing
from .._streams import Stream
from .._training import draw_seed
from ..activations._rows import checked_rows, read_rows
from ..groups import ActivationTransformFitter, FiniteGroup
from ..groups._group import as_group
from ..groups._irrep_basis import irrep_basis
from ..groups._orbit_table import orbit_table
from ..groups._pose import element_matrices
from ..groups._trust import pose_sample, warn_if_no_symmetry, warn_if_poses_look_alike
from ._activation_transform import fit_activation_transform, unexplained_moves
from ._base import BaseSAE, Run
from ._module import SAEModule
from ._recipe import Recipe
from ._rows import Spread, TrainingRows
from ._tied_module import TiedModule
from ._tied_two_layers import TwoLayerTiedModule
from ._torch_module import SparseAutoencoder

_FREE_PER_UNEXPLAINED = 25  # n_free="auto", by benchmarks/group_tied


def _knows_pose(sae: "GroupTiedSAE") -> bool:
    if not hasattr(sae, "canonical_code_"):
        raise AttributeError(
            "predict_power needs to have seen which rows are canonical: give fit "
            "groups and power."
        )
    return True


def _keeps_pose(sae: "GroupTiedSAE") -> bool:
    if sae.output == "invariant":
        raise AttributeError(
            "invariant latents do not say how a row is turned, so they cannot be "
            "decoded. Set output='equivariant' before transform."
        )
    return True


class GroupTiedSAE(BaseSAE):
    """Sparse autoencoder whose dictionary is closed under a symmetry of the inputs.

    Each base vector d of the dictionary stands for all that the group makes of it,
    and so do the weights w of the encoder. With M_g the matrix that moves
    activations by the group's element g, and b their mean::

        z_ig  = ReLU(TopK over all (i, g) of < w_i, M_g^-1 (x - b) > + c_i)
        x_hat = b + sum over i and g of z_ig M_g d_i

    To move a row moves its code: ``z(M_h x)_ig = z(x)_i(h^-1 g)``, unless there are
    free vectors, which stay where they are. No row needs to be told to be canonical,
    and the dictionary has as many free parameters as one of `n_components` vectors.

    Parameters
    ----------
    n_components : int, default=None
        Number of latents: `n_free` of them free, the others in latent orbits, each of
        as many latents as the group has elements. None is 8 times the number of
        features, and as many more as fill the last latent orbit.
    symmetry : int or FiniteGroup, default=None
        The group: the order of a cyclic group, or one such as ``DihedralGroup(4)``.
        None is the cyclic group of the powers given to `fit`; without any the group is
        trivial and the estimator equals :class:`TopKSAE`.
    k : int, default=None
        Number of latents kept per row. None is 32, or `n_components` if that is less.
    hidden_dim : int, default=None
        Number of vectors of the encoder's hidden layer, each of which stands for as
        many hidden units as the group has elements, see Notes. None makes the encoder
        linear.
    n_free : int or "auto", default=0
        How many of the latents have vectors that stand for themselves alone, so that
        what does not follow the group is coded too. "auto" chooses how many, about half
        at most, from the share of the moves along orbits that M does not explain, see
        Notes.
    activation_transform : estimator, default=None
        How M is fitted: it is cloned and fitted on the same orbits. None is
        ``ActivationTransformFitter()``. A fitted one is taken as it is if `fit` gets
        no groups and power; wrap it in :class:`sklearn.frozen.FrozenEstimator` to
        keep it through cloning, as in a grid search.
    output : {"equivariant", "invariant"}, default="equivariant"
        What `transform` returns. "equivariant": all latents. "invariant": for each
        base vector the largest of its latents, which the group leaves alone (with
        free vectors beside them, nearly).
    activation : {"topk", "batch_topk"}, default="topk"
        Which latents are active. "topk": the `k` largest of each row. "batch_topk":
        while training the largest of a batch, `k` per row on average; afterwards
        those above a threshold, so that a row may have more or fewer.
    nested : array-like of shape (n_prefixes,), default=None
        Sizes of prefixes of the dictionary, in latents, that reconstruct rows by
        themselves (Matryoshka), see :class:`TopKSAE`.
    recipe : {"default", "paper"} or Recipe, default="default"
        How to train, see :class:`TopKSAE`.
    max_epochs : int, default=None
        Passes over the data. None is 200, or 500 for `recipe="paper"`.
    batch_size : int, default=None
        Rows per step. None is 256, or 64 for `recipe="paper"`.
    lr : float, default=None
        Learning rate of Adam. None is 2e-3, or 1e-3 for `recipe="paper"`.
    warm_start : bool, default=False
        If True, `fit` goes on from the weights and the M of the last fit.
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
    n_components_ : int
        Number of latents.
    n_orbits_ : int
        Number of latent orbits, each with one base vector.
    n_free_ : int
        Number of free vectors.
    components_ : ndarray of shape (n_components, n_features)
        Dictionary: row ``i * order + g`` is M_g d_i; free vectors come last.
    canonical_code_ : ndarray of shape (n_orbits, order)
        Mean latents of canonical rows; only if `fit` got groups and power.
    intercept_ : ndarray of shape (n_features,)
        What a row without active latents decodes to.
    coefs_ : list of ndarray
        Encoder weights, each of shape (n_inputs, n_outputs), all copies written out:
        of ``n_orbits * order + n_free`` latents, and of ``hidden_dim * order``
        hidden units if there are any.
    intercepts_ : list of ndarray
        Encoder biases, each of shape (n_outputs,).
    mean_ : ndarray of shape (n_features,)
        Subtracted from a row before it is encoded; the group leaves it alone.
    scale_ : float
        Divides a row before it is encoded.
    threshold_ : float
        Latents above it are active; `activation="batch_topk"` only.
    loss_curve_ : ndarray of shape (n_epochs,)
        Mean loss of each epoch, in units of `scale_` squared.
    error_curve_ : ndarray of shape (n_epochs,)
        The part of the loss that is the squared error of the reconstruction, without
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
    EquivariantSAE : The paper's method, which needs canonical rows.
    TopKSAE : The regular autoencoder.
    sk_eqsae.inspection.feature_symmetry : What each vector does under the group.

    Notes
    -----
    Vectors have length 1 in the metric that the group keeps, the mean over g of
    M_g' M_g, so that all copies of a vector are equally long.

    With `hidden_dim`, the group moves the units of the hidden layer as well, and the
    second layer is a convolution over the group, with weights v::

        h_jq = ReLU(< u_j, M_q^-1 (x - b) > + a_j)
        z_ig = ReLU(TopK over all (i, g) of sum over j and p of v_ijp h_j(gp) + c_i)

    so that to move a row moves its code as before. Free vectors meet all hidden units
    with weights of their own.

    Free vectors compete with tied ones for the `k` places and do not move with the
    rows, so that with `n_free` above 0 codes move only in part.

    A vector that some elements leave alone has copies that are equal. They have
    equal latents, each of which counts among the `k`; a free vector does the same
    with one. :func:`~sk_eqsae.inspection.feature_symmetry` lists such vectors by
    their ``stabilizer_size``. A row that some elements leave alone has equal latents,
    too. Where `k` cuts between equal latents, rounding decides which are kept.

    What M does not explain is lost to tied vectors, and what the group leaves alone
    costs them a latent for each element. Both show in the share of the moves along
    orbits that M does not explain, with x_e the canonical row::

        u = sum || x_g - M_g x_e ||^2 / sum || x_g - x_e ||^2

    ``n_free="auto"`` takes it over a quarter of the orbits, drawn by `random_state`,
    with M fitted on the others; a frozen M is taken as it is. There are then
    ``min(1, 25 u)`` times as many free latents as tied ones, so about half at most. The
    factor is the one that kept a mixture within 5 % of the FVU of a regular autoencoder
    of equal size on small networks.

    Dictionaries that are closed under a group are known from group-equivariant
    sparse coding [1]_ and from crosscoders over a group's copies of a network [2]_.
    Here M is fitted to the network's activations, and copies share all weights.

    References
    ----------
    .. [1] Shewmake, Miolane, Olshausen. "Group Equivariant Sparse Coding". Geometric
       Science of Information, 2023.
    .. [2] Gorton. "Group Crosscoders for Mechanistic Analysis of Symmetry".
       arXiv:2410.24184, 2024.

    Examples
    --------
    Three directions of one orientation each, seen from four sides:

    >>> import numpy as np
    >>> from sk_eqsae import GroupTiedSAE
    >>> rng = np.random.default_rng(0)
    >>> x = np.abs(rng.normal(size=(200, 3))) @ np.eye(3, 12)
    >>> X = np.stack([np.roll(x, 3 * p, axis=1) for p in range(4)])
    >>> groups, power = np.tile(np.arange(200), 4), np.repeat(np.arange(4), 200)
    >>> sae = GroupTiedSAE(16, k=3, max_epochs=50, random_state=0)
    >>> sae = sae.fit(X.reshape(-1, 12), groups=groups, power=power)
    >>> sae.transform(X[0]).shape, sae.components_.shape
    ((200, 16), (16, 12))
    >>> sae.score(X.reshape(-1, 12)) > 0.9
    True

    The code of a moved row is the code of the row, moved:

    >>> code, moved = (sae.transform(rows).reshape(200, 4, 4) for rows in X[:2])
    >>> np.allclose(moved, np.roll(code, 1, axis=2), atol=1e-4)
    True
    """

    activation_transform_: Any
    symmetry_: FiniteGroup

    _fitted: ClassVar[tuple] = (
        *BaseSAE._fitted,
        Fitted("symmetry_", "FiniteGroup", ("order",)),
        Fitted("order_", "int", ("order",)),
        Fitted("activation_transform_", "ActivationTransformFitter", ("n_features",)),
        Fitted("n_orbits_", "int", ("n_orbits",)),
        Fitted("n_free_", "int", ("n_free",)),
        Fitted("canonical_code_", "float64", ("n_orbits", "order"), optional=True),
    )

    _parameter_constraints: ClassVar[dict] = {
        **BaseSAE._parameter_constraints,
        "symmetry": [Interval(Integral, 1, None, closed="left"), FiniteGroup, None],
        "n_free": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "activation_transform": [HasMethods(["fit", "act", "matrix"]), None],
        "output": [StrOptions({"equivariant", "invariant"})],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        symmetry: int | FiniteGroup | None = None,
        k: int | None = None,
        hidden_dim: int | None = None,
        n_free: int | str = 0,
        activation_transform: BaseEstimator | None = None,
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
        self.n_free = n_free
        self.activation_transform = activation_transform
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

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> Self:
        """Fit M, unless it is given, and train the autoencoder.

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
        self : GroupTiedSAE
            The fitted estimator.

        Raises
        ------
        ValueError
            If groups and power do not describe orbits with one canonical row each,
            if M does not obey the group's law, if k is larger than the number of
            latents, if `n_free` is "auto" and there are no orbits to tell it, or if
            training diverges.

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
            return self._fit(X, groups, power, partial=False)

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> Self:
        """Train on these rows once, going on from where the last call has ended.

        What the first call finds, mean, scale, group, M
        and number of free vectors, stays as it is, and `canonical_code_`
        is of the rows of the last call. Adam
        and the search for dead latents go on, too. The learning rate is `lr` all the
        time: for the fall at the end of `fit`, lower it with ``set_params`` in the
        last calls. `dead_after` counts calls as epochs, or 10,000 rows if that is
        more. `threshold_` is of the rows of the last call. After `fit`, its weights are
        trained on.

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
        self : GroupTiedSAE
            The fitted estimator.

        Raises
        ------
        ValueError
            As `fit` does. A call that raises leaves the estimator as it was.
        """
        with all_or_nothing(self):
            return self._fit(X, groups, power, partial=True)

    def _fit(
        self,
        X: ArrayLike,
        groups: ArrayLike | None,
        power: ArrayLike | None,
        *,
        partial: bool,
    ) -> Self:
        X = checked_rows(self, X, reset=not self._is_going_on(partial))
        table = self._fit_symmetry(X, groups, power, partial)
        self._fit_rows(TrainingRows(X, table[table >= 0]), partial=partial)
        if groups is not None:
            if not partial:
                some = read_rows(X, pose_sample(table[:, 0]))
                warn_if_poses_look_alike(some, self.activation_transform_)
            self._set_canonical_code(X, table[:, 0])
        elif hasattr(self, "canonical_code_") and not partial:
            del self.canonical_code_
        return self

    def _fit_symmetry(
        self,
        X: NDArray,
        groups: ArrayLike | None,
        power: ArrayLike | None,
        partial: bool,
    ) -> NDArray:
        """Find the group, M and the number of free vectors, and arrange the rows."""
        going_on = self._is_going_on(partial)
        known = self.activation_transform_ if going_on else self._given()
        labelled = groups is not None or power is not None
        if labelled or known is None:
            known = None
            warn_if_no_symmetry(self, groups, "trains a plain TopKSAE")
            symmetry = self.symmetry_ if partial and going_on else self.symmetry
            group, table = orbit_table(groups, power, symmetry=symmetry, n_rows=len(X))
        else:  # each row is taken as it is
            group, table = known.symmetry_, np.arange(len(X))[:, np.newaxis]
            self._check_given(known, X.shape[1])
        if going_on:
            self._check_unchanged(group, X.shape[1])
            return table
        self.symmetry_, self.order_ = group, group.order
        self.activation_transform_ = known or fit_activation_transform(
            self._new_fitter(), group, X, groups=groups, power=power
        )
        self.n_free_ = self._choose_n_free(X, table, groups, power)
        return table

    def _given(self) -> BaseEstimator | None:
        """M, if it is fitted already."""
        fitter = self.activation_transform
        return fitter if fitter is not None and _is_fitted(fitter) else None

    def _check_given(self, fitter: BaseEstimator, n_features: int) -> None:
        group = fitter.symmetry_
        if as_group(self.symmetry) not in {None, group}:
            raise ValueError(
                f"activation_transform was fitted for {group}, but symmetry="
                f"{self.symmetry!r}. Leave symmetry out, or fit M for the same group."
            )
        if fitter.n_features_in_ != n_features:
            raise ValueError(
                f"activation_transform was fitted on {fitter.n_features_in_} features, "
                f"but X has {n_features}. Fit it on activations of the same layer."
            )

    def _check_unchanged(self, group: FiniteGroup, n_features: int) -> None:
        n_free = self.n_free_ if self.n_free == "auto" else self.n_free
        before = (self.symmetry_, self.n_orbits_, self.n_free_)
        if (group, self._n_base_vectors(n_features), n_free) != before:
            raise ValueError(
                f"partial_fit or warm_start=True goes on with the "
                f"{len(self.components_)} latents fitted before "
                f"({self.n_orbits_} base vectors moved by {self.symmetry_}, "
                f"{self.n_free_} free), but the parameters or the "
                "orbits now are of others. Call fit with warm_start=False to start "
                "anew."
            )

    def _new_fitter(self) -> BaseEstimator:
        if self.activation_transform is None:
            return ActivationTransformFitter(self.symmetry_)
        return self.activation_transform

    def _choose_n_free(
        self,
        X: NDArray,
        table: NDArray,
        groups: ArrayLike | None,
        power: ArrayLike | None,
    ) -> int:
        """Free vectors that take the place of, or go with, whole base vectors."""
        if self.n_free != "auto":
            return int(self.n_free)
        if self.order_ == 1:
            return 0
        if groups is None or power is None:
            raise ValueError(
                "n_free='auto' has to see how well M explains orbits, and a fitted M "
                "without orbits does not tell. Give fit groups and power, with M in a "
                "sklearn.frozen.FrozenEstimator to keep it, or set n_free to a number."
            )
        unexplained = unexplained_moves(
            self._new_fitter(),
            self.symmetry_,
            X,
            table,
            groups=groups,
            power=power,
            seed=draw_seed(check_random_state(self.random_state)),
        )
        share = min(1.0, _FREE_PER_UNEXPLAINED * unexplained)
        n_latents = self.n_components or self._n_by_default(X.shape[1], 0)
        n_orbits = max(1, round(n_latents / (1 + share) / self.order_))
        return max(0, n_latents - n_orbits * self.order_)

    def _set_normalization(self, spread: Spread, recipe: Recipe) -> None:
        super()._set_normalization(spread, recipe)
        # rows' mean but for what the group would move
        self.mean_ = self._matrices().mean(axis=0) @ self.mean_

    def _matrices(self) -> NDArray:
        return element_matrices(self.activation_transform_)

    def _new_module(self, n_features: int, seed: int) -> SAEModule:
        self.n_orbits_ = self._n_base_vectors(n_features)
        n_latents = self._check_sizes(n_features)
        if self.order_ == 1:
            sizes = (n_features, n_latents, self.hidden_dim)
            return self._initialized(seed, SAEModule, *sizes)
        return self._initialized(seed, *self._tied())

    def _tied(self) -> tuple:
        """Class of the network, and what it is made from."""
        basis = irrep_basis(self._matrices(), self.symmetry_)
        arguments = (self.symmetry_, basis, self.n_orbits_, self.n_free_)
        if self.hidden_dim is None:
            return TiedModule, *arguments
        return TwoLayerTiedModule, *arguments, self.hidden_dim

    def _n_hidden(self) -> int:
        return super()._n_hidden() * self.order_

    def _train(self, run: Run) -> NDArray:
        if isinstance(run.module, TiedModule):
            run = run._replace(tensors=(_in_irreps(run.tensors[0], run.module),))
        return super()._train(run)

    def _n_base_vectors(self, n_features: int) -> int:
        n_latents = self._n_latents(n_features)
        n_orbits, left = divmod(n_latents - self.n_free_, self.order_)
        if left or n_orbits < 1:
            below = self.n_free_ + max(1, n_orbits) * self.order_
            raise ValueError(
                f"n_components={n_latents} latents, {self.n_free_} of them free, do not "
                f"fill latent orbits of {self.order_}. The nearest sizes that do are "
                f"{below} and {below + self.order_}."
            )
        return n_orbits

    def _n_by_default(self, n_features: int, n_free: int) -> int:
        n_orbits = max(1, -(-(8 * n_features - n_free) // self.order_))
        return n_orbits * self.order_ + n_free

    def _n_latents(self, n_features: int) -> int:
        n_free = 0 if self.n_free == "auto" else self.n_free_
        return self.n_components or self._n_by_default(n_features, n_free)

    def _prefixes(self, n_components: int) -> NDArray:
        sizes = super()._prefixes(n_components)
        n_tied = self.n_orbits_ * self.order_
        cut = sizes[(sizes < n_tied) & (sizes % self.order_ > 0)]
        if len(cut):
            size = int(cut[0] // self.order_) * self.order_
            raise ValueError(
                f"nested={self.nested} cuts a latent orbit at {cut[0]}: latents come in "
                f"orbits of {self.order_}. Take a multiple of it, such as "
                f"{size + self.order_}."
            )
        return sizes

    def _trained_module(self, target_mean: NDArray) -> SAEModule:
        regular = super()._trained_module(target_mean)
        if self.order_ == 1:
            return regular
        kind, *arguments = self._tied()
        generator = torch.Generator()  # what it draws is overwritten
        module = kind(*arguments, generator=generator)
        module.set_weights(regular)
        return module

    def _set_canonical_code(self, X: Any, canonical: NDArray) -> None:
        total = np.zeros(len(self.components_))
        for chunk in self._chunks(len(canonical)):
            Z = self._encode_csr(read_rows(X, canonical[chunk]))
            total += np.asarray(Z.sum(axis=0, dtype=np.float64))
        tied = total[: self.n_orbits_ * self.order_] / len(canonical)
        self.canonical_code_ = tied.reshape(self.n_orbits_, self.order_)

    def transform(self, X: ArrayLike) -> NDArray | csr_array:
        """Encode activations.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.

        Returns
        -------
        Z : ndarray or csr_array
            Latents, non-negative, in the units of the activations and in the dtype
            of X. With ``output="equivariant"`` of shape (n_rows, n_components),
            at most `k` of a row non-zero, or with ``activation="batch_topk"`` those
            above `threshold_`; with ``output="invariant"`` of shape
            (n_rows, n_orbits).
        """
        if self.output == "equivariant":
            return super().transform(X)
        Z = self._pooled(self._encode_csr(self._check_rows(X)))
        return Z if self.sparse_output else Z.toarray()

    def _pooled(self, Z: csr_array) -> csr_array:
        """Largest latent of each base vector, row by row."""
        Z = Z[:, : self.n_orbits_ * self.order_].tocoo()
        key = Z.row.astype(np.int64) * self.n_orbits_ + Z.col // self.order_
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        row, base = np.divmod(key[starts], self.n_orbits_)
        largest = np.maximum.reduceat(Z.data, starts) if len(starts) else Z.data
        return csr_array((largest, (row, base)), (Z.shape[0], self.n_orbits_))

    @available_if(_keeps_pose)
    def inverse_transform(self, Z: ArrayLike | csr_array) -> NDArray:
        """Decode latents; only with ``output="equivariant"``.

        Parameters
        ----------
        Z : array-like or sparse array of shape (n_rows, n_latents)
            Latents, as `transform` returns them with ``output="equivariant"``.

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            Activations, in the dtype of Z.
        """
        return super().inverse_transform(Z)

    @available_if(_keeps_pose)
    def to_module(self) -> SparseAutoencoder:
        """Copy what was fitted into a plain torch module.

        Only with ``output="equivariant"``.

        Returns
        -------
        module : torch.nn.Module
            With ``encode(x)``, ``decode(z)`` and ``forward(x)``, which reconstructs,
            for tensors of activations of shape (..., n_features). All copies of a
            base vector are spelled out in it. It is in float32 and on the CPU.
        """
        return super().to_module()

    @available_if(_knows_pose)
    def predict_power(self, X: ArrayLike) -> NDArray:
        """Pose of each row: the power that brings it nearest to canonical rows.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.

        Returns
        -------
        power : ndarray of shape (n_rows,) or (n_rows, n_generators)
            The p whose inverse makes the code most like `canonical_code_`, by inner
            product; the first on ties. It means something only as far as canonical
            rows can be told from the others.
        """
        Z = self._encode_csr(self._check_rows(X))
        # products of float32 may leave its range
        tied = Z[:, : self.n_orbits_ * self.order_].astype(np.float64)
        # element h moves latent g to h g
        back = self.symmetry_.multiplication_table[self.symmetry_.inverses]
        moved = self.canonical_code_[:, back].transpose(1, 0, 2)
        elements = (tied @ moved.reshape(self.order_, -1).T).argmax(axis=1)
        powers = self.symmetry_.powers[elements]
        return powers if self.symmetry_.n_generators > 1 else powers[:, 0]

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Name the latents.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str
            ``grouptiedsae3_g2`` is what the second power of the generator g makes of
            base vector 3, and ``grouptiedsae_free1`` the second free vector. Of
            invariant latents and of a trivial group, ``grouptiedsae3`` is base
            vector 3.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        prefix = type(self).__name__.lower()
        elements = [""]
        if self.output == "equivariant" and self.order_ > 1:
            generators = self.symmetry_.generator_names
            elements = [
                "_" + "".join(f"{g}{p}" for g, p in zip(generators, row, strict=True))
                for row in self.symmetry_.powers
            ]
        names = [f"{prefix}{i}{e}" for i in range(self.n_orbits_) for e in elements]
        if self.output == "equivariant":
            names += [f"{prefix}_free{j}" for j in range(self.n_free_)]
        return np.array(names, dtype=object)

    @property
    def _n_features_out(self) -> int:
        pooled = self.output == "invariant"
        return self.n_orbits_ if pooled else len(self.components_)


def _in_irreps(rows: Any, module: TiedModule) -> Any:
    """Rows of a tensor or a Stream in the coordinates that the module takes."""
    to_irreps = torch.from_numpy(module.basis.to_irreps)

    def turned(rows: torch.Tensor) -> torch.Tensor:
        return (rows.double() @ to_irreps.T).float()

    return rows.map(turned) if isinstance(rows, Stream) else turned(rows)
