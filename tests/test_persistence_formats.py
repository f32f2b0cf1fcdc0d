"""Files of the present format load, and give what they gave when they were written."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from sk_eqsae import load, save
from sk_eqsae.persistence._kinds import KINDS
from tests.fitted import data
from tests.persistence_files import FOLDER, PARAMETERS

FILES = sorted(FOLDER.glob("*.safetensors"))
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.stem != "parameters"], ids=lambda path: path.stem
)
def test_a_kept_file_gives_the_outputs_that_it_gave(path):
    with np.load(FOLDER / "outputs.npz") as outputs:
        X, expected = outputs["X"], outputs[path.stem]
    estimator = load(path)
    if hasattr(estimator, "feature_names_in_"):
        X = pd.DataFrame(X, columns=estimator.feature_names_in_)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(estimator.transform(X), expected, rtol=1e-6, atol=1e-6)


def test_a_kept_file_has_the_parameters_that_it_had():
    frozen = load(FOLDER / "parameters.safetensors")
    assert repr(frozen) == repr(PARAMETERS)
    estimator = frozen.estimator
    assert estimator.symmetry == PARAMETERS.estimator.symmetry
    assert estimator.recipe == PARAMETERS.estimator.recipe
    assert type(estimator.n_components) is np.int64


def test_the_sums_of_a_kept_file_can_be_added_to():
    X, _, metadata = data()
    loaded = load(FOLDER / "fitter.safetensors")
    before = loaded.M_.copy()
    loaded.partial_fit(X, **metadata)  # the same orbits again
    np.testing.assert_allclose(loaded.M_, before, atol=1e-6)


def test_every_class_has_a_kept_file():
    kinds = {type(load(path)).__name__ for path in FILES}
    assert kinds == set(KINDS)


@every_file
def test_a_kept_file_saved_again_holds_the_same_arrays(path, tmp_path):
    save(load(path), tmp_path / "again")
    now, then = map(load_file, (tmp_path / "again", path))
    assert set(now) == set(then)
    assert all(np.array_equal(now[name], then[name]) for name in now)
