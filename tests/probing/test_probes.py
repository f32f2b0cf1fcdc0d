import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from sk_eqsae import EquivariantSAE
from sk_eqsae.probing import MeanDifferenceSelector, make_probe, make_probe_search

KINDS = ["knn", "logistic", "xgboost"]


@pytest.fixture
def latents():
    """Sparse latents whose class depends on which of them are zero."""
    rng = np.random.default_rng(0)
    Z = rng.exponential(size=(400, 12)) * (rng.random((400, 12)) < 0.4)
    y = ((Z[:, 0] == 0) & (Z[:, 1] < 0.5)).astype(int)
    return Z, y


@pytest.mark.parametrize("kind", KINDS)
def test_probes_are_classifiers_that_can_be_cloned(kind, latents):
    probe = make_probe(kind)
    assert is_classifier(probe)
    twin = clone(probe).fit(*latents)
    assert_array_equal(
        twin.predict(latents[0]), probe.fit(*latents).predict(latents[0])
    )


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("knn", {"n_neighbors": 16, "metric": "minkowski", "p": 2}),
        (
            "logistic",
            {"loss": "log_loss", "penalty": "l2", "alpha": 1e-4, "eta0": 1e-3},
        ),
        (
            "xgboost",
            {
                "n_estimators": 100,
                "max_depth": 6,
                "learning_rate": 0.3,
                "reg_lambda": 1,
                "n_jobs": 1,
            },
        ),
    ],
)
def test_settings_are_those_of_appendix_c(kind, settings):
    found = make_probe(kind)[kind].get_params()
    assert {name: found[name] for name in settings} == settings


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_and_dense_latents_give_the_same_predictions(kind, latents):
    Z, y = latents
    dense = make_probe(kind).fit(Z[:200], y[:200]).predict(Z[200:])
    rows = sparse.csr_array(Z)
    from_csr = make_probe(kind).fit(rows[:200], y[:200]).predict(rows[200:])
    assert_array_equal(from_csr, dense)
    assert f1_score(y[200:], dense) > 0.6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_rows", [40, 400])
def test_probes_warn_of_nothing_even_without_variance(kind, n_rows, latents):
    Z, y = latents[0][:n_rows].copy(), latents[1][:n_rows]
    Z[:, 5] = 0
    Z[:, 6] = 3
    make_probe(kind).fit(Z, y).predict(Z)


def test_logistic_probe_does_not_depend_on_the_unit_of_the_activations(latents):
    Z, y = latents
    plain = make_probe("logistic").fit(Z, y).predict(Z)
    assert_array_equal(make_probe("logistic").fit(Z * 1024, y).predict(Z * 1024), plain)


def test_unknown_probe_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match=r"'svm' is not a probe; .* 'knn', 'logistic'"):
        make_probe("svm")
    with pytest.raises(ValueError, match=r"kind=\['knn'\] is not a probe"):
        make_probe(["knn"])


class OrbitRecorder(TransformerMixin, BaseEstimator):
    """Stands for an SAE, and demands to be told the orbits."""

    __metadata_request__fit = {"groups": True, "power": True}  # noqa: RUF012

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y=None, *, groups=None, power=None):
        if len(groups) != len(X) or len(power) != len(X):
            raise ValueError("not told the orbits")
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X * self.scale


@pytest.fixture
def metadata():
    return np.repeat(np.arange(100), 4), np.tile(np.arange(4), 100)


@pytest.mark.parametrize("routing", [False, True])
def test_search_covers_widths_and_probes_and_keeps_orbits_whole(
    latents, metadata, routing, tmp_path
):
    groups, power = metadata
    search = make_probe_search(
        OrbitRecorder(),
        n_features_to_select=(2, 6),
        probes=("knn", "logistic"),
        cv=2,
        memory=str(tmp_path),
    )
    search.set_params(error_score="raise")
    prefix = "" if routing else "sae__"
    told = {"groups": groups, f"{prefix}groups": groups, f"{prefix}power": power}
    with sklearn.config_context(enable_metadata_routing=routing):
        search.fit(*latents, **told)
    tried = {
        (params["select__n_features_to_select"], params["probe"].steps[-1][0])
        for params in search.cv_results_["params"]
    }
    assert tried == {(m, p) for m in (2, 6) for p in ("knn", "logistic")}
    assert isinstance(search.cv, GroupKFold)
    assert search.best_score_ > 0.5


@pytest.mark.parametrize("memory", [None, str, Path])
def test_search_takes_any_path_as_memory(latents, memory, tmp_path):
    search = make_probe_search(
        MeanDifferenceSelector(6),
        n_features_to_select=[2],
        probes=["knn"],
        memory=memory and memory(tmp_path),
    )
    search.set_params(error_score="raise")
    search.fit(*latents, groups=np.repeat(np.arange(100), 4))
    assert (memory is None) == (not list(tmp_path.iterdir()))


