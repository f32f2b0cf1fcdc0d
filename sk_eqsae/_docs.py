"""Parameter texts that several public docstrings share, written once."""

import inspect
import re
from textwrap import indent
from typing import TypeVar

Documented = TypeVar("Documented")

TEXTS = {
    "X": """\
X : array-like of shape (n_rows, n_features)
    Activations.""",
    "y": """\
y : None
    Ignored.""",
    "groups": """\
groups : array-like of shape (n_rows,), default=None
    Input that each row is of. Rows of one input, and of one site where there are
    sites, are an orbit; splits and bootstraps cut between inputs.""",
    "power": """\
power : array-like of shape (n_rows,) or (n_rows, n_generators), default=None
    Powers of the generators of each row; 0 is the canonical row.""",
    "site": """\
site : array-like of shape (n_rows,), default=None
    Site of each row: any id that is one for a whole orbit, such as the place that the
    row of power 0 was read from. None is one orbit per input.""",
    "k": """\
k : int, default=None
    Number of latents kept per row. None is 32, or `n_components` if that is less.""",
    "sae_symmetry": """\
symmetry : int or FiniteGroup, default=None
    The group: the order of a cyclic group, or one such as ``DihedralGroup(4)``. None
    is the cyclic group of the powers given to `fit`; without any the group is trivial
    and the estimator equals :class:`TopKSAE`, with a warning unless it is set to 1.""",
    "training": """\
activation : {"topk", "batch_topk"}, default="topk"
    Which latents are active. "topk": the `k` largest of each row. "batch_topk": while
    training the largest of a batch, `k` per row on average; afterwards those above a
    threshold, so that a row may have more or fewer.
nested : array-like of shape (n_prefixes,), default=None
    Sizes of prefixes of the dictionary that reconstruct rows by themselves
    (Matryoshka), which puts the most useful latents first; the loss is the mean over
    them and the whole. A prefix must not cut a latent orbit.
recipe : {"default", "paper"} or Recipe, default="default"
    How to train. "default" centres and scales rows, starts a linear encoder as the
    decoder, keeps dictionary rows at norm 1, clips gradients, revives dead latents and
    lets the learning rate fall to zero over the last 30 % of the steps. "paper" is the
    plain recipe of Erdogan and Lucic (arXiv:2511.09432, Appendix C.3), under which most
    latents die on many kinds of data.
max_epochs : int, default=None
    Passes over the data. None is 200, or fewer where these are more than 20,000 steps
    (or `max_steps`). With `recipe="paper"` it is 500.
max_steps : int, default=None
    Most steps, if need be inside of an epoch. None sets no limit.
batch_size : int, default=None
    Rows per step. None is 256, or 64 for `recipe="paper"`.
lr : float, default=None
    Learning rate of Adam. None is 2e-3, or 1e-3 for `recipe="paper"`.
warm_start : bool, default=False
    If True, `fit` goes on from the weights of the last fit.
buffer_size : float, default=256
    Megabytes of rows to hold while training on a memory map or
    :class:`~sk_eqsae.activations.Shards`, from which batches are drawn. Rows that fit
    into it are loaded once and give what an array of them gives.
checkpoint : path, default=None
    Folder in which `fit` writes the state of training each minute, and from which it
    goes on if it was killed, to the same weights to the bit. The file is named by what
    decides the result, so that fits may share a folder, and removed at the end. Give
    fits that run at the same time a `random_state`, which tells them apart.
sparse_output : bool, default=False
    If True, `transform` returns a CSR array.
device : str or torch.device, default="auto"
    Where to compute. "auto" uses a GPU when there is one.
random_state : int, RandomState instance or None, default=None
    Seed of the initial weights, of the order of the rows, and of M where its fitter
    has none. The global random states of numpy and torch stay as they are.
verbose : int, default=0
    1 shows a progress bar over steps, with the time left.""",
    "fitted": """\
n_components_ : int
    Number of latents.
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
    The part of the loss that is the squared error of the reconstruction. Times
    `scale_` squared and over the variance of the rows that should come out it is the
    FVU of the epoch; with `nested` it is a mean over all prefixes.
n_iter_ : int
    Epochs done, the last of them in part if `max_steps` ends it. Fewer than asked for
    if the fit was interrupted.""",
    "unreadable": """\
Raises
------
ValueError
    If it holds anything else; the message says what.
OSError
    If it cannot be read.""",
    "features_in": """\
n_features_in_ : int
    Number of features seen in `fit`.
feature_names_in_ : ndarray of shape (n_features,)
    Names of the features, where X had them.""",
    "self": """\
Returns
-------
self : estimator
    The fitted estimator.""",
    "fitted_symmetry": """\
activation_transform_ : estimator
    Fitted M.
symmetry_ : FiniteGroup
    The group.
order_ : int
    Order of the group.""",
    "orbit_rows": """\
groups : array-like of shape (n_rows,)
    Input that each row is of.
power : array-like of shape (n_rows,) or (n_rows, n_generators)
    Powers of the generators of each row; 0 is the canonical row.
site : array-like of shape (n_rows,), default=None
    Site of each row, of a layer that has sites.""",
    "ax": """\
ax : matplotlib Axes, default=None
    Where to draw. None makes a new figure.""",
    "sae": """\
sae : estimator
    Fitted autoencoder.""",
    "sae_transform": """\
activation_transform : estimator, default=None
    Fitted M, best with an exact group law. None takes the `activation_transform_` of
    `sae`.""",
    "evaluation_state": """\
random_state : int, RandomState instance or None, default=None
    Fixes the shuffling, the ceiling and the resamples.""",
    "frontier_x": """\
x : {"l0", "l1", "n_components"}, default="l0"
    What to plot FVU against: the number of active latents, their sum, or the number of
    learned vectors.""",
    "display": """\
Returns
-------
display : display
    The drawn display.""",
    "picture": """\
Attributes
----------
ax_ : matplotlib Axes
    Axes with the picture.
figure_ : matplotlib Figure
    Figure that holds it.""",
    "paper": """\
References
----------
.. [1] E. Erdogan and A. Lucic, "Group Equivariance Meets Mechanistic Interpretability:
   Equivariant Sparse Autoencoders", arXiv:2511.09432, section 4 and appendix C.1.""",
    "channel_axis": """\
channel_axis : {-3, -1}, default=None
    -3 says that images are (..., channels, height, width), -1 that they are (...,
    height, width, channels). None is -3, but refuses what looks like -1.""",
}
TEXTS["fitted"] += "\n" + TEXTS["features_in"]
TEXTS["metadata"] = "\n".join(TEXTS[name] for name in ("groups", "power", "site"))


def fill(documented: Documented) -> Documented:
    """Replace each docstring line that is only ``{name}`` by the text of that name.

    Of a class, the docstrings of its own methods are filled, too.
    """
    if isinstance(documented, type):
        for member in vars(documented).values():
            function = getattr(member, "__func__", member)  # of a class method
            if inspect.isfunction(function):
                fill(function)
    found = documented.__doc__
    if found is not None:  # python -OO leaves none
        documented.__doc__ = re.sub(
            r"^( *)\{(\w+)\}$",
            lambda line: indent(TEXTS[line[2]], line[1]),
            found,
            flags=re.MULTILINE,
        )
    return documented
