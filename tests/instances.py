"""One table of estimator instances for every common test."""

from sklearn.decomposition import PCA

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    MeanDifferenceSelector,
    OrbitSAE,
    TopKSAE,
    TruncatedReconstruction,
)
from sk_eqsae.groups import CyclicGroup, PoseCanonicalizer

QUICK = {"max_epochs": 3, "random_state": 0}

# Without orbits, symmetry=1 says that none is meant: no warning. A group of one element
# changes nothing, which is tested, so that few instances have one.
AUTOENCODERS = [
    TopKSAE(8, **QUICK),
    TopKSAE(8, hidden_dim=4, batch_size=7, lr=1e-2, **QUICK),
    TopKSAE(k=1, recipe="paper", **QUICK),
    TopKSAE(8, k=1, activation="batch_topk", **QUICK),
    EquivariantSAE(8, symmetry=CyclicGroup(1), hidden_dim=4, **QUICK),
    EquivariantSAE(symmetry=1, k=1, hidden_dim=None, recipe="paper", **QUICK),
    GroupTiedSAE(8, symmetry=1, k=1, output="invariant", **QUICK),
    GroupTiedSAE(symmetry=1, k=1, n_free="auto", **QUICK),
    OrbitSAE(8, symmetry=1, k=1, hidden_dim=4, output="invariant", **QUICK),
]
FITTERS = [
    ActivationTransformFitter(symmetry=1, power=3),
    ActivationTransformFitter(symmetry=1, solver="adam", **QUICK),
    PoseCanonicalizer(ActivationTransformFitter(symmetry=1)),
]
PROBING = [
    MeanDifferenceSelector(1),
    TruncatedReconstruction(PCA(1), 1),
    TruncatedReconstruction(EquivariantSAE(4, symmetry=1, hidden_dim=4, **QUICK)),
]
INSTANCES = AUTOENCODERS + FITTERS + PROBING

# as they are constructed by default, but for the seed of what is nested
BY_DEFAULT = [
    TopKSAE(),
    EquivariantSAE(),
    GroupTiedSAE(),
    OrbitSAE(),
    ActivationTransformFitter(),
    PoseCanonicalizer(),
    MeanDifferenceSelector(),
    TruncatedReconstruction(PCA()),
    TruncatedReconstruction(TopKSAE(random_state=0)),
]
# what these leave to be seen by scikit-learn's checks
CHECKED = [*AUTOENCODERS[1:], *FITTERS[:2], PROBING[-1]]

WITH_ORBITS = [
    EquivariantSAE(8, k=2, **QUICK),
    EquivariantSAE(8, symmetry=4, k=2, hidden_dim=None, recipe="paper", **QUICK),
    EquivariantSAE(8, k=2, activation="batch_topk", nested=[2], **QUICK),
    EquivariantSAE(8, symmetry=CyclicGroup(4), hidden_dim=4, **QUICK),
    GroupTiedSAE(32, k=2, **QUICK),
    GroupTiedSAE(
        19, symmetry=4, k=2, n_free=3, nested=[8, 17], recipe="paper", **QUICK
    ),
    GroupTiedSAE(32, symmetry=CyclicGroup(4), k=2, activation="batch_topk", **QUICK),
    GroupTiedSAE(32, k=2, n_free="auto", **QUICK),
    GroupTiedSAE(18, hidden_dim=3, n_free=2, nested=[4], **QUICK),
    OrbitSAE(12, k=2, equivariance=1, **QUICK),
    OrbitSAE(12, symmetry=4, k=2, equivariance=0.5, recipe="paper", **QUICK),
    OrbitSAE(orbit_lengths={4: 2, 1: 4}, k=2, hidden_dim=5, equivariance=2, **QUICK),
    OrbitSAE(12, k=2, nested=[3], activation="batch_topk", equivariance=1, **QUICK),
    OrbitSAE(12, k=2, equivariance=0, output="invariant", **QUICK),
    GroupTiedSAE(orbit_lengths={4: 2, "<g^2>": 1, 1: 2}, k=2, **QUICK),
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