NAMES = {
    "text": np.array(["cat", "dog"]),
    "text objects": np.array(["cat", "dog"], dtype=object),
    "bool": np.array([False, True]),
    "other numbers": np.array([-1, 1]),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("routing", [False, True])
def test_labels_of_any_kind_give_the_same_search(latents, names, routing):
    Z, y = latents
    search = make_probe_search(MeanDifferenceSelector(6), n_features_to_select=[2, 6])
    search.set_params(error_score="raise")
    with sklearn.config_context(enable_metadata_routing=routing):
        numbers = clone(search).fit(Z, y, groups=np.arange(400) // 4)
        search.fit(Z, names[y], groups=np.arange(400) // 4)
    scores = [s.cv_results_["mean_test_score"] for s in (numbers, search)]
    assert_array_equal(*scores)
    assert numbers.set_params(scoring="f1").score(Z, y) == search.score(Z, names[y])
    assert_array_equal(search.predict(Z), names[numbers.predict(Z)])


def test_search_among_three_classes_maximises_their_mean_f1(latents):
    Z, y = latents
    y = np.array(["a", "b", "c"])[y + (Z[:, 2] > 0.5)]
    search = make_probe_search(MeanDifferenceSelector(12), n_features_to_select=[12])
    search.set_params(error_score="raise")
    search.fit(Z, y, groups=np.arange(400) // 4)
    assert search.score(Z, y) == f1_score(y, search.predict(Z), average="macro")
    assert search.best_score_ > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_probes_take_labels_and_frames_of_any_kind(kind, latents):
    Z, y = latents
    names = np.array(["cat", "dog"])
    plain = make_probe(kind).fit(Z, y)
    frame = pd.DataFrame(Z, columns=[f"latent[{i}]" for i in range(12)])
    probe = make_probe(kind).fit(frame, names[y])
    assert probe.classes_.tolist() == ["cat", "dog"]
    assert_array_equal(probe.predict(pl.DataFrame(Z)), names[plain.predict(Z)])
    assert_array_equal(probe.predict_proba(frame), plain.predict_proba(Z))
    copy = pickle.loads(pickle.dumps(probe))
    assert_array_equal(copy.predict(Z), probe.predict(frame))


def test_search_takes_any_integer_as_number_of_folds():
    assert isinstance(make_probe_search(OrbitRecorder(), cv=np.int64(4)).cv, GroupKFold)


def test_search_with_probes_as_one_string_says_how_to_give_a_list():
    with pytest.raises(ValueError, match=r"one string; give a list, \['knn'\]"):
        make_probe_search(OrbitRecorder(), probes="knn")


def test_search_selects_inside_each_fold():
    # Labels without meaning: selecting on all rows would find latents that seem good.
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(60, 3000)), rng.integers(0, 2, 60)
    search = make_probe_search(
        MeanDifferenceSelector(3000),  # keeps every latent, and so stands for an SAE
        n_features_to_select=[8],
        probes=["logistic"],
        scoring="accuracy",
    ).fit(Z, y, groups=np.arange(60))
    assert search.best_score_ < 0.65
    leaked = MeanDifferenceSelector(8).fit(Z, y).transform(Z)
    assert make_probe("logistic").fit(leaked, y).score(leaked, y) > 0.8


@pytest.mark.parametrize("routing", [False, True])
def test_canonical_search_over_an_equivariant_sae(turning_orbits, routing):
    X, groups, power = (rows[:240] for rows in turning_orbits[:3])
    y = (X.reshape(-1, 4, 3).sum(axis=1)[:, 1] > 0.7).astype(int)
    sae = EquivariantSAE(16, symmetry=4, hidden_dim=32, max_epochs=6, random_state=0)
    pipe = Pipeline(
        [
            ("sae", sae),
            ("select", MeanDifferenceSelector(4)),
            ("probe", make_probe("xgboost")),
        ]
    )
    search = GridSearchCV(
        pipe,
        {"sae__k": [2, 4]},
        cv=GroupKFold(2),
        scoring="f1",
        error_score="raise",
    )
    prefix = "" if routing else "sae__"
    told = {"groups": groups, f"{prefix}groups": groups, f"{prefix}power": power}
    with sklearn.config_context(enable_metadata_routing=routing):
        search.fit(X, y, **told)
        predicted = search.predict(X)
    assert search.best_estimator_["sae"].order_ == 4
    assert f1_score(y, predicted) > 0.7
