"""Rows in several files look like one array and are read when they are asked for."""

import os
import sys

import numpy as np
import pytest

from sk_eqsae.activations import Shards

X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
PARTS = np.split(X, [1, 9, 9, 20])  # the third is empty


@pytest.fixture
def folder(tmp_path):
    for i, part in enumerate(PARTS):
        np.save(tmp_path / f"rows-{8 + i}.npy", part)  # 8, 9, 10, 11, 12
    return tmp_path


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(0, 1),
        slice(5, 25),
        slice(-3, None),
        slice(25, 5),
        slice(28, 2, -3),
        7,
        -1,
        np.array([3, 29, -30, 3, 9, 8]),
        np.array([], dtype=np.int64),
        [1, 2, 3],
        X[:, 0] > 0,
        (slice(2, 12), 1),
    ],
    ids=str,
)
def test_rows_are_those_of_the_array(folder, key):
    expected = X[key]
    found = Shards(folder)[key]
    assert np.array_equal(found, expected)
    assert found.dtype == X.dtype


def test_files_are_in_the_order_of_the_numbers_in_their_names(folder):
    shards = Shards(folder)
    assert shards.shape == X.shape
    assert (len(shards), shards.ndim, shards.nbytes) == (30, 2, X.nbytes)
    assert np.array_equal(shards[:], X)


def test_a_list_of_files_is_taken_as_it_is(folder):
    files = [folder / "rows-12.npy", folder / "rows-8.npy"]
    assert np.array_equal(Shards(files)[:], np.vstack([PARTS[4], PARTS[0]]))
    assert np.array_equal(Shards(files[0])[:], PARTS[4])


@pytest.mark.parametrize("key", [30, -31, [0, 30]])
def test_a_row_that_does_not_exist_is_an_error(folder, key):
    with pytest.raises(IndexError, match="of 30 rows does not exist"):
        Shards(folder)[key]


@pytest.mark.parametrize("key", [1.5, [[1, 2]], "rows"])
def test_other_keys_are_an_error(folder, key):
    with pytest.raises(IndexError, match="a slice, a number, or an array of numbers"):
        Shards(folder)[key]


def test_shards_never_become_one_array_by_accident(folder):
    with pytest.raises(TypeError, match=r"as one array. Read some of its rows"):
        np.asarray(Shards(folder))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 5), dtype=np.float32), "holds 5 features of float32, but"),
        (np.zeros((3, 4)), "holds 4 features of float64, but"),
        (np.zeros(4, dtype=np.float32), r"of shape \(n_rows, n_features\)"),
        (np.zeros((3, 4), dtype=np.complex64), "found complex64"),
        (np.zeros((4, 3), dtype=np.float32).T, "in Fortran order"),
        (np.array([["a"]], dtype=object), "no whole .npy file of numbers"),
    ],
    ids=str,
)
def test_a_file_that_does_not_fit_is_named(folder, array, message):
    np.save(folder / "rows-99.npy", array)
    with pytest.raises(ValueError, match=rf"rows-99.npy.*{message}"):
        Shards(folder)


def test_a_file_that_is_cut_short_is_named(folder):
    path = folder / "rows-12.npy"
    shards = Shards(folder)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"rows-12.npy has become shorter"):
        shards[:]
    with pytest.raises(ValueError, match=r"rows-12.npy is no whole"):
        Shards(folder)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"holds no .npy files"):
        Shards(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_pipe_is_an_error_at_once(folder):
    """To open one would wait for whoever writes to it, for ever."""
    shards = Shards(folder)
    (folder / "rows-9.npy").unlink()
    os.mkfifo(folder / "rows-9.npy")
    with pytest.raises(OSError, match="no regular file"):
        shards[:]
    with pytest.raises(OSError, match="no regular file"):
        Shards(folder)
