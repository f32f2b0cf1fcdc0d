"""Files of every format that was released load, and give what they gave."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from sk_eqsae import load, save
from sk_eqsae.persistence._classes import KINDS
from sk_eqsae.persistence._files import FORMAT_VERSION
from tests.fitted import data
from tests.persistence_files import FOLDER, PARAMETERS

FILES = sorted(FOLDER.glob("format_*/*.safetensors"))


def short(path):
    return f"{path.parent.name}-{path.stem}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.stem != "parameters"], ids=short
)
def test_a_kept_file_gives_the_outputs_that_it_gave(path):
    with np.load(path.parent / "outputs.npz") as outputs:
        X, expected = outputs["X"], outputs[path.stem]
    estimator = load(path)
    if hasattr(estimator, "feature_names_in_"):
        X = pd.DataFrame(X, columns=estimator.feature_names_in_)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(estimator.transform(X), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.stem == "parameters"], ids=short
)
def test_a_kept_file_has_the_parameters_that_it_had(path):
    estimator = load(path)
    assert repr(estimator) == repr(PARAMETERS)
    assert estimator.group == PARAMETERS.group
    assert estimator.recipe == PARAMETERS.recipe
    assert type(estimator.n_components) is np.int64


def test_the_sums_of_a_kept_file_can_be_added_to():
    X, _, metadata = data()
    loaded = load(FOLDER / "format_1" / "sums.safetensors")
    before = loaded.M_.copy()
    loaded.partial_fit(X, **metadata)  # the same orbits again
    np.testing.assert_allclose(loaded.M_, before, atol=1e-6)


def test_every_class_and_the_present_format_have_kept_files():
    now = FOLDER / f"format_{FORMAT_VERSION}"
    loaded = [load(path) for path in FILES if path.parent == now]
    kinds = {type(estimator).__name__ for estimator in loaded}
    assert kinds | {"FrozenEstimator"} == set(KINDS)


@pytest.mark.parametrize("path", FILES, ids=short)
def test_a_kept_file_saved_again_holds_the_same_arrays(path, tmp_path):
    save(load(path), tmp_path / "again")
    now, then = map(load_file, (tmp_path / "again", path))
    assert set(now) == set(then)
    assert all(np.array_equal(now[name], then[name]) for name in now)
