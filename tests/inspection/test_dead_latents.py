import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.metrics import r2_score

from sk_eqsae._metrics import fvu_of_chunks
from sk_eqsae.inspection import dead_latents, fvu

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)) * [1, 2, 5, 0.1] + 3


def test_fvu_is_one_minus_variance_weighted_r2():
    decoded = X + RNG.normal(size=X.shape)
    expected = 1 - r2_score(X, decoded, multioutput="variance_weighted")
    assert fvu(X, decoded) == pytest.approx(expected)


def test_errors_in_constant_features_count():
    constant = np.hstack([X, np.ones((30, 1))])
    assert fvu(constant, constant + np.eye(5)[4]) > 0


def test_predicting_the_mean_scores_exactly_one():
    assert fvu(X, X.mean(axis=0)) == 1


def test_without_variance_only_an_exact_copy_is_good():
    assert fvu(np.ones((3, 2)), np.ones((3, 2))) == 0
    assert fvu(np.ones((3, 2)), np.zeros((3, 2))) == 1
    assert fvu(np.ones((3, 2)), np.full((3, 2), np.nan)) == 1


@pytest.mark.parametrize("value", [0.1, -0.3, 1.1, 123.456, 1e-9, 1e9])
@pytest.mark.parametrize("n_rows", [1, 3, 10, 1000])
def test_rounding_is_no_variance(value, n_rows):
    constant = np.full((n_rows, 2), value)
    last_bit = constant * [1, 1 - 2.0**-52]
    last_bit[::2] = constant[::2]
    for rows in (constant, last_bit):
        assert fvu(rows, rows) == 0
        assert fvu(rows, rows * 1.01) == 1


def test_rounding_is_no_variance_of_rows_that_come_some_at_a_time():
    constant = np.full((100, 3), 0.1)
    parts = [constant[:1], constant[1:8], constant[8:]]
    assert fvu_of_chunks((part, part) for part in parts) == 0
    assert fvu_of_chunks((part, part + 1e-3) for part in parts) == 1


def test_the_least_variance_that_float64_holds_counts():
    rows = 1e6 + 1e-6 * RNG.normal(size=(100, 1))
    assert fvu(rows, rows.mean(axis=0)) == 1
    assert fvu(rows, rows + 1e-6) == pytest.approx(1, rel=0.3)
    assert fvu(rows, rows + 1e-7) == pytest.approx(0.01, rel=0.3)


@pytest.mark.parametrize("kind", [list, np.asarray, csr_array])
def test_dead_latents_never_fire(kind):
    assert dead_latents(kind([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]])) == pytest.approx(
        1 / 3
    )


@pytest.mark.parametrize("kind", [np.ndarray.tolist, pd.DataFrame, torch.from_numpy])
def test_fvu_takes_lists_frames_and_tensors(kind):
    assert fvu(kind(X), kind(X + 1)) == pytest.approx(fvu(X, X + 1))


@pytest.mark.parametrize("again", [X[:, :1], X[:5], X[:, 0]])
def test_fvu_refuses_reconstructions_of_another_shape(again):
    with pytest.raises(ValueError, match=r"X has shape \(30, 4\), but reconstruction"):
        fvu(X, again)


def test_fvu_refuses_no_rows_and_sparse_ones():
    with pytest.raises(ValueError, match="0 sample"):
        fvu(X[:0], X[:0])
    with pytest.raises(TypeError, match="Sparse data was passed for reconstruction"):
        fvu(X, csr_array(X))


@pytest.mark.parametrize("Z", [X[0], X[:, :0], X[:0], np.full((2, 2), np.nan)])
def test_dead_latents_refuses_what_are_no_latents(Z):
    with pytest.raises(ValueError, match=r"Expected 2D|minimum of 1|contains NaN"):
        dead_latents(Z)
