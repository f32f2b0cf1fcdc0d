import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_eqsae import EquivariantSAE, GroupTiedSAE
from sk_eqsae.groups import DihedralGroup
from sk_eqsae.probing import TruncatedReconstruction, _mean_difference, make_probe

ORDER = 3


class RollSAE(TransformerMixin, BaseEstimator):
    """A code of 4 features that a roll by 4 moves; exact, so each step can be told."""

    __metadata_request__fit = {"groups": True, "power": True}  # noqa: RUF012

    def __init__(self, sparse_output=False):
        self.sparse_output = sparse_output

    def fit(self, X, y=None, *, groups=None, power=None):
        self.groups_, self.power_ = groups, power
        return self

    def predict_power(self, X):
        blocks = np.asarray(X).reshape(len(X), ORDER, 4)
        return np.abs(blocks).sum(axis=2).argmax(axis=1)

    def transform(self, X):
        blocks = np.asarray(X).reshape(len(X), ORDER, 4)
        Z = blocks[np.arange(len(X)), self.predict_power(X)]
        return sparse.csr_array(Z) if self.sparse_output else Z

    def inverse_transform(self, Z, *, power=None):
        if sparse.issparse(Z) is not self.sparse_output:
            raise AssertionError("latents changed their format")
        Z = Z.toarray() if sparse.issparse(Z) else Z
        canonical = np.hstack([Z, np.zeros((len(Z), 4 * (ORDER - 1)), Z.dtype)])
        if power is None:
            return canonical
        moved = [np.roll(x, 4 * p) for x, p in zip(canonical, power, strict=True)]
        return np.array(moved)


@pytest.fixture
def orbits():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(20, 4)) + 3 * np.eye(4)[0]
    y = np.repeat(base[:, 2] > 0, ORDER).astype(int)
    canonical = np.hstack([base, np.zeros((20, 8))])
    X = np.stack([np.roll(canonical, 4 * p, axis=1) for p in range(ORDER)], axis=1)
    groups, power = np.repeat(np.arange(20), ORDER), np.tile(np.arange(ORDER), 20)
    return X.reshape(-1, 12), y, groups, power


@pytest.mark.parametrize("sparse_output", [False, True])
def test_only_the_selected_latents_are_decoded(orbits, sparse_output):
    X, y, _, power = orbits
    truncated = TruncatedReconstruction(RollSAE(sparse_output), 1).fit(X, y)
    chosen = truncated.selector_.get_support(indices=True)
    assert_array_equal(chosen, [2])
    expected = np.zeros_like(X)
    column = 4 * power + 2
    rows = np.arange(len(X))
    expected[rows, column] = X[rows, column]
    assert_array_equal(truncated.transform(X), expected)


def test_output_decides_whether_rows_are_moved(orbits):
    X, y, _, power = orbits
    moved = TruncatedReconstruction(RollSAE(), 4).fit(X, y)
    canonical = clone(moved).set_params(output="invariant").fit(X, y)
    assert_array_equal(moved.transform(X), X)
    assert_array_equal(canonical.transform(X), np.repeat(X[power == 0], ORDER, axis=0))


def test_reconstruct_moves_by_the_power_given_or_else_inferred(orbits):
    X, y, _, power = orbits
    truncated = TruncatedReconstruction(RollSAE(), 4, output="invariant").fit(X, y)
    assert_array_equal(truncated.reconstruct(X), X)
    other = (power + 1) % ORDER
    expected = np.roll(X, 4, axis=1)
    assert_array_equal(truncated.reconstruct(X, power=other), expected)


@pytest.mark.parametrize("method", ["transform", "reconstruct"])
def test_batches_do_not_show(orbits, method, monkeypatch):
    X, y, _, power = orbits
    known = {"power": power} if method == "reconstruct" else {}
    truncated = TruncatedReconstruction(RollSAE(), 2).fit(X, y)
    whole = getattr(truncated, method)(X, **known)
    monkeypatch.setattr(_mean_difference, "BYTES_PER_BATCH", 7 * 32)
    again = clone(truncated).fit(X, y)
    assert_array_equal(getattr(again, method)(X, **known), whole)


def test_known_power_needs_an_estimator_that_can_use_it(orbits):
    X, y, _, power = orbits
    with pytest.raises(ValueError, match=r"inverse_transform of PCA\(\) takes none"):
        TruncatedReconstruction(PCA(), 2).fit(X, y).reconstruct(X, power=power)
    with pytest.raises(ValueError, match=r"power has shape \(3,\) for 60 rows"):
        TruncatedReconstruction(RollSAE(), 2).fit(X, y).reconstruct(X, power=power[:3])


