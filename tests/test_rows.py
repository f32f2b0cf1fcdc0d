"""Every public function that takes rows takes the same kinds, and refuses the same."""

import functools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    MeanDifferenceSelector,
    OrbitSAE,
    TopKSAE,
    TruncatedReconstruction,
    evaluate_probes,
    explore,
    fit_many,
    make_probe,
    make_probe_search,
)
from sk_eqsae._rows import normalized
from sk_eqsae.activations import Shards
from sk_eqsae.groups import PoseCanonicalizer
from sk_eqsae.inspection import (
    FeatureOrbitDisplay,
    FeatureSymmetryDisplay,
    FrontierDisplay,
    LossCurveDisplay,
    dead_latents,
    feature_families,
    feature_symmetry,
    fvu,
    r2_per_feature,
    response_spectrum,
)

mpl.use("agg")

QUICK = {"k": 2, "max_epochs": 1, "random_state": 0}
N_ORBITS = 32
# no fit lasts long enough to be a good one
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def rows():
    """Positive rows of eight features that a shift by two moves, in float32."""
    x = np.abs(np.random.default_rng(0).normal(size=(N_ORBITS, 2))) @ np.eye(2, 8)
    X = np.stack([np.roll(x, 2 * p, axis=1) for p in range(4)], axis=1)
    X = X.reshape(-1, 8) + 0.01
    # in steps that bfloat16 has, so that all kinds are equal
    return torch.from_numpy(X).bfloat16().float().numpy()


GROUPS, POWER = np.repeat(np.arange(N_ORBITS), 4), np.tile(np.arange(4), N_ORBITS)
ORBITS = {"groups": GROUPS, "power": POWER}
LABELS = (GROUPS % 3 == 0).astype(int)
SPLIT = {"train": np.arange(64), "test": np.arange(64, 128)}
IMAGES = rows().reshape(-1, 2, 4)
TOPK = TopKSAE(8, **QUICK)
KINDS = {
    "topk": TOPK,
    "equivariant": EquivariantSAE(8, hidden_dim=4, **QUICK),
    "tied": GroupTiedSAE(8, **QUICK),
    "orbit": OrbitSAE(8, **QUICK),
    "M": ActivationTransformFitter(),
    "M in directions": ActivationTransformFitter(n_components=8),
    "pose": PoseCanonicalizer(),
    "selector": MeanDifferenceSelector(2),
    "truncated": TruncatedReconstruction(TOPK, 2),
}


def given(kind, method):
    """What a method of an estimator takes beside rows."""
    if method in {"fit", "partial_fit", "score", "r2_per_power"}:
        labels = kind in {"selector", "truncated"}
        return {"y": LABELS} if labels else ORBITS
    return {"power": 1} if method == "act" else {}


@functools.cache
def fitted(kind):
    return clone(KINDS[kind]).fit(rows(), **given(kind, "fit"))


def call_of(kind, method):
    """A method of an estimator as a function of rows."""

    def call(X):
        estimator = clone(KINDS[kind]) if method.endswith("fit") else fitted(kind)
        if kind == "selector" and method == "inverse_transform":
            estimator.n_features_to_select = 8
        found = getattr(estimator, method)(X, **given(kind, method))
        return found.transform(rows()) if method.endswith("fit") else found

    return call


METHODS = [
    "fit",
    "partial_fit",
    "transform",
    "inverse_transform",
    "score",
    "predict_power",
    "reconstruct",
    "act",
    "r2_per_power",
    "margin",
]
CALLS = {"fvu of reconstruction": lambda X: fvu(rows(), X)}
CALLS |= {
    f"{kind}.{method}": call_of(kind, method)
    for kind, estimator in KINDS.items()
    for method in METHODS
    if hasattr(estimator, method)
}
CALLS |= {
    "fit_many": lambda X: fit_many([TOPK], X)[0].components_,
    "probe.fit": lambda X: make_probe("knn").fit(X, LABELS).predict(rows()),
    "probe.predict": lambda X: make_probe("knn").fit(rows(), LABELS).predict(X),
    "search": lambda X: (
        make_probe_search(TOPK, n_features_to_select=(2,), probes=("knn",), cv=2)
        .set_params(error_score="raise")
        .fit(X, LABELS, groups=GROUPS)
        .best_score_
    ),
    "dead_latents": dead_latents,
    "fvu of X": lambda X: fvu(X, rows() / 2),
    "r2_per_feature": lambda X: r2_per_feature(fitted("M"), X, **ORBITS),
    "response_spectrum": lambda X: response_spectrum(X, **ORBITS),
    "feature_symmetry": lambda X: feature_symmetry(fitted("tied"), X=X),
    "feature_families": lambda X: feature_families(
        fitted("topk"), X, **ORBITS, random_state=0
    ),
    "explore": lambda X: explore(fitted("topk"), X).read_text(),
}


def probed(transformer):
    """Probes as a function of rows."""

    def call(X):
        settings = {"transformer": transformer(), "probes": ["knn"], **SPLIT}
        return evaluate_probes(X, LABELS[:, np.newaxis], **settings)

    return call


