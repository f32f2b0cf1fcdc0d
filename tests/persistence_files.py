"""One small file of each kind in the present format: python -m tests.persistence_files.

The files pin the format: whoever changes it on purpose writes them again, with
``FORMAT_VERSION`` one higher. "top_k" and "group_tied" have to stay as they are, for
what other libraries make of them is kept in tests/data/interop.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    MeanDifferenceSelector,
    OrbitSAE,
    TruncatedReconstruction,
    save,
)
from sk_eqsae.groups import (
    CyclicGroup,
    DihedralGroup,
    GeneratedGroup,
    PoseCanonicalizer,
    ProductGroup,
    SymmetricGroup,
)
from sk_eqsae.sae import Recipe
from tests.fitted import data
from tests.instances import QUICK

FOLDER = Path(__file__).parent / "data" / "persistence"

PARAMETERS = FrozenEstimator(
    EquivariantSAE(
        np.int64(8),
        symmetry=ProductGroup(
            CyclicGroup(2),
            DihedralGroup(3),
            SymmetricGroup(3),
            GeneratedGroup([(1, 2, 3, 0)], relations=[[(0, 4)]]),
        ),
        activation_transform=FrozenEstimator(ActivationTransformFitter(power=[0.5, 1])),
        nested=(np.float32(2.5), 4),
        recipe=Recipe(max_grad_norm=float("inf"), unit_rows=False),
        random_state=3,
    )
)


def fitted_estimators():
    """One of each class but those that are kept."""
    X, y, metadata = data()
    frame = pd.DataFrame(X, columns=[f"unit {i} é" for i in range(12)])
    sae = EquivariantSAE(8, k=2, hidden_dim=4, activation="batch_topk", **QUICK)
    sae = sae.set_output(transform="default").partial_fit(frame, **metadata)
    two_layers = EquivariantSAE(8, k=2, hidden_dim=4, **QUICK)
    return {
        "equivariant": sae,
        "orbit": OrbitSAE(12, k=2, equivariance=1, **QUICK).fit(X, **metadata),
        "fitter": ActivationTransformFitter(4).partial_fit(X, **metadata),
        "canonicalizer": PoseCanonicalizer().fit(X, **metadata),
        "selector": MeanDifferenceSelector(3).fit(X, y),
        "truncated": TruncatedReconstruction(two_layers, 3).fit(X, y, **metadata),
    }


def main() -> None:
    """Write the files and what they have to give."""
    save(PARAMETERS, FOLDER / "parameters.safetensors")
    with np.load(FOLDER / "outputs.npz") as kept:
        outputs = dict(kept)
    for name, estimator in fitted_estimators().items():
        save(estimator, FOLDER / f"{name}.safetensors")
        X = outputs["X"]
        if hasattr(estimator, "feature_names_in_"):
            X = pd.DataFrame(X, columns=estimator.feature_names_in_)
        outputs[name] = estimator.transform(X)
    np.savez(FOLDER / "outputs.npz", **outputs)


if __name__ == "__main__":
    main()