def test_a_column_of_powers_for_each_generator_is_taken():
    group = DihedralGroup(2)
    power = np.tile(group.powers, (40, 1))
    signs = np.where(power @ [[1, 0, 1], [0, 1, 1]] % 2, -1.0, 1.0)
    base = np.repeat(np.random.default_rng(0).normal(3, 1, size=(40, 3)), 4, axis=0)
    X, y = base * signs, (base[:, 0] > 3).astype(int)
    told = {"groups": np.repeat(np.arange(40), 4), "power": power}
    sae = EquivariantSAE(8, k=2, symmetry=group, max_epochs=2, random_state=0)
    truncated = TruncatedReconstruction(sae, 8).fit(X, y, **told)
    rebuilt = truncated.reconstruct(X, power=power)
    expected = truncated.estimator_.reconstruct(X, power=power)
    assert_allclose(rebuilt, expected, atol=1e-5)


def test_selector_wider_than_the_latents_is_an_error(orbits):
    X, y, *_ = orbits
    with pytest.raises(ValueError, match=r"n_features_to_select=5 .* latents, 4"):
        TruncatedReconstruction(RollSAE(), 5).fit(X, y)


def test_metadata_goes_to_a_fit_that_takes_it(orbits):
    X, y, groups, power = orbits
    fitted = TruncatedReconstruction(RollSAE(), 2).fit(X, y, groups=groups, power=power)
    assert_array_equal(fitted.estimator_.power_, power)
    assert_array_equal(fitted.estimator_.groups_, groups)
    TruncatedReconstruction(PCA(), 2).fit(X, y, groups=groups, power=power)


def equivariant():
    return EquivariantSAE(8, k=2, hidden_dim=4, max_epochs=2, random_state=0)


KEEPS_ALL = SelectFromModel(LogisticRegression(), threshold=-np.inf)


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda sae: make_pipeline(StandardScaler(), sae),
        lambda sae: make_pipeline(sae, StandardScaler()),
        lambda sae: make_pipeline(make_pipeline("passthrough", sae), PCA(2)),
        lambda sae: make_pipeline(KEEPS_ALL, sae),
        lambda sae: make_pipeline(
            FrozenEstimator(StandardScaler().fit(np.eye(12))), sae
        ),
    ],
    ids=["last", "first", "nested", "behind a fit with **kwargs", "behind frozen"],
)
def test_metadata_goes_to_the_steps_of_a_pipeline(orbits, wrap, routing):
    X, y, groups, power = orbits
    with sklearn.config_context(enable_metadata_routing=routing):
        truncated = TruncatedReconstruction(wrap(RollSAE()), 1)
        truncated.fit(X, y, groups=groups, power=power)
        parts = truncated.estimator_.get_params().values()
        (sae,) = (part for part in parts if isinstance(part, RollSAE))
        assert_array_equal(sae.groups_, groups)
        assert_array_equal(sae.power_, power)


@pytest.mark.parametrize("routing", [False, True])
def test_an_sae_in_a_pipeline_is_no_plain_one(orbits, routing):
    X, y, groups, power = orbits
    with sklearn.config_context(enable_metadata_routing=routing):
        pipe = make_pipeline(StandardScaler(), equivariant())
        truncated = TruncatedReconstruction(pipe, 2)
        truncated.fit(X, y, groups=groups, power=power)
    assert truncated.estimator_[-1].order_ == ORDER


@pytest.mark.parametrize("routing", [False, True])
def test_what_takes_no_metadata_is_fitted_without(orbits, routing):
    X, y, groups, power = orbits
    frozen = FrozenEstimator(equivariant().set_params(symmetry=1).fit(X))
    with sklearn.config_context(enable_metadata_routing=routing):
        for plain in (PCA(), frozen):
            pipe = make_pipeline(StandardScaler(), plain)
            for estimator in (plain, pipe):
                truncated = TruncatedReconstruction(estimator, 2)
                truncated.fit(X, y, groups=groups, power=power)


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_a_fit_that_requests_no_metadata_gets_none(orbits, in_pipeline):
    X, y, groups, power = orbits
    with sklearn.config_context(enable_metadata_routing=True):
        sae = equivariant().set_fit_request(groups=False, power=False)
        sae = make_pipeline(StandardScaler(), sae) if in_pipeline else sae
        with pytest.warns(UserWarning, match="got no groups and power"):
            TruncatedReconstruction(sae, 2).fit(X, y, groups=groups, power=power)


class Wrapper(TransformerMixin, BaseEstimator):
    """Fits what it wraps without metadata."""

    def __init__(self, sae):
        self.sae = sae

    def fit(self, X, y=None):
        self.sae_ = clone(self.sae).fit(X, y)
        return self

    def transform(self, X):
        return self.sae_.transform(X)

    def inverse_transform(self, Z):
        return self.sae_.inverse_transform(Z)


class Undecided(RollSAE):
    """Takes metadata, but has never said so."""

    __metadata_request__fit = {"groups": None, "power": None}  # noqa: RUF012


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("in_pipeline", [False, True])
def test_a_fit_that_does_not_say_if_it_wants_metadata_is_an_error(
    orbits, in_pipeline, routing
):
    X, y, groups, power = orbits
    sae = make_pipeline(Undecided()) if in_pipeline else Undecided()
    with sklearn.config_context(enable_metadata_routing=routing):
        TruncatedReconstruction(sae, 2).fit(X, y)
        with pytest.raises(ValueError, match=r"groups.* power.* (not say|not set)"):
            TruncatedReconstruction(sae, 2).fit(X, y, groups=groups, power=power)


