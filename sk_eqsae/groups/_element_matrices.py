"""Matrices of all elements of a group, from those of its generators."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from math import isqrt
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._fitting import unfrozen
from .._warnings import warn
from ._group import FiniteGroup, generator_elements

_MOST_KEPT = 2**26  # bytes of powers of generators
_POSES = 256  # rows whose poses are looked at
_ALIKE = 1e-6  # of the mean square of all moves: a row that is not moved
_STILL = 1e-12  # of the mean square of rows: rounding


class ElementMatrices:
    """Products M_1^p1 M_2^p2 ... of powers of generators (n_generators, n, n)."""

    # Powers are kept once they were asked for: each of them if they all fit into 64 MB,
    # else each up to a step of the root of the order and each multiple of that step,
    # whose products the others are. Where even those are too large none is kept.

    def __init__(self, group: FiniteGroup, generators: NDArray) -> None:
        self.group, self.generators = group, generators
        size = generators[0].size * 8
        fits = size * sum(group.generator_orders) <= _MOST_KEPT
        self._steps = [n if fits else isqrt(n - 1) + 1 for n in group.generator_orders]
        self.keeps_powers = fits or 2 * size * sum(self._steps) <= _MOST_KEPT
        self._kept: dict[tuple[int, int], NDArray] = {}

    def is_of(self, group: FiniteGroup, generators: NDArray) -> bool:
        """Say if they are made from these."""
        return self.group == group and np.array_equal(self.generators, generators)

    def _power(self, generator: int, p: int) -> NDArray:
        """Matrix of g^p, for p from 0 to the order of g."""
        if not self.keeps_powers:
            return np.linalg.matrix_power(self.generators[generator], p)
        steps, rest = divmod(p, self._steps[generator])
        if steps == 0 or rest == 0:
            return self._kept_power(generator, p)
        return self._kept_power(generator, p - rest) @ self._kept_power(generator, rest)

    def _kept_power(self, generator: int, p: int) -> NDArray:
        if (generator, p) not in self._kept:
            matrix = np.linalg.matrix_power(self.generators[generator], p)
            self._kept[generator, p] = matrix
        return self._kept[generator, p]

    def matrix(self, power: NDArray) -> NDArray:
        """Matrix (n, n) of powers (n_generators,), whole or between."""
        factors = [self._real_power(k, t) for k, t in enumerate(power) if t]
        if len(factors) < 2:
            return factors[0].copy() if factors else np.eye(self.generators.shape[1])
        return reduce(np.matmul, factors)

    def _real_power(self, generator: int, t: float) -> NDArray:
        order = self.group.generator_orders[generator]
        if t == np.rint(t):
            return self._power(generator, int(t) % order)
        (weights,) = power_weights(np.array([t]), order)
        return sum(w * self._power(generator, p) for p, w in enumerate(weights))

    def act(self, X: NDArray, power: NDArray) -> NDArray:
        """Move each row by its own powers (n_rows, n_generators), in the dtype of X."""
        for generator in reversed(range(self.group.n_generators)):
            X = self.act_with(generator, X, power[:, generator])
        return X

    def act_with(self, generator: int, X: NDArray, power: NDArray) -> NDArray:
        """Move each row by its own power (n_rows,) of one generator."""
        order = self.group.generator_orders[generator]
        power = power % order
        between = power != np.rint(power)
        moved = np.empty_like(X)
        for p in np.unique(power[~between]):
            rows = np.flatnonzero(power == p)
            moved[rows] = self._moved(X[rows], generator, int(p) % order)
        if between.any():
            weights = power_weights(power[between], order).astype(X.dtype)
            moved[between] = sum(
                weights[:, [p]] * self._moved(X[between], generator, p)
                for p in range(order)
            )
        return moved

    def _moved(self, X: NDArray, generator: int, p: int) -> NDArray:
        return X @ self._power(generator, p).T.astype(X.dtype, copy=False) if p else X

    def moved(self, X: NDArray) -> Iterator[tuple[int, NDArray]]:
        """Each element g once, in any order, and X M_g^T (n_rows, n)."""
        # The last generator acts first. So rows that it has moved are shared by all
        # elements that end alike, and an element takes little more than one product.
        last = self.group.n_generators - 1
        return self._moved_on(X, last, np.arange(self.group.order))

    def _moved_on(
        self, X: NDArray, generator: int, elements: NDArray
    ) -> Iterator[tuple[int, NDArray]]:
        """Move rows by those generators of elements that have not acted yet."""
        if generator < 0:
            yield int(elements[0]), X
            return
        column = self.group.powers[elements, generator]
        for p, moved in self._moved_by_powers(X, generator, np.unique(column)):
            yield from self._moved_on(moved, generator - 1, elements[column == p])

    def _moved_by_powers(
        self, X: NDArray, generator: int, powers: NDArray
    ) -> Iterator[tuple[int, NDArray]]:
        if self.keeps_powers:
            for p in powers.tolist():
                yield p, self._moved(X, generator, p)
            return
        last, moved = 0, X.astype(np.float64)  # many steps add up what each rounds
        for p in powers.tolist():
            moved = self._moved(moved, generator, p - last)
            last = p
            yield p, moved.astype(X.dtype, copy=False)

    def each(self) -> Iterator[tuple[int, NDArray]]:
        """Each element g once, in any order, and M_g (n, n)."""
        identity = np.eye(self.generators.shape[1])
        return ((element, moved.T) for element, moved in self.moved(identity))

    def stacked(self) -> NDArray:
        """Matrices (order, n, n) of all elements, in their order."""
        matrices = np.empty((self.group.order, *self.generators.shape[1:]))
        for element, matrix in self.each():
            matrices[element] = matrix
        return matrices


def power_weights(power: NDArray, order: int) -> NDArray:
    """Weights (n_rows, order) of the whole powers that make real powers of M."""
    # If M^n = I, M = expm(A) with the frequencies of A between -n/2 and n/2, and
    # trigonometric interpolation gives all of the one-parameter family:
    #
    #     M^t = expm(t A) = sum over p of c(t - p) M^p
    #     c(s) = mean over k = -n/2, ..., n/2 - 1 of cos(2 pi k s / n)
    #
    # For even n, the directions that M turns round (frequency n/2) have no real square
    # root of their own; they are scaled by cos(pi t) between the integers.
    frequencies = 2 * np.pi / order * np.fft.fftfreq(order, 1 / order)
    of_power, of_whole = (np.outer(p, frequencies) for p in (power, np.arange(order)))
    # cos(a - b) = cos a cos b + sin a sin b keeps this to two matrices
    weights = np.cos(of_power) @ np.cos(of_whole).T
    weights += np.sin(of_power) @ np.sin(of_whole).T
    return weights / order


# Of each fitter: nothing of it is pickled with it, and it goes when the fitter does.
_KEPT: WeakKeyDictionary[BaseEstimator, ElementMatrices] = WeakKeyDictionary()


def kept_matrices(
    fitter: BaseEstimator, group: FiniteGroup, generators: NDArray
) -> ElementMatrices:
    """Element matrices that were made for a fitter before, if M is still the same."""
    kept = _KEPT.get(fitter)
    if kept is not None and kept.is_of(group, generators):
        return kept
    made = ElementMatrices(group, generators)
    if made.keeps_powers:
        made.generators = generators.copy()  # what is written into M has to be seen
        _KEPT[fitter] = made
    return made


def matrices_of(activation_transform: BaseEstimator) -> ElementMatrices:
    """Element matrices of a fitted M of any class that has a method matrix."""
    own = getattr(activation_transform, "_matrices", None)
    if isinstance(own, ElementMatrices):
        return own
    fitter = unfrozen(activation_transform)
    group = fitter.symmetry_
    powers = group.power_of(np.array(generator_elements(group)))
    generators = np.array([fitter.matrix(power) for power in powers])
    return kept_matrices(fitter, group, generators)


def element_matrices(activation_transform: BaseEstimator) -> NDArray:
    """Matrices (order, n_features, n_features) of all elements under a fitted M."""
    return matrices_of(activation_transform).stacked()


def mean_matrix(activation_transform: BaseEstimator) -> NDArray:
    """Mean (n_features, n_features) of M_g: the projection on what no g moves."""
    matrices = matrices_of(activation_transform)
    total = np.zeros(matrices.generators.shape[1:])
    for _, matrix in matrices.each():
        total += matrix
    return total / matrices.group.order


def moved_by_all(
    activation_transform: BaseEstimator, X: NDArray
) -> Iterator[tuple[int, NDArray]]:
    """Each element g of the group once, in any order, and X M_g^T under a fitted M."""
    # That is what ``act`` makes of X for the powers of each element, for little more
    # than one product each, whatever the group.
    return matrices_of(activation_transform).moved(X)


def pose_sample(rows: NDArray) -> NDArray:
    """Take some rows, or their numbers, that tell whether poses look alike."""
    return rows[:: max(1, len(rows) // _POSES)]


def warn_if_poses_look_alike(X: NDArray, activation_transform: BaseEstimator) -> None:
    """Warn if M brings most rows back before the group does; looks at a sample."""
    order = activation_transform.symmetry_.order
    if order == 1:
        return
    X = pose_sample(X).astype(np.float64)
    X = X / (np.abs(X).max() or 1.0)  # keeps squares finite
    moves = np.array(
        [
            np.square(moved - X).sum(axis=1)
            for element, moved in moved_by_all(activation_transform, X)
            if element
        ]
    )
    least = max(_ALIKE * moves.mean(), _STILL * np.square(X).sum(axis=1).mean())
    alike = (moves <= least).any(axis=0)
    if alike.mean() > 0.5:
        warn(
            f"Poses are ambiguous: M leaves {alike.mean():.0%} of the rows as they are "
            "under an element that is not the identity, so predict_power cannot tell "
            f"all {order} poses of them apart. Give a smaller group if the "
            "activations repeat before the group does, or a layer that sees the "
            "symmetry.",
        )
