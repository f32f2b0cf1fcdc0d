"""Errors that say what could not be done."""

from collections.abc import Iterator
from contextlib import contextmanager

from sklearn.exceptions import NotFittedError

_LONGEST = 500  # characters


@contextmanager
def errors_say(what: str) -> Iterator[None]:
    """Begin a ValueError with `what`, and cut it off, whatever a file made it quote."""
    try:
        yield
    except NotFittedError:
        raise
    except ValueError as error:
        text = str(error).removesuffix(".")
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
        raise ValueError(f"{what}: {text}.") from error
