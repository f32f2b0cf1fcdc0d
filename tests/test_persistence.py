"""What is saved comes back, to the bit, in every format that is promised."""

import json
import pickle
import re

import joblib
import numpy as np
import pandas as pd
import pytest
import safetensors
import safetensors.numpy
import sklearn
import skops.io
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    GroupTiedSAE,
    MeanDifferenceSelector,
    TopKSAE,
    TruncatedReconstruction,
    load,
    make_probe,
    save,
)
from sk_eqsae.groups import (
    CyclicGroup,
    DihedralGroup,
    FiniteGroup,
    GeneratedGroup,
    ProductGroup,
    SymmetricGroup,
)
from sk_eqsae.persistence._files import FORMAT_VERSION
from sk_eqsae.sae import Recipe
from tests.fitted import CASES, data, every_case, fitted
from tests.instances import QUICK

QUATERNIONS = GeneratedGroup(
    [(1, 4, 3, 6, 5, 0, 7, 2), (2, 7, 4, 1, 6, 3, 0, 5)],
    relations=[[(0, 2), (1, -2)]],
)


def holds_foreign_estimator(estimator):
    return isinstance(getattr(estimator, "estimator", None), PCA)


def there_and_back(estimator, tmp_path):
    save(estimator, tmp_path / "file")
    return load(tmp_path / "file")


