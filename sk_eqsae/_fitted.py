"""What `fit` sets on an estimator, declared: all that a file needs to know."""

from typing import NamedTuple


class Fitted(NamedTuple):
    """A fitted attribute, or a part of one."""

    # of the attribute; of the items of a list or a dict, declared after it, "coefs_/0"
    # or, if all are alike, "coefs_/*"
    name: str
    # one or several in a row: dtypes of arrays, "int", "float" (finite, from 0),
    # "names" (an array of strings), "list", "dict", "none", or the name of a class
    dtype: str
    # sizes by name: the first attribute that has one decides it, the others must agree.
    # "" is any size, "..." any axes before, () one number. An int with a shape is that
    # size; a group has its order, an estimator its features
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
