"""From a model and inputs to orbits of activations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from .._training import resolve_device
from ..groups import FiniteGroup
from ..groups._group import action_powers
from ..groups._orbit_table import as_group
from ._orbits import Orbits
from ._written import fingerprint, written

Inputs = np.ndarray | torch.Tensor
Action = Callable[[Any, Any], Any]


def extract_orbits(
    model: torch.nn.Module,
    inputs: Inputs,
    *,
    layer: str,
    action: Action,
    symmetry: int | FiniteGroup | None = None,
    batch_size: int = 256,
    device: str | torch.device = "auto",
    out: str | os.PathLike | None = None,
) -> Orbits:
    """Collect what a layer of a model puts out for inputs and all their transforms.

    Parameters
    ----------
    model : torch.nn.Module
        Any model that takes a batch of inputs as its one argument. It is run in
        evaluation mode without gradients and left as it was found.
    inputs : ndarray or tensor of shape (n_inputs, ...)
        Canonical inputs. Floating inputs are cast to the dtype of the model's first
        floating parameter; others, such as token ids, are passed on as they are.
    layer : str
        Dotted name of the layer in ``model.named_modules()``; "" is the model
        itself. Its output is taken before any later layer can change it in place.
    action : callable
        ``action(inputs, power)`` applies the generator ``power`` times to a batch
        of the same kind (array or tensor) as inputs, such as
        :class:`sk_eqsae.groups.ImageRotation`. If the group has several generators,
        as that of :class:`sk_eqsae.groups.ImageDihedral`, power is a tuple with one
        power for each.
    symmetry : int or FiniteGroup, default=None
        The group: the order of the generator, or a FiniteGroup. None takes
        ``action.symmetry``.
    batch_size : int, default=256
        Number of inputs in one forward pass.
    device : str or torch.device, default="auto"
        Where to run the model. "auto" leaves a model on a GPU where it is, and
        otherwise uses a GPU if there is one.
    out : path, default=None
        Folder to write the activations to, in .npy files of about 64 MB. Files that are
        there already, from a run that was killed, are not computed again, but for one
        batch, which tells whether they are of this model and action. None keeps all
        activations in memory.

    Returns
    -------
    orbits : Orbits
        ``n_inputs * order`` rows, orbit by orbit with powers ascending; ``groups``
        holds the index of the input, ``power`` has a column per generator if there
        are several. Outputs with more axes are flattened to one
        row per input; half-precision outputs become float32. With `out`, ``X`` is
        a :class:`~sk_eqsae.activations.Shards`.

    Raises
    ------
    ValueError
        If the layer does not exist (the message lists the ones that do), is not
        called exactly once in a forward pass, or puts out anything else than one
        finite tensor with a row per input; if the group is missing or contradicts
        ``action.symmetry``; if `out` holds activations of something else.
    TypeError
        If model, inputs or action is of the wrong type.

    See Also
    --------
    sk_eqsae.activations.Orbits : The result.

    Examples
    --------
    >>> import torch
    >>> from sk_eqsae.activations import extract_orbits
    >>> from sk_eqsae.datasets import make_shapes
    >>> from sk_eqsae.groups import ImageRotation
    >>> images = make_shapes(3, random_state=0).images
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64 * 64, 64))
    >>> extract_orbits(model, images, layer="1", action=ImageRotation(order=4))
    <Orbits: 3 orbits of order 4, 64 features>
    """
    _check_types(model, inputs, action)
    group = _resolve_symmetry(action, symmetry)
    order, powers = group.order, action_powers(group)
    if len(inputs) == 0 or batch_size < 1:
        raise ValueError(
            "inputs must hold at least one row and batch_size must be positive, "
            f"found {len(inputs)} rows and batch_size={batch_size!r}."
        )
    with _prepared(model, device) as placed, _recorder(model, layer) as activations_of:

        def compute(first: int, last: int) -> NDArray:
            """Activations of the orbits of some inputs."""
            batch = inputs[first:last]
            moved = [
                activations_of(
                    _to_model(action(_copy(batch), p), len(batch), model, placed)
                )
                for p in powers
            ]
            X = np.stack(moved, axis=1).reshape(len(batch) * order, -1)
            _check_finite(X, layer, order, first)
            return X

        batches = list(gen_batches(len(inputs), batch_size))
        if out is None:
            X = np.concatenate([compute(b.start, b.stop) for b in batches])
        else:
            job = fingerprint(model, inputs, layer=layer, action=action, order=order)
            X = written(job, compute, batches, out)
    return Orbits(
        X,
        groups=np.repeat(np.arange(len(inputs)), order),
        power=np.concatenate([powers] * len(inputs)),
        symmetry=group,
    )


def check_model(model: object) -> None:
    """Raise unless a model is one of torch's."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module, found {type(model).__name__}."
        )


