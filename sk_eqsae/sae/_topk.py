"""A regular TopK sparse autoencoder."""

from os import PathLike
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import _fit_context

from .._rows import checked_rows
from .._state import all_or_nothing
from ._base import BaseSAE
from ._recipe import Recipe
from ._rows import TrainingRows


class TopKSAE(BaseSAE):
    """TopK sparse autoencoder.

    Each row x is written as a sum of at most k rows of a dictionary D::

        z = ReLU(TopK(encoder((x - mean) / scale)))
        x_hat = intercept + z D

    trained to minimise the squared error summed over features. The encoder is
    linear, or two linear layers with a ReLU between them if `hidden_dim` is given.

    Parameters
    ----------
    n_components : int, default=None
        Number of latents. None is 8 times the number of features.
    k : int, default=None
        Number of latents kept per row. None is 32, or `n_components` if that is less.
    hidden_dim : int, default=None
        Width of the encoder's hidden layer. None makes the encoder linear.
    activation : {"topk", "batch_topk"}, default="topk"
        Which latents are active. "topk": the `k` largest of each row. "batch_topk":
        while training the largest of a batch, `k` per row on average; afterwards
        those above a threshold, so that a row may have more or fewer.
    nested : array-like of shape (n_prefixes,), default=None
        Sizes of prefixes of the dictionary that reconstruct rows by themselves
        (Matryoshka): the loss is the mean over them and the whole dictionary, which
        puts the most useful latents first.
    recipe : {"default", "paper"} or Recipe, default="default"
        How to train. "default" centres the rows by their mean and divides them by
        one global root mean square, starts a linear encoder as the decoder, keeps
        dictionary rows at norm 1, clips gradients, revives dead latents with an
        auxiliary loss [2]_ and lets the learning rate fall to zero over the last
        30 % of the steps. "paper" is the plain recipe of [1]_: raw
        activations, torch's default initialisation, constant learning rate. Under
        it most latents die on many kinds of data.
    max_epochs : int, default=None
        Passes over the data. None is 200, or 500 for `recipe="paper"`.
    batch_size : int, default=None
        Rows per step. None is 256, or 64 for `recipe="paper"`.
    lr : float, default=None
        Learning rate of Adam. None is 2e-3, or 1e-3 for `recipe="paper"`.
    warm_start : bool, default=False
        If True, `fit` goes on from the weights of the last fit.
    buffer_size : float, default=256
        Megabytes of rows to hold while training on a memory map or
        :class:`~sk_eqsae.activations.Shards`, from which batches are drawn. Rows that
        fit into it are loaded once and give what an array of them gives.
    checkpoint : path, default=None
        File to which `fit` writes the state of training each minute, and from which
        it goes on if it was killed, to the same weights to the bit. It is removed at
        the end. Each fit needs a path of its own.
    sparse_output : bool, default=False
        If True, `transform` returns a CSR array.
    device : str or torch.device, default="auto"
        Where to compute. "auto" uses a GPU when there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights and of the order of the rows. The global random
        states of numpy and torch stay as they are.
    verbose : int, default=0
        1 shows a progress bar over epochs.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Dictionary: row i is the direction of latent i.
    intercept_ : ndarray of shape (n_features,)
        What a row without active latents decodes to.
    coefs_ : list of ndarray
        Encoder weights, each of shape (n_inputs, n_outputs).
    intercepts_ : list of ndarray
        Encoder biases, each of shape (n_outputs,).
    mean_ : ndarray of shape (n_features,)
        Subtracted from a row before it is encoded.
    scale_ : float
        Divides a row before it is encoded.
    threshold_ : float
        Latents above it are active; `activation="batch_topk"` only.
    loss_curve_ : ndarray of shape (n_epochs,)
        Mean loss of each epoch, in units of `scale_` squared.
    error_curve_ : ndarray of shape (n_epochs,)
        The part of the loss that is the squared error of the reconstruction, without
        what the recipe adds, in the same units. Times `scale_` squared and over the
        variance of the rows it is the FVU of the epoch; with `nested` it is a mean
        over all prefixes. Older files do not have it.
    n_iter_ : int
        Epochs done. Fewer than asked for if the fit was interrupted.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had them.

    See Also
    --------
    EquivariantSAE : A dictionary whose codes ignore a symmetry of the inputs.

    Notes
    -----
    Every step is exact: the gradients equal those of a dense implementation, but
    only the k active latents of each row are touched in the decoder and in the
    gradients.

    References
    ----------
    .. [1] Erdogan, Lucic. "Group Equivariance Meets Mechanistic Interpretability:
       Equivariant Sparse Autoencoders". arXiv:2511.09432, 2025. Appendix C.3.
    .. [2] Gao et al. "Scaling and evaluating sparse autoencoders".
       arXiv:2406.04093, 2024.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_eqsae import TopKSAE
    >>> X, _ = load_digits(return_X_y=True)
    >>> sae = TopKSAE(n_components=128, k=8, max_epochs=20, random_state=0).fit(X)
    >>> Z = sae.transform(X)
    >>> Z.shape, int((Z > 0).sum(axis=1).max())
    ((1797, 128), 8)
    >>> sae.score(X) > 0.6
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        k: int | None = None,
        hidden_dim: int | None = None,
        activation: str = "topk",
        nested: ArrayLike | None = None,
        recipe: str | Recipe = "default",
        max_epochs: int | None = None,
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
        self.k = k
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.nested = nested
        self.recipe = recipe
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.warm_start = warm_start
        self.buffer_size = buffer_size
        self.checkpoint = checkpoint
        self.sparse_output = sparse_output
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> Self:
        """Train the autoencoder.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        y : None
            Ignored.
        groups : array-like of shape (n_rows,), default=None
            Not needed; taken so that a grid may run over kinds of autoencoders.
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Not needed.

        Returns
        -------
        self : TopKSAE
            The fitted estimator.

        Raises
        ------
        ValueError
            If k is larger than the dictionary, or if training diverges.

        Warns
        -----
        ConvergenceWarning
            If all latents, or with a recipe that revives them more than 90 % of them,
            are dead, if reconstructions are far larger than the rows, or if training
            was interrupted.
        """
        with all_or_nothing(self):
            return self._fit_rows(self._training_rows(X))

    def partial_fit(
        self,
        X: ArrayLike,
        y: None = None,
        *,
        groups: ArrayLike | None = None,
        power: ArrayLike | None = None,
    ) -> Self:
        """Train on these rows once, going on from where the last call has ended.

        What the first call finds, mean, scale, stays as it is. Adam
        and the search for dead latents go on, too. The learning rate is `lr` all the
        time: for the fall at the end of `fit`, lower it with ``set_params`` in the
        last calls. `dead_after` counts calls as epochs, or 10,000 rows if that is
        more. `threshold_` is of the rows of the last call. After `fit`, its weights are
        trained on.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Activations.
        y : None
            Ignored.
        groups : array-like of shape (n_rows,), default=None
            Not needed; taken so that a grid may run over kinds of autoencoders.
        power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
            Not needed.

        Returns
        -------
        self : TopKSAE
            The fitted estimator.

        Raises
        ------
        ValueError
            As `fit` does. A call that raises leaves the estimator as it was.
        """
        with all_or_nothing(self):
            rows = self._training_rows(X, partial=True)
            return self._fit_rows(rows, partial=True)

    @_fit_context(prefer_skip_nested_validation=True)
    def _training_rows(
        self, X: ArrayLike, *, partial: bool = False, **metadata: Any
    ) -> TrainingRows:
        """Check parameters and rows."""
        reset = not self._is_going_on(partial)
        return TrainingRows(checked_rows(self, X, reset=reset))
