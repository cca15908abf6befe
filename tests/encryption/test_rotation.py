"""Rotation of the root of trust and of customer keys, under load: nothing is lost, and what was
sent before stays readable.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from stanchion.keys.choice import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE
from tests.access_control.stage import ACCOUNT, Key, Stage
from tests.encryption.load import Load
from tests.encryption.rig import Installation, drained, receive
from tests.encryption.search import found

ROTATIONS = 2
WAITS_MAX = 5
MESSAGES = 30
"""Per step of a test, and on both sides."""
FIRST, SECOND = "correct horse battery staple", "another horse battery staple"


def _queues(stage: Stage) -> list[str]:
    """One of each sort of encryption for a load, and one of each that has an old message."""
    kms, sqs = stage.client("kms", secure=True), stage.client("sqs", secure=True)
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/rotated", TargetKeyId=key_id)
    settings: dict[str, dict[str, str]] = {
        "sse-sqs": {},
        "sse-kms": {"KmsMasterKeyId": "alias/rotated", "KmsDataKeyReusePeriodSeconds": "60"},
    }
    urls = [
        sqs.create_queue(QueueName=f"{name}{suffix}", Attributes=attributes)["QueueUrl"]
        for suffix in ("", "-old")
        for name, attributes in settings.items()
    ]
    for url in urls[2:]:
        sqs.send_message(QueueUrl=url, MessageBody=f"{url} before")
    return urls


def _rest(stage: Stage, urls: list[str], wanted: set[str]) -> set[str]:
    """What the queues still have, when all of it is there."""
    sqs = stage.client("sqs", secure=True)
    return {
        body
        for url in urls
        for body in drained(sqs, url, sum(body.startswith(f"{url} ") for body in wanted))
    }


def _rotated(installation: Installation, *arguments: str, **options: Any) -> str:
    done = installation.run("keys", "rotate", *arguments, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_root_rotates_under_load(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    root_key = installation.data_dir / "root.key"
    keys = set()
    with installation.serving() as stage:
        urls = _queues(stage)
        load = Load(stage.client("sqs", secure=True, max_pool_connections=8), urls[:2])
        with load.running():
            for _ in range(ROTATIONS):
                load.go_on(MESSAGES)
                keys.add(root_key.read_text())
                _rotated(installation, "--seal-after", "0")
                load.go_on(MESSAGES)
            keys.add(root_key.read_text())
    assert len(keys) == ROTATIONS + 1
    for path in installation.data_dir.glob("root.key.*"):
        path.unlink()
    wanted = {f"{url} before" for url in urls[2:]} | load.sent - set(load.received)
    with installation.serving() as stage:
        assert _rest(stage, urls, wanted) == wanted
    status = installation.run("keys", "status").stdout
    assert re.fullmatch(
        r"root of trust: file \(fingerprint \w+\)\n"
        r"(ring key \d: made \S+, 0 days old, opens what it sealed before\n){2}"
        r"ring key 3: made \S+, 0 days old, active\n",
        status,
    )


def test_what_is_sealed_under_the_new_key_opens_in_a_server_that_runs(tmp_path: Path) -> None:
    """Here, the secret of a root key, which another process makes after the rotation."""
    installation = Installation(tmp_path)
    with installation.serving() as stage:
        waiting = stage.queue("waiting")
        _rotated(installation, "--seal-after", "0")
        key = stage.root_of("222222222222")
        for _ in range(WAITS_MAX):
            if _is_accepted(stage, key):
                return
            receive(stage.sqs, waiting, WaitTimeSeconds=1)
        raise AssertionError("the key does not become known")


def _is_accepted(stage: Stage, key: Key) -> bool:
    try:
        stage.client("sqs", key).list_queues()
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidClientTokenId":
            raise
        return False
    return True


def test_a_customer_key_rotates_under_load(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    with installation.serving() as stage:
        kms = stage.client("kms", secure=True)
        urls = _queues(stage)
        (key,) = (key["KeyId"] for key in kms.list_keys()["Keys"])
        load = Load(stage.client("sqs", secure=True, max_pool_connections=8), urls[:2])
        with load.running():
            for _ in range(ROTATIONS):
                load.go_on(MESSAGES)
                kms.rotate_key_on_demand(KeyId=key)
                load.go_on(MESSAGES)
        rotations = kms.list_key_rotations(KeyId=key)["Rotations"]
        assert [rotation["RotationType"] for rotation in rotations] == ["ON_DEMAND"] * ROTATIONS
    wanted = {f"{url} before" for url in urls[2:]} | load.sent - set(load.received)
    with installation.serving() as stage:
        assert _rest(stage, urls, wanted) == wanted


@contextmanager
def described(text: str) -> Iterator[int]:
    """A file descriptor that a text can be read from."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    try:
        yield reader
    finally:
        os.close(reader)


def test_from_a_file_to_passphrases_and_back(tmp_path: Path) -> None:
    """By way of the environment first, and of file descriptors then."""
    installation = Installation(tmp_path)
    told = []
    with installation.serving() as stage:
        stage.queue("q")
        _exchange(stage, [])
        environment = {NEW_PASSPHRASE_VARIABLE: FIRST}
        told.append(_rotated(installation, "--to", "passphrase", environment=environment))
        _exchange(stage, ["0"])
    assert _root(installation).startswith("root of trust: passphrase (salt ")
    with installation.serving(root_passphrase=FIRST) as stage:
        _exchange(stage, ["0", "1"])
    with described(FIRST) as old, described(SECOND + "\n") as new:
        arguments = ("--root-passphrase-fd", str(old), "--new-root-passphrase-fd", str(new))
        told.append(_rotated(installation, *arguments, descriptors=(old, new)))
    with (
        described(SECOND) as file,
        installation.serving(descriptors=(file,), root_passphrase_fd=str(file)) as stage,
    ):
        _exchange(stage, ["0", "1", "2"])
    assert found([FIRST, SECOND], installation.bytes_by_file()) == set()
    environment = {PASSPHRASE_VARIABLE: SECOND}
    told.append(_rotated(installation, "--to", "file", environment=environment))
    assert _root(installation).startswith("root of trust: file (fingerprint ")
    with installation.serving() as stage:
        _exchange(stage, ["0", "1", "2", "3"])
    assert found([FIRST, SECOND], {"told": "".join(told).encode()}) == set()


def _exchange(stage: Stage, bodies: list[str]) -> None:
    """The queue has these; the next one is sent."""
    url = f"{stage.http}/{ACCOUNT}/q"
    messages = receive(stage.sqs, url, VisibilityTimeout=0)
    assert sorted(message["Body"] for message in messages) == bodies
    stage.sqs.send_message(QueueUrl=url, MessageBody=str(len(bodies)))


def _root(installation: Installation) -> str:
    return installation.run("keys", "status").stdout.splitlines()[0]