def _check_types(model: object, inputs: object, action: object) -> None:
    check_model(model)
    if not isinstance(inputs, np.ndarray | torch.Tensor) or inputs.ndim == 0:
        raise TypeError(
            "inputs must be a numpy array or a torch tensor with one row per input, "
            f"found {type(inputs).__name__}."
        )
    if not callable(action):
        raise TypeError(
            "action must be callable as action(inputs, power), found "
            f"{type(action).__name__}."
        )


def _resolve_symmetry(
    action: Action, symmetry: int | FiniteGroup | None
) -> FiniteGroup:
    own, given = as_group(getattr(action, "symmetry", None)), as_group(symmetry)
    group = given or own
    if group is None:
        raise ValueError(
            "symmetry is needed: action has no attribute symmetry. Pass symmetry=, the "
            "number of times that the generator must be applied to change nothing, or "
            "a FiniteGroup."
        )
    if own not in {None, group}:
        raise ValueError(
            f"symmetry={symmetry!r} contradicts that of the action, {own!r}. Leave "
            "symmetry out, or change the action."
        )
    return group


@contextmanager
def _prepared(
    model: torch.nn.Module, device: str | torch.device
) -> Iterator[torch.device]:
    """Put a model in evaluation mode on a device, and everything back at the end."""
    first = next(model.parameters(), None)
    home = None if first is None else first.device
    stays = device == "auto" and home is not None and home.type != "cpu"
    target = home if stays and home is not None else resolve_device(device)
    modes = {module: module.training for module in model.modules()}
    try:
        if home not in (None, target):
            model.to(target)
        model.eval()
        with torch.no_grad():
            yield target
    finally:
        for module, training in modes.items():
            module.training = training
        if home not in (None, target):
            model.to(home)


def named_layer(model: torch.nn.Module, layer: str) -> torch.nn.Module:
    """The layer of this name; an error lists the names that there are."""
    modules = dict(model.named_modules())
    if layer not in modules:
        names = ", ".join(repr(name) for name in modules if name)
        raise ValueError(
            f"layer={layer!r} does not exist in {type(model).__name__}. Its layers "
            f"are: {names or 'none'}."
        )
    return modules[layer]


@contextmanager
def _recorder(
    model: torch.nn.Module, layer: str
) -> Iterator[Callable[[torch.Tensor], NDArray]]:
    """Give a function from a batch to the layer's activations, one row per input."""
    outputs: list[Any] = []

    def record(module: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        is_tensor = isinstance(output, torch.Tensor)
        # A later layer may work in place, as ReLU(inplace=True) does.
        outputs.append(output.clone() if is_tensor else output)

    def activations_of(batch: torch.Tensor) -> NDArray:
        outputs.clear()
        model(batch)
        return _to_rows(outputs, len(batch), layer)

    hook = named_layer(model, layer).register_forward_hook(record)
    try:
        yield activations_of
    finally:
        hook.remove()


def _copy(batch: Inputs) -> Inputs:
    """Copy of a batch, which an action may change in place."""
    return batch.clone() if isinstance(batch, torch.Tensor) else batch.copy()


def _to_model(
    moved: Any, n_rows: int, model: torch.nn.Module, device: torch.device
) -> torch.Tensor:
    if not isinstance(moved, np.ndarray | torch.Tensor) or len(moved) != n_rows:
        found = tuple(moved.shape) if hasattr(moved, "shape") else type(moved).__name__
        raise ValueError(
            "action must return an array or tensor with as many rows as it was "
            f"given, {n_rows}; found {found}."
        )
    # A copy, so that a model that works in place cannot change the caller's inputs.
    if isinstance(moved, torch.Tensor):
        tensor = moved.detach().to(device, copy=True)
    else:
        tensor = torch.tensor(moved.copy(), device=device)
    floating = [p.dtype for p in model.parameters() if p.is_floating_point()]
    if tensor.is_floating_point() and floating:
        tensor = tensor.to(floating[0])
    return tensor


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


def _to_rows(outputs: list[Any], n_rows: int, layer: str) -> NDArray:
    check_called_once(len(outputs), layer)
    output = outputs[0]
    check_tensor(output, layer)
    if output.ndim == 0 or len(output) != n_rows:
        raise ValueError(
            f"layer={layer!r} must put out one row per input: for {n_rows} inputs "
            f"found shape {tuple(output.shape)}. Choose a layer whose first axis "
            "numbers the inputs."
        )
    if output.dtype in (torch.float16, torch.bfloat16):
        output = output.float()
    return output.reshape(n_rows, -1).cpu().numpy()


def _check_finite(X: NDArray, layer: str, order: int, first_input: int) -> None:
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if len(bad):
        index, power = divmod(int(bad[0]), order)
        raise ValueError(
            f"layer={layer!r} put out NaN or infinity in {len(bad)} of {len(X)} rows "
            f"of a batch, first for input {first_input + index} at power {power}. "
            "Check that the inputs are finite and that the model's training did not "
            "diverge."
        )
