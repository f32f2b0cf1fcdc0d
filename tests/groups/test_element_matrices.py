"""Matrices of all elements: the same however they are kept, and kept apart from M."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from sk_eqsae.groups import (
    CubeRotation,
    CyclicGroup,
    DihedralGroup,
    ProductGroup,
    SymmetricGroup,
    _element_matrices,
)
from sk_eqsae.groups._element_matrices import (
    averaged,
    element_matrices,
    moved_by_all,
)
from tests.inspection.representations import fitter_of

from .representations import known_representation

GROUPS = [
    CyclicGroup(1),
    CyclicGroup(13),
    DihedralGroup(4),
    SymmetricGroup(4),
    ProductGroup(CyclicGroup(3), CyclicGroup(4)),
    CubeRotation().symmetry,
]
any_group = pytest.mark.parametrize("group", GROUPS, ids=str)


def turning(order, n_features=8):
    """A fitter of which M turns each plane by some steps of a cyclic group."""
    M = np.zeros((n_features, n_features))
    for k in range(0, n_features, 2):
        angle = 2 * np.pi * (1 + k // 2) / order
        cos, sin = np.cos(angle), np.sin(angle)
        M[k : k + 2, k : k + 2] = [[cos, -sin], [sin, cos]]
    powers = np.array([np.linalg.matrix_power(M, p) for p in range(order)])
    return fitter_of(CyclicGroup(order), powers)


@pytest.fixture(params=["all powers", "steps", "nothing"])
def kept(request, monkeypatch):
    """Room for all powers of 13 matrices (24, 24), for the 8 steps, or for none."""
    room = {"all powers": 2**26, "steps": 10 * 8 * 26**2, "nothing": 0}
    monkeypatch.setattr(_element_matrices, "_MOST_KEPT", room[request.param])
    return request.param


@any_group
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_moved_by_all_are_those_of_each_element(group, dtype, kept):
    M = known_representation(group)
    fitter = FrozenEstimator(fitter_of(group, M))
    X = np.random.default_rng(0).normal(size=(5, M.shape[1])).astype(dtype)
    moved = dict(moved_by_all(fitter, X))
    assert sorted(moved) == list(range(group.order))
    tolerance = 1e-9 if dtype == np.float64 else 1e-2
    for element, rows in moved.items():
        assert rows.dtype == dtype
        np.testing.assert_allclose(rows, X @ M[element].T, atol=tolerance)
    np.testing.assert_allclose(element_matrices(fitter), M, atol=1e-9)
    np.testing.assert_allclose(
        averaged(fitter, X[0]), M.mean(axis=0) @ X[0], rtol=1e-4, atol=tolerance
    )


def test_each_row_is_moved_by_its_own_power(kept):
    fitter = turning(13)
    X = np.random.default_rng(0).normal(size=(60, 8))
    power = np.random.default_rng(1).integers(-13, 40, size=60)
    expected = [np.linalg.matrix_power(fitter.M_, p % 13) for p in power]
    moved = np.einsum("nij,nj->ni", expected, X)
    np.testing.assert_allclose(fitter.act(X, power), moved, atol=1e-12)
    np.testing.assert_allclose(fitter.act(X, power.astype(float)), moved, atol=1e-12)


def test_few_powers_make_all_where_not_all_can_be_kept(monkeypatch):
    size = 8 * 8**2
    monkeypatch.setattr(_element_matrices, "_MOST_KEPT", 40 * size)
    fitter = turning(360)
    X = np.random.default_rng(0).normal(size=(360, 8))
    moved = fitter.act(X, np.arange(360))
    np.testing.assert_allclose(fitter.inverse_transform(X), fitter.act(X, -1))
    matrices = _element_matrices.matrices_of(fitter)
    assert 0 < len(matrices._kept) <= 40
    expected = [x @ np.linalg.matrix_power(fitter.M_, p).T for p, x in enumerate(X)]
    np.testing.assert_allclose(moved, expected, atol=1e-10)


def test_whole_powers_build_no_weights(monkeypatch):
    fitter = turning(12)
    monkeypatch.setattr(_element_matrices, "power_weights", None)
    X = np.ones((3, 8))
    fitter.act(X, [1.0, -2.0, 12.0])
    fitter.matrix(5.0)
    with pytest.raises(TypeError):
        fitter.act(X, 0.5)


def test_memory_of_act_does_not_grow_with_the_square_of_the_order():
    fitter = turning(1000)
    X = np.random.default_rng(0).normal(size=(1000, 8))
    tracemalloc.start()
    fitter.act(X, np.arange(1000))
    fitter.act(X[:50], np.linspace(0, 1, 50))  # powers between need weights
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # order^2 entries for each row would be 8 GB


@pytest.mark.parametrize("change", ["replaced", "written into", "of another group"])
def test_kept_powers_follow_m(change):
    fitter = turning(4)
    X = np.random.default_rng(0).normal(size=(5, 8))
    before = fitter.act(X, 6)
    if change == "replaced":
        fitter.M_ = np.diag(np.arange(1.0, 9.0))
    elif change == "written into":
        fitter.M_[0, 0] += 1
    else:
        fitter.symmetry_ = CyclicGroup(3)
    power = 6 % fitter.symmetry_.order
    expected = X @ np.linalg.matrix_power(fitter.M_, power).T
    np.testing.assert_allclose(fitter.act(X, 6), expected, atol=1e-12)
    assert not np.allclose(fitter.act(X, 6), before)


def test_kept_powers_are_no_part_of_the_fitter():
    fitter = turning(4)
    before, size = vars(fitter).copy(), len(pickle.dumps(fitter))
    for p in range(4):
        fitter.act(np.ones((2, 8)), p)
    assert vars(fitter) == before
    assert len(pickle.dumps(fitter)) == size
    other = copy.deepcopy(fitter)
    other.M_ = np.eye(8)
    assert np.array_equal(other.act(np.ones((2, 8)), 1), np.ones((2, 8)))


def test_what_act_and_matrix_return_may_be_written_into():
    fitter, X = turning(4), np.ones((2, 8))
    for p in range(4):
        expected = fitter.matrix(p).copy()
        fitter.matrix(p)[:] = 7
        fitter.act(X, p)[:] = 7
        np.testing.assert_array_equal(fitter.matrix(p), expected)
    assert (X == 1).all()
