"""Inputs of every sort that a user may have, for property tests."""

import numpy as np
import pandas as pd
from hypothesis import Phase, settings
from hypothesis import strategies as st

KINDS = ("normal", "constant", "repeated", "zero", "one row", "offset")
DTYPES = ("float64", "float32", "float16", "int64", "int8", "bool", "object")
LAYOUTS = ("C", "F", "strided", "reversed", "read-only")


def examples(n):
    """Try n examples, the same ones each time; small as they are, none is shrunk."""
    return settings(
        max_examples=n,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )


@st.composite
def matrices(draw, n_rows=None, kinds=KINDS, exponents=(-30, 30)):
    """Rows in float64: sizes, scales, columns without variance or twice."""
    n_rows = draw(st.integers(1, 12)) if n_rows is None else n_rows
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.normal(size=(n_rows, draw(st.integers(1, 6))))
    kind = draw(st.sampled_from(kinds))
    if kind == "constant":
        X[:, -1] = 3
    elif kind == "repeated":
        X[:] = X[:, :1]
    elif kind == "zero":
        X[:] = 0
    elif kind == "one row":
        X[:] = X[0]
    elif kind == "offset":
        X += 1000
    return X * 10.0 ** draw(st.integers(*exponents))


@st.composite
def orbits(draw, **settings):
    """Rows and metadata of orbits that a shift moves, of order 1 to 4."""
    order, n_orbits = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    canonical = draw(matrices(n_rows=n_orbits, **settings))
    X = np.stack([np.roll(canonical, p, axis=1) for p in range(order)], axis=1)
    groups = np.repeat(np.arange(n_orbits), order)
    metadata = {"groups": groups, "power": np.tile(np.arange(order), n_orbits)}
    return X.reshape(len(groups), -1), metadata


def converted(X, dtype, layout):
    """The same numbers as far as the dtype holds them, lying in memory as asked."""
    with np.errstate(over="ignore", invalid="ignore"):
        X = X.astype(dtype)
    if layout == "F":
        return np.asfortranarray(X)
    if layout == "strided":
        wide = np.zeros((2 * X.shape[0], 3 * X.shape[1]), X.dtype)
        wide[::2, 1::3] = X
        return wide[::2, 1::3]
    if layout == "reversed":
        return X[::-1, ::-1].copy()[::-1, ::-1]
    X = X.copy()
    X.flags.writeable = layout != "read-only"
    return X


def as_frame(X, library):
    """A DataFrame of pandas or polars with named columns."""
    names = [f"unit {i}" for i in range(X.shape[1])]
    if library is pd:
        return pd.DataFrame(X, columns=names)
    return library.DataFrame({name: X[:, i] for i, name in enumerate(names)})
