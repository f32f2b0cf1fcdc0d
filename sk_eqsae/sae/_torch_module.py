"""A fitted autoencoder as a plain torch module, to run inside other models."""

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ._code import TopK
from ._network import DenseNetwork

_SCALES = (1e-30, 1e30)  # whose squares are still numbers, nearly


class SparseAutoencoder(nn.Module):
    """A fitted autoencoder, on activations as they are."""

    # With the scale of the activations folded into the biases:
    #
    #     z = ReLU(TopK(encoder(x - mean)))
    #     x_hat = intercept + z components

    mean: Tensor
    threshold: Tensor | None

    def __init__(self, sae: Any) -> None:
        super().__init__()
        mean = in_float32(sae.mean_)
        biases = raw_biases(sae, mean)
        coefs = [np.array(coef, dtype=np.float32) for coef in sae.coefs_]
        components = np.array(sae.components_, dtype=np.float32)
        intercept = in_float32(sae.intercept_)
        network = DenseNetwork.from_arrays(coefs, biases, components, intercept)
        self.hidden, self.encoder = network.hidden, network.encoder
        self.components, self.intercept = network.components, network.intercept
        self.n_latents, self.n_features = components.shape
        self.register_buffer("mean", torch.from_numpy(mean))
        select = sae._selection()
        self.k = select.k if isinstance(select, TopK) else None
        threshold = None if self.k else _tensor(sae.threshold_)
        self.register_buffer("threshold", threshold)

    def encode(self, x: Tensor) -> Tensor:
        """Latents (..., n_latents), non-negative, of activations (..., n_features)."""
        inputs = x - self.mean
        if self.hidden is not None:
            inputs = self.hidden(inputs).relu()
        pre_activations = self.encoder(inputs)
        if self.threshold is not None:
            active = pre_activations > self.threshold
            return torch.where(active, pre_activations, 0)
        values, indices = pre_activations.topk(self.k, dim=-1, sorted=False)
        return torch.zeros_like(pre_activations).scatter(-1, indices, values.relu())

    def decode(self, z: Tensor) -> Tensor:
        """Activations (..., n_features) of latents (..., n_latents)."""
        return z @ self.components + self.intercept

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct activations."""
        return self.decode(self.encode(x))


class EquivariantAutoencoder(SparseAutoencoder):
    """A fitted EquivariantSAE, on activations as they are."""

    # Latents decode to canonical activations, which the matrices M move to where the
    # activations were:
    #
    #     x_hat = M^p (intercept + z components)

    powers: Tensor

    def __init__(self, sae: Any) -> None:
        super().__init__(sae)
        if not hasattr(sae.activation_transform_, "matrix"):
            raise ValueError(
                f"to_module needs M as matrices, but activation_transform_ is a "
                f"{type(sae.activation_transform_).__name__}, which has no method "
                "matrix(power)."
            )
        self.register_buffer("powers", torch.tensor(sae.symmetry_.powers))
        self.n_generators = sae.symmetry_.n_generators
        for i, order in enumerate(sae.symmetry_.generator_orders):
            power = np.zeros((order, self.n_generators), dtype=np.int64)
            power[:, i] = np.arange(order)
            cycle = [sae.activation_transform_.matrix(row) for row in power]
            self.register_buffer(f"matrices_{i}", _tensor(cycle))

    def decode(self, z: Tensor, power: ArrayLike | Tensor | None = None) -> Tensor:
        """Canonical activations of latents, or moved on by the powers of each row."""
        canonical = super().decode(z)
        return canonical if power is None else self.act(canonical, power)

    def forward(self, x: Tensor, power: ArrayLike | Tensor | None = None) -> Tensor:
        """Reconstruct activations where they were."""
        z = self.encode(x)
        return self.decode(z, self.pose(x, z) if power is None else power)

    def predict_power(self, x: Tensor) -> Tensor:
        """Pose of each row: the power that explains it best."""
        return self.pose(x, self.encode(x))

    @torch.no_grad()
    def pose(self, x: Tensor, z: Tensor) -> Tensor:
        """Pose of rows x whose latents are z: the p that minimises ||x - M^p D(z)||."""
        canonical = self.decode(z)
        powers = self.powers[:, 0] if self.n_generators == 1 else self.powers
        distances = [(x - self.act(canonical, p)).square().sum(-1) for p in powers]
        return powers[torch.stack(distances).argmin(0)]

    def act(self, x: Tensor, power: ArrayLike | Tensor) -> Tensor:
        """M_1^p1 M_2^p2 ... x, of powers of shape (...) or (..., n_generators)."""
        rows = self._as_rows(power, x)
        for i in reversed(range(self.n_generators)):
            x = _moved(x, self.get_buffer(f"matrices_{i}"), rows[..., i])
        return x

    def _as_rows(self, power: ArrayLike | Tensor, x: Tensor) -> Tensor:
        """Powers of shape (..., n_generators)."""
        power = torch.as_tensor(power, device=x.device)
        if power.is_floating_point() or power.is_complex() or power.dtype == torch.bool:
            raise ValueError(f"power has to hold integers, found {power.dtype}.")
        rows = power.unsqueeze(-1) if self.n_generators == 1 else power
        with suppress(IndexError, RuntimeError):  # no columns, or too many rows
            if rows.shape[-1] == self.n_generators:
                return rows.broadcast_to(*x.shape[:-1], self.n_generators)
        raise ValueError(
            f"power has shape {tuple(power.shape)} for rows of shape "
            f"{tuple(x.shape[:-1])} and {self.n_generators} generator(s). Give one "
            "power, or one for each row, with a column for each generator."
        )


def raw_biases(sae: Any, origin: NDArray) -> list[NDArray]:
    """Fold the scale and the mean of the activations into the encoder's biases."""
    # All layers but the biases are homogeneous, so that the scale s comes out:
    #
    #     s E((x - mean) / s) = E'(x - origin)    with    b' = s b
    #     and in the first layer    b' = s b + (origin - mean) W
    if not _SCALES[0] < sae.scale_ < _SCALES[1]:
        raise ValueError(
            f"activations of root mean square {sae.scale_:.0e} are lost in float32. "
            "Multiply them by a constant before fitting"
        )
    biases = [sae.scale_ * bias.astype(np.float64) for bias in sae.intercepts_]
    biases[0] += (origin - sae.mean_) @ sae.coefs_[0].astype(np.float64)
    return [in_float32(bias) for bias in biases]


def in_float32(values: NDArray) -> NDArray:
    """Round to float32."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ValueError(
            f"activations as large as {np.abs(values).max():.0e} are too large for "
            "float32. Divide them by a constant before fitting"
        )
    return rounded


def _tensor(values: ArrayLike) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


def _moved(x: Tensor, matrices: Tensor, power: Tensor) -> Tensor:
    """Apply the power of one generator that each row has."""
    power = (power % len(matrices)).unsqueeze(-1)
    moved = torch.zeros_like(x)
    for p in power.unique().tolist():
        moved = torch.where(power == p, x @ matrices[p].T, moved)
    return moved
