"""The files of a data directory: who owns it, and the space set aside for a full disk.

Never opened through this module: the database itself, see `database.py`.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from stanchion.store.contract import StoreUnusable

DATABASE_NAME = "stanchion.db"
LOCK_NAME = "stanchion.lock"

_MODE = 0o600
_DIRECTORY_MODE = 0o700


def make_directory(directory: Path) -> None:
    """Raises `StoreUnusable` when it cannot be made or written to."""
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnusable(f"cannot use {directory}: {error.strerror}") from error


def create(path: Path) -> None:
    """Make a file for the owner alone, unless there is one, and make its name durable."""
    os.close(_open(path))
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as error:
        raise StoreUnusable(f"cannot use {path}: {error.strerror}") from error


class OwnerLock:
    """Only one server at a time has a data directory. The kernel lets go when a process dies."""

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise StoreUnusable(
                f"{path.parent} is in use by another server: stop it, or choose another directory"
            ) from error

    def release(self) -> None:
        os.close(self._file)


class Reserve:
    """Space on the disk that is given up when it is full, so that deletes have room to work."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._file = _open(path)

    def fill(self) -> bool:
        """Set the space aside. Answers whether there was room for it and for some work."""
        if os.fstat(self._file).st_blocks * 512 >= self._size_bytes:
            return True
        try:
            space = os.fstatvfs(self._file)
            if space.f_bavail * space.f_frsize < self._size_bytes + self._size_bytes // 4:
                return False
            _allocate(self._file, self._size_bytes)
        except OSError:
            self.release()
            return False
        return True

    def release(self) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        os.close(self._file)


def _allocate(file: int, size_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size_bytes)
        return
    block = bytes(1 << 20)
    for offset in range(0, size_bytes, len(block)):
        os.pwrite(file, block[: size_bytes - offset], offset)
