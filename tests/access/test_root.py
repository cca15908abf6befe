"""The root key is handed over once, safely, and only the environment replaces it."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stanchion.access.entities import AccessKey, Account
from stanchion.access.root import (
    FILE_NAME,
    ROOT_ACCOUNT_ID,
    RootKey,
    UnreadableCredentialsError,
    ensure_root_key,
    new_root_key,
    set_root_key,
)
from stanchion.store.contract import StoreError
from stanchion.store.documents import Documents
from stanchion.store.records import EditRecords
from tests.access.memory import NOW_MS, Memory


def ensure(
    keys: Memory,
    data_dir: Path,
    given: RootKey | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Path | None:
    return asyncio.run(
        ensure_root_key(
            keys.documents,
            keys.ring,
            given,
            data_dir,
            endpoint_url="http://127.0.0.1:9324",
            now_ms=NOW_MS,
            entropy=entropy,
        )
    )


def current(keys: Memory) -> RootKey | None:
    """The account's root key, with its secret as it can be opened."""
    account = asyncio.run(keys.documents.get(Account, "", ROOT_ACCOUNT_ID))
    if account is None:
        return None
    (access_key_id,) = account.root_access_key_ids
    key = asyncio.run(keys.documents.get(AccessKey, "", access_key_id))
    assert key is not None
    assert (key.account_id, key.user, key.is_active) == (ROOT_ACCOUNT_ID, "", True)
    secret = keys.ring.open(f"access-key:{access_key_id}", key.sealed_secret)
    return RootKey(access_key_id, secret.decode())


def writes(keys: Memory) -> int:
    return sum(isinstance(command, EditRecords) for command in keys.store.commands)


def sourced(path: Path) -> list[str]:
    """What a shell knows after loading the file."""
    names = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION", "ENDPOINT_URL")
    script = f". {path}; " + "; ".join(f'printf "%s\\n" "$AWS_{name}"' for name in names)
    run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={})
    return run.stdout.splitlines()


def test_the_first_start_makes_a_key_and_hands_it_over(tmp_path: Path) -> None:
    keys = Memory()
    path = ensure(keys, tmp_path)
    assert path == tmp_path / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]
    key = current(keys)
    assert key is not None
    assert sourced(path) == [key.access_key_id, key.secret, "us-east-1", "http://127.0.0.1:9324"]
    assert len(key.access_key_id) == 20
    assert len(key.secret) == 40


def test_the_secret_is_stored_sealed(tmp_path: Path) -> None:
    keys = Memory()
    ensure(keys, tmp_path)
    key = current(keys)
    assert key is not None
    stored = asyncio.run(keys.documents.get(AccessKey, "", key.access_key_id))
    assert stored is not None
    assert key.secret.encode() not in stored.sealed_secret
    assert key.secret not in repr(key)


def test_keys_differ() -> None:
    made = [new_root_key(entropy) for entropy in (lambda n: bytes(n), lambda n: b"\xff" * n)]
    assert made[0].access_key_id != made[1].access_key_id
    assert made[0].secret != made[1].secret


def test_later_starts_leave_it_alone(tmp_path: Path) -> None:
    keys = Memory()
    path = ensure(keys, tmp_path)
    assert path is not None
    path.unlink()
    assert ensure(keys, tmp_path) is None
    assert writes(keys) == 1
    assert not path.exists()


def test_the_environment_replaces_the_key_and_writes_no_file(tmp_path: Path) -> None:
    keys = Memory()
    path = ensure(keys, tmp_path)
    assert path is not None
    old = current(keys)
    before = path.read_text()
    given = RootKey("AKIDGIVEN", "a-secret-of-somebody")
    assert ensure(keys, tmp_path, given) is None
    assert current(keys) == given
    assert path.read_text() == before
    ensure(keys, tmp_path, given)
    assert writes(keys) == 2
    assert old is not None
    assert asyncio.run(keys.documents.get(AccessKey, "", old.access_key_id)) is None


def test_the_key_of_somebody_else_cannot_become_roots(tmp_path: Path) -> None:
    keys = Memory()
    taken = RootKey("AKIDTAKEN", "a-secret-of-another")
    asyncio.run(set_root_key(keys.documents, keys.ring, "111111111111", taken, NOW_MS))
    with pytest.raises(UnreadableCredentialsError, match="AKIDTAKEN belongs to somebody else"):
        ensure(keys, tmp_path, RootKey("AKIDTAKEN", "a-secret-of-mine"))
    assert current(keys) is None


def test_a_start_that_ended_half_way_is_completed_by_the_next(tmp_path: Path) -> None:
    keys = Memory()
    keys.store.is_failing = True
    with pytest.raises(StoreError):
        ensure(keys, tmp_path)
    access_key_id, secret, *_ = sourced(tmp_path / FILE_NAME)
    keys.store.is_failing = False
    assert ensure(keys, tmp_path) is None
    assert current(keys) == RootKey(access_key_id, secret)


def test_a_crash_while_writing_leaves_no_half_file(tmp_path: Path) -> None:
    (tmp_path / "root-credentials.unfinished").write_text("export AWS_ACC")
    keys = Memory()
    path = ensure(keys, tmp_path)
    assert path is not None
    key = current(keys)
    assert key is not None
    assert sourced(path)[0] == key.access_key_id


@pytest.mark.parametrize("content", [b"", b"export AWS_ACCESS_KEY_ID=AKID\n", b"\xff"])
def test_a_file_without_a_key_is_an_error_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    with pytest.raises(UnreadableCredentialsError, match=str(path)):
        ensure(Memory(), tmp_path)
    assert path.read_bytes() == content


def test_a_directory_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCredentialsError):
        ensure(Memory(), tmp_path / "missing")


@pytest.mark.parametrize("shared", [False, True])
def test_of_two_first_starts_at_the_same_moment_one_makes_the_key(
    tmp_path: Path, shared: bool
) -> None:
    keys, others = Memory(), Memory()
    others.documents, others.ring = Documents(keys.store), keys.ring
    here = tmp_path / "here"
    there = here if shared else tmp_path / "there"
    for directory in {here, there}:
        directory.mkdir()
    written: list[Path | None] = []

    def entropy(size: int) -> bytes:
        # Between the look of one server and its writing, the other one comes and goes.
        if not written:
            with ThreadPoolExecutor() as other:
                written.append(other.submit(ensure, others, there).result())
        return os.urandom(size)

    assert ensure(keys, here, entropy=entropy) is None
    assert written == [there / FILE_NAME]
    key = current(keys)
    assert key is not None
    assert sourced(there / FILE_NAME)[:2] == [key.access_key_id, key.secret]
    assert (here / FILE_NAME).exists() is shared
