"""A file is the old one or the new one, whatever happens in the middle of a write."""

import errno
import multiprocessing
import os
import resource
import signal
import socket
import stat
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sk_eqsae import ActivationTransformFitter, TopKSAE, export, load, save
from sk_eqsae._atomic import atomic_folder
from sk_eqsae.persistence import atomic_write

N_STOPS = 8
LARGE = 1_500  # features: M has 18 MB

# one server imports the package for all children
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload([__name__])


def fitter(n_features, seed=0):
    """Make a file of a known size quickly: M is set, not fitted."""
    X = np.random.default_rng(seed).normal(size=(2, n_features))
    fitted = ActivationTransformFitter(symmetry=1).fit(X)
    fitted.M_ = np.full((n_features, n_features), float(seed))
    return fitted


@contextmanager
def killed(function, path):
    """Run a function of a path and an event in a child, and kill that at the end."""
    ready = CHILDREN.Event()
    process = CHILDREN.Process(target=function, args=(path, ready))
    process.start()
    assert ready.wait(120)
    try:
        yield process
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL


def error_on_a_full_disk(function, *args):
    """Number of the OSError that a function raises in a child that may write little."""
    with CHILDREN.Pool(1) as child:
        return child.apply(_error_on_a_full_disk, (function, *args))


def _error_on_a_full_disk(function, *args):
    write = function(*args[:-1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        write(args[-1])
    except OSError as error:
        return error.errno
    return None


def unfinished(folder):
    return [name for name in os.listdir(folder) if ".part" in name]


@pytest.fixture
def old(tmp_path):
    """A file that is there before; its M is all zeros."""
    path = tmp_path / "model.safetensors"
    save(fitter(3), path)
    return path


def write_half(path, ready):
    def half(part, content):
        with open(part, "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            ready.set()
            time.sleep(60)

    Path.write_bytes = half
    save(fitter(3, seed=1), path)


def test_a_kill_in_the_middle_of_the_data_leaves_the_old_file(old):
    before = old.read_bytes()
    with killed(write_half, old):
        pass
    assert old.read_bytes() == before
    assert not load(old).M_.any()
    assert len(unfinished(old.parent)) == 1


def write_without_a_disk(path, ready):
    def stop(descriptor):
        ready.set()
        time.sleep(60)

    os.fsync = stop
    save(fitter(3, seed=1), path)


def test_a_kill_before_the_data_are_on_the_disk_leaves_the_old_file(old):
    before = old.read_bytes()
    with killed(write_without_a_disk, old):
        pass
    assert old.read_bytes() == before


def write_all_the_time(path, ready):
    models = [fitter(LARGE, seed) for seed in (1, 2)]
    ready.set()
    while True:
        for model in models:
            save(model, path)


def test_kills_at_any_time_leave_a_whole_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save(fitter(LARGE), path)
    rng, seeds = np.random.default_rng(0), set()
    with killed(write_all_the_time, path) as process:
        for _ in range(N_STOPS):
            # stopped in the middle of whatever it does, the file has to be whole
            time.sleep(rng.uniform(0.01, 0.1))
            os.kill(process.pid, signal.SIGSTOP)
            M = load(path).M_
            assert M.min() == M.max()
            seeds.add(M[0, 0])
            os.kill(process.pid, signal.SIGCONT)
    M = load(path).M_
    assert M.min() == M.max()
    assert seeds & {1, 2}  # it did write


def saved():
    return partial(save, fitter(300, seed=1))


def test_a_full_disk_leaves_the_old_file_and_no_other(old):
    before = old.read_bytes()
    assert error_on_a_full_disk(saved, old) == errno.EFBIG
    assert old.read_bytes() == before
    assert unfinished(old.parent) == []


def exported(library):
    X = np.random.default_rng(0).normal(size=(50, 100))
    sae = TopKSAE(400, k=2, max_epochs=1, random_state=0).fit(X)
    return partial(export, sae, format=library)


@pytest.mark.parametrize("library", ["saelens", "dictionary_learning"])
def test_an_export_to_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path, library):
    found = error_on_a_full_disk(exported, library, tmp_path / "folder")
    assert found == errno.EFBIG
    assert os.listdir(tmp_path) == []


def test_an_error_in_the_middle_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail():
        with atomic_write(path) as part:
            part.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_file_and_folder_are_on_the_disk_in_the_right_order(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace

    def log_fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        events.append("folder" if is_folder else "file")
        fsync(descriptor)

    def log_replace(*args):
        events.append("rename")
        replace(*args)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(os, "replace", log_replace)
    monkeypatch.setattr(os, "rename", log_replace)
    save(fitter(3), tmp_path / "model")
    assert events == ["file", "rename", "folder"]


def test_permissions_are_the_old_ones_or_the_usual_ones(tmp_path):
    usual, new, old = (tmp_path / name for name in ("usual", "new", "old"))
    usual.write_text("")
    with atomic_write(new) as part:
        part.write_text("new")
    assert new.stat().st_mode == usual.stat().st_mode
    old.write_text("old")
    old.chmod(0o640)
    with atomic_write(old) as part:
        part.write_text("new")
    assert stat.S_IMODE(old.stat().st_mode) == 0o640


def test_a_link_keeps_pointing_to_the_file_that_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    with atomic_write(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_the_part_is_in_the_same_folder_and_keeps_the_suffix(tmp_path):
    with atomic_write(tmp_path / "figure.png") as part:
        assert part.parent == tmp_path
        assert part.suffix == ".png"
        assert part.name.startswith(".figure.")


def test_results_are_written_by_nothing_else():
    """No place in the package or the benchmarks opens its results by itself."""
    root = os.path.dirname(os.path.dirname(__file__))
    writes = (".to_csv(", ".savefig(", ".write_text(", "np.savez(", '"w")', '"wb")')
    found = []
    for room in ("sk_eqsae", "benchmarks"):
        for folder, _, names in os.walk(os.path.join(root, room)):
            for name in filter(lambda name: name.endswith(".py"), names):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    found += [
                        f"{name}: {line.strip()}"
                        for line in file
                        if any(write in line for write in writes)
                        and not line.strip().startswith(("...", "#"))
                        and "part" not in line
                    ]
    assert found == []


def test_a_folder_that_is_not_there_is_named(tmp_path):
    missing = tmp_path / "no" / "such"
    for write in (atomic_write, atomic_folder):
        with (
            pytest.raises(FileNotFoundError, match="make it first") as raised,
            write(missing / "x"),
        ):
            pass
        assert raised.value.filename == str(missing)


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(NotADirectoryError) as raised,
        atomic_write(tmp_path / "file" / "x"),
    ):
        pass
    assert raised.value.filename == str(tmp_path / "file")


def test_a_folder_is_no_file_to_replace(tmp_path):
    with (
        pytest.raises(IsADirectoryError, match="name a file") as raised,
        atomic_write(tmp_path),
    ):
        pass
    assert raised.value.filename == str(tmp_path)


@pytest.fixture(params=["pipe", "socket", "link to a pipe"])
def no_file(request, tmp_path):
    """What is no regular file, but for a device, which no test should come near."""
    path = tmp_path / "place"
    if request.param == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
        return path
    os.mkfifo(path)
    if "link" in request.param:
        (tmp_path / "link").symlink_to(path)
        return tmp_path / "link"
    return path


def test_what_is_no_file_is_not_replaced(no_file):
    before = os.lstat(no_file)
    with pytest.raises(OSError, match="no regular file") as raised:
        save(fitter(3), no_file)
    assert raised.value.filename == os.path.realpath(no_file)
    assert os.lstat(no_file) == before
    assert unfinished(no_file.parent) == []


def test_a_link_to_a_new_name_makes_the_file(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with atomic_write(tmp_path / "link") as part:
        part.write_text("new")
    assert (tmp_path / "target").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_what_is_no_file_is_not_read(no_file):
    with pytest.raises(OSError, match="no regular file"):
        load(no_file)
    with pytest.raises(ValueError, match="no regular file"):
        load(no_file)


@pytest.mark.parametrize("write", [atomic_write, atomic_folder])
def test_errors_name_the_path_and_not_the_part(tmp_path, write):
    path = str(tmp_path / ("x" * 300))
    with pytest.raises(OSError, match="too long") as raised, write(path):
        pass
    assert raised.value.filename == path
