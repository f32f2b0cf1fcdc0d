"""The matrix M that says how activations move when the input is transformed."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from .._metrics import fvu
from .._training import draw_seed, resolve_device, train
from ..activations._orbit_table import check_integers, orbit_table

_DTYPES = (np.float64, np.float32)
_RIDGE = 1e-6  # share of the mean eigenvalue


class ActivationTransformFitter(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Linear map M with M^p psi(x) = psi(g^p x).

    Fits one matrix that moves the activation of an input to the activation of the
    transformed input, from orbits of activations::

        L_M = mean over orbits and powers of || psi(g^p x) - M^p psi(x) ||^2

    Parameters
    ----------
    order : int, default=None
        Order of the generator g: applying g `order` times changes nothing. None
        reads it from the powers given to `fit`; without powers the group is trivial
        and M is the identity.
    solver : {"lstsq", "adam"}, default="lstsq"
        "lstsq" is the closed form: least squares over all pairs of activations one
        power apart, around the cycle, with a ridge of 1e-6 times the mean
        eigenvalue towards the identity, so that directions without variance stay
        where they are. "adam" minimises the loss above from the identity, as [1]_
        does.
    power : int, default=1
        Power of g that `transform` applies.
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
        The matrix; it acts on columns, so rows are moved by ``X @ M_.T``.
    order_ : int
        Order of the generator.
    order_error_ : float
        Frobenius norm of ``M_^order_ - I`` over the square root of n_features: how
        far M is from obeying the group's law.
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
    >>> fitter = ActivationTransformFitter(order=4)
    >>> fitter = fitter.fit(X.reshape(-1, 2), groups=groups, power=power)
    >>> np.allclose(fitter.M_, turn, atol=1e-5)
    True
    >>> np.allclose(fitter.act(x, 3), X[3], atol=1e-4)
    True
    """

    __metadata_request__fit: ClassVar[dict] = {"groups": True, "power": True}
    __metadata_request__score: ClassVar[dict] = {"groups": True, "power": True}

    _parameter_constraints: ClassVar[dict] = {
        "order": [Interval(Integral, 1, None, closed="left"), None],
        "solver": [StrOptions({"lstsq", "adam"})],
        "power": [Integral],
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
        solver: str = "lstsq",
        power: int = 1,
        max_epochs: int = 150,
        batch_size: int = 64,
        lr: float = 1e-3,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.order = order
        self.solver = solver
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
        power : array-like of shape (n_rows,), default=None
            Power of the generator of each row; 0 is the canonical row.

        Returns
        -------
        self : ActivationTransformFitter
            The fitted estimator.

        Raises
        ------
        ValueError
            If groups and power do not describe orbits with one canonical row each,
            if no two rows of an orbit are one power apart, or if "adam" diverges.
        """
        X = validate_data(self, X, dtype=_DTYPES)
        table = orbit_table(groups, power, order=self.order, n_rows=len(X))
        self.order_ = table.shape[1]
        if self.order_ == 1:
            self.M_ = np.eye(X.shape[1])
        elif self.solver == "lstsq":
            self.M_ = _least_squares(X, table)
        else:
            self.M_ = self._gradient_descent(X, table)
        law = np.linalg.matrix_power(self.M_, self.order_) - np.eye(X.shape[1])
        self.order_error_ = float(np.linalg.norm(law) / np.sqrt(X.shape[1]))
        return self

    def _gradient_descent(self, X: NDArray, table: NDArray) -> NDArray:
        module = _PowersOfM(X.shape[1], self.order_)
        scale = np.abs(X).max() or 1.0
        rows = np.roll(table, -1, axis=1)  # powers 1, ..., order; g^order = g^0
        target = np.where(rows[..., np.newaxis] >= 0, X[rows] / scale, np.nan)
        self.loss_curve_ = train(
            module,
            torch.from_numpy((X[table[:, 0]] / scale).astype(np.float32)),
            torch.from_numpy(target.astype(np.float32)),
            criterion=_ObservedSquaredError,
            lr=self.lr,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            seed=draw_seed(check_random_state(self.random_state)),
            device=resolve_device(self.device),
            verbose=self.verbose,
        )
        self.n_iter_ = len(self.loss_curve_)
        return module.M.detach().cpu().numpy().astype(np.float64)

    def act(self, X: ArrayLike, power: ArrayLike) -> NDArray:
        """Move activations by a power of the generator.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        power : int or array-like of shape (n_rows,)
            Power of each row, taken modulo the order.

        Returns
        -------
        moved : ndarray of shape (n_rows, n_features)
            M^power x, in the dtype of X.

        Raises
        ------
        ValueError
            If a power is not an integer or the number of powers is not that of rows.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        if np.ndim(power) == 0:
            power = np.full(len(X), power)
        power = check_integers(power) % self.order_
        if len(power) != len(X):
            raise ValueError(
                f"power has {len(power)} entries for {len(X)} rows of X. Give one "
                "power, or one for each row."
            )
        return self._moved(X, power)

    def _moved(self, X: NDArray, power: NDArray) -> NDArray:
        moved = np.empty_like(X)
        for p in np.unique(power):
            matrix = np.linalg.matrix_power(self.M_, int(p)).astype(X.dtype)
            moved[power == p] = X[power == p] @ matrix.T
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
        """Move activations by minus `self.power`.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.

        Returns
        -------
        moved : ndarray of shape (n_rows, n_features)
            M^(order - power) x, in the dtype of X.
        """
        return self.act(X, -self.power)

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
            canonical row against the row of power p = 1, ..., order - 1; NaN for a
            power without rows. Of the trivial group: the R2 of power 0, which is 1.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        table = orbit_table(groups, power, order=self.order_, n_rows=len(X))
        powers = range(1, self.order_) if self.order_ > 1 else [0]
        return np.array([self._r2(X, table, p) for p in powers])

    def _r2(self, X: NDArray, table: NDArray, p: int) -> float:
        observed = table[table[:, p] >= 0]
        if len(observed) == 0:
            return np.nan
        moved = self._moved(X[observed[:, 0]], np.full(len(observed), p))
        return 1 - fvu(X[observed[:, p]], moved)

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


def _least_squares(X: NDArray, table: NDArray) -> NDArray:
    """Closed form of || X_{p+1} - M X_p ||^2 + ridge || M - I ||^2 over all p."""
    before = table.ravel()
    after = np.roll(table, -1, axis=1).ravel()
    both = (before >= 0) & (after >= 0)
    if not both.any():
        raise ValueError(
            "power: no orbit has two rows that are one power apart, so the closed "
            "form has nothing to learn M from. Add such rows, or set solver='adam', "
            "which also learns from other powers."
        )
    before = X[before[both]].astype(np.float64)
    after = X[after[both]].astype(np.float64)
    gram = before.T @ before
    ridge = (_RIDGE * np.trace(gram) / len(gram) or 1.0) * np.eye(len(gram))
    cross = after.T @ before
    return solve(gram + ridge, (cross + ridge).T, assume_a="pos").T


class _PowersOfM(nn.Module):
    """x -> (M x, M^2 x, ..., M^order x), M from the identity."""

    def __init__(self, n_features: int, order: int) -> None:
        super().__init__()
        self.order = order
        self.M = nn.Parameter(torch.eye(n_features))

    def forward(self, canonical: torch.Tensor) -> torch.Tensor:
        moved = [canonical]
        for _ in range(self.order):
            moved.append(moved[-1] @ self.M.T)
        return torch.stack(moved[1:], dim=1)


class _ObservedSquaredError(nn.Module):
    """Squared error summed over features, mean over powers and orbits (equation 3).

    A missing row of an orbit is NaN in the target and adds nothing.
    """

    def forward(self, moved: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        difference = torch.where(target.isnan(), 0.0, moved - target)
        return difference.square().sum(2).mean()
