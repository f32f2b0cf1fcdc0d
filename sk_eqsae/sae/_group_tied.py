"""An autoencoder whose dictionary is closed under a group."""

from __future__ import annotations

import functools
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    _check_feature_names_in,
    _is_fitted,
    check_is_fitted,
)

from .._docs import fill
from .._fitted import Fitted
from .._rows import TrainingRows, read_rows
from .._warnings import warn
from ..groups import FiniteGroup
from ..groups._activation_transform import fitted_transform
from ..groups._element_matrices import (
    IrrepBasis,
    averaged,
    irrep_basis,
    warn_if_poses_look_alike,
)
from ..groups._orbit_table import as_group, given
from ._base import Plan
from ._network import Network
from ._recipe import Recipe
from ._symmetric import SymmetricSAE
from ._tied_network import TiedNetwork
from ._unexplained import unexplained_moves

_FREE_PER_UNEXPLAINED = 25  # n_free="auto", by benchmarks/group_tied
_MOSTLY_FREE = 0.75  # of the latents


def _knows_pose(sae: GroupTiedSAE) -> bool:
    if not hasattr(sae, "canonical_code_"):
        raise AttributeError(
            "predict_power needs to have seen which rows are canonical: give fit "
            "groups and power."
        )
    return True


def _keeps_pose(sae: GroupTiedSAE) -> bool:
    if sae.output == "invariant":
        raise AttributeError(
            "invariant latents do not say how a row is turned, so they cannot be "
            "decoded. Set output='equivariant' before transform."
        )
    return True


