"""The root key is handed over once, safely, and only the environment replaces it."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stanchion.access.root import (
    FILE_NAME,
    ROOT_ACCOUNT_ID,
    UnreadableCredentialsError,
    ensure_root_key,
    root_key,
)
from stanchion.store.contract import AccessKey, Command, GetRootKey, SetRootKey, StoreError


class Keys:
    """A store that holds one root key, and can fail to take it."""

    def __init__(self) -> None:
        self.key: AccessKey | None = None
        self.writes = 0
        self.is_failing = False

    async def run(self, command: Command[Any]) -> Any:
        if isinstance(command, GetRootKey):
            assert command.account_id == ROOT_ACCOUNT_ID
            return self.key
        assert isinstance(command, SetRootKey)
        if self.is_failing:
            raise StoreError("no")
        self.writes += 1
        self.key = command.key
        return None


def ensure(keys: Keys, data_dir: Path, given: AccessKey | None = None) -> Path | None:
    return asyncio.run(ensure_root_key(keys, given, data_dir, endpoint_url="http://127.0.0.1:9324"))


def sourced(path: Path) -> list[str]:
    """What a shell knows after loading the file."""
    names = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION", "ENDPOINT_URL")
    script = f". {path}; " + "; ".join(f'printf "%s\\n" "$AWS_{name}"' for name in names)
    run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={})
    return run.stdout.splitlines()


def test_the_first_start_makes_a_key_and_hands_it_over(tmp_path: Path) -> None:
    keys = Keys()
    path = ensure(keys, tmp_path)
    assert path == tmp_path / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]
    assert keys.key is not None
    assert keys.key.account_id == ROOT_ACCOUNT_ID
    assert sourced(path) == [
        keys.key.access_key_id,
        keys.key.secret,
        "us-east-1",
        "http://127.0.0.1:9324",
    ]
    assert len(keys.key.access_key_id) == 20
    assert len(keys.key.secret) == 40


def test_keys_differ() -> None:
    made = []
    for entropy in (lambda n: bytes(n), lambda n: b"\xff" * n):
        from stanchion.access.root import _new_key

        made.append(_new_key(entropy))
    assert made[0].access_key_id != made[1].access_key_id
    assert made[0].secret != made[1].secret


def test_later_starts_leave_it_alone(tmp_path: Path) -> None:
    keys = Keys()
    path = ensure(keys, tmp_path)
    assert path is not None
    path.unlink()
    assert ensure(keys, tmp_path) is None
    assert keys.writes == 1
    assert not path.exists()


def test_the_environment_replaces_the_key_and_writes_no_file(tmp_path: Path) -> None:
    keys = Keys()
    path = ensure(keys, tmp_path)
    assert path is not None
    before = path.read_text()
    given = root_key("AKIDGIVEN", "a-secret-of-somebody")
    assert ensure(keys, tmp_path, given) is None
    assert keys.key == given
    assert path.read_text() == before
    ensure(keys, tmp_path, given)
    assert keys.writes == 2


def test_a_start_that_ended_half_way_is_completed_by_the_next(tmp_path: Path) -> None:
    keys = Keys()
    keys.is_failing = True
    with pytest.raises(StoreError):
        ensure(keys, tmp_path)
    access_key_id, secret, *_ = sourced(tmp_path / FILE_NAME)
    keys.is_failing = False
    assert ensure(keys, tmp_path) is None
    assert keys.key == root_key(access_key_id, secret)


def test_a_crash_while_writing_leaves_no_half_file(tmp_path: Path) -> None:
    (tmp_path / "root-credentials.unfinished").write_text("export AWS_ACC")
    keys = Keys()
    path = ensure(keys, tmp_path)
    assert path is not None
    assert keys.key is not None
    assert sourced(path)[0] == keys.key.access_key_id


@pytest.mark.parametrize("content", [b"", b"export AWS_ACCESS_KEY_ID=AKID\n", b"\xff"])
def test_a_file_without_a_key_is_an_error_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    with pytest.raises(UnreadableCredentialsError, match=str(path)):
        ensure(Keys(), tmp_path)
    assert path.read_bytes() == content


def test_a_directory_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCredentialsError):
        ensure(Keys(), tmp_path / "missing")
