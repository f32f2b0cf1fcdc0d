import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.decomposition import PCA

from sk_eqsae.probing import (
    MeanDifferenceSelector,
    TruncatedReconstruction,
    _mean_difference,
    make_probe,
)


@pytest.fixture
def latents():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(60, 10)) * (rng.random((60, 10)) < 0.3)
    return Z, rng.integers(0, 2, 60)


def test_score_of_two_classes_is_absolute_difference_of_means(latents):
    Z, y = latents
    scores = MeanDifferenceSelector(3).fit(Z, y).scores_
    expected = np.abs(Z[y == 1].mean(axis=0) - Z[y == 0].mean(axis=0))
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_score_of_several_classes_is_range_of_class_means():
    Z = np.array([[0.0, 1], [2, 1], [5, 1], [7, 2]])
    selector = MeanDifferenceSelector(1).fit(Z, ["a", "a", "b", "c"])
    assert_array_equal(selector.scores_, [6.0, 1.0])


def test_keeps_the_best_latents_in_their_order(latents):
    Z, y = latents
    selector = MeanDifferenceSelector(3).fit(Z, y)
    best = np.sort(np.argsort(-selector.scores_)[:3])
    assert_array_equal(selector.get_support(indices=True), best)
    assert_array_equal(selector.transform(Z), Z[:, best])


def test_equal_scores_are_taken_by_index():
    Z = np.tile([[0.1], [0.7], [0.3]], (1, 3000)).astype(np.float32)
    Z[:, ::7] *= 2
    selector = MeanDifferenceSelector(500).fit(Z, [0, 1, 1])
    others = [i for i in range(3000) if i % 7]
    expected = sorted([*range(0, 3000, 7), *others[:71]])
    assert_array_equal(selector.get_support(indices=True), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_csr_gives_the_same_scores_and_stays_csr(latents, dtype):
    Z, y = latents[0].astype(dtype), latents[1]
    dense = MeanDifferenceSelector(3).fit(Z, y)
    selector = MeanDifferenceSelector(3).fit(sparse.csr_array(Z), y)
    assert_array_equal(selector.scores_, dense.scores_)
    chosen = selector.transform(sparse.csr_array(Z))
    assert chosen.format == "csr"
    assert chosen.dtype == dtype
    assert_array_equal(chosen.toarray(), dense.transform(Z))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_scores_do_not_depend_on_how_rows_are_batched(latents, form, monkeypatch):
    Z, y = latents
    whole = MeanDifferenceSelector(3).fit(form(Z), y).scores_
    monkeypatch.setattr(_mean_difference, "BYTES_PER_BATCH", 7 * 80)
    batched = MeanDifferenceSelector(3).fit(form(Z), y).scores_
    np.testing.assert_allclose(batched, whole, rtol=1e-12)


def test_names_of_the_kept_latents(latents):
    Z, y = latents
    selector = MeanDifferenceSelector(2).fit(Z, y).set_output(transform="pandas")
    frame = selector.transform(Z)
    assert_array_equal(frame.columns, selector.get_feature_names_out())
    assert list(frame.columns) == [f"x{i}" for i in selector.get_support(indices=True)]


def test_wider_than_the_latents_is_an_error_that_names_both_numbers(latents):
    with pytest.raises(ValueError, match=r"n_features_to_select=11 .* 10; select at"):
        MeanDifferenceSelector(11).fit(*latents)


def test_one_class_is_an_error(latents):
    with pytest.raises(ValueError, match=r"y has only one class .* at least two"):
        MeanDifferenceSelector(2).fit(latents[0], np.ones(60))


def test_continuous_y_is_an_error(latents):
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        MeanDifferenceSelector(2).fit(latents[0], latents[0][:, 0])


@pytest.mark.parametrize(
    "lose",
    [
        lambda y: np.where(y == 1, np.nan, y),
        lambda y: [None if label else "none" for label in y],
        lambda y: [np.nan if label else str(label) for label in y],
        lambda y: pd.Series(y).where(y == 0).astype("Int64"),
        lambda y: np.ma.masked_equal(y, 1),
    ],
    ids=["NaN", "None", "text", "pandas", "masked"],
)
def test_missing_labels_are_an_error(latents, lose):
    """They would be a class of their own, or the class under the mask."""
    X, y = latents
    for estimator in (
        MeanDifferenceSelector(2),
        TruncatedReconstruction(PCA(2), 2),
        make_probe("xgboost"),
    ):
        with pytest.raises(ValueError, match=r"y has missing values .* in rows"):
            estimator.fit(X, lose((y > 0).astype(int)))
