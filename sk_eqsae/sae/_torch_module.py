"""A fitted autoencoder as a plain torch module, to run inside other models."""

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

_SCALES = (1e-30, 1e30)  # whose squares are still numbers, nearly


class SparseAutoencoder(nn.Module):
    """A fitted autoencoder, on activations as they are.

    With the scale of the activations folded into the biases::

        z = ReLU(TopK(encoder(x - mean)))
        x_hat = intercept + z components

    Parameters
    ----------
    sae : BaseSAE
        A fitted one; its arrays are copied.
    """

    mean: Tensor
    threshold: Tensor | None

    def __init__(self, sae: Any) -> None:
        super().__init__()
        sae._check_selection()
        mean = in_float32(sae.mean_)
        biases = raw_biases(sae, mean)
        layers = [_linear(c, b) for c, b in zip(sae.coefs_, biases, strict=True)]
        self.hidden = layers[0] if len(layers) > 1 else None
        self.encoder = layers[-1]
        self.components = nn.Parameter(_tensor(sae.components_))
        self.intercept = nn.Parameter(_tensor(in_float32(sae.intercept_)))
        self.register_buffer("mean", torch.from_numpy(mean))
        threshold = _tensor(sae.threshold_) if sae.activation == "batch_topk" else None
        self.register_buffer("threshold", threshold)
        self.k = int(sae.k)

    @property
    def n_features(self) -> int:
        """Width of an activation."""
        return self.components.shape[1]

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return self.components.shape[0]

    def encode(self, x: Tensor) -> Tensor:
        """Encode activations.

        Parameters
        ----------
        x : torch.Tensor of shape (..., n_features)
            Activations.

        Returns
        -------
        z : torch.Tensor of shape (..., n_latents)
            Latents, non-negative, in the units of the activations.
        """
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
        """Decode latents.

        Parameters
        ----------
        z : torch.Tensor of shape (..., n_latents)
            Latents.

        Returns
        -------
        x : torch.Tensor of shape (..., n_features)
            Activations.
        """
        return z @ self.components + self.intercept

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct activations.

        Parameters
        ----------
        x : torch.Tensor of shape (..., n_features)
            Activations.

        Returns
        -------
        x_hat : torch.Tensor of shape (..., n_features)
            Their reconstructions.
        """
        return self.decode(self.encode(x))


class EquivariantAutoencoder(SparseAutoencoder):
    """A fitted EquivariantSAE, on activations as they are.

    Latents decode to canonical activations, which the matrices M move to where the
    activations were::

        x_hat = M^p (intercept + z components)

    Parameters
    ----------
    sae : EquivariantSAE
        A fitted one; its arrays are copied.
    """

    powers: Tensor

    def __init__(self, sae: Any) -> None:
        super().__init__(sae)
        self.register_buffer("powers", torch.tensor(sae.symmetry_.powers))
        for i, order in enumerate(sae.symmetry_.generator_orders):
            cycle = _generator_powers(
                sae.activation_transform_, sae.symmetry_, i, order
            )
            self.register_buffer(f"matrices_{i}", _tensor(cycle))

    @property
    def n_generators(self) -> int:
        """Number of generators of the group."""
        return self.powers.shape[1]

    def decode(self, z: Tensor, power: ArrayLike | Tensor | None = None) -> Tensor:
        """Decode latents to canonical activations, or move them on.

        Parameters
        ----------
        z : torch.Tensor of shape (..., n_latents)
            Latents.
        power : int, or tensor of shape (...) or (..., n_generators), default=None
            Powers of the generators that move each row. None leaves it canonical.

        Returns
        -------
        x : torch.Tensor of shape (..., n_features)
            Activations.
        """
        canonical = super().decode(z)
        return canonical if power is None else self.act(canonical, power)

    def forward(self, x: Tensor, power: ArrayLike | Tensor | None = None) -> Tensor:
        """Reconstruct activations where they were.

        Parameters
        ----------
        x : torch.Tensor of shape (..., n_features)
            Activations.
        power : int, or tensor of shape (...) or (..., n_generators), default=None
            True powers of each row. None infers them with `predict_power`.

        Returns
        -------
        x_hat : torch.Tensor of shape (..., n_features)
            Equivariant reconstructions M^p D(E(x)).
        """
        z = self.encode(x)
        return self.decode(z, self.pose(x, z) if power is None else power)

    def predict_power(self, x: Tensor) -> Tensor:
        """Pose of each row: the power that explains it best.

        Parameters
        ----------
        x : torch.Tensor of shape (..., n_features)
            Activations.

        Returns
        -------
        power : torch.Tensor of shape (...) or (..., n_generators)
            The p that minimises ||x - M^p D(E(x))||.
        """
        return self.pose(x, self.encode(x))

    @torch.no_grad()
    def pose(self, x: Tensor, z: Tensor) -> Tensor:
        """Pose of rows whose latents are known.

        Parameters
        ----------
        x : torch.Tensor of shape (..., n_features)
            Activations.
        z : torch.Tensor of shape (..., n_latents)
            Their latents.

        Returns
        -------
        power : torch.Tensor of shape (...) or (..., n_generators)
            The p that minimises ||x - M^p D(z)||.
        """
        canonical = self.decode(z)
        powers = self.powers[:, 0] if self.n_generators == 1 else self.powers
        distances = [(x - self.act(canonical, p)).square().sum(-1) for p in powers]
        return powers[torch.stack(distances).argmin(0)]

    def act(self, x: Tensor, power: ArrayLike | Tensor) -> Tensor:
        """Move activations by elements of the group.

        Parameters
        ----------
        x : torch.Tensor of shape (..., n_features)
            Activations.
        power : int, or tensor of shape (...) or (..., n_generators)
            Powers of the generators, taken modulo their orders.

        Returns
        -------
        moved : torch.Tensor of shape (..., n_features)
            M_1^p1 M_2^p2 ... x.

        Raises
        ------
        ValueError
            If the powers are not whole, or not one for each row and generator.
        """
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
    """Fold the scale and the mean of the activations into the encoder's biases.

    All layers but the biases are homogeneous, so that the scale s comes out::

        s E((x - mean) / s) = E'(x - origin)    with    b' = s b
        and in the first layer    b' = s b + (origin - mean) W

    Parameters
    ----------
    sae : BaseSAE
        A fitted one.
    origin : ndarray of shape (n_features,)
        What is subtracted from rows instead of `mean_`, as it is rounded.

    Returns
    -------
    biases : list of ndarray
        The biases b' of each layer, in float32.

    Raises
    ------
    ValueError
        If float32 cannot hold the activations.
    """
    if not _SCALES[0] < sae.scale_ < _SCALES[1]:
        raise ValueError(
            f"activations of root mean square {sae.scale_:.0e} are lost in float32. "
            "Multiply them by a constant before fitting"
        )
    biases = [sae.scale_ * bias.astype(np.float64) for bias in sae.intercepts_]
    biases[0] += (origin - sae.mean_) @ sae.coefs_[0].astype(np.float64)
    return [in_float32(bias) for bias in biases]


def in_float32(values: NDArray) -> NDArray:
    """Round to float32.

    Parameters
    ----------
    values : ndarray
        Weights in the units of the activations.

    Returns
    -------
    rounded : ndarray
        The same in float32.

    Raises
    ------
    ValueError
        If they are too large.
    """
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


def _linear(coef: NDArray, bias: NDArray) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, *coef.shape)
    layer.weight = nn.Parameter(_tensor(coef.T))
    layer.bias = nn.Parameter(_tensor(bias))
    return layer


def _generator_powers(transform: Any, group: Any, i: int, order: int) -> NDArray:
    """Matrices of the powers 0, 1, ... of one generator."""
    if not hasattr(transform, "matrix"):
        raise ValueError(
            f"to_module needs M as matrices, but activation_transform_ is a "
            f"{type(transform).__name__}, which has no method matrix(power)."
        )
    power = np.zeros((order, group.n_generators), dtype=np.int64)
    power[:, i] = np.arange(order)
    return np.array([transform.matrix(row) for row in power])


def _moved(x: Tensor, matrices: Tensor, power: Tensor) -> Tensor:
    """Apply the power of one generator that each row has."""
    power = (power % len(matrices)).unsqueeze(-1)
    moved = torch.zeros_like(x)
    for p in power.unique().tolist():
        moved = torch.where(power == p, x @ matrices[p].T, moved)
    return moved
