"""The matrix M that says how activations move when the input is transformed."""

import warnings
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from .._metrics import fvu
from .._training import draw_seed, resolve_device
from ..activations._orbit_table import check_integers
from ._closed_form import exact_matrices, free_matrix, orthogonal_matrix
from ._fractional import power_weights
from ._gradient_descent import descend
from ._group import FiniteGroup, multiplicities
from ._group_table import group_table

_DTYPES = (np.float64, np.float32)


class ActivationTransformFitter(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Linear map M with M^p psi(x) = psi(g^p x).

    Fits one matrix for each generator of a group, which moves the activation of an
    input to the activation of the transformed input, from orbits of activations. For
    the cyclic group of one generator::

        L_M = mean over orbits and powers of || psi(g^p x) - M^p psi(x) ||^2

    Parameters
    ----------
    order : int, default=None
        Order of the group; for one generator g, applying g `order` times changes
        nothing. None reads it from the powers given to `fit` or from `group`;
        without any of them the group is trivial and M is the identity.
    group : FiniteGroup, default=None
        The group, such as ``DihedralGroup(4)``. None is the cyclic group.
    solver : {"lstsq", "adam"}, default="lstsq"
        "lstsq" is a closed form from second moments of the orbits. "adam" minimises
        the loss above from the identity, as [1]_ does.
    group_law : {"exact", "free", "orthogonal"}, default="exact"
        What the matrices have to obey. "exact": the group's law to machine
        precision, M^order = I and all relations between generators; after
        `solver="adam"`, the nearest such matrices. "free": nothing; the closed form
        is least squares over all pairs of activations one generator apart, with a
        ridge of 1e-6 times the mean eigenvalue towards the identity. "orthogonal":
        each generator's matrix is orthogonal (closed form only). All of them leave
        directions without variance where they are.
    power : float or array-like of shape (n_generators,), default=1
        Powers of the generators that `transform` applies.
    max_epochs : int, default=150
        Passes over the orbits, for `solver="adam"`.
    batch_size : int, default=64
        Orbits per step, for `solver="adam"`.
    lr : float, default=1e-3
        Learning rate, for `solver="adam"`.
    device : str or torch.device, default="auto"
        Where `solver="adam"` computes. "auto" uses a GPU when there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of the order of the orbits, for `solver="adam"`.
    verbose : int, default=0
        1 shows a progress bar over epochs, for `solver="adam"`.

    Attributes
    ----------
    M_ : ndarray of shape (n_features, n_features)
        The generator's matrix; it acts on columns, so rows are moved by
        ``X @ M_.T``. Of a group with several generators: shape (n_generators,
        n_features, n_features).
    group_ : FiniteGroup
        The group.
    order_ : int
        Order of the group.
    order_error_ : float
        Largest Frobenius norm of ``M_^order_ - I``, and of the other relations of
        the group, over the square root of n_features: how far M is from obeying the
        group's law.
    multiplicities_ : ndarray of shape (n_irreps,)
        How often each irrep of `group_.irreps` is in the activations, of
        `group_law="exact"`. Directions without variance count as trivial.
    rank_ : int
        Number of directions with variance, of `group_law="exact"`.
    loss_curve_ : ndarray of shape (n_iter_,)
        Mean loss of each epoch over the mean square of X; `solver="adam"` only.
    n_iter_ : int
        Epochs done; `solver="adam"` only.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had them.

    See Also
    --------
    EquivariantSAE : Uses M to move canonical reconstructions.

    Notes
    -----
    Powers are taken modulo the order, so ``act(X, -1)`` is ``act(X, order - 1)``: it
    undoes ``act(X, 1)`` as far as `order_error_` is small.

    The exact law is fitted in coordinates in which the rows are white. There, the
    moments ``T_g = sum over h of x_gh x_h'`` would be an orthogonal representation
    if M explained everything: overlaps of the rows with their moved copies. The
    copies together span a space on which the group acts exactly, and its leading
    invariant subspace gives the nearest representation. For large groups in many
    dimensions, averaging turns the moments into an exact representation [2]_.

    With an exact law, M belongs to a one-parameter family ``M^t = expm(t A)``: if g
    is a rotation by 15 degrees, ``act(X, 0.5)`` rotates by 7.5. It is exact for
    activations with no angular frequency of order / 2 or above.

    References
    ----------
    .. [1] Erdogan, Lucic. "Group Equivariance Meets Mechanistic Interpretability:
       Equivariant Sparse Autoencoders". arXiv:2511.09432, 2025. Equation 3.
    .. [2] Grove, Karcher, Ruh. "Group actions and curvature". Inventiones
       mathematicae 23, 1974.

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
    >>> fitter = ActivationTransformFitter(order=4)
    >>> fitter = fitter.fit(X.reshape(-1, 2), groups=groups, power=power)
    >>> np.allclose(fitter.M_, turn)
    True
    >>> np.allclose(fitter.act(x, 3), X[3])
    True
    """

    __metadata_request__fit: ClassVar[dict] = {"groups": True, "power": True}
    __metadata_request__score: ClassVar[dict] = {"groups": True, "power": True}

    _parameter_constraints: ClassVar[dict] = {
        "order": [Interval(Integral, 1, None, closed="left"), None],
        "group": [FiniteGroup, None],
        "solver": [StrOptions({"lstsq", "adam"})],
        "group_law": [StrOptions({"exact", "free", "orthogonal"})],
        "power": [Real, "array-like"],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        order: int | None = None,
        *,
        group: FiniteGroup | None = None,
        solver: str = "lstsq",
        group_law: str = "exact",
        power: ArrayLike = 1,
        max_epochs: int = 150,
        batch_size: int = 64,
        lr: float = 1e-3,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.order = order
        self.group = group
        self.solver = solver
        self.group_law = group_law
        self.power = power
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
    ) -> Self:
        """Fit M.

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
        self : ActivationTransformFitter
            The fitted estimator.

        Raises
        ------
        ValueError
            If groups and power do not describe orbits with one canonical row each,
            if an element of the group is never observed, if "adam" diverges, or if
            the parameters contradict each other.

        Warns
        -----
        UserWarning
            If there are too few rows to tell whether M is right.
        """
        X = validate_data(self, X, dtype=_DTYPES)
        self.group_, table = group_table(
            groups, power, order=self.order, group=self.group, n_rows=len(X)
        )
        self.order_ = self.group_.order
        generators = self._fit_generators(X, table)
        self.M_ = generators[0] if len(generators) == 1 else generators
        self.order_error_ = self._law_error(generators)
        return self

    def _fit_generators(self, X: NDArray, table: NDArray) -> NDArray:
        """One matrix per generator, shape (n_generators, n_features, n_features)."""
        group = self.group_
        if self.solver == "adam" and self.group_law == "orthogonal":
            raise ValueError(
                "group_law='orthogonal' is a closed form: set solver='lstsq', or "
                "group_law='exact' or 'free' for solver='adam'."
            )
        if group.order == 1:
            return np.eye(X.shape[1])[np.newaxis].repeat(group.n_generators, axis=0)
        start = self._start(X, table)
        if self.group_law != "exact" and start is not None:
            return start
        if start is not None:
            start = all_matrices(group, start)
        self.rank_, matrices = exact_matrices(X, table, group, start)
        character = np.trace(matrices, axis1=1, axis2=2)
        self.multiplicities_ = np.rint(multiplicities(group, character)).astype(int)
        _warn_if_rows_determine_nothing(self.rank_, len(X))
        return matrices[_generators(group)]

    def _start(self, X: NDArray, table: NDArray) -> NDArray | None:
        """Generators without an exact law; None if the exact one needs no start."""
        if self.solver == "adam":
            return self._gradient_descent(X, table)
        if self.group_law == "exact" and (table >= 0).all():
            return None
        fit = orthogonal_matrix if self.group_law == "orthogonal" else free_matrix
        product = self.group_.multiplication_table
        return np.array([fit(X, table, product, g) for g in _generators(self.group_)])

    def _gradient_descent(self, X: NDArray, table: NDArray) -> NDArray:
        generators, self.loss_curve_ = descend(
            X,
            table,
            self.group_,
            lr=self.lr,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            seed=draw_seed(check_random_state(self.random_state)),
            device=resolve_device(self.device),
            verbose=self.verbose,
        )
        self.n_iter_ = len(self.loss_curve_)
        return generators

    def _law_error(self, generators: NDArray) -> float:
        """Largest distance of a relation from the identity."""
        identity = np.eye(generators.shape[1])
        return max(
            float(np.linalg.norm(_word(generators, relation) - identity))
            / np.sqrt(len(identity))
            for relation in self.group_.relations
        )

    def matrix(self, power: ArrayLike) -> NDArray:
        """Matrix of one element of the group, or of one between them.

        Parameters
        ----------
        power : float or array-like of shape (n_generators,)
            Powers p of the generators, taken modulo their orders. Powers that are
            not whole need `group_law="exact"`.

        Returns
        -------
        matrix : ndarray of shape (n_features, n_features)
            M_1^p1 M_2^p2 ...

        Raises
        ------
        ValueError
            If there is not one power for each generator, or one is not whole
            without an exact law.
        """
        check_is_fitted(self)
        identity = np.eye(self.n_features_in_)
        rows = self._as_rows(power, n_rows=1).repeat(len(identity), axis=0)
        return self._moved(identity, rows).T

    @property
    def _generators(self) -> NDArray:
        return self.M_.reshape(-1, self.n_features_in_, self.n_features_in_)

    def act(self, X: ArrayLike, power: ArrayLike) -> NDArray:
        """Move activations by an element of the group, or by one between them.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        power : float, or array-like of shape (n_rows,) or (n_rows, n_generators)
            Powers of the generators for each row, taken modulo their orders. One
            power (with several generators: one of shape (n_generators,)) moves all
            rows alike. With `group_law="exact"` a power may be any real number: 0.5
            is half a step, ``M^t = expm(t A)`` with ``M = expm(A)``.

        Returns
        -------
        moved : ndarray of shape (n_rows, n_features)
            M_1^p1 M_2^p2 ... x, in the dtype of X.

        Raises
        ------
        ValueError
            If the powers are not one for each row and generator, or one is not
            whole without an exact law.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        return self._moved(X, self._as_rows(power, n_rows=len(X)))

    def _as_rows(self, power: ArrayLike, n_rows: int) -> NDArray:
        """Powers of shape (n_rows, n_generators)."""
        power, n_generators = np.asarray(power), self.group_.n_generators
        if power.ndim == (n_generators > 1):  # one element for all rows
            power = np.broadcast_to(power, (n_rows, *power.shape))
        power = power.reshape(len(power), -1)
        if power.shape != (n_rows, n_generators):
            raise ValueError(
                f"power has shape {power.shape} for {n_rows} row(s) and "
                f"{n_generators} generator(s). Give one power, or one for each row, "
                "with a column for each generator."
            )
        if self.group_law != "exact" or power.dtype.kind != "f":
            return np.column_stack([check_integers(column) for column in power.T])
        return check_array(power, input_name="power")

    def _moved(self, X: NDArray, power: NDArray) -> NDArray:
        """Apply each generator's power, the last generator first."""
        for i in reversed(range(self.group_.n_generators)):
            X = self._moved_by(X, i, power[:, i])
        return X

    def _moved_by(self, X: NDArray, generator: int, power: NDArray) -> NDArray:
        weights = power_weights(power, self.group_.generator_orders[generator])
        moved = np.zeros_like(X)
        for p in np.flatnonzero(weights.any(axis=0)):
            rows = np.flatnonzero(weights[:, p])
            matrix = np.linalg.matrix_power(self._generators[generator], int(p))
            weight = weights[rows, p, np.newaxis].astype(X.dtype)
            moved[rows] += weight * (X[rows] @ matrix.T.astype(X.dtype))
        return moved

    def transform(self, X: ArrayLike) -> NDArray:
        """Move activations by `self.power`.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.

        Returns
        -------
        moved : ndarray of shape (n_rows, n_features)
            M^power x, in the dtype of X.
        """
        return self.act(X, self.power)

    def inverse_transform(self, X: ArrayLike) -> NDArray:
        """Move activations by the inverse of `self.power`.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.

        Returns
        -------
        moved : ndarray of shape (n_rows, n_features)
            The inverse element's matrix times x, in the dtype of X.
        """
        return self.act(X, self._inverse_power())

    def _inverse_power(self) -> NDArray:
        check_is_fitted(self)
        rows = self._as_rows(self.power, n_rows=1)
        if self.group_.n_generators == 1:
            return -rows[0, 0]
        inverse = self.group_.inverses[self.group_.elements_of(rows)[0]]
        return self.group_.powers[inverse]

    def r2_per_power(
        self,
        X: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> NDArray:
        """Share of the variance of each power's activations that M explains.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations, best of orbits that were not fitted.
        groups : array-like of shape (n_rows,), default=None
            Orbit id of each row.
        power : array-like of shape (n_rows,), default=None
            Power of the generator of each row.

        Returns
        -------
        r2 : ndarray of shape (max(order - 1, 1),)
            1 - FVU (R2 per feature, weighted by variance) of M^p times the
            canonical row against the row of power p = 1, ..., order - 1, or, with
            several generators, of the powers ``group_.powers[1:]``; NaN for a power
            without rows. Of the trivial group: the R2 of power 0, which is 1.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        _, table = group_table(groups, power, group=self.group_, n_rows=len(X))
        elements = range(1, self.order_) if self.order_ > 1 else [0]
        return np.array([self._r2(X, table, element) for element in elements])

    def _r2(self, X: NDArray, table: NDArray, element: int) -> float:
        observed = table[table[:, element] >= 0]
        if len(observed) == 0:
            return np.nan
        power = self.group_.powers[element].astype(np.float64)
        moved = self._moved(X[observed[:, 0]], np.tile(power, (len(observed), 1)))
        return 1 - fvu(X[observed[:, element]], moved)

    def score(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> float:
        """Mean over the powers of :meth:`r2_per_power`.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        y : None
            Ignored.
        groups : array-like of shape (n_rows,), default=None
            Orbit id of each row.
        power : array-like of shape (n_rows,), default=None
            Power of the generator of each row.

        Returns
        -------
        score : float
            1 is perfect; 0 is as good as the mean activation of each power.
        """
        return float(np.nanmean(self.r2_per_power(X, groups=groups, power=power)))

    def __sklearn_tags__(self) -> Any:
        """Tags for scikit-learn: float32 and float64 come out as they went in."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def all_matrices(group: FiniteGroup, generators: NDArray) -> NDArray:
    """Build the matrices of all elements.

    Parameters
    ----------
    group : FiniteGroup
        The group.
    generators : ndarray of shape (n_generators, n_features, n_features)
        One matrix per generator.

    Returns
    -------
    matrices : ndarray of shape (order, n_features, n_features)
        One matrix per element.
    """
    return np.array([_word(generators, list(enumerate(p))) for p in group.powers])


def _word(generators: NDArray, word: Iterable[tuple[int, int]]) -> NDArray:
    """Product of powers of generators; exponents may be negative."""
    matrix = np.eye(generators.shape[1])
    for generator, exponent in word:
        matrix = matrix @ np.linalg.matrix_power(generators[generator], exponent)
    return matrix


def _generators(group: FiniteGroup) -> NDArray:
    """Element of each generator."""
    return group.elements_of(np.eye(group.n_generators, dtype=np.int64))


def _warn_if_rows_determine_nothing(rank: int, n_rows: int) -> None:
    if rank == n_rows:
        warnings.warn(
            f"M is not to be trusted: the {n_rows} rows are linearly independent, so "
            "M fits them whatever they are. Give more orbits than there are features.",
            stacklevel=4,
        )
