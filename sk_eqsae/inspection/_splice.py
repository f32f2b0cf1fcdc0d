"""A model with an autoencoder's reconstruction in the place of a layer's output."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .._estimator import as_array, as_places, unfrozen
from ..activations import Nodes, Tokens
from ..activations._layers import (
    Reading,
    by_itself,
    check_model,
    is_by_itself,
    named_layer,
    with_tensor,
)
from ..sae._torch_module import EquivariantAutoencoder, SparseAutoencoder
from ._checks import check_sae


@contextmanager
def splice(
    model: torch.nn.Module,
    layer: str,
    sae: Any,
    *,
    sites: str | Tokens | Nodes | None = None,
    ablate: ArrayLike = (),
    steer: Mapping[int, float] | None = None,
    keep_error: bool = False,
    power: ArrayLike | Tensor | None = None,
    output: int | str | None = None,
    call: int | None = None,
) -> Iterator[torch.nn.Module]:
    r"""Put an autoencoder's reconstruction in the place of a layer's output.

    Inside the ``with`` block, the layer puts out what the autoencoder makes of its
    output x, with latents z set to z' and D the decoder; the second with
    ``keep_error=True``:

    .. math::

        x' = D(z')    \quad \text{or} \quad    x' = D(z') + (x - D(z))

    After it the model is as it was.

    Parameters
    ----------
    model : torch.nn.Module
        Any model.
    layer : str
        Dotted name of the layer in ``model.named_modules()``; "" is the model itself.
        Its output has as many entries per input, or along its last axis, as the
        autoencoder has features, or it has `sites`.
    sae : estimator or torch.nn.Module
        A fitted autoencoder, or what its `to_module` has returned, the parameters of
        which then get gradients.
    sites : {"map", "tokens"}, Tokens or Nodes, default=None
        How the layer lays out its sites, as `extract_orbits` was told. All of them are
        replaced; a prefix that is not kept stays as it is.
    ablate : array-like of int, default=()
        Latents that are set to 0.
    steer : mapping from int to float, default=None
        Latents that are set to a value, in the units of the activations.
    keep_error : bool, default=False
        Add back what the autoencoder misses, so that nothing changes but for the
        latents that are set. No gradient flows through it.
    power : int or array-like of shape (n_inputs,) or (n_inputs, n_generators)
        True powers of the inputs; only for an :class:`~sk_eqsae.EquivariantSAE`.
        None infers them from the latents as they were before any was set.
    output : int or str, default=None
        Which tensor, where the layer puts out several: its number or key. None is the
        first.
    call : int, default=None
        Which call, where the model calls the layer several times: 0 is the first.

    Yields
    ------
    model : torch.nn.Module
        The model.

    Raises
    ------
    TypeError, ValueError
        If the layer or a latent does not exist; in a forward pass if the layer is
        not called as `call` says, or puts out something else.

    Examples
    --------
    >>> import torch
    >>> from sk_eqsae import TopKSAE, splice
    >>> X = torch.rand(500, 64)
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.Linear(16, 3))
    >>> sae = TopKSAE(32, k=4, max_epochs=2).fit(model[0](X).detach().numpy())
    >>> with torch.no_grad(), splice(model, "0", sae, ablate=[3, 5]) as spliced:
    ...     spliced(X).shape
    torch.Size([500, 3])
    """
    check_model(model)
    if callable(output):
        raise TypeError(
            "output has to be a number or a key, so that it can be replaced."
        )
    target = named_layer(model, layer)
    module = _as_module(sae)
    if power is not None:
        power = as_array(power)
        if not isinstance(module, EquivariantAutoencoder):
            raise ValueError("power is only for an EquivariantSAE. Leave it out.")
    edits = _edits(ablate, steer, module.n_latents)
    reading = Reading(layer, output, call)
    of_pass = (reading, module, edits, keep_error, power, _checked_sites(sites))
    splicer = _Splicer(*of_pass, model, threading.get_ident())
    with by_itself(model), ExitStack() as hooks:
        for handle in (
            model.register_forward_pre_hook(splicer.begin),
            target.register_forward_hook(splicer.replace),
            model.register_forward_hook(splicer.check),
            model.register_forward_hook(splicer.end, always_call=True),
        ):
            hooks.callback(handle.remove)
        yield model


@dataclass(eq=False)
class _Splicer(threading.local):
    """Replaces the output of a layer, once in each forward pass of each thread."""

    reading: Reading
    module: SparseAutoencoder
    edits: dict[int, float]
    keep_error: bool
    power: ArrayLike | Tensor | None
    sites: str | Tokens | Nodes | None
    model: torch.nn.Module
    thread: int
    is_running: bool = False
    n_calls: int = 0

    def begin(self, model: torch.nn.Module, args: Any) -> None:
        self.is_running, self.n_calls = not self.is_off(), 0

    def is_off(self) -> bool:
        """Whether another thread reads the model, or has a splice of its own."""
        return threading.get_ident() != self.thread and is_by_itself(self.model)

    def check(self, model: torch.nn.Module, args: Any, output: Any) -> None:
        if self.is_running:  # since before the pass
            self.reading.check_called(self.n_calls)

    def end(self, model: torch.nn.Module, args: Any, output: Any) -> None:
        self.is_running = False

    def replace(self, module: torch.nn.Module, args: Any, output: Any) -> Any:
        if self.is_off():
            return output
        self.n_calls += 1
        if self.reading.call is None:
            if self.is_running and self.n_calls > 1:
                self.reading.check_called(self.n_calls)
        elif not self.is_running or self.n_calls != self.reading.call + 1:
            return output
        place = self.reading.place_in(output)
        tensor = self.reading.tensor_in(output)
        rows = _taken(tensor, self.sites)
        rows = _as_rows(rows, self.module.n_features, self.reading.layer, self.sites)
        with torch.autocast(tensor.device.type, enabled=False):
            spliced = self._reconstructed(rows)
        spliced = _put_back(spliced.to(tensor.dtype), tensor, self.sites)
        return with_tensor(output, place, spliced)

    def _reconstructed(self, x: Tensor) -> Tensor:
        module = self.module.to(x.device)
        x = x.to(module.components.dtype)
        z = module.encode(x)
        moved: tuple[Any, ...] = ()
        if isinstance(module, EquivariantAutoencoder):
            moved = (module.pose(x, z) if self.power is None else self._powers(x),)
        x_hat = module.decode(self._edited(z), *moved)
        if self.keep_error:
            x_hat = x_hat + (x - module.decode(z, *moved)).detach()
        return x_hat

    def _powers(self, x: Tensor) -> ArrayLike | Tensor:
        """Powers of inputs, for all their sites."""
        power = torch.as_tensor(self.power)
        if self.sites is None or power.ndim == 0 or len(power) != len(x):
            return power
        return power.reshape(len(x), *[1] * (x.ndim - 2), *power.shape[1:])

    def _edited(self, z: Tensor) -> Tensor:
        if not self.edits:
            return z
        latents = torch.tensor(list(self.edits), device=z.device)
        values = torch.tensor(list(self.edits.values()), dtype=z.dtype).to(z.device)
        return z.index_copy(-1, latents, values.expand(*z.shape[:-1], -1))


def _as_module(sae: Any) -> SparseAutoencoder:
    if isinstance(sae, SparseAutoencoder):
        return sae
    sae = unfrozen(sae)
    check_sae(sae)
    if not hasattr(sae, "to_module"):
        raise ValueError(
            "invariant latents cannot be decoded. Set output='equivariant' with "
            "sae.set_params, which needs no new fit."
        )
    return sae.to_module().requires_grad_(False)


def _edits(
    ablate: ArrayLike, steer: Mapping[int, float] | None, n_latents: int
) -> dict[int, float]:
    """Value of each latent that is set."""
    if not isinstance(steer, Mapping | None):
        raise TypeError(
            "steer has to be a dictionary from latents to values, such as {3: 2.0}, "
            f"found {steer!r}."
        )
    steered = {n: _number(n, value) for n, value in (steer or {}).items()}
    ablated = dict.fromkeys(_latents(ablate, n_latents, "ablate"), 0.0)
    for latent in _latents([*steered], n_latents, "steer"):
        if latent in ablated:
            raise ValueError(
                f"latent {latent} is in ablate, which sets it to 0, and in steer. Name "
                "it in one of them."
            )
    return ablated | steered


def _number(latent: Any, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"steer sets latent {latent} to {value!r}. Set a number.")
    return number


def _latents(indices: ArrayLike, n_latents: int, name: str) -> list[int]:
    if not np.size(indices):
        return []
    return as_places(indices, name, n_latents, "latents").tolist()


def _checked_sites(sites: Any) -> Any:
    if sites is None or sites in ("map", "tokens") or isinstance(sites, Tokens | Nodes):
        return sites
    raise ValueError(
        "sites has to be 'map', 'tokens', Tokens() or Nodes(), so that what is taken "
        f"from a layer's output can be put back, found {sites!r}."
    )


def _taken(output: Tensor, sites: Any) -> Tensor:
    """The features of each site along the last axis."""
    if sites == "map":
        return output.movedim(1, -1)
    n_before = _n_before(sites)
    return output[:, n_before:] if n_before else output


def _put_back(rows: Tensor, output: Tensor, sites: Any) -> Tensor:
    """A layer's output, with other rows at its sites."""
    if sites == "map":
        return rows.movedim(-1, 1).contiguous()
    n_before = _n_before(sites)
    if n_before:
        return torch.cat([output[:, :n_before], rows], dim=1)
    return rows.reshape(output.shape)


def _n_before(sites: Any) -> int:
    """Number of tokens that are no sites."""
    return sites.prefix if isinstance(sites, Tokens) and not sites.keep_prefix else 0


def _as_rows(output: Tensor, n_features: int, layer: str, sites: Any) -> Tensor:
    """Flatten the output for each input, unless its last axis is an activation."""
    shape = tuple(output.shape)
    if sites is None and shape and math.prod(shape[1:]) == n_features:
        return output.reshape(len(output), n_features)
    if shape and shape[-1] == n_features:
        return output
    raise ValueError(
        f"layer={layer!r} puts out shape {shape}, but the autoencoder was fitted on "
        f"{n_features} features: neither the entries per input nor the last axis are "
        "as many. Splice it into the layer that its activations come from."
    )
