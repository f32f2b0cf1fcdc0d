"""scikit-learn's checks over every estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.instances import INSTANCES


@parametrize_with_checks(INSTANCES)
def test_scikit_learn_check(estimator, check):
    check(estimator)
