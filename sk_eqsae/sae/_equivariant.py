"""An autoencoder whose codes ignore a symmetry of the inputs: the paper's method."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from .._docs import fill
from .._rows import TrainingRows
from ..groups import FiniteGroup
from ..groups._element_matrices import moved_by_all, warn_if_poses_look_alike
from ..groups._orbit_table import given, orbit_table, power_of_each_row
from ._recipe import Recipe
from ._symmetric import SymmetricSAE
from ._torch_module import EquivariantAutoencoder


@fill
class EquivariantSAE(SymmetricSAE):
    r"""Sparse autoencoder whose codes are the same for all copies of an input.

    Every row of an orbit is encoded and decoded to the orbit's canonical row (the
    invariance loss, equation 2 of [1]_), and a matrix M moves it back to where it
    was (equation 1):

    .. math::

        D(E(\psi(g^p x))) = \psi(x)
        \quad \text{and} \quad    M^p D(E(\psi(g^p x))) = \psi(g^p x)

    Parameters
    ----------
    n_components : int, default=None
        Number of latents. None is 8 times the number of features.
    {sae_symmetry}
    {k}
    hidden_dim : int, default=512
        Width of the encoder's hidden layer. None makes the encoder linear, which
        may fail to learn to be invariant.
    activation_transform : estimator, default=None
        How M is fitted: it is cloned and fitted on the same orbits. None is
        ``ActivationTransformFitter()``. Wrap a fitted one in
        :class:`sklearn.frozen.FrozenEstimator` to keep it.
    {training}

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Dictionary: row i is the direction of latent i in canonical activations.
    {fitted_symmetry}
    {fitted}

    See Also
    --------
    TopKSAE : The regular autoencoder.
    ActivationTransformFitter : The matrix M.

    Notes
    -----
    If any row of an orbit could have been chosen as the canonical one, the target of
    the invariance loss cannot be predicted for a new input. `fit` warns of it: it looks
    whether a classifier tells the canonical row of a held-out orbit from another one.

    The invariance loss asks that all rows of an orbit are decoded to the same row, not
    that they have the same code: a large dictionary then keeps several nearly equal
    vectors, each of them for rows of one power, and the code tells the power. The
    default recipe adds a consistency loss: a row x also has to rebuild its canonical
    row c from the latents that c has, as large as they are in x,
    ``||c - D(E(x) at the active latents of c)||^2``, times
    `Recipe.consistency_weight`. With it codes are invariant as far as the encoder can
    tell the canonical row; the pooled latents of :class:`GroupTiedSAE` are so by
    construction.

    References
    ----------
    .. [1] Erdogan, Lucic. "Group Equivariance Meets Mechanistic Interpretability:
       Equivariant Sparse Autoencoders". arXiv:2511.09432, 2025. Section 3.

    Examples
    --------
    Three shared directions seen from four sides:

    >>> import numpy as np
    >>> from sk_eqsae import EquivariantSAE
    >>> rng = np.random.default_rng(0)
    >>> x = np.abs(rng.normal(size=(200, 3))) @ np.eye(3, 12)
    >>> X = np.stack([np.roll(x, 3 * p, axis=1) for p in range(4)], axis=1)
    >>> groups, power = np.repeat(np.arange(200), 4), np.tile(np.arange(4), 200)
    >>> sae = EquivariantSAE(16, k=4, hidden_dim=64, max_epochs=60, random_state=0)
    >>> sae = sae.fit(X.reshape(-1, 12), groups=groups, power=power)
    >>> Z = sae.transform(X.reshape(-1, 12))
    >>> Z.shape
    (800, 16)
    >>> bool((sae.predict_power(X.reshape(-1, 12)) == power).mean() > 0.95)
    True
    >>> sae.score(X.reshape(-1, 12), groups=groups, power=power) > 0.8
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **SymmetricSAE._parameter_constraints,
        "activation_transform": [HasMethods(["fit", "act"]), None],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        symmetry: int | FiniteGroup | None = None,
        k: int | None = None,
        hidden_dim: int | None = 512,
        activation_transform: BaseEstimator | None = None,
        activation: str = "topk",
        nested: ArrayLike | None = None,
        recipe: str | Recipe = "default",
        max_epochs: int | None = None,
        max_steps: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        warm_start: bool = False,
        buffer_size: float = 256,
        checkpoint: str | PathLike | None = None,
        sparse_output: bool = False,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.symmetry = symmetry
        self.k = k
        self.hidden_dim = hidden_dim
        self.activation_transform = activation_transform
        self.activation = activation
        self.nested = nested
        self.recipe = recipe
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.lr = lr
        self.warm_start = warm_start
        self.buffer_size = buffer_size
        self.checkpoint = checkpoint
        self.sparse_output = sparse_output
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _training_rows(
        self, X: Any, metadata: dict[str, Any], partial: bool, seed: int
    ) -> TrainingRows:
        """Each row of an orbit goes in, its canonical row should come out."""
        group, table = self._find_orbits(X, metadata, partial)
        self.symmetry_, self.order_ = group, group.order
        self._fit_transform_of(group, X, metadata, seed, more=partial)
        rows, canonical = table[table >= 0], table[:, 0]
        if self.order_ == 1:
            return TrainingRows(X, rows)
        M = self.activation_transform_
        return TrainingRows(
            X,
            rows,
            targets=np.broadcast_to(table[:, :1], table.shape)[table >= 0],
            canonical=canonical,
            elements=np.nonzero(table >= 0)[1],
            poses_are_alike=not partial and warn_if_poses_look_alike(M, X, canonical),
        )

    def inverse_transform(
        self, Z: ArrayLike | csr_array, *, power: ArrayLike | None = None
    ) -> NDArray:
        """Decode latents to canonical activations, or move them on.

        Parameters
        ----------
        Z : array-like or sparse array of shape (n_rows, n_components)
            Latents.
        power : int or array-like of shape (n_rows,) or (n_rows, n_generators)
            Powers of the generators that move each row. None leaves it canonical.

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            M^power (intercept + Z D), in the dtype of Z.
        """
        canonical = super().inverse_transform(Z)
        if power is None:
            return canonical
        return self.activation_transform_.act(canonical, power)

    def predict_power(self, X: ArrayLike) -> NDArray:
        """Pose of each row: the power that explains it best.

        Parameters
        ----------
        {X}

        Returns
        -------
        power : ndarray of shape (n_rows,) or (n_rows, n_generators)
            The p that minimises ||x - M^p D(E(x))||, the first on ties.
        """
        chunks = self._decode_chunks(self._checked(X))
        return np.concatenate(
            [self._poses(chunk, canonical) for chunk, _, canonical in chunks]
        )

    def _poses(self, X: NDArray, canonical: NDArray) -> NDArray:
        powers = self.symmetry_.power_of(np.arange(self.order_))
        distances = np.empty((self.order_, len(X)))
        for element, moved in moved_by_all(self.activation_transform_, canonical):
            # squares of float32 may leave its range
            difference = (X - moved).astype(np.float64)
            distances[element] = np.einsum("ij,ij->i", difference, difference)
        return powers[distances.argmin(axis=0)]

    def reconstruct(self, X: ArrayLike, *, power: ArrayLike | None = None) -> NDArray:
        """Equivariant reconstruction M^p D(E(x)).

        Parameters
        ----------
        {X}
        power : int or array-like of shape (n_rows,) or (n_rows, n_generators)
            True powers of each row. None infers it with :meth:`predict_power`.

        Returns
        -------
        reconstruction : ndarray of shape (n_rows, n_features)
            Reconstructed activations, in the dtype of X.
        """
        chunks = self._rebuilt(self._checked(X), power=power)
        return np.concatenate([moved for _, moved in chunks])

    def _rebuilt(self, X: Any, **metadata: Any) -> Iterator[tuple[NDArray, NDArray]]:
        power, n_generators = metadata["power"], self.symmetry_.n_generators
        if given(metadata).keys() - {"power"}:
            orbit_table(**metadata, symmetry=self.symmetry_, n_rows=len(X))
        if power is not None:
            power = power_of_each_row(power, len(X), n_generators)
            power = power if n_generators > 1 else power[:, 0]
        for chunk, rows, canonical in self._decode_chunks(X):
            moves = self._poses(chunk, canonical) if power is None else power[rows]
            yield chunk, self.activation_transform_.act(canonical, moves)

    def to_module(self) -> EquivariantAutoencoder:
        """Copy what was fitted, with M, into a plain torch module.

        Returns
        -------
        module : torch.nn.Module
            With ``encode(x)``, ``decode(z, power=None)``, ``predict_power(x)`` and
            ``forward(x, power=None)``, which reconstructs as :meth:`reconstruct`
            does, for tensors of activations of shape (..., n_features). It is in
            float32 and on the CPU. Powers have to be whole.

        Raises
        ------
        ValueError
            If `activation_transform_` cannot give M as matrices.
        """
        check_is_fitted(self)
        return EquivariantAutoencoder(self)
