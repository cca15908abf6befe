"""A key file as the root of trust: 64 hexadecimal digits that only their owner may read.

`root.key` is the current key. Any other key that this installation has had, or is about to have,
lies beside it as `root.key.FINGERPRINT`: that is how a rotation survives a crash at any point, and
how a restored backup finds the key of its time. A key that may be the only one to open something
is never overwritten or deleted here. Called when the ring is opened or rotated.
"""

import contextlib
import fcntl
import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from stanchion.keys.root import KEY_BYTES, Entropy, HeldRoot, Root, RootUnusable

FILE_NAME = "root.key"

_MODE = 0o600
_OTHERS = 0o077
_FILE_BYTES_MAX = 1024
_FINGERPRINT = "fingerprint"


class FileSource:
    """A key file, made when there is none at the first start if `is_made`."""

    kind = "file"

    def __init__(self, path: Path, entropy: Entropy, *, is_made: bool = True) -> None:
        # Its neighbours belong beside the file itself, not beside a link to it.
        self._path = path.resolve()
        self._entropy = entropy
        self._is_made = is_made

    def first(self) -> Root:
        key = _read(self._path)
        if key is None and not self._is_made:
            raise RootUnusable(
                f"the root key file {self._path} is missing, and one that many servers need is not "
                "made by one of them: bring it there, or make it, for all of them, with "
                f"(umask 077; openssl rand -hex {KEY_BYTES} > {shlex.quote(str(self._path))})"
            )
        if key is None:
            made = self._entropy(KEY_BYTES)
            _write(self._path, made)
            # Of several servers that make it at the same moment, one does.
            key = _read(self._path) or made
        return self._root(key)

    def next(self) -> Root:
        key = self._entropy(KEY_BYTES)
        _write(self._beside(_fingerprint(key)), key)
        return self._root(key)

    def found(self, parameters: Mapping[str, str]) -> Root:
        wanted = parameters.get(_FINGERPRINT, "")
        if not wanted.isalnum():
            raise RootUnusable("the fingerprint of the root key in the database is damaged")
        current = _read(self._path)
        if current is not None and _fingerprint(current) == wanted:
            return self._root(current)
        other = _read(self._beside(wanted))
        if other is not None and _fingerprint(other) == wanted:
            return self._root(other)
        fault = "is missing" if current is None else f"is another key ({_fingerprint(current)})"
        raise RootUnusable(
            f"the root key file {self._path} {fault}: the data was sealed under the key with "
            f"fingerprint {wanted}, and nothing else opens it; put your copy of that file back"
        )

    def settle(self, root: Root) -> None:
        wanted = root.parameters[_FINGERPRINT]
        # Where it cannot be moved it will be found where it is.
        with contextlib.suppress(OSError, RootUnusable), _only_one(self._path.parent):
            current = _read(self._path)
            if current is not None and _fingerprint(current) == wanted:
                return
            if current is not None:
                self._path.rename(self._beside(_fingerprint(current)))
            self._beside(wanted).rename(self._path)
            _flush(self._path.parent)

    def _root(self, key: bytes) -> Root:
        fingerprint = _fingerprint(key)
        return HeldRoot(
            self.kind,
            key,
            self._entropy,
            description=f"key file {self._path} (fingerprint {fingerprint})",
            loss="Without this file the messages cannot be read by anybody: back it up apart from "
            "the data.",
            parameters={_FINGERPRINT: fingerprint},
        )

    def _beside(self, fingerprint: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{fingerprint}")


def _fingerprint(key: bytes) -> str:
    return sha256(b"stanchion root key\0" + key).hexdigest()[:16]


def _read(path: Path) -> bytes | None:
    """The key, or None when there is no such file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RootUnusable(f"cannot read the root key file {path}: {error.strerror}") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise RootUnusable(f"the root key file {path} is not a file")
        if status.st_mode & _OTHERS:
            raise RootUnusable(
                f"the root key file {path} is open to others (mode "
                f"{stat.S_IMODE(status.st_mode):04o}): allow only its owner, with chmod 600"
            )
        text = os.read(file, _FILE_BYTES_MAX)
    finally:
        os.close(file)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise RootUnusable(
            f"the root key file {path} does not hold a key of {2 * KEY_BYTES} hexadecimal digits"
        )
    return key


def _write(path: Path, key: bytes) -> None:
    """All of it or nothing, and durable. A file that is there by then stays as it is."""
    unfinished = path.with_name(f"{path.name}.{_fingerprint(key)}.unfinished")
    try:
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        with open(file, "w", encoding="ascii") as stream:
            stream.write(f"{key.hex()}\n")
            stream.flush()
            os.fsync(stream.fileno())
        put_in_place(unfinished, path)
        _flush(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise RootUnusable(f"cannot write the root key file {path}: {error.strerror}") from error


def put_in_place(unfinished: Path, path: Path) -> None:
    """Give a file its name, unless there is one of that name: then it goes. Raises `OSError`."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        pass
    except OSError:
        # A file system without links.
        unfinished.rename(path)
        return
    unfinished.unlink()


@contextlib.contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Of the processes that move key files about."""
    file = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _flush(directory: Path) -> None:
    """Make the names in a directory durable."""
    file = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
