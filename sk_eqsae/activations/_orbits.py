"""Activations arranged in orbits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import GroupShuffleSplit

from .._rows import as_array, is_on_disk
from ..groups._orbit_table import checked_column, orbit_table


@dataclass(frozen=True, eq=False)
class Orbits:  # numpydoc ignore=PR02
    """Activations, the orbit that each comes from, and its place in the orbit.

    Every estimator of the package takes them as ``fit(orbits.X, **orbits.metadata)``;
    ``groups`` also goes into scikit-learn's splitters.

    Parameters
    ----------
    X : array-like, tensor or Shards of shape (n_rows, n_features)
        One activation per row.
    groups : array-like of shape (n_rows,)
        Orbit id of each row.
    power : array-like of shape (n_rows,) or (n_rows, n_generators)
        Power of the generator that was applied to the input of each row, from 0 to
        ``order - 1``; one column for each generator if there are several. Each orbit
        has the row of power 0, and no element of the group twice.
    symmetry : int or FiniteGroup, default=None
        The group, needed where it has several generators: the order of a cyclic group
        or a FiniteGroup, which it is afterwards. None is the cyclic group of the
        powers.

    Raises
    ------
    ValueError
        If symmetry is no group, or if the parts do not fit together; the message names
        the rows.

    See Also
    --------
    sk_eqsae.extract_orbits : Make orbits from a model and inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_eqsae.activations import Orbits
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> orbits = Orbits(X, groups=np.array([0, 0, 1, 1]), power=np.array([0, 1, 0, 1]))
    >>> orbits.order, orbits.n_orbits
    (2, 2)
    >>> orbits.canonical
    array([[1.],
           [3.]])
    """

    X: Any
    groups: NDArray
    power: NDArray[np.int64]
    symmetry: Any = None
    _table: NDArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        X = self.X if is_on_disk(self.X) else np.asarray(as_array(self.X))
        if X.ndim != 2:
            raise ValueError(
                f"X must have 2 axes (n_rows, n_features), found shape {X.shape}."
            )
        symmetry, table = orbit_table(
            self.groups, self.power, symmetry=self.symmetry, n_rows=len(X)
        )
        found = {"X": X, "symmetry": symmetry, "_table": table}
        for name, values in self.metadata.items():
            if values is not None:
                found[name] = np.asarray(as_array(values, name))
        for name, values in found.items():
            object.__setattr__(self, name, values)  # it is frozen

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        return (
            f"<Orbits: {self.n_orbits} orbits of order {self.order}, "
            f"{self.X.shape[1]} features>"
        )

    @property
    def order(self) -> int:
        """Number of elements in an orbit."""
        return self._table.shape[1]

    @property
    def n_orbits(self) -> int:
        """Number of orbits."""
        return self._table.shape[0]

    @property
    def metadata(self) -> dict[str, NDArray]:
        """Groups and power by name, as ``fit`` takes them."""
        return {"groups": self.groups, "power": self.power}

    @property
    def canonical(self) -> NDArray:
        """The row of power 0 of each orbit, shape (n_orbits, n_features).

        Orbits come in the order of their first row.
        """
        return self.X[self._table[:, 0]]

    def split(
        self,
        test_size: float | int = 0.25,
        *,
        base: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> tuple[Orbits, Orbits]:
        """Split into train and test orbits; no orbit is cut.

        Parameters
        ----------
        test_size : float or int, default=0.25
            Share or number of the orbits in the test set; with base, of the
            different values of base.
        base : array-like of shape (n_inputs,) or None, default=None
            Label of each input, indexed by orbit id. Orbits with the same label
            stay on one side: give it when inputs repeat each other, such as
            ``base_id`` of :func:`sk_eqsae.make_shapes`.
        random_state : int, RandomState instance or None, default=None
            Fixes the split.

        Returns
        -------
        train, test : Orbits
            The two parts; rows keep their order and their orbit ids. Both have the
            group of the whole, even if one lacks the rows of a power.

        Raises
        ------
        ValueError
            If base has no label for an orbit id, or if test_size leaves one side
            empty.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_eqsae.activations import Orbits
        >>> power = np.tile([0, 1], 4)
        >>> groups = np.repeat([0, 1, 2, 3], 2)
        >>> orbits = Orbits(np.zeros((8, 3)), groups=groups, power=power)
        >>> train, test = orbits.split(random_state=0)
        >>> train.groups, test.groups
        (array([0, 0, 1, 1, 3, 3]), array([2, 2]))
        """
        ids = np.unique(self.groups)
        labels = ids if base is None else _labels_of(ids, base)
        splitter = GroupShuffleSplit(1, test_size=test_size, random_state=random_state)
        train, test = next(splitter.split(ids, groups=labels))
        return self._take(ids[train]), self._take(ids[test])

    def _take(self, ids: NDArray) -> Orbits:
        rows = np.isin(self.groups, ids)
        return Orbits(self.X[rows], self.groups[rows], self.power[rows], self.symmetry)


def _labels_of(ids: NDArray, base: ArrayLike) -> NDArray:
    base = checked_column(base, "base")
    if ids.dtype.kind not in "iu":
        raise ValueError(
            "base is indexed by orbit id: groups must hold integers, found dtype "
            f"{ids.dtype}."
        )
    if ids[0] < 0 or ids[-1] >= len(base):
        raise ValueError(
            f"base has {len(base)} labels, for orbit ids 0 to {len(base) - 1}, but "
            f"groups holds ids from {ids[0]} to {ids[-1]}. Give base one label per "
            "input of extract_orbits, not one per row."
        )
    return base[ids]
