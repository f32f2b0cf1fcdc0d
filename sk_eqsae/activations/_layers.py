"""What a layer of a model puts out, of a model that is left as it was found."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from .._training import resolve_device

# Modes, hooks and places of a model, which may share parts with another, and torch's
# stance are for all threads: so one pass at a time, and as it was in between.
_ONE_PASS = threading.RLock()
_IN_USE: dict[torch.nn.Module, tuple[torch.device | None, int]] = {}


def check_model(model: object) -> None:
    """Raise unless a model is one of torch's."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module, found {type(model).__name__}."
        )


def named_layer(model: torch.nn.Module, layer: str) -> torch.nn.Module:
    """The layer of this name; an error lists the names that there are."""
    # A module may have two names; a compiled one is found inside its wrapper.
    modules = dict(model.named_modules(remove_duplicate=False))
    plain = {name.replace("_orig_mod.", ""): part for name, part in modules.items()}
    found = modules.get(layer, plain.get(layer))
    if found is None:
        names = ", ".join(repr(name) for name in modules if name)
        raise ValueError(
            f"layer={layer!r} does not exist in {type(model).__name__}. Its layers "
            f"are: {names or 'none'}."
        )
    return found


def check_called_once(n_calls: int, layer: str) -> None:
    """Raise unless a layer was called once in a forward pass."""
    if n_calls != 1:
        raise ValueError(
            f"layer={layer!r} was called {n_calls} times in one forward pass of "
            "the model and must be called exactly once. Choose a layer that the "
            "model calls once, or wrap the call in a module of its own "
            "(torch.nn.Identity will do)."
        )


def check_tensor(output: object, layer: str) -> None:
    """Raise unless a layer puts out one tensor."""
    if not isinstance(output, torch.Tensor):
        raise ValueError(
            f"layer={layer!r} must put out a tensor, found {type(output).__name__}. "
            "Choose a layer inside it, or one that follows it."
        )


def device_for(model: torch.nn.Module, device: str | torch.device) -> torch.device:
    """Where to run a model; "auto" leaves one on a GPU where it is."""
    home = _device_of(model)
    if device == "auto" and home is not None and home.type != "cpu":
        return home
    return resolve_device(device)


def _device_of(model: torch.nn.Module) -> torch.device | None:
    first = next(model.parameters(), None)
    return None if first is None else first.device


def _move(model: torch.nn.Module, target: torch.device | None) -> None:
    if _device_of(model) not in (None, target):
        model.to(target)


@contextmanager
def borrowed(model: torch.nn.Module) -> Iterator[None]:
    """Passes may move the model; the last one to use it puts it back."""
    with _ONE_PASS:
        home, n_users = _IN_USE.get(model, (_device_of(model), 0))
        _IN_USE[model] = home, n_users + 1
    try:
        yield
    finally:
        with _ONE_PASS:
            home, n_users = _IN_USE.pop(model)
            if n_users > 1:
                _IN_USE[model] = home, n_users - 1
            else:
                _move(model, home)


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _uncompiled() -> Any:
    """Run what is compiled line by line: code compiled before sees no new hook."""
    if "torch._dynamo" not in sys.modules:  # nothing is, and to import it takes seconds
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


def output_of(model: torch.nn.Module, layer: str, batch: torch.Tensor) -> torch.Tensor:
    """What a layer puts out in one forward pass, in evaluation mode, of this thread."""
    outputs: list[Any] = []
    thread = threading.get_ident()

    def record(module: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() == thread:
            is_tensor = isinstance(output, torch.Tensor)
            # A later layer may work in place, as ReLU(inplace=True) does.
            outputs.append(output.clone() if is_tensor else output)

    with _ONE_PASS, _uncompiled():
        _move(model, batch.device)
        hook = named_layer(model, layer).register_forward_hook(record)
        try:
            with _evaluating(model):
                model(batch)
        finally:
            hook.remove()
    check_called_once(len(outputs), layer)
    check_tensor(outputs[0], layer)
    return outputs[0]
