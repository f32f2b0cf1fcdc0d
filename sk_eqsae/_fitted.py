"""What `fit` sets on an estimator, declared: all that a file needs to know."""

from typing import NamedTuple


class Fitted(NamedTuple):
    """A fitted attribute, or a part of one.

    `name` is that of the attribute; the items of a list or a dict are declared after
    it as ``"coefs_/0"`` or, if all are alike, as ``"coefs_/*"``. `dtype` says what it
    may be, one or several in a row: dtypes of arrays, "int", "float" (finite, from 0),
    "names" (an array of strings), "list", "dict", "none", or the name of a class.

    `shape` gives sizes by name: the first attribute that has one decides it, all
    others must agree. "" is any size, "..." any axes before, () one number. An int
    with a shape is that size; a group has its order, an estimator its features.
    """

    name: str
    dtype: str
    shape: tuple[str, ...] = ()
    optional: bool = False


ADAM_PARTS = ("step", "exp_avg", "exp_avg_sq")
FEATURES = (
    Fitted("n_features_in_", "int", ("n_features",)),
    Fitted("feature_names_in_", "names", ("n_features",), optional=True),
)


def adam_state(i: int, shape: tuple[str, ...], *, optional: bool = False) -> tuple:
    """What Adam remembers of the i-th parameter, in an attribute `_memory`."""
    shapes = dict(zip(ADAM_PARTS, ((), shape, shape), strict=True))
    return tuple(
        Fitted(f"_memory/optimizer.{i}.{part}", "float32", of_part, optional)
        for part, of_part in shapes.items()
    )
