import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import r2_score

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


@pytest.mark.parametrize("kind", [list, np.asarray, csr_array])
def test_dead_latents_never_fire(kind):
    assert dead_latents(kind([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]])) == pytest.approx(
        1 / 3
    )
