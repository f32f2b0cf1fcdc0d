"""What every estimator is, and what surrounds its fit: torch's modes, a way back."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.frozen import FrozenEstimator

_PROCESS = os.getpid()  # that has imported the package
_SITE = "https://sk-eqsae.readthedocs.io/en/stable"


class FloatTransformer(TransformerMixin, BaseEstimator):
    """Gives float32 for float32, and links its HTML repr to its page."""

    _doc_link_module = "sk_eqsae"
    _doc_link_template = _SITE + "/generated/{page}.html"

    def _doc_link_url_param_generator(self) -> dict[str, Any]:
        room, name = type(self).__module__.split("._")[0], type(self).__name__
        # pages of the package's own names do not say the room
        page = f"{room}.{name}" if name == "PoseCanonicalizer" else f"sk_eqsae.{name}"
        return {"page": page}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@contextmanager
def all_or_nothing(*estimators: BaseEstimator) -> Iterator[None]:
    """Leave estimators as they were if anything is raised on the way."""
    before = [vars(estimator).copy() for estimator in estimators]
    try:
        yield
    except BaseException:
        for estimator, attributes in zip(estimators, before, strict=True):
            vars(estimator).clear()
            vars(estimator).update(attributes)
        raise


@contextmanager
def ordinary_modes(device: str | torch.device = "cpu") -> Iterator[None]:
    """Compute as usual, whatever mode the caller has torch in."""
    # torch.set_grad_enabled(False), torch.inference_mode(), torch.autocast and
    # torch.set_default_device are common where activations are extracted. Where a
    # default device is set, it is `device` meanwhile.
    if os.getpid() != _PROCESS:
        # a fork does not bring OpenMP's threads along, and would wait for them for ever
        torch.set_num_threads(1)
    with torch.inference_mode(mode=False), torch.enable_grad(), ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device(device))  # slows down each call
        yield


def draw_seed(random_state: np.random.RandomState) -> int:
    """Draw a torch seed from a scikit-learn random state."""
    return int(random_state.randint(2**31 - 1))


def unfrozen(estimator: Any) -> Any:
    """What a FrozenEstimator holds; anything else as it is."""
    while isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    return estimator
