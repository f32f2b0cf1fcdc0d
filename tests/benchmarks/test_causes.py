from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from benchmarks.causes import _canonical_rows, _codes, _latents_kept
from benchmarks.causes._checks import CHECKS, compute
from benchmarks.paper._profiles import PROFILES
from sk_eqsae.activations import Orbits

from .paper_run import TINY

SMALL = replace(
    TINY,
    base_epochs={"mlp": 1, "cnn": 1},
    sae_epochs={"default": 8, "paper": 1},
    n_components=256,
)


@pytest.fixture(scope="module")
def table_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, "small", SMALL)
        patch.setattr(_latents_kept, "TASKS_PER_KIND", 1)
        yield lambda name: compute(name, "small", folder, 1, "cpu")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", CHECKS)
def test_every_case_of_a_check_has_a_row_and_is_kept(table_of, name, monkeypatch):
    table = table_of(name)
    assert len(table) == len(CHECKS[name].CASES)
    assert not table.drop(columns="at_one_power", errors="ignore").isna().all().any()
    monkeypatch.delattr(CHECKS[name], "measure")
    pd.testing.assert_frame_equal(table_of(name), table)


def test_all_reconstructions_are_from_the_latents_that_are_named(table_of):
    table = table_of("latents_kept")
    assert table.latents.tolist() == 2 * [1, 2, 4, 256]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_parts_of_the_recipe_are_left_out_one_by_one(table_of):
    table = table_of("codes")
    short = table[table.epochs == 1].tail(7)
    assert list(short.recipe) == [
        "default",
        "no consistency loss",
        *_codes.WITHOUT,
    ]
    assert not short.drop(columns="recipe").duplicated().any()


def test_all_rows_of_an_orbit_are_renumbered_as_most_of_them_are_told():
    class Judge:
        def predict_power(self, X):
            return X[:, 0].astype(int)

    told = np.array([3, 0, 1, 2, 0, 1, 2, 1])  # of the second orbit one is wrong
    orbits = Orbits(told[:, None], np.repeat([7, 3], 4), np.tile(np.arange(4), 2))
    renumbered = _canonical_rows.by_vote(Judge(), orbits)
    assert_array_equal(renumbered.power, [3, 0, 1, 2, 0, 1, 2, 3])
    assert_array_equal(renumbered.groups, orbits.groups)
    assert_array_equal(renumbered.X, orbits.X)


def test_twins_are_close_and_fire_at_one_power_each():
    D = np.array([[1, 0, 0], [3, 0.1, 0], [0, 1, 1]])
    assert_allclose(_codes._closest(D).round(3), [0.999, 0.999, 0.024])
    power = np.tile(np.arange(4), 5)
    turns = np.zeros((20, 2))
    turns[power == 1, 0] = turns[:, 1] = 1
    assert _codes._largest_share(csr_array(turns[:, :1]), power) == 1
    assert _codes._largest_share(csr_array(turns[:, 1:]), power) == 0.25
    assert _codes._largest_share(csr_array(turns), power) == 0.625
    assert np.isnan(_codes._largest_share(csr_array(turns[:, :0]), power))
