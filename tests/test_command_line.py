"""python -m sk_eqsae: info, explore and export."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks.paper import MLPAutoencoder
from sk_eqsae import (
    ActivationTransformFitter,
    EquivariantSAE,
    TopKSAE,
    explore,
    load,
    save,
)
from sk_eqsae import groups as groups_module
from sk_eqsae.__main__ import _ACTIONS, main
from sk_eqsae.activations import extract_orbits
from sk_eqsae.datasets import make_shapes
from sk_eqsae.groups import (
    AxisRotation,
    ChannelPermutation,
    CubeRotation,
    CyclicShift,
    DihedralGroup,
    GridShift,
    ImageDihedral,
    ImageFlip,
    ImageRotation,
)
from sk_eqsae.sae import Recipe

from .fitted import CASES, fitted
from .inspection.explorer.turning import embedded
from .instances import name

SAVEABLE = [i for i, (e, _) in enumerate(CASES) if "PCA" not in name(e)]


@pytest.fixture
def saved(tmp_path, turning_orbits):
    """A TopKSAE, its M and its orbits, in files."""
    X, groups, power, _ = turning_orbits
    sae = TopKSAE(16, k=2, max_epochs=2, random_state=0).fit(X)
    save(sae, tmp_path / "sae.safetensors")
    fitter = ActivationTransformFitter().fit(X, groups=groups, power=power)
    save(fitter, tmp_path / "M.safetensors")
    inputs = X[power == 0].reshape(-1, 12)
    np.savez(tmp_path / "orbits.npz", X=X, groups=groups, power=power, inputs=inputs)
    return tmp_path


def run(*arguments):
    return main([str(argument) for argument in arguments])


def error_of(capsys, *arguments):
    """The one line on stderr of a command that fails."""
    assert run(*arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def shapes_of(estimator):
    """Shapes of the arrays among the attributes."""
    return {
        name: list(value.shape)
        for name, value in vars(estimator).items()
        if isinstance(value, np.ndarray) and value.dtype != object
    }


@pytest.mark.parametrize("case", SAVEABLE)
def test_info_names_what_the_loaded_estimator_has(tmp_path, capsys, case):
    path = tmp_path / "saved.safetensors"
    save(fitted(case), path)
    assert run("info", path, "--json") == 0
    found, loaded = json.loads(capsys.readouterr().out), load(path)
    assert found["class"] == type(loaded).__name__
    assert found["fitted"] is True
    assert found["format_version"] == 1
    assert found["bytes"] == path.stat().st_size
    assert set(found["parameters"]) == set(loaded.get_params(deep=False))
    assert found["attributes"]["n_features_in_"] == loaded.n_features_in_
    shapes = {
        name: value["shape"]
        for name, value in found["attributes"].items()
        if isinstance(value, dict) and set(value) == {"dtype", "shape"}
    }
    assert shapes == shapes_of(loaded)


def test_info_reads_no_array(tmp_path, capsys, monkeypatch):
    X = np.random.default_rng(0).normal(size=(20, 4))
    save(ActivationTransformFitter(symmetry=1).fit(X), tmp_path / "M")
    monkeypatch.setattr("sk_eqsae.persistence._files.read_array", None)
    monkeypatch.setattr("sk_eqsae._container.read_array", None)
    assert run("info", tmp_path / "M") == 0
    assert "float64 array, 4 x 4" in capsys.readouterr().out


def test_info_is_for_people_without_json(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(20, 4))
    sae = EquivariantSAE(8, k=2, hidden_dim=3, max_epochs=1, recipe=Recipe(lr=0.5))
    save(sae.fit(X), tmp_path / "sae")
    assert run("info", tmp_path / "sae") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("EquivariantSAE, fitted: ")
    found = {tuple(line.split(maxsplit=1)) for line in lines if line.startswith("  ")}
    assert ("k", "2") in found
    assert ("coefs_.1", "float32 array, 3 x 8") in found
    assert ("activation_transform_.M_", "float64 array, 4 x 4") in found
    assert any(n == "recipe" and '"lr": 0.5' in text for n, text in found)


def test_info_of_what_is_not_fitted(tmp_path, capsys):
    save(ActivationTransformFitter(symmetry=DihedralGroup(4)), tmp_path / "M")
    assert run("info", tmp_path / "M") == 0
    out = capsys.readouterr().out
    assert out.startswith("ActivationTransformFitter, not fitted: ")
    assert '"DihedralGroup(n=4)"' in out


def test_names_in_a_file_cannot_drive_the_terminal(tmp_path, capsys):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 1)), columns=["\x1b[2J"])
    save(ActivationTransformFitter(symmetry=1).fit(X), tmp_path / "M")
    assert run("info", tmp_path / "M") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\u001b[2J" in out


def test_a_broken_file_is_one_line_and_status_1(saved, capsys):
    path = saved / "broken"
    path.write_bytes((saved / "sae.safetensors").read_bytes()[:-1])
    for command in (["info", path], ["explore", path, path], ["export", path, path]):
        err = error_of(capsys, *command)
        assert err.startswith(f"sk_eqsae {command[0]}: ")
        assert "cut short" in err
    missing = error_of(capsys, "info", saved / "missing")
    assert missing == f"sk_eqsae info: No such file or directory: {saved / 'missing'}\n"


def test_explore_writes_the_page_with_everything_in_the_files(saved, capsys):
    labels = np.load(saved / "orbits.npz")["groups"] % 2
    with np.load(saved / "orbits.npz") as arrays:
        names = [f"feature {i}" for i in range(16)]
        np.savez(saved / "all.npz", **arrays, labels=labels, names=names)
    out = saved / "page.html"
    fitter = saved / "M.safetensors"
    arguments = ["--action", "CyclicShift", "--activation-transform", fitter]
    path = saved / "sae.safetensors"
    assert run("explore", path, saved / "all.npz", "--out", out, *arguments) == 0
    assert capsys.readouterr().out == f"{out}\n"
    data = embedded(out)
    assert data["classes"] == ["0", "1"]
    assert data["names"] == names
    assert data["irreps"] == ["trivial", "sign", "rotation 1"]
    assert (data["pictures"]["kind"], data["pictures"]["n_elements"]) == ("signal", 4)


@pytest.mark.filterwarnings("ignore:Poses are ambiguous")  # of four directions
def test_explore_takes_the_group_with_several_generators_from_the_file(tmp_path):
    images, action = make_shapes(4, random_state=0).images, ImageDihedral()
    orbits = extract_orbits(MLPAutoencoder(), images, layer="encoder", action=action)
    rows = {"groups": orbits.groups, "power": orbits.power}
    fitter = ActivationTransformFitter(symmetry=action.symmetry, n_components=4)
    sae = EquivariantSAE(
        8, k=2, symmetry=action.symmetry, activation_transform=fitter, max_epochs=1
    )
    save(sae.fit(orbits.X, **rows), tmp_path / "sae")
    np.savez(tmp_path / "orbits.npz", X=orbits.X, inputs=images, **rows)
    out = tmp_path / "page.html"
    arguments = ["--action", "ImageDihedral", "--out", out]
    assert run("explore", tmp_path / "sae", tmp_path / "orbits.npz", *arguments) == 0
    data = embedded(out)
    assert data["elements"][-1] == "r³ s"
    assert data["pictures"]["n_elements"] == 8


IMAGES, POINTS = (3, 1, 4, 4), (3, 5, 3)
ACTIONS = [
    (ImageRotation(4), [], IMAGES),
    (ImageFlip(), [], IMAGES),
    (ImageFlip(-2), [-2], IMAGES),
    (ImageDihedral(4), [], IMAGES),
    (CyclicShift(-1, 4), [], IMAGES),
    (CyclicShift(2, 4), [2], IMAGES),
    (GridShift((-2, -1), (2, 4)), [-2, -1], IMAGES),
    (ChannelPermutation(3), [], (3, 3, 8)),
    (ChannelPermutation(4, -1), [-1], IMAGES),
    (AxisRotation(0, 6), [0], POINTS),
    (CubeRotation(), [], POINTS),
]


def written(folder, action, shape):
    """A TopKSAE without M and a file of orbits, whose activations are the inputs."""
    inputs = np.random.default_rng(0).normal(size=shape)
    flat = torch.nn.Sequential(torch.nn.Flatten()).double()
    orbits = extract_orbits(flat, inputs, layer="0", action=action)
    sae = TopKSAE(8, k=2, max_epochs=1, random_state=0).fit(orbits.X)
    save(sae, folder / "sae")
    arrays = {"X": orbits.X, "groups": orbits.groups, "power": orbits.power}
    np.savez(folder / "orbits.npz", **arrays, inputs=inputs)
    return sae, orbits, inputs


def named(action, axes):
    option = ["--axis", *axes] if axes else []
    return ["--action", type(action).__name__, *option]


def test_every_action_of_the_package_is_known():
    public = [(name, getattr(groups_module, name)) for name in groups_module.__all__]
    actions = {name for name, one in public if "__call__" in vars(one)}
    assert {type(action).__name__ for action, *_ in ACTIONS} == actions
    assert set(_ACTIONS) == actions


@pytest.mark.parametrize(("action", "axes", "shape"), ACTIONS)
def test_an_action_is_made_from_the_powers_and_the_axis(tmp_path, action, axes, shape):
    sae, orbits, inputs = written(tmp_path, action, shape)
    expected = explore(
        sae, orbits, inputs, action=action, path=tmp_path / "expected.html"
    )
    files = [tmp_path / "sae", tmp_path / "orbits.npz"]
    out = tmp_path / "page.html"
    assert run("explore", *files, "--out", out, *named(action, axes)) == 0
    assert embedded(out) == embedded(expected)


def test_an_action_has_the_orders_of_m_where_powers_are_missing(tmp_path):
    action = GridShift((-2, -1), (2, 4))
    _, orbits, inputs = written(tmp_path, action, (9, 1, 4, 4))
    rows = {"groups": orbits.groups, "power": orbits.power}
    fitter = ActivationTransformFitter(symmetry=action.symmetry).fit(orbits.X, **rows)
    save(fitter, tmp_path / "M")
    some = orbits.power.max(axis=1) < 2
    arrays = {name: values[some] for name, values in rows.items()}
    np.savez(tmp_path / "some.npz", X=orbits.X[some], inputs=inputs, **arrays)
    out = tmp_path / "page.html"
    arguments = ["--activation-transform", tmp_path / "M", "--out", out]
    files = [tmp_path / "sae", tmp_path / "some.npz"]
    assert run("explore", *files, *arguments, *named(action, [-2, -1])) == 0
    assert embedded(out)["pictures"]["n_elements"] == 8


def test_an_action_says_the_group_even_without_inputs(tmp_path):
    sae, orbits, _ = written(tmp_path, ImageDihedral(4), IMAGES)
    with np.load(tmp_path / "orbits.npz") as arrays:
        kept = {name: arrays[name] for name in ("X", "groups", "power")}
    np.savez(tmp_path / "alone.npz", **kept)
    expected = explore(sae, orbits, path=tmp_path / "expected.html")
    out = tmp_path / "page.html"
    arguments = ["--action", "ImageDihedral", "--out", out]
    assert run("explore", tmp_path / "sae", tmp_path / "alone.npz", *arguments) == 0
    assert embedded(out) == embedded(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "power has 2 columns, one for each generator, and nothing says of which"),
        (["--axis", 1], "--axis was given without --action"),
        (
            ["--action", "AxisRotation"],
            "got no --axis: missing a required",
        ),
        (["--action", "ImageDihedral", "--axis", 1], "got --axis 1: too many"),
        (["--action", "CyclicShift", "--axis", 1, 2], "got --axis 1 2: too many"),
        (["--action", "GridShift", "--axis", -1], "one order for each axis"),
        (["--action", "ImageRotation"], "found (24, 2)"),
        (["--action", "CubeRotation"], "found shape (24, 2)"),
    ],
)
def test_an_action_that_does_not_fit_is_one_line(tmp_path, capsys, arguments, message):
    written(tmp_path, ImageDihedral(4), IMAGES)
    out = tmp_path / "page.html"
    files = [tmp_path / "sae", tmp_path / "orbits.npz"]
    err = error_of(capsys, "explore", *files, "--out", out, *arguments)
    assert message in err
    assert not out.exists()


@pytest.mark.parametrize("action", _ACTIONS)
def test_help_says_what_each_action_does(capsys, action):
    with pytest.raises(SystemExit):
        main(["explore", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"  {action} ") and len(line) > 25 for line in lines)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"groups": np.arange(3)}, "has to hold X, groups, power"),
        ({"X": np.eye(3), "groups": np.arange(3), "power": [0, 0, 0], "y": 1}, "y"),
        ({"X": np.array([{}], dtype=object)}, "allow_pickle=False"),
        ({"X": np.eye(3), "groups": np.arange(3), "power": [1, 0, 0]}, "power 0"),
    ],
)
def test_orbits_that_are_none_are_one_line(saved, capsys, arrays, message):
    np.savez(saved / "bad.npz", **arrays)
    out = saved / "page.html"
    err = error_of(
        capsys, "explore", saved / "sae.safetensors", saved / "bad.npz", "--out", out
    )
    assert message in err
    assert not out.exists()


def test_a_pickle_is_not_run_as_orbits(saved, capsys):
    path = saved / "orbits.pkl"
    np.array([{}], dtype=object).dump(path)
    assert "no file of numpy.savez" in error_of(
        capsys, "explore", saved / "sae.safetensors", path
    )


def test_what_cannot_be_explored_is_one_line(saved, capsys):
    err = error_of(capsys, "explore", saved / "M.safetensors", saved / "orbits.npz")
    assert "found ActivationTransformFitter" in err


@pytest.mark.parametrize("library", ["saelens", "dictionary_learning"])
def test_export_writes_the_folder(saved, capsys, library):
    folder = saved / library
    path = saved / "sae.safetensors"
    assert run("export", path, folder, "--format", library) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert folder.is_dir()
    assert "is there already" in error_of(capsys, "export", path, folder)


def test_what_cannot_be_exported_is_one_line(saved, capsys):
    err = error_of(capsys, "export", saved / "M.safetensors", saved / "folder")
    assert err.startswith("sk_eqsae export: ")
    assert not (saved / "folder").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["explore", "--help"], 0, "ORBITS.npz is a file of numpy.savez"),
        (["export", "--help"], 0, "dictionary_learning"),
        ([], 2, "COMMAND"),
        (["export", "x"], 2, "FOLDER"),
        (["explore", "x", "y", "--action", "z"], 2, "ImageRotation"),
    ],
)
def test_help_and_wrong_arguments(capsys, arguments, status, message):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == status
    assert message in "".join(capsys.readouterr())


def test_it_runs_as_a_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sk_eqsae", "info", str(tmp_path / "missing")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("sk_eqsae info: No such file or directory: ")
