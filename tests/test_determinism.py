"""The same seed gives the same result, wherever it runs; global state stays."""

import json
import os
import pickle
import subprocess
import sys
from contextlib import contextmanager

import joblib
import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from torch import nn

from sk_eqsae import (
    EquivariantSAE,
    GroupTiedSAE,
    TopKSAE,
    evaluate_probes,
    extract_orbits,
    fit_many,
    load,
    make_probe_search,
    make_shapes,
    save,
    shape_tasks,
)
from sk_eqsae.activations import Orbits
from sk_eqsae.groups import ImageRotation
from sk_eqsae.inspection import (
    FeatureSymmetryDisplay,
    FrontierDisplay,
    LossCurveDisplay,
    ProbingDisplay,
    TransformFidelityDisplay,
    equivariance_report,
    feature_symmetry,
)
from tests.fitted import CASES, data, every_case, fitted, results
from tests.global_state import global_state

QUICK = {"max_epochs": 2, "random_state": 0}


def constant_score(estimator, X, y=None):
    return 0.0


def metadata_of(case):
    return data()[2] if CASES[case][1] else {}


def fit(case, rows=slice(None)):
    """Fit a case anew, on some rows."""
    X, y, _ = data()
    metadata = {key: values[rows] for key, values in metadata_of(case).items()}
    return clone(CASES[case][0]).fit(X[rows], y[rows], **metadata)


def score(estimator, X, metadata):
    """Score, with metadata where they are needed."""
    return estimator.score(X, **(metadata if hasattr(estimator, "act") else {}))


def fingerprint(estimator):
    """Hash of all that was fitted; a copy, for pickling may change memory orders."""
    return joblib.hash(vars(pickle.loads(pickle.dumps(estimator))))


def fingerprints():
    """Hash of each fitted estimator of the table and of what it transforms to."""
    X = data()[0]
    cases = [fitted(case) for case in range(len(CASES))]
    return [(fingerprint(each), joblib.hash(each.transform(X))) for each in cases]


@every_case
def test_fits_of_cross_validation_equal_direct_ones(case):
    X, y, metadata = data()
    folds = list(GroupKFold(2).split(X, y, metadata["groups"]))
    found = cross_validate(
        CASES[case][0],
        X,
        y,
        cv=folds,
        scoring=constant_score,
        params=metadata_of(case),
        return_estimator=True,
    )["estimator"]
    for (rows, _), one in zip(folds, found, strict=True):
        assert fingerprint(one) == fingerprint(fit(case, rows))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_best_estimator_of_a_grid_search_equals_a_direct_fit(n_jobs):
    X, _, metadata = data()
    sae = GroupTiedSAE(8, **QUICK)
    search = GridSearchCV(sae, {"k": [1, 2]}, cv=GroupKFold(2), n_jobs=n_jobs)
    with sklearn.config_context(enable_metadata_routing=True):
        best = search.fit(X, **metadata).best_estimator_
    direct = clone(sae).set_params(**search.best_params_).fit(X, **metadata)
    assert fingerprint(best) == fingerprint(direct)


def test_fits_in_workers_equal_direct_ones():
    cases = range(len(CASES))
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(fit)(case) for case in cases)
    expected = [fingerprint(fitted(case)) for case in cases]
    assert [fingerprint(one) for one in found] == expected


def test_probe_search_does_not_depend_on_the_number_of_jobs():
    X, y, metadata = data()
    groups = {"sae__" + key: values for key, values in metadata.items()}
    sae = EquivariantSAE(8, k=2, hidden_dim=4, **QUICK)
    one, two = (
        make_probe_search(sae, n_features_to_select=(2, 4), n_jobs=n_jobs).fit(
            X, y, groups=metadata["groups"], **groups
        )
        for n_jobs in (1, 2)
    )
    for name in (
        key for key in one.cv_results_ if "score" in key and "time" not in key
    ):
        np.testing.assert_array_equal(one.cv_results_[name], two.cv_results_[name])
    saes = (search.best_estimator_["sae"] for search in (one, two))
    assert len({fingerprint(sae) for sae in saes}) == 1


