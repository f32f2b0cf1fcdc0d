"""Canonical form and pose of an activation, given M."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, _fit_context, clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from .._docs import fill
from .._estimator import FEATURES, Fitted, FloatTransformer, checked_array
from .._threads import DECOMPOSITION, blas_threads_that_pay, product
from ._activation_transform import ActivationTransformFitter
from ._element_matrices import ElementMatrices, matrices_of, warn_if_poses_look_alike
from ._orbit_table import METADATA, given

_SAME_EIGENVALUE = 1e-6  # relative; a symmetry makes eigenvalues equal
_TIED = 1e-3  # share of the score's variance below which two elements look alike
_NOTHING = 1e-10  # share of the rows' mean square that counts as no variance
_TIE = 1e-6  # scores this near, in units of the margin, are one score
_WEIGHT = 0.5  # of each further direction; no mirror of a polygon is at atan(1/2)


@fill
class PoseCanonicalizer(OneToOneFeatureMixin, FloatTransformer):
    r"""Move activations to one side of their orbit, without labels.

    The pose of an activation is the element of the group that explains best where
    it is along one direction w, and its canonical form is the activation moved back:

    .. math::

        c(x) = \operatorname{argmax}_e \; w^\top M_e^{-1} x,
        \qquad x_{\text{canonical}} = M_{c(x)}^{-1} x

    Where M obeys the group's law, a whole orbit has one canonical form, and poses
    along it differ by the element: c(M_e x) = e c(x).

    Parameters
    ----------
    activation_transform : estimator, default=None
        How M is fitted: it is cloned and fitted on the orbits given to `fit`. None
        is ``ActivationTransformFitter()``. Wrap a fitted one in
        :class:`sklearn.frozen.FrozenEstimator` to keep it; then `fit` needs rows
        only, and no metadata.

    Attributes
    ----------
    activation_transform_ : estimator
        Fitted M.
    direction_ : ndarray of shape (n_features,)
        The direction w, of length 1; zero if the group leaves all rows alone.
    spread_ : float
        Standard deviation of w . x inside an orbit, the unit of the margin.
    {features_in}

    Notes
    -----
    w is the leading direction of the variance inside the orbits. If it cannot see some
    element (for quarter-turns, a direction that two of them bring back), half the
    leading direction of what that element moves is added, and so on.

    Examples
    --------
    Activations that roll with the input:

    >>> import numpy as np
    >>> from sk_eqsae.groups import PoseCanonicalizer
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> X = np.concatenate([np.roll(x, p, axis=1) for p in range(4)])
    >>> groups, power = np.tile(np.arange(50), 4), np.repeat(np.arange(4), 50)
    >>> canonicalizer = PoseCanonicalizer().fit(X, groups=groups, power=power)
    >>> np.allclose(canonicalizer.transform(x), canonicalizer.transform(X[150:]))
    True
    """

    _fitted: ClassVar[tuple] = (
        *FEATURES,
        Fitted("activation_transform_", "ActivationTransformFitter", ("n_features",)),
        Fitted("direction_", "float64", ("n_features",)),
        Fitted("spread_", "float"),
        Fitted("_readouts", "float64", ("order", "n_features")),
    )

    __metadata_request__fit: ClassVar[dict] = METADATA

    _parameter_constraints: ClassVar[dict] = {
        "activation_transform": [HasMethods(["fit", "act", "matrix"]), None]
    }

    def __init__(self, activation_transform: BaseEstimator | None = None) -> None:
        self.activation_transform = activation_transform

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
        site: ArrayLike | None = None,
    ) -> Self:
        """Fit M, unless it is frozen, and find the direction.

        Parameters
        ----------
        {X}
        {y}
        {metadata}

        {self}

        Warns
        -----
        UserWarning
            If poses of more than half of the rows cannot be told apart.
        """
        X = checked_array(self, X, reset=True)
        fitter = self.activation_transform
        fitter = ActivationTransformFitter() if fitter is None else clone(fitter)
        metadata = {"groups": groups, "power": power, "site": site}
        self.activation_transform_ = fitter.fit(X, None, **given(metadata))
        matrices = matrices_of(fitter)
        n_features = matrices.along(matrices.generators[0]).shape[1]
        if n_features != X.shape[1]:
            raise ValueError(
                f"activation_transform was fitted on {n_features} features, but "
                f"X has {X.shape[1]}. Fit it on activations of the same layer."
            )
        self._fit_direction(X.astype(np.float64, copy=False), matrices)
        warn_if_poses_look_alike(fitter, X)
        return self

    def _fit_direction(self, X: NDArray, matrices: ElementMatrices) -> None:
        scale = np.abs(X).max() or 1.0  # keeps squares of large entries finite
        inside = matrices.inside(X / scale)
        moments = inside.T @ inside / len(X)
        with blas_threads_that_pay(DECOMPOSITION * len(moments) ** 3):
            direction, variance = _seeing_direction(moments, matrices)
        self.spread_ = float(scale * np.sqrt(variance))
        self.direction_ = matrices.along(direction)
        self._readouts = matrices.along(_readouts(direction, matrices))

    def _scores(self, X: ArrayLike) -> tuple[NDArray, NDArray]:
        check_is_fitted(self)
        X = checked_array(self, X, reset=False)
        return X, product(X.astype(np.float64, copy=False), self._readouts.T)

    def transform(self, X: ArrayLike) -> NDArray:
        """Canonical form of each row.

        Parameters
        ----------
        {X}

        Returns
        -------
        canonical : ndarray of shape (n_rows, n_features)
            M_c(x)^-1 x, in the dtype of X.
        """
        X, scores = self._scores(X)
        fitter = self.activation_transform_
        back = fitter.symmetry_.inverses[self._poses(scores)]
        return fitter.act(X, fitter.symmetry_.power_of(back))

    def predict_power(self, X: ArrayLike) -> NDArray:
        """Pose of each row, relative to its canonical form.

        Parameters
        ----------
        {X}

        Returns
        -------
        power : ndarray of shape (n_rows,) or (n_rows, n_generators)
            Power of the generator, or of each generator if there are several. On
            ties the first element of the group.
        """
        poses = self._poses(self._scores(X)[1])
        return self.activation_transform_.symmetry_.power_of(poses)

    def margin(self, X: ArrayLike) -> NDArray:
        """How sure the pose of each row is.

        Parameters
        ----------
        {X}

        Returns
        -------
        margin : ndarray of shape (n_rows,)
            Best score minus second best, in units of `spread_`; 0 for rows that the
            group leaves alone.
        """
        _, scores = self._scores(X)
        if scores.shape[1] == 1 or self.spread_ == 0:
            return np.zeros(len(scores))
        second, best = np.partition(scores, (-2, -1), axis=1)[:, -2:].T
        return (best - second) / self.spread_

    def _poses(self, scores: NDArray) -> NDArray:
        """Index of the first element with the best score."""
        tie = scores.max(axis=1, keepdims=True) - _TIE * self.spread_
        return (scores >= tie).argmax(axis=1)


def _seeing_direction(
    moments: NDArray, matrices: ElementMatrices
) -> tuple[NDArray, float]:
    """Direction along which elements can be told apart, and the variance in orbits.

    The variance is that along it inside an orbit. Moments (n, n) are those of rows.
    """
    n, order = len(moments), matrices.group.order
    mean, averaged = np.zeros((n, n)), np.zeros((n, n))
    for _, M in matrices.each():
        mean += M / order
        averaged += M @ moments @ M.T / order
    direction, weight = np.zeros(n), 1.0
    moved = within = _moved_moments(averaged, mean)
    for _ in range(order):
        if np.trace(moved) <= _NOTHING * np.trace(averaged):
            break
        leading = _leading_direction(moved)
        direction, weight = direction + weight * leading, weight * _WEIGHT
        moves = _readouts(direction, matrices) - direction
        variance = np.einsum("ei,ei->e", moves @ averaged, moves)
        unseen = variance <= _TIED * (direction @ within @ direction)
        if unseen.sum() == 1:  # the identity
            break
        mean = sum(M for e, M in matrices.each() if unseen[e]) / unseen.sum()
        moved = _moved_moments(averaged, mean)
    direction /= np.linalg.norm(direction) or 1.0
    return direction, max(direction @ within @ direction, 0.0)


def _readouts(direction: NDArray, matrices: ElementMatrices) -> NDArray:
    """Rows w M_g^-1 (order, n) of each element g, for a direction w (n,)."""
    readouts = np.empty((matrices.group.order, len(direction)))
    for element, M in matrices.each():
        readouts[element] = direction @ M
    return readouts[matrices.group.inverses]


def _moved_moments(moments: NDArray, mean: NDArray) -> NDArray:
    """Second moments of what elements move that leave the moments alone.

    The mean of their matrices (n, n) is the projection on what they do not move.
    """
    moved = moments - mean @ moments @ mean.T
    return (moved + moved.T) / 2


def _leading_direction(moments: NDArray) -> NDArray:
    """Leading eigenvector, or one of general position among several."""
    values, vectors = np.linalg.eigh(moments)
    leading = vectors[:, values >= (1 - _SAME_EIGENVALUE) * values[-1]]
    general = np.random.default_rng(0).standard_normal(len(moments))
    direction = leading @ (leading.T @ general)
    return direction / np.linalg.norm(direction)
