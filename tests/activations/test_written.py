"""extract_orbits(out=...) writes files, and goes on after a kill."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from sk_eqsae import EquivariantSAE
from sk_eqsae.activations import Shards, _written, extract_orbits
from sk_eqsae.groups import CyclicShift, ImageDihedral

INPUTS = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
LOOKS = 3 + 1  # calls that apply the generator in turn, and try an input by itself
FILES = [f"{i:06d}.npy" for i in range(5)]  # of 2 batches of 2 orbits of order 3


def net(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU())


class Counted:
    """An action that counts its calls, and may kill the process at one of them."""

    symmetry = 3

    def __init__(self, killed_at=None):
        self.n, self.killed_at = 0, killed_at

    def __call__(self, inputs, power):
        self.n += 1
        if self.n == self.killed_at:
            os.kill(os.getpid(), 9)
        return np.roll(inputs, 2 * power, axis=-1)

    def __reduce__(self):
        return type(self), ()  # the same, however often it was called


def extract(action, out=None, **changes):
    arguments = {"model": net(), "inputs": INPUTS, "layer": "1", "batch_size": 2}
    return extract_orbits(**(arguments | changes), action=action, out=out)


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(_written, "_FILE_BYTES", 200)  # a batch has 96 bytes


def be_killed(folder):
    _written._FILE_BYTES = 200
    extract(Counted(killed_at=LOOKS + 12 + 4), folder)  # in the third file


def test_after_a_kill_only_what_is_missing_is_computed(tmp_path):
    code = f"from tests.activations.test_written import *; be_killed({str(tmp_path)!r})"
    killed = subprocess.run([sys.executable, "-c", code], check=False, timeout=300)
    assert killed.returncode == -9
    there = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    part = ".000002-1-6.npy"  # a batch of 6 rows
    assert sorted(there) == [part, *FILES[:2]]
    with open(tmp_path / part, "ab") as file:
        file.write(bytes(70))  # of a batch that was being written
    action = Counted()
    orbits = extract(action, tmp_path)
    # files, batches, but for that one, one to compare, powers
    assert action.n == LOOKS + (3 * 2 - 1 + 1) * 3
    del there[part]
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in there} == there
    assert sorted(os.listdir(tmp_path)) == [*FILES, "orbits.json"]
    assert isinstance(orbits.X, Shards)
    assert np.array_equal(orbits.X[:], extract(Counted()).X)


class Interrupted(Counted):
    """An action during which Ctrl-C is pressed."""

    def __call__(self, inputs, power):
        moved = super().__call__(inputs, power)
        if self.n == LOOKS + 12 + 4:
            raise KeyboardInterrupt
        return moved


def test_files_of_several_layers_are_gone_on_with(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        extract(Interrupted(), tmp_path, layer=["0", "1"])
    there = sorted(path.name for path in (tmp_path / "0").iterdir())
    assert there == [".000002-1-6.npy", *FILES[:2]]
    (tmp_path / "1" / FILES[1]).unlink()
    (tmp_path / "0" / there[0]).unlink()
    action = Interrupted()
    action.n = 100  # past Ctrl-C
    orbits = extract(action, tmp_path, layer=["0", "1"])
    # the batches of a file of one layer, that of a part, the rest, one to compare
    assert action.n == 100 + LOOKS + (2 + 1 + 5 + 1) * 3
    for layer, expected in extract(Counted(), layer=["0", "1"]).items():
        assert np.array_equal(orbits[layer].X[:], expected.X)
        assert sorted(os.listdir(tmp_path / layer)) == FILES


def test_activations_on_the_disk_are_those_in_memory(tmp_path):
    expected = extract(Counted())
    orbits = extract(Counted(), tmp_path / "new" / "folder")
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == [*FILES, "orbits.json"]
    for name in ("groups", "power", "canonical"):
        assert np.array_equal(getattr(orbits, name), getattr(expected, name))
    train, _ = orbits.split(random_state=0)
    assert np.array_equal(train.X, expected.split(random_state=0)[0].X)
    again = Counted()
    assert np.array_equal(extract(again, tmp_path / "new" / "folder").X[:], expected.X)
    assert again.n == LOOKS + 3  # one batch, to compare


def test_an_estimator_takes_what_was_written(tmp_path):
    sae = EquivariantSAE(8, k=2, hidden_dim=4, max_epochs=2, random_state=0)
    scores = []
    for orbits in (extract(Counted(), tmp_path), extract(Counted())):
        sae.fit(orbits.X, **orbits.metadata)
        scores.append(sae.score(orbits.X, **orbits.metadata))
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": net(1)}, "another model"),
        ({"inputs": INPUTS[::-1]}, "another inputs"),
        ({"inputs": torch.tensor(INPUTS[:4])}, "another inputs"),
        ({"layer": "0"}, "another layer"),
        ({"action": CyclicShift(axis=-1, order=3)}, "another action"),
        ({"batch_size": 3}, "another batch_size"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_folder_of_another_job_is_an_error(changes, message, tmp_path):
    extract(Counted(), tmp_path)
    action = changes.pop("action", Counted())
    with pytest.raises(ValueError, match=f"activations of {message}"):
        extract(action, tmp_path, **changes)


class Scaled(torch.nn.Module):
    """Reads an attribute that neither str nor state_dict shows."""

    def __init__(self, scale=1.0, noise=0.0):
        super().__init__()
        self.scale, self.noise = scale, noise

    def forward(self, x):
        return x * self.scale + self.noise * torch.rand_like(x)


@pytest.mark.parametrize("first_file", ["there", "removed"])
def test_a_model_that_differs_by_an_attribute_is_an_error(first_file, tmp_path):
    extract(Counted(), tmp_path, model=Scaled(), layer="")
    if first_file == "removed":
        (tmp_path / FILES[0]).unlink()
    there = sorted(os.listdir(tmp_path))
    with pytest.raises(ValueError, match="activations of another model or action"):
        extract(Counted(), tmp_path, model=Scaled(2.0), layer="")
    assert sorted(os.listdir(tmp_path)) == there


def test_a_model_in_another_dtype_is_an_error(tmp_path):
    extract(Counted(), tmp_path)
    with pytest.raises(ValueError, match="activations of another model or action"):
        extract(Counted(), tmp_path, model=net().double())


def test_a_lambda_of_other_code_is_an_error(tmp_path):
    extract(lambda x, p: np.roll(x, p, -1), tmp_path, symmetry=6)
    with pytest.raises(ValueError, match="activations of another model or action"):
        extract(lambda x, p: np.roll(x, -p, -1), tmp_path, symmetry=6)


@pytest.mark.parametrize(
    ("dtype", "rounding"), [(np.float32, 1e-3), (np.float64, 1e-9)]
)
def test_rows_rounded_on_another_device_are_taken(dtype, rounding, tmp_path):
    model = net().to(torch.float64 if dtype == np.float64 else torch.float32)
    extract(Counted(), tmp_path, model=model)
    for path in tmp_path.glob("*.npy"):
        rounded = np.load(path) * (1 + rounding)
        np.save(path, rounded.astype(dtype))
    there = Shards(tmp_path)[:]
    assert np.array_equal(extract(Counted(), tmp_path, model=model).X[:], there)


def test_a_model_that_draws_random_numbers_goes_on(tmp_path):
    model = Scaled(noise=1.0)
    first = extract(Counted(), tmp_path, model=model, layer="").X[:12]
    (tmp_path / FILES[-1]).unlink()
    again = extract(Counted(), tmp_path, model=model, layer="").X
    assert again.shape == (60, 6)
    assert np.array_equal(again[:12], first)


def test_a_folder_with_other_files_is_an_error(tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros(3))
    with pytest.raises(ValueError, match="but not of extract_orbits"):
        extract(Counted(), tmp_path)
    assert os.listdir(tmp_path) == ["mine.npy"]


@pytest.mark.parametrize("length", [0, 90, 200])
def test_a_file_that_is_cut_short_is_named(length, tmp_path):
    expected = extract(Counted(), tmp_path).X[:]
    os.truncate(tmp_path / FILES[0], length)
    with pytest.raises(ValueError, match=rf"{FILES[0]} is no whole .* remove it and"):
        extract(Counted(), tmp_path)
    (tmp_path / FILES[0]).unlink()
    assert np.array_equal(extract(Counted(), tmp_path).X[:], expected)


def test_an_action_that_was_used_is_still_the_same(tmp_path):
    action, images = ImageDihedral(4), np.ones((3, 1, 8, 8), dtype=np.float32)
    model = torch.nn.Flatten()
    for _ in range(2):
        arguments = {"layer": "", "action": action, "out": tmp_path}
        assert extract_orbits(model, images, **arguments).symmetry == action.symmetry


def test_a_function_without_a_name_can_be_an_action(tmp_path):
    for _ in range(2):
        extract(lambda x, p: np.roll(x, p, -1), tmp_path, symmetry=6)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_folder_whose_list_is_a_pipe_is_an_error_at_once(tmp_path):
    os.mkfifo(tmp_path / "orbits.json")
    with pytest.raises(OSError, match="no regular file"):
        extract(Counted(), tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "{}", "[" * 70_000, None])
def test_a_folder_whose_list_is_spoilt_is_an_error(tmp_path, content):
    extract(Counted(), tmp_path)
    path = tmp_path / "orbits.json"
    if content is None:
        content = path.read_text().replace('"batches_per_file": 2', '"x": 2')
        assert "batches" not in content
    path.write_text(content)
    with pytest.raises(ValueError, match=r"orbits\.json|holds activations of another"):
        extract(Counted(), tmp_path)
