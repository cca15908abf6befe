"""Data keys from a KMS elsewhere: another server, which goes away and comes back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.access_control.stage import (
    ACCOUNT,
    REGION,
    ROOT,
    Key,
    Refusal,
    Stage,
    allow,
    document,
    queue_arn,
    refusal,
)
from tests.encryption.rig import Installation, receive

WITHOUT_KEYS = "without-keys"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """The KMS's own installation. Its root user is whom the other one is there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ROOT.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ROOT.secret)
    (tmp_path / "kms").mkdir()
    installation = Installation(tmp_path / "kms")
    yield installation
    installation.stop()


def test_a_kms_elsewhere(tmp_path: Path, elsewhere: Installation) -> None:
    far = elsewhere.start()
    kms = far.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/far", TargetKeyId=key)
    settings = {"kms_endpoint_url": far.http, "kms_region": REGION}
    installation = Installation(tmp_path, **settings)
    with installation.serving() as stage:
        assert stage.client("kms", secure=True).list_keys()["Keys"] == []
        _queue(stage, "known", key)
        _queue(stage, "new", "alias/far")
        _works(stage, "known")
        _permissions_are_checked_here(stage, key)
        # What lies there now has been opened once.
        _works(stage, "known")

        elsewhere.stop()
        _works(stage, "known")
        _is_unavailable(refusal(lambda: _send(stage, "new")))
        other = stage.user("reader", allow("sqs:*", "kms:*"))
        for _ in range(2):
            _is_unavailable(refusal(lambda: _receive(stage, "known", other)))
        _works(stage, "known")

        elsewhere.start()
        _works(stage, "new")
        assert len(_receive(stage, "known", other)) == 1
        # The new user was an edit, after which it is asked once more.
        _works(stage, "known")
        kms.disable_key(KeyId=key)
        _works(stage, "known")
        _queue(stage, "late", key)
        assert refusal(lambda: _send(stage, "late")).code == "KMS.DisabledException"
        kms.enable_key(KeyId=key)
        _works(stage, "late")
        elsewhere.stop()
        _send(stage, "known", "kept")

    with installation.serving() as stage:
        _is_unavailable(refusal(lambda: _receive(stage, "known")))
        elsewhere.start()
        bodies = [message["Body"] for message in _receive(stage, "known")]
        assert sorted(bodies) == ["hello", "kept"]


def _queue(stage: Stage, name: str, key: str) -> None:
    stage.sqs.create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})


def _send(stage: Stage, name: str, body: str = "hello", key: Key = ROOT) -> None:
    url = f"{stage.https}/{ACCOUNT}/{name}"
    stage.client("sqs", key, secure=True).send_message(QueueUrl=url, MessageBody=body)


def _receive(stage: Stage, name: str, key: Key = ROOT, **more: Any) -> list[dict[str, Any]]:
    url = f"{stage.https}/{ACCOUNT}/{name}"
    return receive(stage.client("sqs", key, secure=True), url, VisibilityTimeout=0, **more)


def _works(stage: Stage, name: str) -> None:
    """A message can be sent and received; one is left there."""
    _send(stage, name)
    messages = _receive(stage, name)
    assert {message["Body"] for message in messages} == {"hello"}
    for message in messages[1:]:
        stage.sqs.delete_message(QueueUrl=name, ReceiptHandle=message["ReceiptHandle"])


def _is_unavailable(refused: Refusal) -> None:
    """What clients try again."""
    assert (refused.status, refused.code) == (503, "ServiceUnavailable")


def _permissions_are_checked_here(stage: Stage, key: str) -> None:
    """The KMS knows one caller only, and that one may everything."""
    user = stage.user(WITHOUT_KEYS, allow("sqs:*"))
    for call in (lambda: _send(stage, "known", key=user), lambda: _receive(stage, "known", user)):
        assert refusal(call).code == "KMS.AccessDeniedException"
    condition = {"StringEquals": {"kms:EncryptionContext:aws:sqs:arn": queue_arn("known")}}
    stage.iam.put_user_policy(
        UserName=WITHOUT_KEYS,
        PolicyName="keys",
        PolicyDocument=document(
            allow("kms:GenerateDataKey", "kms:Decrypt", Resource=key, Condition=condition)
        ),
    )
    _send(stage, "known", key=user)
    assert _receive(stage, "known", user)
    stage.iam.put_user_policy(
        UserName=WITHOUT_KEYS, PolicyName="keys", PolicyDocument=document(allow("sqs:*"))
    )
    # What was remembered for the user is over with what allowed it.
    for call in (lambda: _send(stage, "known", key=user), lambda: _receive(stage, "known", user)):
        assert refusal(call).code == "KMS.AccessDeniedException"
    assert refusal(lambda: _send(stage, "new", key=user)).code == "KMS.AccessDeniedException"
