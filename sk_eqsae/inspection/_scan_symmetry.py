"""How far each layer of a model follows each symmetry."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.utils import check_random_state, check_scalar

from .._atomic import atomic_write, read_bytes
from .._estimator import draw_seed
from ..activations import Nodes, Orbits, extract_orbits, site_alignment
from ..activations._alignment import LOOKED_AT
from ..activations._batches import checked_inputs, is_array, n_inputs, taken
from ..activations._moved import resolve_symmetry
from ..activations._site_alignment import cropped
from ..activations._written import hash_of_inputs, hash_of_model
from ..groups import ActivationTransformFitter
from ._bootstrap import errors_by_orbit, r2_with_intervals
from ._equivariance import pairs_by_element, predicted
from ._equivariance_report import Predict, fitted_on_shuffled

# arguments of `extract_orbits` that `site_alignment` takes, too
_OF_ALIGNMENT = ("forward", "output", "call", "device")
_MOST_DIRECTIONS = 512  # in which M is fitted
_ROWS_PER_DIRECTION = 4  # at least, so that M can be told
_N_RESAMPLES, _LEVEL = 200, 0.95


def scan_symmetry(
    model: torch.nn.Module,
    inputs: Any,
    *,
    layers: Sequence[str],
    actions: Mapping[str, Any] | Sequence[Any],
    sites: Any = None,
    n_sites: int = 12,
    base: Any = None,
    sizes: Sequence[int] | None = None,
    n_rows: int = 20_000,
    out: str | os.PathLike | None = None,
    random_state: int | np.random.RandomState | None = None,
    **extraction: Any,
) -> pd.DataFrame:
    r"""How far each layer of a model follows each symmetry.

    For each symmetry the model is run once over moved inputs, and M of every layer is
    fitted on three quarters of the groups and judged on the others.

    Parameters
    ----------
    model : torch.nn.Module
        Any model that :func:`~sk_eqsae.extract_orbits` takes.
    inputs : array, tensor, or what `extract_orbits` takes
        Canonical inputs.
    layers : sequence of str
        Dotted names of layers, in the order of depth.
    actions : dict of callables by name, or sequence of callables
        The symmetries, such as ``{"turn": ImageRotation(4), "mirror": ImageFlip()}``.
        Of a sequence the names are what the actions print as. In the place of a
        callable may be a dict of what `extract_orbits` has to know of it, such as
        ``{"action": swap, "symmetry": 2}``.
    sites : str, Tokens, Nodes, callable or dict of them by layer, default=None
        How layers lay out their sites, see `extract_orbits`. A dict may name some
        layers; the others have one row per input.
    n_sites : int, default=12
        Sites drawn in each input, where layers have sites.
    base : array-like of shape (n_inputs,), default=None
        What each input was made from, such as a photograph. Held out are all inputs
        of some of them.
    sizes : sequence of int, default=None
        Lengths of the inputs, of which each layer gets the one at which the symmetry
        maps its grid onto itself best, see
        :func:`~sk_eqsae.site_alignment`. None takes inputs as they are.
    n_rows : int, default=20_000
        Rows of each layer, at most. Of more inputs some are drawn at random.
    out : path, default=None
        Folder in which each row of the table is kept when it is found, so that a scan
        goes on if it was killed, or takes more layers.
    random_state : int, RandomState instance or None, default=None
        Fixes inputs, sites, split and intervals.
    **extraction : dict
        More arguments of `extract_orbits`, such as ``forward`` or ``collate``.

    Returns
    -------
    pandas.DataFrame
        One row per layer and symmetry, layer by layer, R2 as means over the elements of
        the group but the identity, on held-out groups:

        - ``layer``, ``symmetry``
        - ``r2``, ``low``, ``high``: R2 of M with an exact law, and its 95 % bootstrap
          interval, in which groups are drawn.
        - ``r2_free``: of one without a law.
        - ``r2_identity``: of M = I. As much as `r2`: the layer is nearly invariant.
        - ``r2_shuffled``: of M fitted to orbits of which the rows were shuffled.
        - ``moves``: share of the moves along orbits that M explains.
        - ``n_features``, ``n_groups``: of the layer, and how many groups there were.
        - ``size``: length of the inputs, where a layer has sites on a grid.
        - ``offset``, ``aligned``: by how many sites maps of moved inputs have to be
          shifted to fit best, and whether that is no more than chance. If it is, the
          symmetry does not map the grid onto itself: look for another size.

    Raises
    ------
    TypeError, ValueError
        If `extract_orbits` raises, or there are too few groups to hold some out.

    See Also
    --------
    sk_eqsae.inspection.SymmetryScanDisplay : The table as a picture.
    sk_eqsae.inspection.equivariance_report : More of one layer.

    Notes
    -----
    With x the canonical row of an orbit and x_g the others:

    .. math::

        \text{moves} = 1 - \frac{\sum \|x_g - M_g x\|^2}{\sum \|x_g - x\|^2}

    M is fitted in at most 512 principal directions, and one for four rows; all others
    stay where they are.

    Examples
    --------
    A convolution follows shifts of its input; what comes after a dense layer need not:

    >>> import torch
    >>> from sk_eqsae import scan_symmetry
    >>> from sk_eqsae.groups import CyclicShift
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv1d(1, 4, 3, padding=1, padding_mode="circular"),
    ...     torch.nn.ReLU(),
    ...     torch.nn.Flatten(),
    ...     torch.nn.Linear(32, 8),
    ...     torch.nn.ReLU(),
    ... )
    >>> signals = torch.randn(400, 1, 8)
    >>> scan = scan_symmetry(
    ...     model, signals, layers=["1", "4"], sites={"1": "map"}, random_state=0,
    ...     actions={"shift": CyclicShift(axis=-1, order=4)},
    ... )
    >>> scan[["layer", "symmetry", "r2"]].round(1)
      layer symmetry   r2
    0     1    shift  1.0
    1     4    shift -0.4
    """
    check_scalar(n_rows, "n_rows", Integral, min_val=1)
    check_scalar(n_sites, "n_sites", Integral, min_val=1)
    options = {"n_sites": n_sites, "sites": sites, "base": base} | extraction
    settings: Any = {"n_rows": n_rows, "sizes": sizes, "random_state": random_state}
    scan = _Scan(model, inputs, options, **settings, out=out)
    names = list(dict.fromkeys(layers))
    if not names:
        raise ValueError("layers is empty. Name one layer or more.")
    found = [
        row
        for name, action in _named(actions).items()
        for row in scan.rows(name, action, names)
    ]
    depth = {name: i for i, name in enumerate(names)}
    table = pd.DataFrame(found).astype({"size": "Int64", "aligned": "boolean"})
    order = table["layer"].map(depth).sort_values(kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _of(layout: Any, some: list[int]) -> Any:
    """Layout of the sites of some inputs, of which each may have its own."""
    return Nodes(layout.sizes[some]) if isinstance(layout, Nodes) else layout


def _named(actions: Any) -> dict[str, dict[str, Any]]:
    """Arguments of `extract_orbits` that say what a symmetry is, by its name."""
    if not isinstance(actions, Mapping):
        actions = {repr(action): action for action in actions}
    if not actions:
        raise ValueError("actions is empty. Name one symmetry or more.")
    return {
        str(name): dict(given) if isinstance(given, Mapping) else {"action": given}
        for name, given in actions.items()
    }


class _Scan:
    """What all rows of a table have in common."""

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: Any,
        options: dict[str, Any],
        *,
        n_rows: int,
        sizes: Sequence[int] | None,
        random_state: Any,
        out: str | os.PathLike | None,
    ) -> None:
        self.model, self.inputs, self.options = model, checked_inputs(inputs), options
        self.n_rows, self.sizes = n_rows, sizes
        self.seed = draw_seed(random_state)
        self.out = None if out is None else Path(out)
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            kept = random_state if isinstance(random_state, Integral) else None
            same = (hash_of_model(model), hash_of_inputs(self.inputs), n_rows, kept)
            others = {name: options[name] for name in options if name != "sites"}
            self.job = f"{same} {joblib.hash(others)} {sizes}"

    def rows(
        self, name: str, action: dict[str, Any], layers: list[str]
    ) -> Iterator[dict[str, Any]]:
        """One row for each layer; the model runs only if one was not found before."""
        files = {layer: self._file(layer, action) for layer in layers}
        lacking = [n for n, file in files.items() if not (file and file.exists())]
        for layer, row in self._measured(action, lacking):
            if (file := files[layer]) is not None:
                with atomic_write(file) as part:
                    part.write_text(json.dumps(row))
            yield {"layer": layer, "symmetry": name} | row
        for layer, file in files.items():
            if file is not None and layer not in lacking:
                yield {"layer": layer, "symmetry": name} | json.loads(read_bytes(file))

    def _measured(
        self, action: dict[str, Any], layers: list[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        aligned = self._aligned(action, layers)
        by_size: dict[Any, list[str]] = {}
        for layer in layers:
            by_size.setdefault(aligned[layer]["size"], []).append(layer)
        for size, some in by_size.items():
            orbits = self._orbits(action, some, size)
            for layer in some:  # as it is measured, it is let go of
                row = measured(orbits.pop(layer), self.seed)
                yield layer, row | aligned[layer]

    def _aligned(
        self, action: dict[str, Any], layers: list[str]
    ) -> dict[str, dict[str, Any]]:
        """Size of the inputs for each layer, and how far off its grid is then."""
        unknown = {"size": None, "offset": np.nan, "aligned": None}
        found: dict[str, dict[str, Any]] = {layer: dict(unknown) for layer in layers}
        if not is_array(self.inputs):
            return found
        inputs = taken(self.inputs, self._drawn(LOOKED_AT))
        sizes = [max(inputs.shape[1:])] if self.sizes is None else self.sizes
        for layout in {self._layout(layer) for layer in layers}:
            if layout is None or isinstance(layout, Nodes):
                continue
            some = [layer for layer in layers if self._layout(layer) == layout]
            options = {n: v for n, v in self.options.items() if n in _OF_ALIGNMENT}
            table = site_alignment(
                self.model,
                inputs,
                layer=some,
                sites=layout,
                sizes=sizes,
                **options,
                **action,
            )
            for layer in some:
                rows = table[table["layer"] == layer]
                best = rows.sort_values(["aligned", "r2"], na_position="first").iloc[-1]
                offset = float(np.abs(best["offset"]).max(initial=0))
                found[layer] = {
                    "size": int(best["size"]),
                    "offset": offset,
                    "aligned": bool(best["aligned"]),
                }
        return found

    def _layout(self, layer: str) -> Any:
        sites = self.options["sites"]
        return sites.get(layer) if isinstance(sites, Mapping) else sites

    def _drawn(self, n: int) -> list[int]:
        """Numbers of n inputs, or of all."""
        rng = np.random.default_rng(self.seed)
        return rng.permutation(n_inputs(self.inputs))[:n].tolist()

    def _orbits(
        self, action: dict[str, Any], layers: list[str], size: int | None
    ) -> dict[str, Orbits]:
        """Orbits of so many inputs that there are not too many rows."""
        order = resolve_symmetry(action["action"], action.get("symmetry")).order
        options = self.options | {"random_state": self.seed} | action
        if all(self._layout(layer) is None for layer in layers):
            options |= {"n_sites": None, "sites": None}
        some = self._drawn(max(1, self.n_rows // (order * (options["n_sites"] or 1))))
        if options["base"] is not None:
            options["base"] = np.asarray(options["base"])[some]
        if isinstance(layouts := options["sites"], Mapping):
            options["sites"] = {name: _of(layouts[name], some) for name in layouts}
        else:
            options["sites"] = _of(layouts, some)
        inputs = taken(self.inputs, some)
        if size is not None:
            inputs = cropped(inputs, size)
        with warnings.catch_warnings():  # of the offset, which is in the table
            warnings.simplefilter("ignore", UserWarning)
            return extract_orbits(self.model, inputs, layer=layers, **options)

    def _file(self, layer: str, action: dict[str, Any]) -> Path | None:
        if self.out is None:
            return None
        name = joblib.hash((self.job, layer, repr(self._layout(layer)), repr(action)))
        return self.out / f"{name}.json"


def measured(orbits: Orbits, seed: int) -> dict[str, float]:
    """R2 of M exact and free, of M = I and of shuffled orbits, on held-out groups."""
    train, test = orbits.split(random_state=seed)
    rng = check_random_state(seed)
    exact, maps = _maps(train, seed, rng)
    pairs = pairs_by_element(exact, test.X, **test.metadata)
    errors = np.stack([errors_by_orbit(predict, pairs) for predict in maps.values()])
    numbers = r2_with_intervals(pairs, errors, _N_RESAMPLES, _LEVEL, rng)[:, -1]
    with_m, _, with_identity, _ = errors.sum(axis=(1, 2))
    return {
        **dict(zip(("r2", "low", "high"), numbers[0].tolist(), strict=True)),
        **dict(zip([*maps][1:], numbers[1:, 0].tolist(), strict=True)),
        "moves": float(1 - with_m / with_identity) if with_identity else np.nan,
        "n_features": orbits.X.shape[1],
        "n_groups": len(np.unique(orbits.groups)),
    }


def _maps(
    train: Orbits, seed: int, rng: np.random.RandomState
) -> tuple[ActivationTransformFitter, dict[str, Predict]]:
    """M with an exact law, and what is compared."""
    most = min(_MOST_DIRECTIONS, len(train) // _ROWS_PER_DIRECTION)
    exact, free = (
        ActivationTransformFitter(
            train.symmetry,
            group_law=law,
            n_components=most if most < train.X.shape[1] else None,
            random_state=seed,
        )
        for law in ("exact", "free")
    )
    shuffled = fitted_on_shuffled(exact, train, rng)
    with warnings.catch_warnings():  # what they say, the table shows
        warnings.simplefilter("ignore", UserWarning)
        for fitter in (exact, free):
            fitter.fit(train.X, **train.metadata)
    return exact, {
        "r2": partial(predicted, exact),
        "r2_free": partial(predicted, free),
        "r2_identity": lambda pairs: pairs.canonical,
        "r2_shuffled": partial(predicted, shuffled),
    }
