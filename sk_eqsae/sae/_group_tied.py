"""An autoencoder whose dictionary is closed under a group."""

from __future__ import annotations

import functools
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _is_fitted

from .._docs import fill
from .._estimator import Fitted
from .._rows import TrainingRows
from .._warnings import warn
from ..groups import FiniteGroup
from ..groups._element_matrices import (
    IrrepBasis,
    averaged,
    irrep_basis,
    warn_if_poses_look_alike,
)
from ..groups._orbit_table import as_group, given
from ._base import Memory, Plan
from ._latent_orbits import counts_of, lengths_of
from ._network import Network
from ._orbit_choice import choose_orbits
from ._recipe import Recipe
from ._symmetric import OrbitedSAE
from ._tied_network import TiedNetwork


@fill
class GroupTiedSAE(OrbitedSAE):
    r"""Sparse autoencoder whose dictionary is closed under a symmetry of the inputs.

    Each base vector d of the dictionary stands for all that the group makes of it,
    and so do the weights w of the encoder. With M_g the matrix that moves
    activations by the group's element g, and b their mean, for all i and g at once:

    .. math::

        z_{ig} = \mathrm{ReLU}(\mathrm{TopK} (w_i^\top M_g^{-1} (x - b) + c_i)),
        \qquad \hat x = b + \sum_{i, g} z_{ig} M_g d_i

    A vector that a subgroup H leaves alone has one copy for each coset g H only, and
    one that all of the group leaves alone is invariant. To move a row moves its code,
    unless there are free vectors, which stay where they are; no row needs to be told
    to be canonical:

    .. math::

        z(M_h x)_{ig} = z(x)_{i, h^{-1} g}

    Parameters
    ----------
    n_components : int, default=None
        Number of latents: `n_free` of them free, the others in latent orbits. None is
        8 times the number of features and as many more as fill a whole orbit, or what
        `orbit_lengths` makes.
    {sae_symmetry}
    {k}
    hidden_dim : int, default=None
        Number of vectors of the encoder's hidden layer, each of which stands for as
        many hidden units as the group has elements, see Notes. None makes the encoder
        linear.
    orbit_lengths : dict or "auto", default="auto"
        How many latent orbits there are of each length, as in ``{4: 16, 2: 64,
        1: 64}``. Where several subgroups have orbits of one length, their names in
        ``symmetry_.subgroups`` stand for it. "auto" chooses by the codes of a regular
        autoencoder, see Notes.
    n_free : int or "auto", default=0
        How many of the latents have vectors of their own, so that what does not follow
        the group is coded too. "auto" makes an eighth of them free where M leaves far
        more unexplained than the dictionary would, see Notes; with a dict of
        `orbit_lengths`, those that its orbits leave of `n_components`.
    activation_transform : estimator, default=None
        How M is fitted: it is cloned and fitted on the same orbits. None is
        ``ActivationTransformFitter()``. A fitted one is taken as it is if `fit` gets
        no groups and power; wrap it in :class:`sklearn.frozen.FrozenEstimator` to
        keep it through cloning, as in a grid search.
    output : {"equivariant", "invariant"}, default="equivariant"
        What `transform` returns. "equivariant": all latents. "invariant": for each
        latent orbit the largest of its latents, which the group leaves alone (with
        free vectors beside them, nearly).
    {training}

    Attributes
    ----------
    n_orbits_ : int
        Number of latent orbits, each with one base vector.
    orbit_lengths_ : dict
        Number of latent orbits of each length, as `orbit_lengths` takes it.
    latent_orbits_ : object
        `orbit` and `coset` of each latent, -1 and 0 of free ones; `lengths` and
        `subgroups` of each orbit; ``permute(Z, power)``, the codes of moved rows;
        ``pool(Z)``, the largest latent of each orbit.
    n_free_ : int
        Number of free vectors.
    components_ : ndarray of shape (n_components, n_features)
        Dictionary, orbit by orbit: the copies M_g d_i in the order of the cosets. Free
        vectors come last.
    canonical_code_ : ndarray of shape (n_components - n_free,)
        Mean latents of canonical rows; only if `fit` got groups and power.
    {fitted_symmetry}
    {fitted}

    See Also
    --------
    EquivariantSAE : The paper's method, which needs canonical rows.
    TopKSAE : The regular autoencoder.
    sk_eqsae.feature_symmetry : What each vector does under the group.

    Notes
    -----
    ``orbit_lengths="auto"`` trains a regular autoencoder of as many latents first, for
    a fifth of the steps, and moves rows with M. Where a latent's code stays the same,
    with a mean cosine of 0.5 or more over the elements of a subgroup H or of one of its
    conjugates, it counts for the largest such H, and each H gets its share of the
    latents. Of subgroups that no vector is left alone by there are none.

    Vectors have length 1 in the metric that the group keeps, the mean over g of
    M_g' M_g, so that all copies of a vector are equally long.

    With `hidden_dim`, the group moves the units of the hidden layer as well, and the
    second layer is a convolution over the group, with weights v:

    .. math::

        h_{jq} = \mathrm{ReLU}(u_j^\top M_q^{-1} (x - b) + a_j),
        \qquad
        z_{ig} = \mathrm{ReLU}(\mathrm{TopK} (\sum_{j, p} v_{ijp} h_{j, gp} + c_i))

    so that to move a row moves its code as before. Free vectors meet all hidden units
    with weights of their own.

    A row that some elements leave alone has equal latents. Where `k` cuts between
    equal latents, rounding decides which are kept.

    What M does not explain is lost to tied vectors. Free ones win back a part of it;
    they compete for the `k` places and do not move with the rows, and take most of the
    variance of the codes where a network hardly follows the group. ``n_free="auto"``
    fits M on three quarters of the inputs, drawn by `random_state`, and takes its
    error, 1 - R2, on the orbits of the others; a frozen M is taken as it is. If that is
    more than 3 times the FVU of the regular autoencoder that ``orbit_lengths="auto"``
    trains first, an eighth of the latents are free, else none, and in both cases as
    many more as leave whole orbits.

    Dictionaries that are closed under a group are known from group-equivariant
    sparse coding [1]_ and from crosscoders over a group's copies of a network [2]_.

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

    >>> code, moved = (sae.transform(rows) for rows in X[:2])
    >>> np.allclose(moved, sae.latent_orbits_.permute(code, 1), atol=1e-4)
    True
    """

    _fitted: ClassVar[tuple] = (
        *OrbitedSAE._fitted,
        *(
            Fitted(f"_memory/basis.{name}", "float64", ("n_features",) * 2, True)
            for name in ("to_irreps", "from_irreps")
        ),
        Fitted("_memory/basis.multiplicities", "int64", ("n_irreps",), optional=True),
    )

    _parameter_constraints: ClassVar[dict] = {
        **OrbitedSAE._parameter_constraints,
        "n_free": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        symmetry: int | FiniteGroup | None = None,
        k: int | None = None,
        hidden_dim: int | None = None,
        orbit_lengths: dict[int | str, int] | str = "auto",
        n_free: int | str = 0,
        activation_transform: BaseEstimator | None = None,
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
        self.n_free = n_free
        self.activation_transform = activation_transform
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

    def _training_rows(
        self, X: Any, metadata: dict[str, Any], partial: bool, seed: int
    ) -> TrainingRows:
        """Each row is its own target; M is found once, and kept where training goes on.

        A fitted M without orbits takes each row as it is.
        """
        going_on, fitter = self._is_going_on(partial), self.activation_transform
        known, is_done = None, True
        if going_on:
            known = self.activation_transform_
        elif fitter is not None and not given(metadata) and _is_fitted(fitter):
            known = fitter
        if known is not None and not given(metadata):
            group, table = known.symmetry_, np.arange(len(X))[:, np.newaxis]
            self._check_given(known, X.shape[1])
        else:
            group, table = self._find_orbits(X, metadata, partial)
        if going_on:
            self._check_unchanged(group, X.shape[1])
        else:
            self.symmetry_, self.order_ = group, group.order
            if known is None:
                self._fit_transform_of(group, X, metadata, seed)
            else:
                self.activation_transform_ = known
            orbits, is_done = choose_orbits(self, X, table, seed, given(metadata))
            self._set_orbits(orbits)
        canonical = None if metadata["groups"] is None else table[:, 0]
        if canonical is not None and not partial:
            warn_if_poses_look_alike(self.activation_transform_, X, canonical)
        # the mean of the rows but for what the group would move
        fixed = functools.partial(averaged, self.activation_transform_)
        return TrainingRows(
            X,
            table[table >= 0],
            canonical=canonical,
            elements=np.nonzero(table >= 0)[1],
            projection=fixed,
            is_interrupted=not is_done,
        )

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
        before = (self.symmetry_, self.n_components_, self.n_free_)
        if (group, self._n_latents(n_features), n_free) != before:
            raise ValueError(
                f"partial_fit or warm_start=True goes on with the {self.n_components_} "
                f"latents fitted before ({self.n_orbits_} base vectors moved by "
                f"{self.symmetry_}, {self.n_free_} free), but the parameters or the "
                "orbits now are of others. Call fit with warm_start=False to start "
                "anew."
            )

    def _train(self, plan: Plan) -> NDArray:
        """Losses and squared errors of each epoch; none if lengths were cut short."""
        if not plan.rows.is_interrupted:
            return super()._train(plan)
        if plan.memory is not None:
            raise KeyboardInterrupt  # the first rows of several, with nothing to keep
        warn(
            "Training was interrupted while orbit_lengths='auto' was looked for. "
            "orbit_lengths_ is what was seen by then, and the dictionary is untrained. "
            "Set warm_start=True and call fit again to train it.",
            ConvergenceWarning,
        )
        return np.empty((2, 0))

    def _n_latents(self, n_features: int) -> int:
        if self.n_components is not None:
            return self.n_components
        n_free = 0 if self.n_free == "auto" else int(self.n_free)
        if isinstance(self.orbit_lengths, dict):
            counts = counts_of(self.symmetry_, self.orbit_lengths)
            return int(counts @ lengths_of(self.symmetry_)) + n_free
        n_orbits = max(1, -(-(8 * n_features - n_free) // self.order_))
        return n_orbits * self.order_ + n_free

    def _n_hidden(self) -> int:
        return super()._n_hidden() * self.order_

    def _new_network(
        self, n_latents: int, n_features: int, seed: int, memory: Memory
    ) -> Network:
        if self.order_ == 1:
            return super()._new_network(n_latents, n_features, seed, memory)
        tied_init = self._recipe().tied_init
        return TiedNetwork(*self._tied(memory), tied_init=tied_init, seed=seed)

    def _trained_network(
        self, n_latents: int, target_mean: NDArray, memory: Memory
    ) -> Network:
        dense = super()._trained_network(n_latents, target_mean, memory)
        if self.order_ == 1:
            return dense
        network = TiedNetwork(*self._tied(memory), tied_init=False, seed=0)
        network.set_weights(dense)
        return network

    def _tied(self, memory: Memory) -> tuple:
        """What the network is made from, in the basis of earlier calls if there is one.

        Another basis of the same irreps would not fit what Adam remembers.
        """
        names = [f"basis.{field}" for field in IrrepBasis._fields]
        if memory and names[0] in memory:
            basis = IrrepBasis(*(memory[name] for name in names))
        else:
            basis = irrep_basis(self.activation_transform_)
        if memory is not None:
            memory.update(zip(names, basis, strict=True))
        return self.latent_orbits_, basis, self.hidden_dim