class OpenWrapper(Wrapper):
    __metadata_request__fit = {"groups": True, "power": True}  # noqa: RUF012

    def fit(self, X, y=None, **params):
        self.sae_ = clone(self.sae).fit(X, y, **params)
        return self


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_metadata_go_to_what_is_wrapped_if_its_wrapper_requests_them(
    orbits, in_pipeline
):
    X, y, groups, power = orbits
    closed, opened = Wrapper(equivariant()), OpenWrapper(equivariant())
    if in_pipeline:
        closed, opened = make_pipeline(closed), make_pipeline(opened)
    with pytest.warns(UserWarning, match="got no groups and power"):
        TruncatedReconstruction(closed, 2).fit(X, y, groups=groups, power=power)
    truncated = TruncatedReconstruction(opened, 2)
    truncated.fit(X, y, groups=groups, power=power)
    fitted = truncated.estimator_[-1] if in_pipeline else truncated.estimator_
    assert fitted.sae_.order_ == ORDER


def test_one_of_groups_and_power_is_an_error_in_a_pipeline_too(orbits):
    X, y, groups, _ = orbits
    truncated = TruncatedReconstruction(make_pipeline(equivariant()), 2)
    with pytest.raises(ValueError, match="power"):
        truncated.fit(X, y, groups=groups)


def test_a_group_of_one_element_knows_no_power(orbits):
    X, y, _, power = orbits
    sae = equivariant().set_params(symmetry=1)
    truncated = TruncatedReconstruction(sae, 2).fit(X, y)
    with pytest.raises(ValueError, match=r"(?s)other than 0, but .* of one element"):
        truncated.reconstruct(X, power=power)
    expected = truncated.reconstruct(X)
    assert_array_equal(truncated.reconstruct(X, power=0 * power), expected)


def test_frozen_estimator_stays_as_it_is(orbits):
    X, y, groups, power = orbits
    sae = RollSAE().fit(X, power="kept")
    truncated = TruncatedReconstruction(FrozenEstimator(sae), 2)
    truncated.fit(X, y, groups=groups, power=power)
    assert truncated.estimator_.power_ == "kept"
    assert_array_equal(
        truncated.transform(X),
        TruncatedReconstruction(RollSAE(), 2).fit_transform(X, y),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_in_is_dtype_out(orbits, dtype):
    X, y, *_ = orbits
    truncated = TruncatedReconstruction(RollSAE(), 2).fit(X.astype(dtype), y)
    assert truncated.transform(X.astype(dtype)).dtype == dtype


def test_dataframes_keep_their_column_names(orbits):
    X, y, *_ = orbits
    frame = pd.DataFrame(X, columns=[f"unit {i}" for i in range(12)])
    truncated = TruncatedReconstruction(PCA(), 2).fit(frame, y)
    out = truncated.set_output(transform="pandas").transform(frame)
    assert list(out.columns) == list(frame.columns)
    with sklearn.config_context(transform_output="pandas"):
        assert_allclose(truncated.transform(frame), out)


def test_frozen_estimator_fitted_without_names_takes_a_dataframe(orbits):
    X, y, *_ = orbits
    frame = pd.DataFrame(X, columns=[f"unit {i}" for i in range(12)])
    frozen = FrozenEstimator(PCA().fit(X))
    truncated = TruncatedReconstruction(frozen, 2).fit(frame, y)
    assert_allclose(
        truncated.transform(frame),
        TruncatedReconstruction(frozen, 2).fit_transform(X, y),
    )


@pytest.mark.parametrize("routing", [False, True])
def test_orbits_reach_the_sae_through_a_search(orbits, routing):
    X, y, groups, power = orbits
    pipe = Pipeline(
        [
            ("truncated", TruncatedReconstruction(RollSAE(), 2)),
            ("probe", make_probe("logistic")),
        ]
    )
    search = GridSearchCV(
        pipe,
        {"truncated__n_features_to_select": [1, 2]},
        cv=GroupKFold(2),
        scoring="f1",
        error_score="raise",
    )
    prefix = "" if routing else "truncated__"
    metadata = {"groups": groups, f"{prefix}groups": groups, f"{prefix}power": power}
    with sklearn.config_context(enable_metadata_routing=routing):
        search.fit(X, y, **metadata)
    sae = search.best_estimator_["truncated"].estimator_
    assert_array_equal(sae.power_, power)
    assert_array_equal(sae.groups_, groups)


def test_an_sae_that_rebuilds_rows_where_they_are_is_not_moved(orbits):
    X, y, groups, power = orbits
    sae = GroupTiedSAE(36, k=4, max_epochs=2, random_state=0)
    truncated = TruncatedReconstruction(sae, 36)
    truncated.fit(X, y, groups=groups, power=power)
    assert hasattr(truncated.estimator_, "predict_power")
    expected = truncated.estimator_.inverse_transform(truncated.estimator_.transform(X))
    np.testing.assert_allclose(truncated.transform(X), expected)
