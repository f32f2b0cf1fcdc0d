"""Files and folders that are there whole or not at all."""

import errno
import io
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Replace a file in one step, when all that is to be in it has been written.

    After an error, a kill, a full disk or a power cut, it holds all of the old file.

    Parameters
    ----------
    path : str or path-like
        The file to write. Where it is a symbolic link, the file that it points to.

    Yields
    ------
    part : pathlib.Path
        Where to write, in the same folder: a name with the same suffix, hidden by a
        leading dot. A kill leaves it behind, and nothing reads it.

    Raises
    ------
    OSError
        If `path` is a folder, a device, a pipe or a socket, or in a folder that is not
        there or not to be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sk_eqsae.persistence import atomic_write
    >>> path = Path(tempfile.mkdtemp()) / "results.csv"
    >>> with atomic_write(path) as part:
    ...     _ = part.write_text("k,fvu")
    >>> path.read_text()
    'k,fvu'
    """
    target = _target(path)
    if target.exists():  # a rename would make a file of a device, for all programs
        _check_regular(os.stat(target), target)
    with _replacing(target, Path.touch) as part:
        yield part


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Make a folder in one step, when all files that are to be in it are written."""
    target = _target(path)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(
            f"{os.fspath(path)!r} is there already. Remove it or choose another name."
        )
    with _replacing(target, Path.mkdir) as part:
        yield part


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a file to read it; a device, a pipe or a socket is an error at once."""
    _check_regular(os.stat(path), path)
    # without waiting, should it have become a pipe meanwhile
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        _check_regular(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_bytes(path: str | os.PathLike, most: int = -1) -> bytes:
    """All bytes of a regular file, or the first ones."""
    with open_regular(path) as file:
        return file.read(most)


def _check_regular(found: os.stat_result, path: str | os.PathLike) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, "Is a folder, name a file", os.fspath(path))
    if not stat.S_ISREG(found.st_mode):  # an OSError and a ValueError
        raise io.UnsupportedOperation(
            errno.EINVAL, "Is no regular file, but a device or a pipe", os.fspath(path)
        )


def _target(path: str | os.PathLike) -> Path:
    """What a path stands for, in a folder that is there."""
    target = Path(os.path.realpath(path))
    folder = target.parent
    if not folder.is_dir():
        code = errno.ENOTDIR if folder.exists() else errno.ENOENT
        raise OSError(code, "No such folder, make it first", os.fspath(folder))
    return target


@contextmanager
def _replacing(target: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    """Make a hidden place beside a target, which it takes when all is on the disk."""
    name = f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}"
    part = target.with_name(name)
    try:
        make(part)
    except OSError as error:  # name what the user has asked for
        raise OSError(error.errno, error.strerror, os.fspath(target)) from error
    try:
        if target.is_file():
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        yield part
        settle(part, target)
    except BaseException:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
        raise


def settle(part: Path, target: Path) -> None:
    """Put what is written in its place beside it, when the disk holds all of it."""
    for place in [*part.glob("*"), part]:
        _to_disk(place)
    part.replace(target)
    _to_disk(target.parent)


def _to_disk(path: Path) -> None:
    """Wait until the disk holds a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
