"""Inputs of any kind: some are taken, copied, collated and handed to a model."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from .._estimator import as_array

Collate = Callable[[list[Any]], Any]
Forward = Callable[[torch.nn.Module, Any], Any]

_REMEDY = """ Give arrays or tensors with one row per input, a dict or tuple of them, \
a list, or a dataset with len() and [i]. Of a list, say how a batch is made of items, \
and, where model(batch), model(*batch) or model(**batch) will not do, how it is taken:

    extract_orbits(model, list(inputs), layer=..., action=...,
                   collate=lambda items: torch.stack([to_tensor(i) for i in items]),
                   forward=lambda model, batch: model(batch))
"""


def is_array(part: object) -> bool:
    """Whether a part of a batch is an array or a tensor."""
    return isinstance(part, np.ndarray | torch.Tensor)


def is_items(inputs: object) -> bool:
    """Whether inputs are a list, or a dataset that looks like one."""
    if is_array(inputs) or isinstance(inputs, str | bytes | tuple | Mapping):
        return False
    is_like_a_list = hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__")
    return is_like_a_list and not hasattr(inputs, "iloc")  # of a frame


def map_parts(function: Callable[[Any], Any], batch: Any) -> Any:
    """A batch of the same kind, with a function applied to each of its parts."""
    if isinstance(batch, Mapping):
        found: Any = copy.copy(batch)  # such as a BatchEncoding
        for name, part in batch.items():
            found[name] = map_parts(function, part)
        return found
    if isinstance(batch, tuple | list):
        parts = [map_parts(function, part) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return function(batch)


def arrays_in(batch: Any) -> Iterator[Any]:
    """All arrays and tensors of a batch."""
    if is_array(batch):
        yield batch
    elif isinstance(batch, Mapping | tuple | list):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from arrays_in(part)


def checked_inputs(inputs: Any) -> Any:
    """Inputs of which batches can be taken; an error says how to make such."""
    if isinstance(inputs, np.ndarray) and inputs.dtype.kind in "OSU":
        inputs = list(inputs)
    if is_items(inputs):
        return inputs
    parts = dict(enumerate(inputs)) if isinstance(inputs, tuple) else inputs
    named = parts.items() if isinstance(parts, Mapping) else ()
    lists = [name for name, part in named if isinstance(part, list)]
    if lists:
        raise TypeError(
            f"inputs[{lists[0]!r}] is a list. Make an array of it, as tokenizers do "
            "with return_tensors='pt'."
        )
    is_masked = np.ma.isMaskedArray
    found = map_parts(lambda p: as_array(p, "inputs") if is_masked(p) else p, inputs)
    arrays = [*arrays_in(found)]
    if not arrays or any(
        part.ndim == 0
        or (isinstance(part, np.ndarray) and part.dtype.kind not in "biufc")
        for part in arrays
    ):
        raise TypeError(f"inputs are {_described(inputs)}.{_REMEDY}")
    lengths = {len(part) for part in arrays}
    if len(lengths) > 1:
        raise ValueError(
            "inputs must have one row per input in all their arrays, found "
            f"{sorted(lengths)} rows."
        )
    return found


def _described(batch: Any) -> str:
    """Kind of a batch and of its parts, for a message."""
    if is_array(batch):
        return f"of shape {tuple(batch.shape)} and dtype {batch.dtype}"
    kind = type(batch).__name__
    if not isinstance(batch, Mapping | tuple | list) or not len(batch):
        return f"a {kind}"
    first = next(iter(batch.values() if isinstance(batch, Mapping) else batch))
    return f"a {kind} of {type(first).__name__}"


def n_inputs(batch: Any) -> int:
    """Number of inputs in a batch."""
    if is_items(batch):
        return len(batch)
    return len(next(arrays_in(batch)))


def taken(inputs: Any, which: slice | list[int]) -> Any:
    """Some of the inputs, of their own kind; of a dataset a list."""
    if is_items(inputs):
        numbers = range(len(inputs))[which] if isinstance(which, slice) else which
        return [inputs[number] for number in numbers]
    return map_parts(lambda part: part[which] if is_array(part) else part, inputs)


def copied(batch: Any) -> Any:
    """A copy, which may be changed in place."""
    return map_parts(_copy_of, batch)


def _copy_of(part: Any) -> Any:
    if isinstance(part, torch.Tensor):
        return part.detach().clone()
    return part.copy() if isinstance(part, np.ndarray) else copy.deepcopy(part)


def collated(batch: Any, collate: Collate | None) -> Any:
    """A list of items as a batch, by default torch's; anything else as it is."""
    if not isinstance(batch, list):
        return batch
    if collate is not None:
        found = collate(batch)
        return tuple(found) if isinstance(found, list) else found
    try:
        found = default_collate(batch)
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"inputs are {_described(batch)}, of which torch's default_collate makes "
            f"no batch: {error}{_REMEDY}"
        ) from error
    if next(arrays_in(found), None) is None:
        raise TypeError(f"inputs are {_described(batch)}.{_REMEDY}")
    return tuple(found) if isinstance(found, list) else found


def to_model(batch: Any, model: torch.nn.Module, device: torch.device) -> Any:
    """A copy of a batch as tensors on a device; floating ones of the model's dtype."""
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    dtype = next(floating, None)

    def converted(part: Any) -> Any:
        if not is_array(part):  # such as a batch of graphs
            return part.to(device) if callable(getattr(part, "to", None)) else part
        # A copy, so that a model that works in place cannot change the caller's inputs.
        if isinstance(part, torch.Tensor):
            tensor = part.detach().to(device, copy=True)
        else:
            tensor = torch.as_tensor(part.copy(), device=device)
        return tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor

    return map_parts(converted, batch)


def run(model: torch.nn.Module, batch: Any, forward: Forward | None) -> None:
    """One forward pass: by default model(*x) of a tuple or list, model(**x) of a dict,
    model(x) of anything else.
    """
    if forward is not None:
        forward(model, batch)
        return
    is_dict, is_tuple = isinstance(batch, Mapping), isinstance(batch, tuple | list)
    args = batch if is_tuple else () if is_dict else (batch,)
    kwargs = batch if is_dict else {}
    try:
        model(*args, **kwargs)
    except TypeError as error:
        if _takes(model, args, kwargs):
            raise
        how = "model(**batch)" if is_dict else "model(*batch)" if is_tuple else ""
        raise TypeError(
            f"{type(model).__name__} cannot be called as {how or 'model(batch)'}: "
            f"{error}. A batch is {_described(batch)}.{_REMEDY}"
        ) from error


def _takes(model: torch.nn.Module, args: Any, kwargs: Any) -> bool:
    """Whether the arguments fit the signature of a model."""
    try:
        inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # it has no signature
        return True
    return True
