"""One table of estimator instances for every common test."""

from sklearn.decomposition import PCA

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    MeanDifferenceSelector,
    TopKSAE,
    TruncatedReconstruction,
)
from sk_eqsae.groups import CyclicGroup, PoseCanonicalizer

QUICK = {"max_epochs": 3, "random_state": 0}

# scikit-learn's checks set n_components to 1, so that k has to be 1 there
AUTOENCODERS = [
    TopKSAE(8, k=1, **QUICK),
    TopKSAE(8, k=1, hidden_dim=4, batch_size=7, **QUICK),
    TopKSAE(k=1, recipe="paper", **QUICK),
    TopKSAE(8, k=1, activation="batch_topk", **QUICK),
    EquivariantSAE(8, k=1, **QUICK),
    EquivariantSAE(k=1, hidden_dim=None, recipe="paper", **QUICK),
    EquivariantSAE(8, symmetry=1, k=1, hidden_dim=4, **QUICK),
    GroupTiedSAE(8, k=1, **QUICK),
    GroupTiedSAE(k=1, n_free=3, activation="batch_topk", recipe="paper", **QUICK),
    GroupTiedSAE(8, symmetry=1, k=1, output="invariant", **QUICK),
    GroupTiedSAE(k=1, n_free="auto", **QUICK),
    GroupTiedSAE(8, k=1, hidden_dim=4, **QUICK),
]
FITTERS = [
    ActivationTransformFitter(),
    ActivationTransformFitter(symmetry=1, power=3),
    ActivationTransformFitter(symmetry=CyclicGroup(1), group_law="orthogonal"),
    ActivationTransformFitter(solver="adam", **QUICK),
    PoseCanonicalizer(),
    PoseCanonicalizer(ActivationTransformFitter(symmetry=1)),
]
PROBING = [
    MeanDifferenceSelector(1),
    TruncatedReconstruction(PCA(1), 1),
    TruncatedReconstruction(TopKSAE(4, k=2, **QUICK), 2),
    TruncatedReconstruction(EquivariantSAE(4, k=2, hidden_dim=4, **QUICK), 2),
]
INSTANCES = AUTOENCODERS + FITTERS + PROBING

WITH_ORBITS = [
    EquivariantSAE(8, k=2, **QUICK),
    EquivariantSAE(8, symmetry=4, k=2, hidden_dim=None, recipe="paper", **QUICK),
    EquivariantSAE(8, k=2, activation="batch_topk", nested=[2], **QUICK),
    EquivariantSAE(8, symmetry=CyclicGroup(4), k=2, hidden_dim=4, **QUICK),
    GroupTiedSAE(8, k=2, **QUICK),
    GroupTiedSAE(19, symmetry=4, k=2, n_free=3, nested=[4, 12], recipe="paper", **QUICK),
    GroupTiedSAE(8, symmetry=CyclicGroup(4), k=2, activation="batch_topk", **QUICK),
    GroupTiedSAE(8, k=2, n_free="auto", **QUICK),
    GroupTiedSAE(18, k=2, hidden_dim=3, n_free=2, nested=[8], **QUICK),
    ActivationTransformFitter(),
    ActivationTransformFitter(symmetry=CyclicGroup(4), group_law="free"),
    ActivationTransformFitter(symmetry=4, solver="adam", **QUICK),
    PoseCanonicalizer(),
    PoseCanonicalizer(ActivationTransformFitter(symmetry=4, group_law="free")),
    TruncatedReconstruction(EquivariantSAE(8, k=2, hidden_dim=4, **QUICK), 3),
]


def name(estimator):
    """Short test id."""
    return "".join(repr(estimator).split())