def frozen():
    return TruncatedReconstruction(FrozenEstimator(fitted("topk")), 2)


CALLS |= {
    "evaluate_probes": probed(lambda: None),
    "evaluate_probes of latents": probed(lambda: MeanDifferenceSelector(2)),
    "evaluate_probes of a frozen SAE": probed(frozen),
}


def curve_of(X):
    return LossCurveDisplay.from_estimator(fitted("equivariant"), X, **ORBITS).curves


def copies(X, images=IMAGES):
    display = FeatureOrbitDisplay.from_estimator(
        fitted("tied"), X, images, decode=lambda made: made.reshape(-1, 2, 4)
    )
    return display.top_images


CALLS |= {
    "FrontierDisplay": lambda X: (
        FrontierDisplay.from_estimator([fitted("topk")], X).table
    ),
    "LossCurveDisplay": curve_of,
    "FeatureSymmetryDisplay": lambda X: (
        FeatureSymmetryDisplay.from_estimator(fitted("tied"), X=X).symmetry
    ),
    "FeatureOrbitDisplay": copies,
    "images of FeatureOrbitDisplay": lambda X: copies(
        rows(),
        [[x[:4], x[4:]] for x in X] if isinstance(X, list) else X.reshape(-1, 2, 4),
    ),
}

TAKEN = {
    "tensor": torch.from_numpy,
    "tensor that needs gradients": lambda X: torch.from_numpy(X).requires_grad_(),
    "result of a layer": lambda X: torch.from_numpy(X).requires_grad_() * 1,
    "bfloat16": lambda X: torch.from_numpy(X).bfloat16(),
    "float16": lambda X: X.astype(np.float16),
    "objects": lambda X: X.astype(object),
    "masked, but nothing is": np.ma.array,
    "list": lambda X: X.tolist(),
}


def put(X, value):
    X = X.copy()
    X[5, 2] = value
    return X


REFUSED = {
    "masked": lambda X: np.ma.array(X, mask=np.arange(X.size).reshape(X.shape) == 42),
    "NaN": lambda X: put(X, np.nan),
    "infinite": lambda X: put(X, np.inf),
    "NaN in a tensor": lambda X: torch.from_numpy(put(X, np.nan)),
    "None": lambda X: put(X.astype(object), None),
    "NA": lambda X: put(X.astype(object), pd.NA),
}


@pytest.mark.parametrize("kind", TAKEN)
@pytest.mark.parametrize("name", CALLS)
def test_rows_of_every_kind_give_what_an_array_gives(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, expected = CALLS[name](TAKEN[kind](rows())), array_gives(name)
    if isinstance(found, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, rtol=1e-3, check_dtype=False)
    elif isinstance(found, str):
        assert found == expected
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@functools.cache
def array_gives(name):
    return CALLS[name](rows())


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", [*CALLS][1:])  # a FVU of what overflows is infinite
def test_missing_entries_are_refused_by_all(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"missing values|NaN|infinity"):
        CALLS[name](REFUSED[kind](rows()))


def test_rows_in_float32_are_centred_as_exactly_as_in_float64():
    rng = np.random.default_rng(0)
    X = (1e4 + rng.normal(size=(200, 3))).astype(np.float32)  # steps of 1e-3
    mean, scale = X.mean(axis=0, dtype=np.float64) + 1e-5, 1.7
    exact = ((X - mean) / scale).astype(np.float32)
    np.testing.assert_allclose(normalized(X, mean, scale), exact, atol=5e-7)


@pytest.mark.parametrize(
    ("rows", "mean", "scale"),
    [
        ([[3e38, 0.0], [-3e38, 1.0]], [-1e38, 0.0], 1e38),  # apart by more than float32
        ([[1.4e-45, 0.0]], [0.0, 0.0], 1e-46),  # a scale that float32 has not
        ([[1.0, 2.0]], [1e39, 0.0], 1e39),  # a mean that float32 has not
    ],
)
def test_rows_at_the_ends_of_float32_are_centred_in_float64(rows, mean, scale):
    X = np.array(rows, dtype=np.float32)
    exact = ((X.astype(np.float64) - mean) / scale).astype(np.float32)
    assert np.isfinite(exact).all()
    found = normalized(X, np.array(mean), scale)
    np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("kind", ["memory map", "shards"])
def test_rows_on_the_disk_at_the_ends_of_float32_are_an_error_that_says_so(
    kind, tmp_path
):
    signs = np.sign(np.random.default_rng(0).normal(size=(64, 8)))
    np.save(tmp_path / "rows.npy", (3e38 * signs).astype(np.float32))
    is_map = kind == "memory map"
    X = np.load(tmp_path / "rows.npy", mmap_mode="r") if is_map else Shards(tmp_path)
    with pytest.raises(ValueError, match=r"as large as 3e\+38, too large for float32"):
        TopKSAE(16, k=4, max_epochs=1).fit(X)
