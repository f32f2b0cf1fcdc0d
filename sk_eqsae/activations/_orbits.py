"""Activations arranged in orbits, of one site or of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import train_test_split

from .._estimator import as_array, is_on_disk, name_rows
from ..groups._orbit_table import checked_column, given, orbit_table

_OF_ROWS = ("groups", "power", "site", "inputs", "position")


@dataclass(frozen=True, eq=False)
class Orbits:  # numpydoc ignore=PR02
    """Activations, the orbit that each comes from, and its place in the orbit.

    An orbit is one site of one input under all elements of the group, or one input
    where there are no sites: the rows of one pair (groups, site). Every estimator of
    the package takes them as ``fit(orbits.X, **orbits.metadata)``; ``groups`` also goes
    into scikit-learn's splitters, and ``y[orbits.inputs]`` are labels of inputs by row.

    Parameters
    ----------
    X : array-like, tensor or Shards of shape (n_rows, n_features)
        One activation per row.
    groups : array-like of shape (n_rows,)
        What each row may not be separated from: its input, or the base that several
        inputs come from, such as a photograph with several crops.
    power : array-like of shape (n_rows,) or (n_rows, n_generators)
        Power of the generator that was applied to the input of each row, from 0 to
        ``order - 1``; one column for each generator if there are several. Each orbit
        has the row of power 0, and no element of the group twice.
    symmetry : int or FiniteGroup, default=None
        The group, needed where it has several generators: the order of a cyclic group
        or a FiniteGroup, which it is afterwards. None is the cyclic group of the
        powers.
    site : array-like of shape (n_rows,), default=None
        Site of each row, the same for a whole orbit. None where each input has one row
        for each element. Where inputs of one base share sites, it becomes a number of
        the orbit, so that groups and site tell orbits apart.
    inputs : array-like of int of shape (n_rows,), default=None
        Index of the input of each row. None is groups.
    position : array-like of int of shape (n_rows,), default=None
        Place that each row was read from, in the layer's grid in C order. Row (x, u, g)
        holds the activation of g x at g u: its site is u, its position g u.
    grid : tuple of int, default=None
        Number of sites along each axis of that grid.

    Raises
    ------
    ValueError
        If symmetry is no group, or if the parts do not fit together, or if an input is
        in two groups; the message names the rows.

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

    The same rows as one input with two sites, which are exchanged:

    >>> sites = Orbits(X, [0, 0, 0, 0], [0, 1, 0, 1], site=[0, 0, 1, 1])
    >>> sites.n_orbits, list(sites.metadata)
    (2, ['groups', 'power', 'site'])

    From a network to a search over the settings of an autoencoder and a probe, which
    keeps all rows of an input together:

    >>> import torch
    >>> from sklearn.model_selection import GridSearchCV, GroupKFold
    >>> from sklearn.pipeline import Pipeline
    >>> from sk_eqsae import GroupTiedSAE, MeanDifferenceSelector
    >>> from sk_eqsae import extract_orbits, make_probe, make_shapes
    >>> from sk_eqsae.groups import ImageRotation
    >>> images, y = make_shapes(24, random_state=0).images, np.arange(24) % 2
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 5, padding=2))
    >>> action = ImageRotation(order=4)
    >>> where = {"layer": "0", "sites": "map", "n_sites": 12}
    >>> orbits = extract_orbits(model, images, action=action, **where, random_state=0)
    >>> sae = GroupTiedSAE(32, symmetry=4, max_epochs=5, random_state=0)
    >>> select, probe = MeanDifferenceSelector(8), make_probe("logistic")
    >>> pipe = Pipeline([("sae", sae), ("select", select), ("probe", probe)])
    >>> cv, grid = GroupKFold(3), {"sae__k": [2, 4]}
    >>> search = GridSearchCV(pipe, grid, cv=cv, scoring="f1")
    >>> of_rows = {f"sae__{name}": of for name, of in orbits.metadata.items()}
    >>> y = y[orbits.inputs]
    >>> search = search.fit(orbits.X, y, groups=orbits.groups, **of_rows)
    >>> list(search.best_params_)
    ['sae__k']
    """

    X: Any
    groups: NDArray
    power: NDArray[np.int64]
    symmetry: Any = None
    site: Any = None
    inputs: Any = None
    position: Any = None
    grid: tuple[int, ...] | None = None
    _table: NDArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        X = self.X if is_on_disk(self.X) else np.asarray(as_array(self.X))
        if X.ndim != 2:
            raise ValueError(
                f"X must have 2 axes (n_rows, n_features), found shape {X.shape}."
            )
        columns: dict[str, Any] = {name: getattr(self, name) for name in _OF_ROWS}
        if self.inputs is not None and self.inputs is not self.groups:
            columns["site"] = _sites_of_groups(given(columns))
        told = {name: columns[name] for name in ("groups", "power", "site")}
        symmetry, table = orbit_table(**told, symmetry=self.symmetry, n_rows=len(X))
        columns = {n: np.asarray(as_array(v, n)) for n, v in given(columns).items()}
        found = {"inputs": columns.get("groups")} | columns
        found |= {"X": X, "symmetry": symmetry, "_table": table}
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
        """Groups, power and, of sites, site by name, as ``fit`` takes them."""
        return given({"groups": self.groups, "power": self.power, "site": self.site})

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
        random_state: int | np.random.RandomState | None = None,
    ) -> tuple[Orbits, Orbits]:
        """Split into train and test orbits; all rows of a group stay together.

        Inputs that repeat each other, such as crops of one photograph, are one group if
        :func:`~sk_eqsae.extract_orbits` was given their `base`.

        Parameters
        ----------
        test_size : float or int, default=0.25
            Share or number of the groups in the test set.
        random_state : int, RandomState instance or None, default=None
            Fixes the split.

        Returns
        -------
        train, test : Orbits
            The two parts; rows keep their order and their ids. Both have the
            group of the whole, even if one lacks the rows of a power.

        Raises
        ------
        ValueError
            If test_size leaves one side empty.
        """
        ids = np.unique(self.groups)
        train, test = train_test_split(
            ids, test_size=test_size, random_state=random_state
        )
        return self._take(train), self._take(test)

    def _take(self, ids: NDArray) -> Orbits:
        rows = np.isin(self.groups, ids)
        columns = given({name: getattr(self, name) for name in _OF_ROWS})
        taken = {name: values[rows] for name, values in columns.items()}
        return replace(self, X=self.X[rows], **taken)

    def at(self, mask: Sequence[ArrayLike]) -> NDArray:
        """Label of each row, from a label of each place of each canonical input.

        Parameters
        ----------
        mask : array-like of shape (n_inputs, ...), or one array for each input
            Labels of all places of the layer's grid, of all inputs of the extraction.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            The label of the place that the row of power 0 was read from, for all rows
            of its orbit: what is at u in x is at g u in g x.

        Raises
        ------
        ValueError
            If positions are not known, or mask has no label for one of them.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_eqsae.activations import Orbits
        >>> parts = {"site": [0, 0, 1, 1], "position": [0, 1, 1, 0]}
        >>> orbits = Orbits(np.zeros((4, 3)), [0] * 4, [0, 1, 0, 1], **parts)
        >>> orbits.at(np.array([["left", "right"]])).tolist()
        ['left', 'left', 'right', 'right']
        """
        if self.position is None or self.inputs.dtype.kind not in "iu":
            raise ValueError(
                "the inputs and places that rows were read from are not known: give "
                "Orbits inputs= and position=, or make them with extract_orbits(..., "
                "sites=)."
            )
        labels = [np.ravel(as_array(part, "mask")) for part in mask]
        sizes, number = np.array([len(part) for part in labels]), self.inputs
        orbits, elements = np.nonzero(self._table >= 0)
        place = np.empty(len(self), dtype=np.int64)
        place[self._table[orbits, elements]] = self.position[self._table[orbits, 0]]
        known = (number >= 0) & (number < len(labels))
        known &= (place >= 0) & (place < sizes[np.where(known, number, 0)])
        if not known.all():
            raise ValueError(
                f"mask has labels for {len(labels)} inputs, of up to {sizes.max()} "
                f"places: none for {name_rows(np.flatnonzero(~known))}. Give a label "
                "for each place of the layer's grid, of all inputs of extract_orbits."
            )
        return np.concatenate(labels)[(np.cumsum(sizes) - sizes)[number] + place]


def _sites_of_groups(columns: dict[str, Any]) -> Any:
    """Sites by which orbits of one group differ, also if several inputs are in it."""
    names = [name for name in ("groups", "inputs", "site") if name in columns]
    checked = {name: checked_column(columns[name], name) for name in names}
    lengths = {name: len(values) for name, values in checked.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"groups, inputs and site must have an entry for each row, found {lengths}."
        )
    ids = pd.DataFrame(checked)
    n_groups = ids.groupby("inputs")["groups"].nunique()
    if (n_groups > 1).any():
        raise ValueError(
            f"input {n_groups.idxmax()} is in {n_groups.max()} groups: rows of one "
            "input may not be separated. Give each input one entry in groups, or base."
        )
    of_input, of_group = (
        ids.groupby(list(ids.columns.drop(name)), sort=False).ngroup()
        for name in ("groups", "inputs")
    )
    is_told = of_group.max() == of_input.max()
    return columns.get("site") if is_told else of_input.to_numpy()