def test_other_processes_and_hash_seeds_give_the_same_bits():
    code = (
        "import json\n"
        "from tests.test_determinism import fingerprints\n"
        "print(json.dumps(fingerprints()))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert json.loads(run.stdout) == [list(each) for each in fingerprints()]


METHODS = (
    "transform",
    "predict_power",
    "reconstruct",
    "margin",
    "get_support",
    "get_feature_names_out",
)


@every_case
def test_methods_leave_global_state_alone(case):
    estimator = CASES[case][0]
    (X, y, _), metadata = data(), metadata_of(case)
    latents = fitted(case).transform(X[:5])
    before = global_state()
    one = clone(estimator).fit(X, y, **metadata)
    for name in METHODS:
        if hasattr(one, name):
            arguments = [] if name.startswith("get") else [X]
            getattr(one, name)(*arguments)
    if hasattr(one, "score"):
        score(one, X, metadata)
    if getattr(one, "output", "") != "invariant" and hasattr(one, "inverse_transform"):
        one.inverse_transform(latents)
    if hasattr(one, "warm_start"):
        one.set_params(warm_start=True).fit(X, y, **metadata)
    if hasattr(one, "partial_fit"):
        clone(estimator).partial_fit(X, y, **metadata).partial_fit(X, y, **metadata)
    assert global_state() == before


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def inference_mode_and_autocast():
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        yield


@contextmanager
def default_dtype_and_device():
    with default_dtype(), torch.device("meta"):
        yield


MODES = {
    "inference mode, autocast": inference_mode_and_autocast,
    "default dtype, device": default_dtype_and_device,
}
every_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


@every_case
@every_mode
def test_settings_of_torch_do_not_change_a_fit(case, mode):
    X, metadata = data()[0], metadata_of(case)
    with mode():
        one = fit(case)
        found = results(one, X, metadata)
    assert fingerprint(one) == fingerprint(fitted(case))
    for name, values in results(fitted(case), X, metadata).items():
        assert joblib.hash(found[name]) == joblib.hash(values), name


def test_a_transform_in_inference_mode_leaves_nothing_that_stops_training():
    X = data()[0][:83]  # no other test has batches of so many rows
    sae = TopKSAE(8, k=2, **QUICK).fit(data()[0])
    with torch.inference_mode():
        sae.transform(X)
    sae.fit(X)


def shapes():
    return make_shapes(12, random_state=0)


def parts():
    X, _, metadata = data()
    return Orbits(X, **metadata).split(random_state=0)


def small_network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 8))


def orbits_of(network):
    layer = {"layer": "1", "action": ImageRotation(order=4)}
    return extract_orbits(network, shapes().images[:3], **layer)


def probe(n_jobs=None):
    X, y, _ = data()
    rows = {"train": range(120), "test": range(120, 240)}
    return evaluate_probes(X, y[:, None], **rows, n_jobs=n_jobs)


def symmetric():
    X, _, metadata = data()
    return GroupTiedSAE(8, k=2, **QUICK).fit(X, **metadata)


FUNCTIONS = {
    "make_shapes": lambda path, network: shapes(),
    "shape_tasks": lambda path, network: shape_tasks().label_matrix(shapes()),
    "extract_orbits": lambda path, network: orbits_of(network),
    "evaluate_probes": lambda path, network: probe(),
    "evaluate_probes n_jobs=2": lambda path, network: probe(n_jobs=2),
    "fit_many": lambda path, network: fit_many(
        [TopKSAE(8, k=k, **QUICK) for k in (1, 2)], data()[0]
    ),
    "save and load": lambda path, network: (save(symmetric(), path), load(path)),
    "equivariance_report": lambda path, network: TransformFidelityDisplay(
        equivariance_report(*parts(), n_bootstrap=20, random_state=0)
    ).plot(),
    "feature_symmetry": lambda path, network: FeatureSymmetryDisplay(
        feature_symmetry(symmetric())
    ).plot(),
    "LossCurveDisplay": lambda path, network: LossCurveDisplay.from_estimator(
        symmetric(), data()[0]
    ),
    "FrontierDisplay": lambda path, network: FrontierDisplay.from_estimator(
        [symmetric()], data()[0]
    ),
    "ProbingDisplay": lambda path, network: ProbingDisplay.from_scores(
        probe(), by="probe"
    ),
}


every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@every_function
@every_mode
def test_settings_of_torch_do_not_stop_a_function(function, mode, tmp_path):
    network = small_network()
    with mode():
        function(tmp_path / "file", network)


@every_function
def test_functions_leave_global_state_alone(function, tmp_path):
    torch.manual_seed(5)  # not where a fit would start
    network = small_network()
    before = global_state()
    function(tmp_path / "file", network)
    assert global_state() == before
