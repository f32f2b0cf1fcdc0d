"""From a model and inputs to orbits of activations."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from .._fitting import ordinary_modes
from .._rows import as_array
from ..groups import FiniteGroup
from ..groups._group import action_powers
from ._layers import borrowed, check_model, device_for, named_layer, output_of
from ._moved import Action, Inputs, check_orders, moved, resolve_symmetry
from ._orbits import Orbits
from ._written import fingerprint, written

_MIXED = 0.05  # how far a row may change with its neighbours, of a typical norm


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
        evaluation mode without gradients, one pass at a time, and is as it was found
        between them, so that threads may share it. What is compiled runs uncompiled.
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
        ``action.symmetry``. It is tried on a few inputs whether a generator, applied as
        often as its order says, gives them back.
    batch_size : int, default=256
        Number of inputs in one forward pass.
    device : str or torch.device, default="auto"
        Where to run the model. "auto" leaves a model on a GPU where it is, and
        otherwise uses a GPU if there is one.
    out : path, default=None
        Folder to write the activations to, in .npy files of about 64 MB. Of files that
        are there already, from a run that was killed, only one batch is computed again,
        to tell whether they are of this model and action. None keeps all in memory.

    Returns
    -------
    orbits : Orbits
        ``n_inputs * order`` rows, orbit by orbit with powers ascending; ``groups``
        holds the index of the input, ``power`` has a column per generator if there
        are several. Outputs with more axes are flattened to one row per input;
        half-precision outputs become float32. With `out`, ``X`` is a
        :class:`~sk_eqsae.activations.Shards`.

    Raises
    ------
    ValueError
        If the layer does not exist (the message lists the ones that do), is not called
        exactly once in a forward pass, or puts out anything else than one finite tensor
        with a row per input, which depends on this input alone; if the group is missing
        or is not that of the action; if `out` holds activations of something else.

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
    _check_arguments(model, inputs, action, batch_size)
    if isinstance(inputs, np.ma.MaskedArray):
        inputs = as_array(inputs, "inputs")
    named_layer(model, layer)  # before anything is computed
    group = resolve_symmetry(action, symmetry)
    target = device_for(model, device)
    with ordinary_modes(target), torch.no_grad(), borrowed(model):
        check_orders(action, inputs, group)
        orbits_of = _Extraction(model, inputs, layer, action, group, target)
        batches = list(gen_batches(len(inputs), batch_size))
        if out is None:
            X = np.concatenate([orbits_of(b.start, b.stop) for b in batches])
        else:
            job = fingerprint(
                model, inputs, layer=layer, action=action, order=group.order
            )
            X = written(job, orbits_of, batches, out)
    return Orbits(
        X,
        groups=np.repeat(np.arange(len(inputs)), group.order),
        power=np.concatenate([action_powers(group)] * len(inputs)),
        symmetry=group,
    )


def _check_arguments(
    model: object, inputs: object, action: object, batch_size: int
) -> None:
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
    if len(inputs) == 0 or batch_size < 1:
        raise ValueError(
            "inputs must hold at least one row and batch_size must be positive, "
            f"found {len(inputs)} rows and batch_size={batch_size!r}."
        )


@dataclass(eq=False)
class _Extraction:
    """Computes the activations of the orbits of some inputs."""

    model: torch.nn.Module
    inputs: Inputs
    layer: str
    action: Action
    group: FiniteGroup
    device: torch.device
    is_checked: bool = field(default=False, init=False)

    def __call__(self, first: int, last: int) -> NDArray:
        """Rows of shape (n_inputs * order, n_features), orbit by orbit."""
        batch, powers = self.inputs[first:last], action_powers(self.group)
        rows = [self._rows(batch, power) for power in powers]
        X = np.stack(rows, axis=1).reshape(len(batch) * len(powers), -1)
        _check_finite(X, self.layer, len(powers), first)
        if not self.is_checked:
            self._check_alone(batch, rows[0], powers[0])
            self.is_checked = True
        return X

    def _rows(self, batch: Inputs, power: Any) -> NDArray:
        """One row for each input, all moved by one power."""
        tensor = _to_model(moved(self.action, batch, power), self.model, self.device)
        output = output_of(self.model, self.layer, tensor)
        if output.ndim == 0 or len(output) != len(batch):
            raise ValueError(
                f"layer={self.layer!r} must put out one row per input: for "
                f"{len(batch)} inputs found shape {tuple(output.shape)}. Choose a "
                "layer whose first axis numbers the inputs."
            )
        if output.dtype in (torch.float16, torch.bfloat16):
            output = output.float()
        return output.reshape(len(batch), -1).cpu().numpy()

    def _check_alone(self, batch: Inputs, rows: NDArray, power: Any) -> None:
        """Raise if the first row changes when its input fills the batch by itself."""
        first = [0] * len(batch)
        alone = self._rows(batch[first], power)
        if _are_close(rows[first], alone, rows):
            return
        # A model that draws random numbers differs from itself, too.
        if _are_close(self._rows(batch[first], power), alone, rows):
            raise ValueError(
                f"layer={self.layer!r}: what it puts out for the first input depends "
                "on the other inputs of the batch. If its first axis does not number "
                "the inputs, as in (sequence, batch, features), add a module that "
                "moves that axis to the front; if the model mixes inputs on purpose, "
                "set batch_size=1."
            )


def _are_close(rows: NDArray, others: NDArray, all_rows: NDArray) -> bool:
    typical = np.sqrt(np.mean(np.linalg.norm(all_rows, axis=1) ** 2))
    return bool((np.linalg.norm(rows - others, axis=1) <= _MIXED * typical).all())


def _to_model(
    inputs: Inputs, model: torch.nn.Module, device: torch.device
) -> torch.Tensor:
    # A copy, so that a model that works in place cannot change the caller's inputs.
    if isinstance(inputs, torch.Tensor):
        tensor = inputs.detach().to(device, copy=True)
    else:
        tensor = torch.tensor(inputs.copy(), device=device)
    floating = [p.dtype for p in model.parameters() if p.is_floating_point()]
    return tensor.to(floating[0]) if tensor.is_floating_point() and floating else tensor


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
