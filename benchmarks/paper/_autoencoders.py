"""One autoencoder: training, reconstruction, what its features do under the group."""

import time

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from sklearn.preprocessing import normalize

from sk_eqsae import ActivationTransformFitter
from sk_eqsae.activations import Orbits
from sk_eqsae.inspection import dead_latents, fvu

from ._models import spliced_loss
from ._profiles import SAES, Cell

COSINE_BINS = np.linspace(-1, 1, 41)
SHOWN_FEATURES = 4


def fit_cell(cell: Cell, train: Orbits, *, n_components, epochs, batch_size, device):
    """Train one autoencoder; also the seconds that it took."""
    kind, settings = SAES[cell.sae]
    settings = dict(settings)
    sae = kind(
        n_components * settings.pop("width", 1),
        k=cell.k,
        recipe=cell.recipe,
        max_epochs=epochs,
        batch_size=batch_size,
        random_state=cell.model.seed,
        sparse_output=True,
        device=device,
        **settings,
    )
    seconds = -time.perf_counter()
    sae.fit(train.X, groups=train.groups, power=train.power)
    return sae, seconds + time.perf_counter()


def labelled(table: pd.DataFrame, model, **labels) -> pd.DataFrame:
    """Put in front whose results these are."""
    labels = model._asdict() | labels
    return table.assign(**labels)[[*labels, *table.columns]]


def cell_labels(cell: Cell) -> dict:
    """Columns that name an autoencoder."""
    return {"sae": cell.sae, "recipe": cell.recipe, "k": cell.k}


def sae_table(cell: Cell, *, sae, seconds, network, test: Orbits, shapes):
    """Reconstruction of test orbits by one autoencoder."""
    Z = sae.transform(test.X)
    shared = {
        "n_components": len(sae.components_),
        "dead": dead_latents(Z),
        "l0": (Z > 0).sum() / len(test.X),
        "l1": Z.sum() / len(test.X),
        "epochs": sae.n_iter_,
        "fit_seconds": seconds,
    }
    if hasattr(sae, "reconstruct"):
        shared["pose_accuracy"] = (sae.predict_power(test.X) == test.power).mean()
        shared["moved"] = share_within_orbits(Z, test.groups)
    rows = [
        shared
        | {
            "reconstruction": name,
            "fvu": fvu(test.X, decoded),
            "spliced_loss": spliced_loss(network, decoded, shapes, test),
        }
        for name, decoded in _reconstructions(sae, Z, test)
    ]
    return labelled(pd.DataFrame(rows), cell.model, **cell_labels(cell))


def share_within_orbits(Z, groups) -> float:
    """Share of the variance of latents that is between rows of one orbit.

    0 if the latents are invariant; 1 if they say nothing but where in its orbit a row
    is.
    """
    _, orbit, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    rows = np.arange(len(groups))
    sums = csr_array((np.ones(len(rows)), (orbit, rows))) @ Z
    energy = Z.power(2).sum(dtype=np.float64)
    within = energy - (sums.power(2).sum(axis=1) / sizes).sum()
    return float(within / (energy - np.square(Z.sum(axis=0)).sum() / len(rows)))


def _reconstructions(sae, Z, test):
    canonical = sae.inverse_transform(Z)
    if not hasattr(sae, "reconstruct"):
        return [("plain", canonical)]
    return [
        ("invariant", canonical),
        ("true power", sae.inverse_transform(Z, power=test.power)),
        ("inferred power", sae.reconstruct(test.X)),
    ]


def curve_table(cell: Cell, sae, train: Orbits) -> pd.DataFrame:
    """FVU and loss on training rows over epochs and steps.

    Both are over the variance of what is to be reconstructed, which for the
    equivariant autoencoder is the canonical row of each orbit. The default recipe's
    loss holds the auxiliary loss and, of the equivariant one, the consistency loss.
    """
    target = train.X
    if cell.sae == "equivariant":
        target = target[train.power == 0]
    variance = np.square(target - target.mean(axis=0)).sum() / len(target)
    per_row = sae.scale_**2 / variance
    epochs = np.arange(1, sae.n_iter_ + 1)
    curve = pd.DataFrame(
        {
            "epoch": epochs,
            "step": epochs * -(-len(train.X) // sae.batch_size),
            "train_fvu": sae.error_curve_ * per_row,
            "train_loss": sae.loss_curve_ * per_row,
        }
    )
    return labelled(curve, cell.model, **cell_labels(cell))


def symmetry_table(cell: Cell, sae, train: Orbits, test: Orbits) -> pd.DataFrame:
    """Histogram of cosine(d, M^p d) over the live dictionary vectors (Figure 1)."""
    cosines = _cosines(sae, train)[_live(sae, test)]
    rows = []
    for power, column in enumerate(cosines.T, start=1):
        counts, edges = np.histogram(np.clip(column, -1, 1), COSINE_BINS)
        rows += [
            {"power": power, "cosine_from": low, "latents": count}
            for low, count in zip(edges.round(2), counts, strict=False)
        ]
    return labelled(pd.DataFrame(rows), cell.model, **cell_labels(cell))


def _cosines(sae, train):
    """Cosine of each dictionary vector and its images under M, M^2 and M^3."""
    fitter = ActivationTransformFitter(4)
    M = fitter.fit(train.X, groups=train.groups, power=train.power).M_
    D = normalize(sae.components_)
    images = [normalize(D @ np.linalg.matrix_power(M, p).T) for p in (1, 2, 3)]
    return np.column_stack([(D * E).sum(axis=1) for E in images])


def _live(sae, test):
    return np.asarray((sae.transform(test.X) > 0).sum(axis=0)).ravel() > 0


def feature_pictures(sae, network, train: Orbits, test: Orbits):
    """Decode the most invariant and the most moving features along their orbit.

    What each adds to the picture of the mean activation, of shape (2, n_shown, 4,
    height, width), and the mean cosine of each and its images under M, M^2 and M^3.
    """
    Z = sae.transform(test.X).tocsc()
    strength = Z.max(axis=0).toarray().ravel()
    cosine = np.where(_live(sae, test), _cosines(sae, train).mean(axis=1), np.nan)
    order = np.argsort(cosine)  # NaN last
    n_live = np.isfinite(cosine).sum()
    n = min(SHOWN_FEATURES, n_live // 2)
    chosen = np.array([order[n_live - n : n_live][::-1], order[:n]])

    def decoded(latents, power):
        X = sae.inverse_transform(latents, power=np.full(len(latents), power))
        with torch.no_grad():
            return network.decoder(torch.from_numpy(np.float32(X))).numpy()[:, 0]

    codes = np.zeros((chosen.size, len(sae.components_)), dtype=np.float32)
    codes[np.arange(chosen.size), chosen.ravel()] = strength[chosen.ravel()]
    pictures = [
        decoded(codes, power) - decoded(np.zeros_like(codes), power)
        for power in range(4)
    ]
    stacked = np.stack(pictures, axis=1)
    return stacked.reshape(2, n, *stacked.shape[1:]), cosine[chosen]
