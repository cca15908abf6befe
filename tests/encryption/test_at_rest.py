"""Nothing of what was sent can be read on the disk; without encryption it can.

A token is in every body, and the bodies go every way there is. The server is killed, started, and
stopped, and each time every file is searched. Two files of the data directory do hold secrets, and
only their owner may read them: root.key, and root-credentials.env where no root key was given.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from msgspec import Struct

from stanchion.cli import offline
from stanchion.clock import SystemClock
from stanchion.config import Settings
from stanchion.keys.choice import root_of
from stanchion.keys.ring import keys_of, open_ring, ring_record
from stanchion.kms.entities import Key as KmsKey
from stanchion.kms.entities import key_arn
from stanchion.store.documents import Documents
from tests.access_control.stage import ACCOUNT, REGION, ROOT, Stage, allow
from tests.encryption.rig import Installation, drained
from tests.encryption.search import digests, found
from tests.encryption.story import MODES, Story

ENCRYPTED = [mode for mode in MODES if mode != "off"]
ROOT_KEY, CREDENTIALS = "root.key", "root-credentials.env"


class Disk(Struct):
    """The data directory as it was found, and what clients knew."""

    data_dir: Path
    stories: Mapping[str, Story]
    given: list[str]
    """Secrets and session tokens of clients."""
    moments: Mapping[str, Mapping[str, bytes]]
    """Files by name, by when they were read."""
    received: Mapping[str, list[str]]
    """Bodies by queue, after the crash."""
    log: str

    def has(self, *needles: str | bytes, but: str = "") -> set[str]:
        """Where any of them is, in any form."""
        everything = {
            f"{moment}: {name}": data
            for moment, files in self.moments.items()
            for name, data in files.items()
            if name != but
        }
        return found(needles, everything | {"log": self.log.encode()})


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    installation = Installation(tmp_path_factory.mktemp("at-rest"))
    try:
        yield _searched(installation)
    finally:
        installation.stop()


def _searched(installation: Installation) -> Disk:
    stage = installation.start()
    given = _given(stage)
    stories = {mode: Story(stage, mode) for mode in MODES}
    for story in stories.values():
        story.standard()
        story.dead_letters()
        story.dead_letters(".fifo")
    for story in stories.values():
        story.more_dead_letters()
        story.more_dead_letters(".fifo")
    moments = {"running": installation.bytes_by_file()}
    installation.kill()
    stage.close()
    moments["killed"], log = installation.bytes_by_file(), installation.log
    with installation.serving() as stage:
        sqs = stage.client("sqs", secure=True)
        received = {
            name: drained(sqs, f"{stage.https}/{ACCOUNT}/{name}", messages)
            for story in stories.values()
            for name, messages in story.left.items()
        }
        # Something is there when the server stops, too.
        stories["off"].standard()
    moments["stopped"] = installation.bytes_by_file()
    log += installation.log
    return Disk(installation.data_dir, stories, given, moments, received, log)


def _given(stage: Stage) -> list[str]:
    user = stage.user("somebody", allow("sts:AssumeRole"))
    session = stage.assume(user, stage.role("something", allow("sqs:*")))
    stage.sends(session, stage.queue("used"))
    assert session.token
    return [ROOT.secret, user.secret, session.secret, session.token]


def test_a_crash_costs_no_message(disk: Disk) -> None:
    for story in disk.stories.values():
        for name, messages in story.left.items():
            assert len(disk.received[name]) == messages, name
            assert set(disk.received[name]) <= set(story.bodies)


@pytest.mark.parametrize("mode", ENCRYPTED)
def test_an_encrypted_body_is_nowhere_on_the_disk(disk: Disk, mode: str) -> None:
    assert disk.has(disk.stories[mode].token) == set()


@pytest.mark.parametrize("mode", ENCRYPTED)
def test_nor_is_a_digest_of_it(disk: Disk, mode: str) -> None:
    wanted = [digest for body in disk.stories[mode].bodies for digest in digests(body)]
    assert disk.has(*wanted) == set()


def test_a_body_that_is_not_to_be_encrypted_is_found(disk: Disk) -> None:
    """Or else the searches above would show nothing."""
    hits = disk.has(disk.stories["off"].token)
    for moment in disk.moments:
        assert any(re.fullmatch(rf"{moment}: stanchion\.db(-wal)?: plain", hit) for hit in hits)
    assert not any(hit.startswith("log") for hit in hits)


def test_secrets_of_clients_are_nowhere_on_the_disk(disk: Disk) -> None:
    assert disk.has(*disk.given) == set()


def test_secrets_of_the_server_are_sealed(disk: Disk) -> None:
    """Ring keys, keys of the KMS, and what receipts, pages and moves are authenticated with."""
    with offline.documents(Settings(data_dir=str(disk.data_dir))) as run:
        opened = run(lambda documents: _opened(documents, disk.data_dir))
    assert len(opened) >= 5
    assert disk.has(*opened) == set()


async def _opened(documents: Documents, data_dir: Path) -> list[bytes]:
    """Every secret that is in the database, in clear."""
    source = root_of(Settings(), data_dir, {})
    ring = await open_ring(documents, source, SystemClock())
    opened = list(keys_of(await ring_record(documents), source).values())
    opened += [await ring.secret(documents, name) for name in ("receipts", "pages", "moves")]
    for _, key in await documents.list(KmsKey, ACCOUNT):
        arn = key_arn(REGION, ACCOUNT, key.id)
        opened += [
            ring.open(f"kms-key:{arn}:{material.number}", material.sealed)
            for material in key.materials
        ]
    return opened


def test_the_root_key_is_in_its_own_file_and_nowhere_else(disk: Disk) -> None:
    path = disk.data_dir / ROOT_KEY
    assert path.stat().st_mode & 0o777 == 0o600
    key = bytes.fromhex(path.read_text())
    assert disk.has(key, but=ROOT_KEY) == set()
    assert all(CREDENTIALS not in files for files in disk.moments.values())


def test_only_their_owner_may_read_the_files(disk: Disk) -> None:
    assert disk.data_dir.stat().st_mode & 0o777 == 0o700
    for path in disk.data_dir.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_root_key_that_was_made_is_in_its_own_file_and_nowhere_else(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    with installation.serving(root_access_key_id="", root_secret_access_key=""):
        path = installation.data_dir / CREDENTIALS
        assert path.stat().st_mode & 0o777 == 0o600
        (secret,) = re.findall(r"^export AWS_SECRET_ACCESS_KEY='?([^'\n]+)", path.read_text(), re.M)
        files = installation.bytes_by_file()
    del files[CREDENTIALS]
    assert found([secret], files | {"log": installation.log.encode()}) == set()