@fill
class GroupTiedSAE(SymmetricSAE):
    """Sparse autoencoder whose dictionary is closed under a symmetry of the inputs.

    Each base vector d of the dictionary stands for all that the group makes of it,
    and so do the weights w of the encoder. With M_g the matrix that moves
    activations by the group's element g, and b their mean::

        z_ig  = ReLU(TopK over all (i, g) of < w_i, M_g^-1 (x - b) > + c_i)
        x_hat = b + sum over i and g of z_ig M_g d_i

    To move a row moves its code: ``z(M_h x)_ig = z(x)_i(h^-1 g)``, unless there are
    free vectors, which stay where they are. No row needs to be told to be canonical,
    and the dictionary has as many free parameters as one of `n_orbits_` vectors.

    Parameters
    ----------
    n_components : int, default=None
        Number of latents: `n_free` of them free, the others in latent orbits, each of
        as many latents as the group has elements. None is 8 times the number of
        features, and as many more as fill the last latent orbit.
    {sae_symmetry}
    {k}
    hidden_dim : int, default=None
        Number of vectors of the encoder's hidden layer, each of which stands for as
        many hidden units as the group has elements, see Notes. None makes the encoder
        linear.
    n_free : int or "auto", default=0
        How many of the latents have vectors that stand for themselves alone, so that
        what does not follow the group is coded too. "auto" chooses how many from the
        share of the moves along orbits that M does not explain, see Notes.
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
    n_free_ : int
        Number of free vectors.
    components_ : ndarray of shape (n_components, n_features)
        Dictionary: row ``i * order + g`` is M_g d_i; free vectors come last.
    canonical_code_ : ndarray of shape (n_orbits, order)
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
    with one. :func:`~sk_eqsae.feature_symmetry` lists such vectors by
    their ``stabilizer_size``. A row that some elements leave alone has equal latents,
    too. Where `k` cuts between equal latents, rounding decides which are kept.

    What M does not explain is lost to tied vectors, and what the group leaves alone
    costs them a latent for each element. Both show in the share of the moves along
    orbits that M does not explain, with x_e the canonical row::

        u = sum || x_g - M_g x_e ||^2 / sum || x_g - x_e ||^2

    ``n_free="auto"`` takes it over the orbits of a quarter of the inputs, drawn by
    `random_state`, with M fitted on the others; a frozen M is taken as it is. A share
    ``min(1, 25 u)`` of the latents is then free, in whole orbits, but for one base
    vector at least; more than three quarters are warned of. The factor is the one that
    kept a mixture within 5 % of the FVU of a regular autoencoder of equal size on small
    networks.

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

    _fitted: ClassVar[tuple] = (
        *SymmetricSAE._fitted,
        Fitted("n_orbits_", "int", ("n_orbits",)),
        Fitted("n_free_", "int", ("n_free",)),
        Fitted("canonical_code_", "float64", ("n_orbits", "order"), optional=True),
        *(
            Fitted(f"_memory/basis.{name}", "float64", ("n_features",) * 2, True)
            for name in ("to_irreps", "from_irreps")
        ),
        Fitted("_memory/basis.multiplicities", "int64", ("n_irreps",), optional=True),
    )

    _parameter_constraints: ClassVar[dict] = {
        **SymmetricSAE._parameter_constraints,
        "n_free": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
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
        going_on = self._is_going_on(partial)
        known = self.activation_transform_ if going_on else self._given()
        if known is not None and not given(metadata):
            group, table = known.symmetry_, np.arange(len(X))[:, np.newaxis]
            self._check_given(known, X.shape[1])
        else:
            known = known if going_on else None
            group, table = self._find_orbits(X, metadata, partial)
        if going_on:
            self._check_unchanged(group, X.shape[1])
        else:
            self.symmetry_, self.order_ = group, group.order
            self.activation_transform_ = known or fitted_transform(
                self._new_fitter(group, seed), group, X, **metadata
            )
            self.n_free_ = self._choose_n_free(X, table, seed, given(metadata))
        canonical = None if metadata["groups"] is None else table[:, 0]
        if canonical is not None and not partial:
            warn_if_poses_look_alike(self.activation_transform_, X, canonical)
        # the mean of the rows but for what the group would move
        fixed = functools.partial(averaged, self.activation_transform_)
        return TrainingRows(X, table[table >= 0], canonical=canonical, projection=fixed)

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
        before = (self.symmetry_, self.n_components_, self.n_free_)
        if (group, self._n_latents(n_features), n_free) != before:
            raise ValueError(
                f"partial_fit or warm_start=True goes on with the {self.n_components_} "
                f"latents fitted before ({self.n_orbits_} base vectors moved by "
                f"{self.symmetry_}, {self.n_free_} free), but the parameters or the "
                "orbits now are of others. Call fit with warm_start=False to start "
                "anew."
            )

    def _choose_n_free(
        self, X: Any, table: NDArray, seed: int, metadata: dict[str, Any]
    ) -> int:
        """How many latents are left over by the tied ones."""
        if self.n_free != "auto":
            return int(self.n_free)
        if self.order_ == 1:
            return 0
        if "groups" not in metadata:
            raise ValueError(
                "n_free='auto' has to see how well M explains orbits, and a fitted M "
                "without orbits does not tell. Give fit groups and power, with M in a "
                "sklearn.frozen.FrozenEstimator to keep it, or set n_free to a number."
            )
        fitter = self._new_fitter(self.symmetry_, seed)
        unexplained = unexplained_moves(fitter, X, table, seed=seed, **metadata)
        share = min(1.0, _FREE_PER_UNEXPLAINED * unexplained)
        n_latents = self._n_latents(X.shape[1])
        n_orbits = round((1 - share) * n_latents / self.order_)
        # rounded up there may be more than fit
        n_orbits = max(1, min(n_orbits, n_latents // self.order_))
        n_free = max(0, n_latents - n_orbits * self.order_)
        if n_free > _MOSTLY_FREE * n_latents:
            warn(
                f"n_free='auto' makes {n_free} of {n_latents} latents free and leaves "
                f"{n_orbits} base vector(s), since M leaves {unexplained:.0%} of the "
                "moves along orbits unexplained: hardly any code will move with the "
                "rows. Set n_free to a number to keep more of the symmetry, or take a "
                "layer or a group that M explains better."
            )
        return n_free

    def _n_latents(self, n_features: int) -> int:
        if self.n_components is not None:
            return self.n_components
        n_free = 0 if self.n_free == "auto" else int(self.n_free)
        n_orbits = max(1, -(-(8 * n_features - n_free) // self.order_))
        return n_orbits * self.order_ + n_free

    def _set_n_orbits(self, n_latents: int) -> None:
        self.n_orbits_, left = divmod(n_latents - self.n_free_, self.order_)
        if left or self.n_orbits_ < 1:
            below = self.n_free_ + max(1, self.n_orbits_) * self.order_
            raise ValueError(
                f"n_components={n_latents} latents, {self.n_free_} of them free, do "
                f"not fill latent orbits of {self.order_}. The nearest sizes that do "
                f"are {below} and {below + self.order_}."
            )
        sizes = np.array([] if self.nested is None else self._prefixes(n_latents))
        tied = sizes[sizes < self.n_orbits_ * self.order_]
        cut = tied[tied % self.order_ > 0]
        if len(cut):
            whole = int(cut[0] // self.order_ + 1) * self.order_
            raise ValueError(
                f"nested={self.nested!r} cuts a latent orbit at {cut[0]}: latents come "
                f"in orbits of {self.order_}. Take a multiple of it, such as {whole}."
            )

    def _n_hidden(self) -> int:
        return super()._n_hidden() * self.order_

    def _new_network(
        self,
        n_latents: int,
        n_features: int,
        seed: int,
        memory: dict[str, NDArray] | None,
    ) -> Network:
        self._set_n_orbits(n_latents)
        if self.order_ == 1:
            return super()._new_network(n_latents, n_features, seed, memory)
        tied_init = self._recipe().tied_init
        return TiedNetwork(*self._tied(memory), tied_init=tied_init, seed=seed)

    def _trained_network(
        self,
        n_latents: int,
        target_mean: NDArray,
        memory: dict[str, NDArray] | None,
    ) -> Network:
        dense = super()._trained_network(n_latents, target_mean, memory)
        if self.order_ == 1:
            return dense
        network = TiedNetwork(*self._tied(memory), tied_init=False, seed=0)
        network.set_weights(dense)
        return network

    def _tied(self, memory: dict[str, NDArray] | None) -> tuple:
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
        sizes = (self.n_orbits_, self.n_free_, self.hidden_dim)
        return self.symmetry_, basis, *sizes

    def _keep(self, plan: Plan, curves: NDArray) -> Self:
        super()._keep(plan, curves)
        code, canonical = None, plan.rows.canonical
        if canonical is not None:
            code = self._canonical_code(plan.rows.X, canonical)
        if code is not None or plan.memory is None:
            self._set_or_drop("canonical_code_", code)
        return self

    def _canonical_code(self, X: Any, canonical: NDArray) -> NDArray:
        """Mean latents of canonical rows, of shape (n_orbits, order)."""
        total = np.zeros(len(self.components_))
        for chunk in self._chunks(len(canonical)):
            Z = self._encode_csr(read_rows(X, canonical[chunk]))
            total += np.asarray(Z.sum(axis=0, dtype=np.float64))
        tied = total[: self.n_orbits_ * self.order_] / len(canonical)
        return tied.reshape(self.n_orbits_, self.order_)

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
        Z = self._pooled(self._encode_csr(self._checked(X)))
        return Z if self.sparse_output else Z.toarray()

    def _pooled(self, Z: csr_array) -> csr_array:
        """Largest latent of each base vector, row by row."""
        Z = Z[:, : self.n_orbits_ * self.order_].tocoo()
        key = Z.row.astype(np.int64) * self.n_orbits_ + Z.col // self.order_
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        row, base = np.divmod(key[starts], self.n_orbits_)
        largest = np.maximum.reduceat(Z.data, starts) if len(starts) else Z.data
        return csr_array((largest, (row, base)), (Z.shape[0], self.n_orbits_))

    inverse_transform = available_if(_keeps_pose)(SymmetricSAE.inverse_transform)
    to_module = available_if(_keeps_pose)(SymmetricSAE.to_module)

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
        Z = self._encode_csr(self._checked(X))
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
        return self.n_orbits_ if self.output == "invariant" else len(self.components_)