def assert_same(one, two):
    """Equal in value, type, dtype and memory order, all the way down."""
    assert type(one) is type(two)
    if isinstance(one, BaseEstimator):
        assert_same(vars(one), vars(two))
    elif isinstance(one, dict):
        assert set(one) == set(two)
        for key, value in one.items():
            assert_same(value, two[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for pair in zip(one, two, strict=True):
            assert_same(*pair)
    elif isinstance(one, np.ndarray):
        assert one.dtype == two.dtype
        assert np.array_equal(one, two)
        assert one.flags.c_contiguous == two.flags.c_contiguous
        assert one.flags.f_contiguous == two.flags.f_contiguous
    else:
        assert one == two


@every_case
def test_loaded_is_the_same_and_transforms_the_same_to_the_bit(case, tmp_path):
    estimator, (X, _, _) = fitted(case), data()
    if holds_foreign_estimator(estimator):
        pytest.skip("holds an estimator of scikit-learn, which is an error on save")
    expected = estimator.transform(X)
    save(estimator, tmp_path / "file")
    loaded = [load(tmp_path / "file") for _ in range(10)]  # at other addresses
    for copy in loaded:
        assert_same(copy, estimator)
        assert np.array_equal(copy.transform(X), expected)


@every_case
@pytest.mark.parametrize("module", [pickle, joblib, skops.io], ids=lambda m: m.__name__)
def test_other_formats_transform_the_same_to_the_bit(case, module, tmp_path):
    estimator, (X, _, _) = fitted(case), data()
    if module is joblib:
        joblib.dump(estimator, tmp_path / "file")
        copy = joblib.load(tmp_path / "file")
    elif module is pickle:
        copy = pickle.loads(pickle.dumps(estimator))
    else:
        copy = from_skops(skops.io.dumps(estimator))
    assert np.array_equal(copy.transform(X), estimator.transform(X))


def from_skops(dumped):
    """Load, and see that nothing but this package's classes has to be trusted."""
    untrusted = skops.io.get_untrusted_types(data=dumped)
    assert [name for name in untrusted if not name.startswith("sk_eqsae.")] == []
    return skops.io.loads(dumped, trusted=untrusted)


@pytest.mark.parametrize("group", [None, CyclicGroup(4)])
def test_skops_keeps_a_whole_pipeline_and_asks_for_trust_in_ours_alone(group):
    X, y, metadata = data()
    sae = EquivariantSAE(8, symmetry=group, k=2, hidden_dim=4, recipe=Recipe(), **QUICK)
    steps = [("sae", sae), ("select", MeanDifferenceSelector(4))]
    pipe = Pipeline([*steps, ("probe", make_probe("logistic"))])
    pipe.fit(X, y, **{f"sae__{key}": value for key, value in metadata.items()})
    copy = from_skops(skops.io.dumps(pipe))
    assert np.array_equal(copy.predict_proba(X), pipe.predict_proba(X))


GROUPS = [
    CyclicGroup(1),
    DihedralGroup(4),
    ProductGroup(CyclicGroup(2), ProductGroup(DihedralGroup(3), SymmetricGroup(3))),
    SymmetricGroup(4),
    QUATERNIONS,
]


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_groups_come_back_equal(group, tmp_path):
    copy = there_and_back(EquivariantSAE(symmetry=group), tmp_path).symmetry
    assert copy == group
    assert np.array_equal(copy.multiplication_table, group.multiplication_table)


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_skops_knows_every_group(group):
    fitter = ActivationTransformFitter(symmetry=group)
    assert from_skops(skops.io.dumps(fitter)).symmetry == group


def test_a_group_with_two_generators_comes_back_fitted(tmp_path):
    group = ProductGroup(CyclicGroup(2), CyclicGroup(2))
    X, _, metadata = data()
    powers = group.powers[metadata["power"]]
    for sae in (
        GroupTiedSAE(16, symmetry=group, k=2, **QUICK),
        EquivariantSAE(8, symmetry=group, k=2, hidden_dim=None, **QUICK),
    ):
        sae.fit(X, groups=metadata["groups"], power=powers)
        copy = there_and_back(sae, tmp_path)
        assert_same(copy, sae)
        assert np.array_equal(copy.predict_power(X), sae.predict_power(X))


PARAMETERS = [
    TopKSAE(),
    TopKSAE(np.int64(8), lr=np.float32(0.1), nested=np.array([2, 4]), k=1),
    TopKSAE(nested=(2, 4), recipe="paper"),
    TopKSAE(recipe=Recipe(max_grad_norm=float("inf"), unit_rows=False, aux_k=3)),
    TopKSAE(random_state=2**32 - 1, verbose=True, sparse_output=True),
    ActivationTransformFitter(
        power=np.array([[0.5, 1.25]], dtype=np.float32, order="F")
    ),
    EquivariantSAE(activation_transform=FrozenEstimator(ActivationTransformFitter(3))),
    TruncatedReconstruction(FrozenEstimator(TopKSAE(4, k=1)), 2, output="invariant"),
]


@pytest.mark.parametrize("estimator", PARAMETERS, ids=repr)
def test_unfitted_estimators_keep_values_and_types_of_parameters(estimator, tmp_path):
    assert_same(there_and_back(estimator, tmp_path), estimator)


def test_paths_and_devices_are_not_kept(tmp_path):
    X, _, _ = data()
    sae = TopKSAE(8, k=2, device="cuda", checkpoint=tmp_path / "checkpoint")
    assert_same(there_and_back(sae, tmp_path), TopKSAE(8, k=2))
    frozen = FrozenEstimator(ActivationTransformFitter(3, device="cuda:7"))
    inner = there_and_back(EquivariantSAE(activation_transform=frozen), tmp_path)
    assert inner.activation_transform.estimator.device == "auto"
    fitted_elsewhere = TopKSAE(8, k=2, **QUICK).fit(X).set_params(device="cuda")
    there_and_back(fitted_elsewhere, tmp_path).transform(X)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_large_group_loads_without_its_multiplication_table(tmp_path):
    """Large groups are named by their constructor's numbers, and load at once."""
    group = ProductGroup(CyclicGroup(50), DihedralGroup(100))
    copy = there_and_back(EquivariantSAE(symmetry=group), tmp_path).symmetry
    assert copy == group
    assert "multiplication_table" not in vars(copy)


def test_names_of_features_output_and_requests_are_kept(tmp_path):
    X, _, _ = data()
    frame = pd.DataFrame(X, columns=[f"unit-{i} é" for i in range(12)])
    with sklearn.config_context(enable_metadata_routing=True):
        sae = EquivariantSAE(8, symmetry=1, k=2, **QUICK).set_fit_request(
            groups="orbit"
        )
        sae.set_output(transform="pandas").fit(frame)
        copy = there_and_back(sae, tmp_path)
        request = copy.get_metadata_routing().fit.requests
        assert request == sae.get_metadata_routing().fit.requests
        assert request["groups"] == "orbit"
    pd.testing.assert_frame_equal(copy.transform(frame), sae.transform(frame))
    assert list(copy.feature_names_in_) == list(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        copy.transform(frame.rename(columns={"unit-0 é": "other"}))


@pytest.mark.filterwarnings("ignore:M is not to be trusted")  # in 5 directions
@pytest.mark.parametrize("n_components", [None, 5])
@pytest.mark.parametrize("group_law", ["exact", "free"])
def test_a_loaded_fitter_goes_on_with_partial_fit(n_components, group_law, tmp_path):
    X, _, metadata = data()
    half = {key: values[:120] for key, values in metadata.items()}
    fitter = ActivationTransformFitter(
        4, n_components=n_components, group_law=group_law, random_state=0
    ).partial_fit(X[:120], **half)
    copy = there_and_back(fitter, tmp_path)
    assert_same(copy, fitter)
    for each in (fitter, copy):
        each.partial_fit(X[120:], **half)
    assert np.array_equal(copy.M_, fitter.M_)


PARTIAL = [
    TopKSAE(8, k=2, **QUICK),
    TopKSAE(8, k=2, hidden_dim=4, activation="batch_topk", **QUICK),
    EquivariantSAE(8, k=2, hidden_dim=4, recipe="paper", **QUICK),
    EquivariantSAE(8, symmetry=4, k=2, hidden_dim=None, **QUICK),
    GroupTiedSAE(18, k=2, n_free=2, **QUICK),
    GroupTiedSAE(16, k=2, hidden_dim=3, **QUICK),
]


@pytest.mark.parametrize("estimator", PARTIAL, ids=repr)
def test_a_loaded_autoencoder_goes_on_with_partial_fit(estimator, tmp_path):
    X, _, metadata = data()
    half = {key: values[:120] for key, values in metadata.items()}
    sae = clone(estimator).partial_fit(X[:120], **half)
    copy = there_and_back(sae, tmp_path)
    assert_same(copy, sae)
    for each in (sae, copy):
        each.partial_fit(X[120:], **half)
    assert_same(copy, sae)


@every_case
def test_an_unfitted_estimator_comes_back(case, tmp_path):
    estimator = CASES[case][0]
    if not holds_foreign_estimator(estimator):
        assert_same(there_and_back(clone(estimator), tmp_path), clone(estimator))


def test_a_loaded_autoencoder_trains_on_to_the_same_weights(tmp_path):
    X, _, _ = data()
    sae = TopKSAE(8, k=2, warm_start=True, **QUICK).fit(X)
    copy = there_and_back(sae, tmp_path)
    assert_same(copy.fit(X), sae.fit(X))


def test_the_file_is_a_safetensors_file_with_a_json_header(tmp_path):
    sae = fitted(0)
    save(sae, tmp_path / "file")
    arrays = safetensors.numpy.load_file(tmp_path / "file")
    assert np.array_equal(arrays["components_"], sae.components_)
    assert np.array_equal(arrays["coefs_.0"], sae.coefs_[0].T)
    assert np.array_equal(
        arrays["activation_transform_.M_"], sae.activation_transform_.M_
    )
    with safetensors.safe_open(tmp_path / "file", "np") as file:
        header = json.loads(file.metadata()["sk_eqsae"])
    assert header["format_version"] == FORMAT_VERSION
    assert header["package_version"] == "0.1.0"
    assert header["estimator"]["class"] == "EquivariantSAE"
    assert header["estimator"]["parameters"]["k"] == 2


def test_the_same_estimator_gives_the_same_bytes(tmp_path):
    for name in "ab":
        save(fitted(0), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class Foreign(TopKSAE):
    """A subclass, whose code no file could bring back."""


class ForeignGroup(CyclicGroup):
    """A group that only this test knows."""


def with_attribute(**attributes):
    sae = clone(fitted(0))
    vars(sae).update(vars(fitted(0)) | attributes)
    return sae


def tied_with_hidden_units(n_hidden):
    X, _, metadata = data()
    sae = GroupTiedSAE(8, k=1, hidden_dim=2, **QUICK).fit(X, **metadata)
    sae.coefs_ = [sae.coefs_[0][:, :n_hidden], sae.coefs_[1][:n_hidden]]
    sae.intercepts_ = [sae.intercepts_[0][:n_hidden], sae.intercepts_[1]]
    return sae


REFUSED = {
    "random_state is a RandomState": lambda: TopKSAE(
        random_state=np.random.RandomState(0)
    ),
    "estimator is a PCA": lambda: TruncatedReconstruction(PCA(2)),
    "estimator.estimator is a PCA": lambda: TruncatedReconstruction(
        FrozenEstimator(PCA(2))
    ),
    "it is a Foreign, but only": Foreign,
    "it is a PCA, but only": PCA,
    "it is a TopKSAE, but only": type("TopKSAE", (TopKSAE,), {}),
    "symmetry: ForeignGroup is no group of sk_eqsae": lambda: EquivariantSAE(
        symmetry=ForeignGroup(3)
    ),
    "more than 10,000": lambda: EquivariantSAE(symmetry=CyclicGroup(10**9)),
    "'my_note' is nothing that fit sets": lambda: with_attribute(my_note="x"),
    "nested.1 is NaN": lambda: TopKSAE(nested=[1, float("nan")]),
    "'k' parameter": lambda: TopKSAE(k=0),
    "k=99 is more than the latents": lambda: with_attribute(k=99),
    "needs a threshold_": lambda: with_attribute(activation="batch_topk"),
    "a hidden unit for each copy": lambda: tied_with_hidden_units(5),
    "mean_ holds NaN": lambda: with_attribute(mean_=np.full(12, np.nan)),
    "power is an array of complex128": lambda: ActivationTransformFitter(
        power=np.array([1j])
    ),
    "power is an array of >f8": lambda: ActivationTransformFitter(
        power=np.ones(2, ">f8")
    ),
    "nested is an array of object": lambda: TopKSAE(nested=np.array([None, 1])),
    "nested.0 is a set, which is no plain data": lambda: TopKSAE(nested=[{1}]),
    "Shorten the feature names": lambda: with_attribute(
        feature_names_in_=np.array(["x" * 10**6] * 12, dtype=object)
    ),
}


@pytest.mark.parametrize(("message", "make"), REFUSED.items(), ids=list(REFUSED))
def test_what_cannot_be_written_is_an_error_and_writes_nothing(message, make, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        save(make(), tmp_path / "file")
    assert str(error.value).startswith("cannot save this ")
    assert list(tmp_path.iterdir()) == []


def test_a_fit_that_was_cut_off_is_an_error(tmp_path):
    sae = fitted(0)
    half = clone(sae)
    half.symmetry_, half.order_ = sae.symmetry_, sae.order_
    with pytest.raises(ValueError, match=r"fitted in part: it has no .*components_"):
        save(half, tmp_path / "file")


def test_the_table_of_groups_is_complete():
    concrete = {group for group in FiniteGroup.__subclasses__()}  # noqa: C416
    concrete |= {g for group in concrete for g in group.__subclasses__()}
    ours = {g for g in concrete if g.__module__.startswith("sk_eqsae")}
    known = {CyclicGroup, DihedralGroup, ProductGroup, SymmetricGroup, GeneratedGroup}
    assert {g for g in ours if not g.__name__.startswith("_")} == known
