"""python -m sk_eqsae info."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from sk_eqsae import ActivationTransformFitter, EquivariantSAE, TopKSAE, load, save
from sk_eqsae.__main__ import main
from sk_eqsae.groups import DihedralGroup
from sk_eqsae.persistence._files import FORMAT_VERSION
from sk_eqsae.sae import Recipe

from .fitted import CASES, fitted
from .instances import name

SAVEABLE = [i for i, (e, _) in enumerate(CASES) if "PCA" not in name(e)]


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
    assert found["format_version"] == FORMAT_VERSION
    assert found["bytes"] == path.stat().st_size
    of_the_program = {"checkpoint", "device"}
    assert set(found["parameters"]) == {*loaded.get_params(deep=False)} - of_the_program
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
    monkeypatch.setattr("safetensors.deserialize", None)
    monkeypatch.setattr("sk_eqsae._tensors.np.frombuffer", None)
    assert run("info", tmp_path / "M") == 0
    assert "float64 array, 4 x 4" in capsys.readouterr().out


def test_info_is_for_people_without_json(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(20, 4))
    sae = EquivariantSAE(
        8, symmetry=1, k=2, hidden_dim=3, max_epochs=1, recipe=Recipe(aux_weight=0.5)
    )
    save(sae.fit(X), tmp_path / "sae")
    assert run("info", tmp_path / "sae") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("EquivariantSAE, fitted: ")
    found = {tuple(line.split(maxsplit=1)) for line in lines if line.startswith("  ")}
    assert ("k", "2") in found
    assert ("coefs_.1", "float32 array, 3 x 8") in found
    assert ("activation_transform_.M_", "float64 array, 4 x 4") in found
    assert any(n == "recipe" and "aux_weight=0.5" in text for n, text in found)


def test_info_of_what_is_not_fitted(tmp_path, capsys):
    save(ActivationTransformFitter(symmetry=DihedralGroup(4)), tmp_path / "M")
    assert run("info", tmp_path / "M") == 0
    out = capsys.readouterr().out
    assert out.startswith("ActivationTransformFitter, not fitted: ")
    assert '"DihedralGroup(n=4)"' in out


def test_names_in_a_file_cannot_drive_the_terminal(tmp_path, capsys):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 1)), columns=["\x1b[2J"])
    save(ActivationTransformFitter(symmetry=1).fit(X), tmp_path / "M")
    assert run("info", tmp_path / "M") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\u001b[2J" in out


@pytest.fixture
def sae_file(tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 2_000))
    frame = pd.DataFrame(
        X, columns=[f"unit {i:05d} of the résidual" for i in range(2_000)]
    )
    sae = TopKSAE(4, k=2, max_epochs=1, random_state=0).fit(frame)
    save(sae, tmp_path / "sae.safetensors")
    return tmp_path / "sae.safetensors"


def test_a_broken_file_is_one_line_and_status_1(sae_file, capsys):
    sae_file.write_bytes(sae_file.read_bytes()[:-1])
    err = error_of(capsys, "info", sae_file)
    assert err.startswith("sk_eqsae info: ")
    assert "cut short" in err
    missing = error_of(capsys, "info", "missing")
    assert missing == "sk_eqsae info: No such file or directory: missing\n"


@pytest.mark.parametrize("shape", [[2**40], [2**31, 2**31], [2**62, 2**62], [-1], [[]]])
def test_a_small_file_that_claims_a_large_array_is_refused(tmp_path, capsys, shape):
    X = np.random.default_rng(0).normal(size=(20, 4))
    save(ActivationTransformFitter(symmetry=1).fit(X), tmp_path / "M")
    content = (tmp_path / "M").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["M_"]["shape"] = shape
    text = json.dumps(header).encode()
    written = len(text).to_bytes(8, "little") + text + content[end:]
    (tmp_path / "M").write_bytes(written)
    assert "cannot read" in error_of(capsys, "info", tmp_path / "M")


@pytest.mark.parametrize("n_digits", [100, 4_000, 10_000])
def test_a_number_of_many_digits_is_refused(tmp_path, capsys, n_digits):
    path = tmp_path / "sae"
    save(TopKSAE(12345), path)
    text = path.read_bytes()[8:].replace(b"12345", b"9" * n_digits)
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    assert main(["info", str(path)]) == 1
    assert f"{n_digits} digits" in capsys.readouterr().err


def test_a_name_cannot_drive_the_terminal(capsys):
    assert "\\x1b[2J" in error_of(capsys, "info", "\x1b[2J")
    with pytest.raises(SystemExit):
        main(["info", "file", "\x1b[2J"])
    assert "\x1b" not in capsys.readouterr().err


def test_a_pipe_is_an_error_at_once(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in error_of(capsys, "info", tmp_path / "pipe")


def as_module(*arguments, **settings):
    command = [sys.executable, "-m", "sk_eqsae", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **settings)


def test_a_reader_that_has_seen_enough_is_no_error(sae_file):
    process = as_module("info", sae_file, stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.communicate(timeout=300)[1] == b""
    assert process.returncode == 0


def test_a_terminal_may_know_nothing_but_ascii(sae_file):
    settings = {"env": {**os.environ, "PYTHONIOENCODING": "ascii"}}
    process = as_module("info", sae_file, stdout=subprocess.PIPE, **settings)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, b"")
    assert b"r\\u00e9sidual" in out


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_without_a_terminal_has_no_streams(sae_file, monkeypatch, stream):
    monkeypatch.setattr(sys, stream, None)
    assert run("info", sae_file) == 0
    assert run("info", "missing") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--help"], 0, "a file of sk_eqsae.save"),
        ([], 2, "FILE"),
        (["explore", "x"], 2, "invalid choice"),
        (["info"], 2, "FILE"),
    ],
)
def test_help_and_wrong_arguments(capsys, arguments, status, message):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == status
    assert message in "".join(capsys.readouterr())


def test_it_runs_as_a_module(tmp_path):
    process = as_module("info", tmp_path / "missing")
    err = process.communicate(timeout=300)[1]
    assert process.returncode == 1
    assert err.startswith(b"sk_eqsae info: No such file or directory: ")
