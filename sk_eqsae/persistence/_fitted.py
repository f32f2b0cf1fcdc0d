"""Fitted attributes, checked as they are asked for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._fitting import unfrozen
from ..groups import FiniteGroup


class Fitted:
    """Fitted attributes of one estimator.

    Sizes have names: the first array that has one decides it, all others must agree.

    Parameters
    ----------
    estimator : estimator
        Whose.

    Attributes
    ----------
    sizes : dict of int
        Sizes known so far.
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self.values = vars(estimator)
        self.sizes: dict[str, int] = {}

    def value(self, name: str) -> Any:
        """Give an attribute as it is.

        Parameters
        ----------
        name : str
            Attribute.

        Returns
        -------
        value : object
            Its value.
        """
        if name not in self.values:
            raise ValueError(f"it has no {name}")
        return self.values[name]

    def array(self, name: str, *dims: str | int, dtype: str = "float64") -> NDArray:
        """Give an array that is finite and has the shape and type that it should.

        Parameters
        ----------
        name : str
            Attribute.
        *dims : str or int
            Its dimensions: sizes, or names of sizes.
        dtype : str, default="float64"
            Its type, or several in a row.

        Returns
        -------
        array : ndarray
            The array.
        """
        return self.check(self.value(name), name, dims, dtype)

    def check(
        self, array: Any, name: str, dims: tuple[str | int, ...], dtype: str = "float64"
    ) -> NDArray:
        """Check an array that is no attribute of its own.

        Parameters
        ----------
        array : object
            What should be an array.
        name : str
            For errors.
        dims : tuple of str or int
            As of `array`.
        dtype : str, default="float64"
            As of `array`.

        Returns
        -------
        array : ndarray
            The same.
        """
        if not isinstance(array, np.ndarray) or array.dtype.name not in dtype.split():
            kind = getattr(array, "dtype", type(array).__name__)
            raise ValueError(f"{name} has to be an array of {dtype}, found {kind}")
        expected = tuple(self._size(d, s) for d, s in zip(dims, array.shape))  # noqa: B905
        if array.shape != expected or len(dims) != array.ndim:
            wanted = ", ".join(map(self._wanted, dims))
            raise ValueError(f"{name} has shape {array.shape}, but needs ({wanted})")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
        return array

    def _wanted(self, dim: str | int) -> str:
        if isinstance(dim, int):
            return str(dim)
        return f"{dim}={self.sizes.get(dim, '1 or more')}"

    def _size(self, dim: str | int, found: int | None) -> int | None:
        if isinstance(dim, int):
            return dim
        if dim not in self.sizes and found:
            self.sizes[dim] = found
        return self.sizes.get(dim)

    def count(self, name: str, low: int = 1) -> int:
        """Give a whole number, which from now on is a known size.

        Parameters
        ----------
        name : str
            Attribute.
        low : int, default=1
            The least that it may be.

        Returns
        -------
        count : int
            The number.
        """
        value = self.value(name)
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < low:
            raise ValueError(f"{name} has to be a whole number from {low}")
        self.sizes[name] = int(value)
        return int(value)

    def number(self, name: str, *, positive: bool = False) -> float:
        """Give a number that is finite, and zero or more.

        Parameters
        ----------
        name : str
            Attribute.
        positive : bool, default=False
            Whether zero is wrong.

        Returns
        -------
        number : float
            The number.
        """
        value = self.value(name)
        if not isinstance(value, float | np.floating) or not np.isfinite(value):
            raise ValueError(f"{name} has to be a finite float")
        if value < 0 or (positive and value == 0):
            raise ValueError(
                f"{name} has to be {'positive' if positive else '0 or more'}"
            )
        return float(value)

    def curve(self) -> None:
        """Check the losses of each epoch."""
        self.count("n_iter_", low=0)
        self.array("loss_curve_", self.sizes["n_iter_"])
        if "error_curve_" in self.values:
            self.array("error_curve_", self.sizes["n_iter_"])

    def group(self) -> FiniteGroup:
        """Give the group, whose order is a known size from now on.

        Returns
        -------
        group : FiniteGroup
            The group.
        """
        group = self.value("symmetry_")
        if not isinstance(group, FiniteGroup):
            raise ValueError("symmetry_ has to be a group")
        if self.count("order_") != group.order:
            raise ValueError(
                f"order_ is {self.sizes['order_']}, but that of symmetry_ is {group.order}"
            )
        return group

    def estimator(self, name: str, *kinds: type) -> Any:
        """Give a fitted estimator, also from inside a FrozenEstimator.

        Parameters
        ----------
        name : str
            Attribute.
        *kinds : type
            What it may be.

        Returns
        -------
        estimator : estimator
            The estimator.
        """
        estimator = unfrozen(self.value(name))
        names = " or ".join(kind.__name__ for kind in kinds)
        if type(estimator) not in kinds or "n_features_in_" not in vars(estimator):
            raise ValueError(f"{name} has to be a fitted {names}")
        return estimator
