"""The matrix M that says how activations move when the input is transformed."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OneToOneFeatureMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_n_features, check_is_fitted

from .._docs import fill
from .._estimator import (
    FEATURES,
    Fitted,
    FloatTransformer,
    all_or_nothing,
    as_array,
    check_not_too_large,
    checked_array,
    checked_rows,
    draw_seed,
)
from .._metrics import are_constant, fvu_of_chunks
from .._rows import MOST_OF_ALL, shorter_rows
from .._threads import DECOMPOSITION, blas_threads_that_pay
from .._warnings import warn
from ._descent import descend, refine
from ._element_matrices import ElementMatrices, matrices_of, on_features, r2_of_sample
from ._exact_law import (
    ExactLaw,
    law_error,
    law_of_whole_orbits,
    warn_if_rounded,
    warn_if_too_few,
)
from ._group import FiniteGroup, check_seen
from ._least_squares import free_generators, law_of_all_pairs, orthogonal_generators
from ._moments import OrbitMoments
from ._orbit_table import (
    METADATA,
    canonical_rows,
    check_integers,
    orbit_table,
    power_of_each_row,
    warn_if_no_symmetry,
)

_MOST = 0.9  # of the rows, in whole orbits: the other orbits are left out
_WORSE = 0.05  # R2 that may be missing, since it is that of a sample
_SAMPLED = 1_000  # orbits whose lengths are compared, or up to twice as many
_CHUNK_ENTRIES = 2**22  # compared at a time: 32 MiB in float64


def _has_closed_form(fitter: ActivationTransformFitter) -> bool:
    if fitter.solver == "adam":
        raise AttributeError(
            "partial_fit needs a closed form: solver='adam' passes over all orbits "
            "many times. Set solver='lstsq'."
        )
    return True


class _Multiplied:
    """M_ of a fitter that keeps factors, made each time; one that is set hides it."""

    def __get__(self, fitter: Any, kind: type) -> Any:
        if fitter is None:
            return self
        M = on_features(*fitter._factors())
        return M[0] if len(M) == 1 else M


@fill
class ActivationTransformFitter(OneToOneFeatureMixin, FloatTransformer):
    r"""Linear map M with M^p psi(x) = psi(g^p x).

    Fits one matrix for each generator of a group, which moves the activation of an
    input to the activation of the transformed input, from orbits of activations. For
    the cyclic group of one generator, the loss is the mean over orbits x and powers p
    of

    .. math::

        L_M = \|\psi(g^p x) - M^p \psi(x)\|^2

    Parameters
    ----------
    symmetry : int or FiniteGroup, default=None
        The group: the order of a cyclic group, or one such as ``DihedralGroup(4)``.
        None is the cyclic group of the powers given to `fit`; without any the group is
        trivial and M is the identity, with a warning.
    solver : {"lstsq", "adam"}, default="lstsq"
        "lstsq" is a closed form in one pass over the orbits. "adam" minimises the loss
        above by gradient descent: of a free law from the identity, as [1]_ does; of an
        exact one from the closed form.
    group_law : {"exact", "free", "orthogonal"}, default="exact"
        What the matrices obey. "exact": all relations of the group, such as M^order =
        I, to machine precision. "free": nothing; least squares over pairs one generator
        apart, with a ridge of 1e-6 times the mean eigenvalue towards the identity.
        "orthogonal": each generator's matrix is orthogonal (closed form only).
    power : float or array-like of shape (n_generators,), default=1
        Powers of the generators that `transform` applies; a number is for each of them.
    n_components : int, default=None
        Fit M in so many principal directions of X, at most n_features or n_rows, and
        leave the others where they are, for many features or few orbits. None uses all.
    max_epochs : int, default=150
        Passes over the orbits, for `solver="adam"`.
    batch_size : int, default=64
        Orbits per step, for `solver="adam"`.
    lr : float, default=1e-3
        Learning rate, for `solver="adam"`.
    device : str or torch.device, default="auto"
        Where to compute. "auto" uses a GPU when there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of the order of the orbits, for `solver="adam"`, and of the search for
        principal directions, for `n_components`.
    verbose : int, default=0
        1 shows a progress bar over epochs, for `solver="adam"`.

    Attributes
    ----------
    M_ : ndarray of shape (n_features, n_features)
        The generator's matrix; it acts on columns, so rows are moved by
        ``X @ M_.T``. Of a group with several generators: shape (n_generators,
        n_features, n_features). With `n_components` it is made when it is asked for.
    symmetry_ : FiniteGroup
        The group.
    order_ : int
        Order of the group.
    order_error_ : float
        Largest Frobenius norm of ``M_^order_ - I``, and of the other relations of
        the group, over the square root of n_features.
    multiplicities_ : ndarray of shape (n_irreps,)
        How often each irrep of `symmetry_.irreps` is in the activations, of
        `group_law="exact"`. Directions without variance count as trivial.
    rank_ : int
        Number of directions with variance, that of the mean among them, of
        `group_law="exact"`.
    loss_curve_ : ndarray of shape (n_epochs,)
        Mean loss of each epoch over the mean squared norm of a row, of "adam".
    n_iter_ : int
        Epochs done by "adam".
    {features_in}

    Notes
    -----
    The exact law is fitted in coordinates in which the rows are white. There, the
    moments ``T_g = sum over h of x_gh x_h'`` would be an orthogonal representation if
    M explained everything. The leading invariant subspace of what the moved copies span
    gives the nearest one; by irrep rho, eigenvectors of ``sum over g of rho(g) (x)
    T_g``. "adam" keeps it as Q and refines the matrix S in ``M_g = S Q_g S^-1``.

    Directions without variance stay where they are, and so does the mean of whole
    orbits. Orbits with missing rows are left out of an exact law if they hold at most a
    tenth of the rows; else least squares for each element, over all pairs of rows that
    it takes to one another, stand in for the moments.

    X may be a memory map: the closed form needs memory for (n_features)^2 numbers a few
    times over, whatever the number of rows, or for n_features times `n_components`.
    M^order = I holds up to rounding, about order * eps * ||M||^2.

    With an exact law, ``M^t = expm(t A)``: if g is a rotation by 15 degrees, ``act(X,
    0.5)`` rotates by 7.5. That is right for angular frequencies below order / 2. Where
    more than 5 % of what moves is at order / 2, `act` warns. Inputs that are moved by
    half a step tell for certain: `score` takes their powers.

    References
    ----------
    .. [1] Erdogan, Lucic. "Group Equivariance Meets Mechanistic Interpretability:
       Equivariant Sparse Autoencoders". arXiv:2511.09432, 2025. Equation 3.

    Examples
    --------
    Activations in the plane that turn by 90 degrees with the input:

    >>> import numpy as np
    >>> from sk_eqsae import ActivationTransformFitter
    >>> rng = np.random.default_rng(0)
    >>> turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    >>> x = rng.normal(size=(50, 2))
    >>> X = np.stack([x @ np.linalg.matrix_power(turn, p).T for p in range(4)])
    >>> groups, power = np.tile(np.arange(50), 4), np.repeat(np.arange(4), 50)
    >>> fitter = ActivationTransformFitter(symmetry=4)
    >>> fitter = fitter.fit(X.reshape(-1, 2), groups=groups, power=power)
    >>> np.allclose(fitter.act(x, 3), X[3])
    True
    """

    M_: Any = _Multiplied()

    _fitted: ClassVar[tuple] = (
        *FEATURES,
        Fitted("symmetry_", "FiniteGroup", ("order",)),
        Fitted("order_", "int", ("order",)),
        Fitted("M_", "float64", ("...", "n_features", "n_features"), optional=True),
        # or the factors of M = I + V (M_small - I) V'
        Fitted("_small", "float64", ("", *("n_directions",) * 2), optional=True),
        Fitted("_basis", "float64", ("n_features", "n_directions"), optional=True),
        Fitted("order_error_", "float"),
        Fitted("rank_", "int", optional=True),
        Fitted("multiplicities_", "int64", ("n_irreps",), optional=True),
        Fitted("n_iter_", "int", ("n_epochs",), optional=True),
        Fitted("loss_curve_", "float64", ("n_epochs",), optional=True),
        # of partial_fit; directions are those of the basis, or else the features
        Fitted("_sums", "dict", optional=True),
        Fitted("_sums/basis", "none float64", ("n_features", "n_directions")),
        Fitted("_sums/irreps", "list"),
        Fitted("_sums/irreps/*", "dict"),
        Fitted("_sums/irreps/*/rows", "list"),
        Fitted("_sums/irreps/*/rows/*", "float64", ("", "")),
        Fitted("_sums/irreps/*/gram", "list"),
        Fitted("_sums/irreps/*/gram/*", "float64", ("", "")),
        Fitted("_sums/irreps/*/n_orbits", "int"),
        Fitted("_sums/pairs", "none list"),
        Fitted("_sums/pairs/0", "float64", ("n_moves", "n_directions", "n_directions")),
        Fitted("_sums/pairs/1", "float64", ("n_moves", "n_directions", "n_directions")),
        Fitted("_sums/pairs/2", "int64", ("n_moves",)),
        Fitted("_sums/pairs/3", "float64", ("n_moves", "n_directions")),
        Fitted("_sums/pairs/4", "float64", ("n_moves", "n_directions")),
        Fitted("_sums/shift", "float float64", ("n_directions",)),
        Fitted("_sums/total", "float float64", ("n_directions",)),
        Fitted("_sums/n_rows", "int"),
        Fitted("_sums/n_orbits", "int"),
    )

    __metadata_request__fit: ClassVar[dict] = METADATA
    __metadata_request__partial_fit: ClassVar[dict] = METADATA
    __metadata_request__score: ClassVar[dict] = METADATA

    _parameter_constraints: ClassVar[dict] = {
        "symmetry": [Interval(Integral, 1, None, closed="left"), FiniteGroup, None],
        "solver": [StrOptions({"lstsq", "adam"})],
        "group_law": [StrOptions({"exact", "free", "orthogonal"})],
        "power": [Real, "array-like"],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        symmetry: int | FiniteGroup | None = None,
        *,
        solver: str = "lstsq",
        group_law: str = "exact",
        power: ArrayLike = 1,
        n_components: int | None = None,
        max_epochs: int = 150,
        batch_size: int = 64,
        lr: float = 1e-3,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.symmetry = symmetry
        self.solver = solver
        self.group_law = group_law
        self.power = power
        self.n_components = n_components
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
        site: ArrayLike | None = None,
    ) -> Self:
        """Fit M.

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
            a generator is never observed, if "adam" diverges, or if the parameters
            contradict each other. The estimator is then left as it was.

        Warns
        -----
        UserWarning, ConvergenceWarning
            If nothing says what the group is, or M is not to be trusted: of fewer than
            two rows for each direction in which they vary, worse on them than their
            mean or than M = I, with an `order_error_` above 1e-10, or fitted to few
            long orbits; if "adam" ends above the closed form, which is kept.
        """
        with all_or_nothing(self):
            self._forget()
            X, table = self._checked(
                X, reset=True, groups=groups, power=power, site=site
            )
            moments, found = self._new_moments(X), None
            if self.symmetry_.order == 1:
                return self._keep_identity()
            if self.solver == "adam":
                found = self._descended(X, table, moments)
            else:
                moments.add(X, table)
            return self._keep(moments, X, table, found)

    @available_if(_has_closed_form)
    @fill
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
        site: ArrayLike | None = None,
    ) -> Self:
        """Fit M to these orbits and those of the calls before.

        Sums over orbits are kept, not rows; after each call M is, up to rounding,
        what `fit` gives for the rows of all calls together. With `n_components`, the
        principal directions are those of the first call.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations, whole orbits. A row that is missing here is missing for good.
        {y}
        groups : array-like of shape (n_rows,), default=None
            Input that each row is of; the same id in two calls stands for two inputs.
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Powers of the generators of each row; 0 is the canonical row. Without
            `symmetry`, the first call decides the group.
        {site}

        {self}

        Raises
        ------
        AttributeError, ValueError
            With `solver="adam"`, which needs all orbits at once, or as `fit` does; the
            orbits of that call are then not in M.

        Warns
        -----
        UserWarning
            As `fit` does, or if `fit`, which keeps no sums, was called before.
        """
        with all_or_nothing(self):
            sums = self._sums_before()
            metadata = {"groups": groups, "power": power, "site": site}
            X, table = self._checked(X, reset=sums is None, **metadata)
            if sums is None:
                moments = self._new_moments(X)
            else:
                moments = OrbitMoments.from_state(self.symmetry_, sums)
            if self.symmetry_.order == 1:
                self._keep_identity()
            else:
                moments.add(X, table)
                self._keep(moments, X, table, use_up=False)
            self._sums = moments.state()
        return self

    def _sums_before(self) -> dict[str, Any] | None:
        """Sums of earlier calls of partial_fit; drops all else that was fitted."""
        sums = getattr(self, "_sums", None)
        if sums is None and hasattr(self, "order_"):
            warn(
                "partial_fit forgets what fit has found, because fit keeps no sums "
                "over orbits. Make all calls partial_fit."
            )
        self._forget()
        return sums

    def _forget(self) -> None:
        """Drop what an earlier fit has set and this one may not."""
        factors = ("M_", "_small", "_basis")
        others = ("_sums", "rank_", "multiplicities_", "loss_curve_", "n_iter_")
        for name in (*factors, *others):
            self.__dict__.pop(name, None)

    def _checked(
        self, X: ArrayLike, *, reset: bool, **metadata: Any
    ) -> tuple[NDArray, NDArray]:
        """Rows and their table; sets the group."""
        one_pass = self.solver == "lstsq" and self.n_components is None
        checked = checked_rows if one_pass else checked_array
        X = checked(self, X, reset=reset)
        symmetry = self.symmetry if reset else self.symmetry_
        warn_if_no_symmetry(self, metadata, "leaves rows as they are")
        group, table = orbit_table(**metadata, symmetry=symmetry, n_rows=len(X))
        check_seen(group, np.flatnonzero((table >= 0).any(axis=0)))
        self.symmetry_: FiniteGroup = group
        return X, table

    def _keep_identity(self) -> Self:
        """Set M of a trivial group; with `n_components`, as if in one direction."""
        n_generators, n = self.symmetry_.n_generators, self.n_features_in_
        basis = None if self.n_components is None else np.eye(n, 1)
        small = np.eye(n if basis is None else 1)
        self._set_factors(np.tile(small, (n_generators, 1, 1)), basis)
        self.order_, self.order_error_ = 1, 0.0
        return self

    def _principal_directions(self, X: NDArray) -> NDArray | None:
        """Orthonormal directions of shape (n_features, n_components), or None."""
        if self.n_components is None:
            return None
        if self.n_components > X.shape[1]:
            raise ValueError(
                f"n_components={self.n_components} is more than the {X.shape[1]} "
                "feature(s) of X. Lower it, or set n_components=None."
            )
        if self.symmetry_.order == 1:
            return None
        if self.n_components > len(X):
            raise ValueError(
                f"n_components={self.n_components} is more than the {len(X)} row(s) "
                "of X (of partial_fit's first call), too few orbits to find so many "
                "principal directions. Give more orbits or lower it."
            )
        seed = draw_seed(self.random_state)
        *_, directions = randomized_svd(X, self.n_components, random_state=seed)
        return np.linalg.qr(directions.T.astype(np.float64))[0]

    def _new_moments(self, X: NDArray) -> OrbitMoments:
        by_irrep = self.group_law == "exact" and self.symmetry_.order > 1
        basis = self._principal_directions(X)
        return OrbitMoments(self.symmetry_, by_irrep=by_irrep, basis=basis)

    def _solved(self, moments: OrbitMoments, *, use_up: bool = True) -> Any:
        """Closed form of the matrices from moments of orbits."""
        n_features = self.n_features_in_
        if self.group_law == "orthogonal":
            return orthogonal_generators(moments)
        if self.group_law == "free":
            return free_generators(moments, n_features)
        if moments.n_rows_of_whole >= _MOST * moments.n_rows:
            return law_of_whole_orbits(moments, n_features, use_up=use_up)
        return law_of_all_pairs(moments, n_features)

    def _descended(
        self, X: NDArray, table: NDArray, moments: OrbitMoments
    ) -> NDArray | ExactLaw:
        if self.group_law == "orthogonal":
            raise ValueError(
                "group_law='orthogonal' is a closed form: set solver='lstsq', or "
                "group_law='exact' or 'free' for solver='adam'."
            )
        settings = {
            "lr": self.lr,
            "batch_size": self.batch_size,
            "max_epochs": self.max_epochs,
            "seed": draw_seed(self.random_state),
            "device": self.device,
            "verbose": self.verbose,
        }
        basis = moments.basis
        rows = X if basis is None else X @ basis.astype(X.dtype)
        if self.group_law == "free":
            found, losses = descend(rows, table, self.symmetry_, **settings)
        else:
            moments.add(X, table)
            found, losses = refine(self._solved(moments), rows, table, **settings)
        self.loss_curve_, self.n_iter_ = losses, len(losses)
        return found

    def _keep(
        self,
        moments: OrbitMoments,
        X: Any,
        table: NDArray,
        found: NDArray | ExactLaw | None = None,
        *,
        use_up: bool = True,
    ) -> Self:
        """Set M, the closed form if none was found; say if it is not to be trusted."""
        self.order_ = self.symmetry_.order
        with blas_threads_that_pay(DECOMPOSITION * self.n_features_in_**3):
            if found is None:
                found = self._solved(moments, use_up=use_up)
            if not isinstance(found, ExactLaw):
                generators = found
            else:
                generators, self.rank_ = found.generators(), found.rank
                self.multiplicities_ = found.representation.multiplicities
                self.multiplicities_[0] += self.n_features_in_ - found.rank
                warn_if_too_few(found.rank, moments)
            self.order_error_ = law_error(
                self.symmetry_, generators, self.n_features_in_
            )
            if self.group_law == "exact":
                warn_if_rounded(self.order_error_, generators)
            self._set_factors(generators, moments.basis)
            self._judge(X, table)
        return self

    def _set_factors(self, generators: NDArray, basis: NDArray | None) -> None:
        if basis is None:
            self.M_ = generators[0] if len(generators) == 1 else generators
        else:
            self._small, self._basis = generators, basis

    def _factors(self) -> tuple[NDArray, NDArray | None]:
        """Generators (n_generators, m, m) and their basis (n_features, m), or None."""
        check_is_fitted(self)
        M = vars(self).get("M_")
        if M is None:
            return self._small, self._basis
        return M.reshape(-1, *M.shape[-2:]), None

    def _judge(self, X: Any, table: NDArray) -> None:
        """Warn if M does no good on a sample of the orbits, or few of them are all."""
        M = ElementMatrices(self.symmetry_, *self._factors(), most_kept=0)
        r2, of_identity = r2_of_sample(M, X, table)
        if r2 < max(0.0, of_identity) - _WORSE:
            self._warn_that_worse(r2, of_identity)
        some = table[:: max(1, len(table) // _SAMPLED)]
        shorter, share = shorter_rows(X[some[:, 0]].astype(np.float64))
        if share > MOST_OF_ALL:
            r2, _ = r2_of_sample(M, X, some[shorter])
            warn(
                f"The longest 1 % of the orbits hold {share:.0%} of the variance, as "
                "attention sinks do, so that M and its score are about them: of the "
                f"other orbits M has an R2 of {r2:.2f}. Leave them out, or "
                "shorten all rows of an orbit by its canonical row's length before fit."
            )

    def _warn_that_worse(self, r2: float, of_identity: float) -> None:
        descended = self.solver == "adam" and self.group_law == "free"
        what_to_do = (
            "Lower lr (the learning rate), raise max_epochs, or set solver='lstsq'."
            if descended
            else "Perhaps they do not follow the group: look for wrong groups or power "
            "or a layer that does not keep the symmetry. Or orbits are too few: give "
            "more, or set n_components."
        )
        warn(
            "M is not to be trusted: it explains less of the activations than "
            f"{'M = I' if r2 < of_identity else 'their mean'} does on rows that it was "
            f"fitted on (R2 {r2:.2g}, of M = I {of_identity:.2g}), and held out it "
            f"will be worse. {what_to_do}",
            ConvergenceWarning if descended else UserWarning,
        )

    def matrix(self, power: ArrayLike) -> NDArray:
        """Matrix of one element of the group, or of one between them.

        Parameters
        ----------
        power : float or array-like of shape (n_generators,)
            Powers p of the generators, taken modulo their orders. Powers that are
            not whole need `group_law="exact"`; else they are a ValueError.

        Returns
        -------
        matrix : ndarray of shape (n_features, n_features)
            M_1^p1 M_2^p2 ...
        """
        check_is_fitted(self)
        (row,) = self._as_rows(power, n_rows=1)
        return matrices_of(self).matrix(row)

    def act(self, X: ArrayLike, power: ArrayLike) -> NDArray:
        """Move activations by an element of the group, or by one between them.

        Parameters
        ----------
        {X}
        power : float, or array-like of shape (n_rows,) or (n_rows, n_generators)
            Powers of the generators for each row, or one for all rows, taken modulo
            their orders. With `group_law="exact"` a power may be any real number: 0.5
            is half a step, ``M^t = expm(t A)`` with ``M = expm(A)``.

        Returns
        -------
        moved : ndarray of shape (n_rows, n_features)
            M_1^p1 M_2^p2 ... x, in the dtype of X.

        Warns
        -----
        UserWarning
            If powers are not whole and the rows turn too fast for them, see Notes.
        """
        check_is_fitted(self)
        X = self._checked_to_move(X)
        return matrices_of(self).act(X, self._as_rows(power, n_rows=len(X)))

    def _checked_to_move(self, X: ArrayLike) -> NDArray:
        """Validate X; arrays need no names, for what is decoded or moved has none."""
        if hasattr(X, "columns"):
            return checked_array(self, X, reset=False)
        checks = {"dtype": (np.float64, np.float32), "order": "C", "estimator": self}
        X = check_array(as_array(X), input_name="X", **checks)
        _check_n_features(self, X, reset=False)
        check_not_too_large(X)
        return X

    def _as_rows(self, power: ArrayLike, n_rows: int) -> NDArray:
        """Powers of shape (n_rows, n_generators)."""
        power = power_of_each_row(power, n_rows, self.symmetry_.n_generators)
        if self.group_law != "exact" or power.dtype.kind != "f":
            return np.column_stack([check_integers(column) for column in power.T])
        return check_array(power, input_name="power")

    def _own_power(self, n_rows: int) -> NDArray:
        """Powers that `transform` applies; a number stands for each generator."""
        power, n_generators = np.asarray(self.power), self.symmetry_.n_generators
        if n_generators > 1 and power.ndim == 0:
            power = np.broadcast_to(power, n_generators)
        return self._as_rows(power, n_rows)

    def transform(self, X: ArrayLike) -> NDArray:
        """Move activations by `self.power`.

        Parameters
        ----------
        {X}

        Returns
        -------
        moved : ndarray of shape (n_rows, n_features)
            M^power x, in the dtype of X; with several generators M_1^p1 M_2^p2 ... x.
        """
        check_is_fitted(self)
        X = checked_array(self, X, reset=False)
        return matrices_of(self).act(X, self._own_power(len(X)))

    def inverse_transform(self, X: ArrayLike) -> NDArray:
        """Move activations by the inverse of `self.power`.

        Parameters
        ----------
        {X}

        Returns
        -------
        moved : ndarray of shape (n_rows, n_features)
            The inverse element's matrix times x, in the dtype of X.
        """
        check_is_fitted(self)
        X = self._checked_to_move(X)
        return matrices_of(self).act(X, self._own_power(len(X)), back=True)

    def r2_per_power(
        self,
        X: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
        site: ArrayLike | None = None,
    ) -> NDArray:
        """Share of the variance of each power's activations that M explains.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations, best of orbits that were not fitted.
        {metadata}

        Returns
        -------
        r2 : ndarray of shape (max(order - 1, 1),)
            1 - FVU of M^p times the canonical row against the row of power p, for each
            of ``symmetry_.powers[1:]``; NaN for a power without rows. Where all rows of
            a power are alike, the variance is that of all rows. Of the trivial group:
            the R2 of power 0.
        """
        check_is_fitted(self)
        X = checked_array(self, X, reset=False)
        metadata = {"groups": groups, "power": power, "site": site}
        _, table = orbit_table(**metadata, symmetry=self.symmetry_, n_rows=len(X))
        r2 = np.full(self.order_, np.nan)
        for element, moved in matrices_of(self).moved(X[table[:, 0]]):
            seen = table[:, element] >= 0
            if seen.any():
                r2[element] = _r2(X[table[seen, element]], moved[seen], X)
        return r2[1:] if self.order_ > 1 else r2

    def score(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
        site: ArrayLike | None = None,
    ) -> float:
        """Mean over the powers of :meth:`r2_per_power`.

        With `group_law="exact"`, powers may be real here: rows of inputs that were
        moved by 0.5 of a step say whether ``M^0.5`` holds, which whole powers cannot.

        Parameters
        ----------
        {X}
        {y}
        {groups}
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Powers of the generators of each row; 0 is the canonical row.
        {site}

        Returns
        -------
        score : float
            1 is perfect; 0 is as good as the mean activation of each power.
        """
        metadata = {"groups": groups, "power": power, "site": site}
        r2_of = self.r2_per_power
        if power is not None and getattr(self, "group_law", None) == "exact":
            powers = np.asarray(as_array(power, "power"))
            if powers.dtype.kind == "f" and (powers != np.rint(powers)).any():
                r2_of = self._r2_between
        r2 = r2_of(X, **metadata)
        if np.isnan(r2).all():
            raise ValueError(
                "score compares rows with their canonical row moved by M, but no row "
                "has another power than 0. Give whole orbits."
            )
        return float(np.nanmean(r2))

    def _r2_between(self, X: ArrayLike, **metadata: Any) -> NDArray:
        """R2 of each power but 0 that rows have, whole or not."""
        check_is_fitted(self)
        X = checked_array(self, X, reset=False)
        power = self._as_rows(metadata.pop("power"), n_rows=len(X))
        power = power % self.symmetry_.generator_orders
        not_moved = np.equal(power, 0).all(axis=1)
        canonical = canonical_rows(not_moved, n_rows=len(X), **metadata)
        moved = matrices_of(self).act(X[canonical], power)
        values, which = np.unique(power, axis=0, return_inverse=True)
        moves = [(v, np.flatnonzero(which == i)) for i, v in enumerate(values)]
        return np.array([_r2(X[rows], moved[rows], X) for v, rows in moves if v.any()])


def _r2(rows: NDArray, moved: NDArray, X: NDArray) -> float:
    """R2 against the mean of rows or, where they are all alike, of X."""
    if are_constant(rows).all() and not are_constant(X).all():
        variance = X.var(axis=0, dtype=np.float64).sum()
        unexplained = np.square(rows - moved, dtype=np.float64).sum(axis=1).mean()
        return float(1 - unexplained / variance)
    chunks = gen_batches(len(rows), max(1, _CHUNK_ENTRIES // rows.shape[1]))
    return 1 - fvu_of_chunks((rows[chunk], moved[chunk]) for chunk in chunks)
