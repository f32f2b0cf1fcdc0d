"""Files of the present format, to be kept for ever: python -m tests.persistence_files.

A folder that is there already stays as it is: what an older version has written is
what the tests have to load.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    MeanDifferenceSelector,
    TopKSAE,
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
from sk_eqsae.persistence._files import FORMAT_VERSION
from sk_eqsae.sae import Recipe
from tests.fitted import data
from tests.instances import QUICK

FOLDER = Path(__file__).parent / "data" / "persistence"

PARAMETERS = EquivariantSAE(
    np.int64(8),
    group=ProductGroup(
        CyclicGroup(2),
        DihedralGroup(3),
        SymmetricGroup(3),
        GeneratedGroup([(1, 2, 3, 0)], relations=[[(0, 4)]]),
    ),
    activation_transform=FrozenEstimator(ActivationTransformFitter(power=[0.5, 1])),
    nested=(np.float32(2.5), 4),
    recipe=Recipe(max_grad_norm=float("inf"), unit_rows=False, lr=1e-4),
    device=torch.device("cpu"),
    random_state=3,
)


def fitted_estimators():
    """One of each class, and of what makes a difference to the file."""
    X, y, metadata = data()
    frame = pd.DataFrame(X, columns=[f"unit {i} é" for i in range(12)])
    two_layers = TopKSAE(8, k=2, hidden_dim=4, activation="batch_topk", **QUICK)
    sae = EquivariantSAE(8, k=2, hidden_dim=4, **QUICK).fit(X, **metadata)
    tied = GroupTiedSAE(4, k=3, n_free=2, activation="batch_topk", **QUICK)
    adam = ActivationTransformFitter(4, solver="adam", power=2, **QUICK)
    return {
        "top_k": TopKSAE(8, k=2, **QUICK).fit(X),
        "two_layers": two_layers.set_output(transform="default").fit(frame),
        "equivariant": sae,
        "group_tied": tied.fit(X, **metadata),
        "adam": adam.fit(X, **metadata),
        "sums": ActivationTransformFitter(4).partial_fit(X, **metadata),
        "canonicalizer": PoseCanonicalizer().fit(X, **metadata),
        "selector": MeanDifferenceSelector(3).fit(X, y),
        "truncated": TruncatedReconstruction(FrozenEstimator(sae), 3).fit(X, y),
    }


def main() -> None:
    """Write the files and what they have to give."""
    folder = FOLDER / f"format_{FORMAT_VERSION}"
    folder.mkdir(parents=True)
    rows = data()[0][:20]
    outputs = {"X": rows}
    save(PARAMETERS, folder / "parameters.safetensors")
    for name, estimator in fitted_estimators().items():
        save(estimator, folder / f"{name}.safetensors")
        X = rows
        if hasattr(estimator, "feature_names_in_"):
            X = pd.DataFrame(rows, columns=estimator.feature_names_in_)
        outputs[name] = estimator.transform(X)
    np.savez(folder / "outputs.npz", **outputs)


if __name__ == "__main__":
    main()
