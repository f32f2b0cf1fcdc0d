"""What layers of a model put out, of a model that is left as it was found."""

import copy
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from .._training import resolve_device

# Modes, hooks and places of a model, which may share parts with another, and torch's
# stance are for all threads: so one pass at a time, and as it was in between.
_ONE_PASS = threading.RLock()
_IN_USE: dict[torch.nn.Module, tuple[torch.device | None, int]] = {}
_BY_ITSELF = threading.local()  # models that this thread reads or splices

Key = int | str | Callable[[Any], Any] | None
_NO_MODULE = (
    "A step that is no module, such as torch.relu or an addition, has no name: put "
    "self.step = torch.nn.Identity() into the model, call self.step on its result, and "
    "name 'step'."
)


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
            f"are: {names or 'none'}. {_NO_MODULE}"
        )
    if layer and isinstance(found, torch.jit.ScriptModule):
        raise ValueError(
            f"layer={layer!r} is inside a scripted model, which runs without its "
            "modules. Give the model that was scripted."
        )
    return found


@dataclass(frozen=True)
class Reading:
    """Which output of which layer is read."""

    layer: str
    output: Key = None
    call: int | None = None

    def check_called(self, n_calls: int) -> None:
        """Raise unless a layer was called once, or as often as `call` needs."""
        if n_calls == 1 if self.call is None else 0 <= self.call < n_calls:
            return
        times = f"layer={self.layer!r} was called {n_calls} times in one forward pass"
        if n_calls == 0:
            raise ValueError(
                f"{times}. Choose a layer that the model calls: some functions of "
                f"torch, as for attention, take a layer's weights alone. {_NO_MODULE}"
            )
        raise ValueError(
            f"{times}. Say which one with call=, from 0 to {n_calls - 1}; found "
            f"call={self.call!r}."
        )

    def place_in(self, output: Any) -> Key:
        """Where the tensor is in what the layer puts out; None if it is the tensor."""
        if self.output is not None or isinstance(output, torch.Tensor):
            return self.output
        parts = output.items() if isinstance(output, Mapping) else _numbered(output)
        for key, part in parts:
            if isinstance(part, torch.Tensor):
                return key
        raise self._no_tensor(output)

    def tensor_in(self, output: Any) -> torch.Tensor:
        """The tensor in what the layer puts out."""
        place = self.place_in(output)
        try:
            if place is None:
                found = output
            elif callable(place):
                found = place(output)
            elif isinstance(place, str) and not isinstance(output, Mapping):
                found = getattr(output, place)
            else:
                found = output[place]
        except (KeyError, IndexError, AttributeError):
            found = None
        if not isinstance(found, torch.Tensor):
            raise self._no_tensor(output)
        return found

    def _no_tensor(self, output: Any) -> ValueError:
        parts = output if isinstance(output, Mapping) else dict(_numbered(output))
        found = type(output).__name__
        if parts:
            kinds = (f"{key!r} ({type(part).__name__})" for key, part in parts.items())
            found += f" of {', '.join(kinds)}"
        return ValueError(
            f"layer={self.layer!r} must put out a tensor at output={self.output!r}, "
            f"found {found}. Set output= to the key or the number of a tensor, or to a "
            "function that takes it out; or name a layer inside."
        )


def _numbered(output: Any) -> Any:
    return enumerate(output if isinstance(output, tuple | list) else ())


def with_tensor(output: Any, place: Any, tensor: torch.Tensor) -> Any:
    """What a layer puts out, with another tensor at a place, by number or key."""
    if place is None:
        return tensor
    if isinstance(output, Mapping):
        found: Any = copy.copy(output)
        found[list(output)[place] if isinstance(place, int) else place] = tensor
        return found
    if hasattr(output, "_fields"):  # of a named tuple
        name = output._fields[place] if isinstance(place, int) else place
        return output._replace(**{name: tensor})
    parts = [*output]
    parts[place] = tensor
    return type(output)(parts)


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
def by_itself(model: torch.nn.Module) -> Iterator[None]:
    """Splices of other threads leave this thread's passes of a model alone."""
    before = getattr(_BY_ITSELF, "models", ())
    _BY_ITSELF.models = (*before, model)
    try:
        yield
    finally:
        _BY_ITSELF.models = before


def is_by_itself(model: torch.nn.Module) -> bool:
    """Whether this thread reads or splices a model."""
    return any(model is other for other in getattr(_BY_ITSELF, "models", ()))


@contextmanager
def borrowed(model: torch.nn.Module) -> Iterator[None]:
    """Passes may move the model; the last one to use it puts it back."""
    with _ONE_PASS:
        home, n_users = _IN_USE.get(model, (_device_of(model), 0))
        _IN_USE[model] = home, n_users + 1
    try:
        with by_itself(model):
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
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def _uncompiled() -> Any:
    """Run what is compiled line by line: code compiled before sees no new hook."""
    if "torch._dynamo" not in sys.modules:  # nothing is, and to import it takes seconds
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


@dataclass(eq=False)
class _Reader:
    """A hook that keeps what is wanted of one forward pass of its thread."""

    reading: Reading
    keep: Callable[[torch.Tensor], Any]
    thread: int = field(default_factory=threading.get_ident)
    n_calls: int = 0
    found: Any = None

    def __call__(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        if threading.get_ident() != self.thread:
            return
        if self.reading.call in (None, self.n_calls):
            # Now, since a later layer may work in place, as ReLU(inplace=True) does.
            self.found = self.keep(self.reading.tensor_in(output).detach())
        self.n_calls += 1


def outputs_of(
    model: torch.nn.Module,
    wanted: Sequence[tuple[Reading, torch.nn.Module, Callable[[torch.Tensor], Any]]],
    forward: Callable[[], object],
    device: torch.device,
) -> list[Any]:
    """What functions keep of layers in one pass of this thread, in evaluation mode."""
    readers = [_Reader(reading, keep) for reading, _, keep in wanted]
    with _ONE_PASS, _uncompiled(), ExitStack() as hooks:
        _move(model, device)
        for reader, (_, layer, _) in zip(readers, wanted, strict=True):
            hooks.callback(layer.register_forward_hook(reader).remove)
        with _evaluating(model):
            forward()
    for reader in readers:
        reader.reading.check_called(reader.n_calls)
    return [reader.found for reader in readers]
