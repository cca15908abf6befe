"""SSE-KMS through official clients: who may, what each failure is called, and how it ends."""

import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from tests.access_control.stage import (
    ACCOUNT,
    OTHER,
    REGION,
    ROOT,
    Stage,
    allow,
    document,
    open_stage,
    refusal,
    root_arn,
)
from tests.encryption.kms_queues import (
    NAMES,
    SQS,
    arn_of,
    bodies,
    got,
    key_policy,
    new_key,
    new_queue,
    role,
    send,
    told,
)
from tests.encryption.rig import receive

VIA_SQS = f"sqs.{REGION}.amazonaws.com"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("sse-kms")) as opened:
        yield opened


@pytest.fixture(scope="module")
def sqs(stage: Stage) -> Any:
    return stage.client("sqs", secure=True)


@pytest.fixture(scope="module")
def kms(stage: Stage) -> Any:
    return stage.client("kms", secure=True)


# --- Keys and queues ------------------------------------------------------------------------------


def test_the_key_of_sqs_is_made_when_it_is_first_needed(stage: Stage) -> None:
    root = stage.root_of("333333333333")
    sqs, kms = (stage.client(name, root, secure=True) for name in ("sqs", "kms"))
    url = new_queue(sqs, "alias/aws/sqs")
    assert kms.list_keys()["Keys"] == []
    send(stage, root, url)
    (key,) = kms.list_keys()["Keys"]
    described = kms.describe_key(KeyId="alias/aws/sqs")["KeyMetadata"]
    assert (described["Arn"], described["KeyManager"]) == (key["KeyArn"], "AWS")
    assert bodies(stage, root, url) == ["hello"]


@pytest.mark.parametrize("naming", ["id", "arn", "alias", "alias arn"])
def test_a_customer_key_is_named_in_four_ways(
    stage: Stage, sqs: Any, kms: Any, naming: str
) -> None:
    arn = new_key(kms)
    alias = f"alias/named-{naming.replace(' ', '-')}"
    kms.create_alias(AliasName=alias, TargetKeyId=arn)
    names = {
        "id": arn.rpartition("/")[2],
        "arn": arn,
        "alias": alias,
        "alias arn": f"{arn.rpartition(':')[0]}:{alias}",
    }
    url = new_queue(sqs, names[naming])
    send(stage, ROOT, url)
    assert bodies(stage, ROOT, url) == ["hello"]
    kms.disable_key(KeyId=arn)
    assert told(lambda: send(stage, ROOT, url)) == "KMS.DisabledException"


def test_attributes_read_back_as_they_were_set(sqs: Any) -> None:
    def encryption(url: str) -> dict[str, str]:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return {
            name: value for name, value in found.items() if name.startswith(("Kms", "SqsManaged"))
        }

    url = new_queue(sqs)
    assert encryption(url) == {"SqsManagedSseEnabled": "true"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/aws/sqs"})
    assert encryption(url) == {
        "KmsMasterKeyId": "alias/aws/sqs",
        "KmsDataKeyReusePeriodSeconds": "300",
        "SqsManagedSseEnabled": "false",
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"SqsManagedSseEnabled": "true"})
    assert encryption(url) == {"SqsManagedSseEnabled": "true"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"SqsManagedSseEnabled": "false"})
    assert encryption(url) == {"SqsManagedSseEnabled": "false"}


# --- Who may --------------------------------------------------------------------------------------


def test_least_privilege(stage: Stage, sqs: Any, kms: Any) -> None:
    """A producer needs GenerateDataKey and Decrypt; a consumer, Decrypt."""
    arn = new_key(kms)
    url = new_queue(sqs, arn)
    both = role(stage, allow("kms:GenerateDataKey", "kms:Decrypt", Resource=arn))
    generates = role(stage, allow("kms:GenerateDataKey", Resource=arn))
    decrypts = role(stage, allow("kms:Decrypt", Resource=arn))
    elsewhere = role(stage, allow("kms:*", Resource=new_key(kms)))
    send(stage, both, url)
    assert bodies(stage, decrypts, url) == bodies(stage, both, url) == ["hello"]
    for key, action in (
        (generates, "kms:Decrypt"),
        (decrypts, "kms:GenerateDataKey"),
        (elsewhere, "kms:GenerateDataKey"),
    ):
        refused = refusal(lambda key=key: send(stage, key, url))
        assert (refused.status, refused.code) == (400, "KMS.AccessDeniedException")
        assert f"is not authorized to perform: {action} on resource: {arn} because" in refused.text
    for key in (generates, elsewhere):
        assert told(lambda key=key: got(stage, key, url)) == "KMS.AccessDeniedException"
    assert bodies(stage, decrypts, url) == ["hello"]


def test_a_session_uses_no_key_of_another_one_with_its_name(
    stage: Stage, sqs: Any, kms: Any
) -> None:
    url = new_queue(sqs, new_key(kms))
    user = stage.user(f"u{uuid.uuid4().hex}", allow("sts:AssumeRole"))
    made = stage.role(f"r{uuid.uuid4().hex}", SQS, allow("kms:*"))
    whole = stage.assume(user, made, "same")
    restricted = stage.assume(user, made, "same", Policy=document(SQS))
    for _ in range(2):
        send(stage, whole, url)
        assert bodies(stage, whole, url)
        assert told(lambda: send(stage, restricted, url)) == "KMS.AccessDeniedException"
        assert told(lambda: got(stage, restricted, url)) == "KMS.AccessDeniedException"


def test_another_account_needs_both_sides(stage: Stage, sqs: Any, kms: Any) -> None:
    url = new_queue(sqs, new_key(kms), name="shared")
    policy = document(allow("sqs:*", Principal={"AWS": root_arn(OTHER)}, Resource=arn_of(url)))
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["KmsMasterKeyId"])
    arn = arn["Attributes"]["KmsMasterKeyId"]
    stage.root_of(OTHER)
    user = stage.user("sender", SQS, allow("kms:*"), account_id=OTHER)
    assert told(lambda: send(stage, user, url)) == "KMS.AccessDeniedException"
    key_policy(kms, arn, allow("kms:GenerateDataKey", "kms:Decrypt", Principal={"AWS": OTHER}))
    send(stage, user, url)
    assert bodies(stage, user, url) == ["hello"]


def test_a_policy_may_ask_by_which_way_and_for_which_queue(
    stage: Stage, sqs: Any, kms: Any
) -> None:
    first, second = new_queue(sqs), new_queue(sqs)
    asked = {
        "kms:ViaService": VIA_SQS,
        "kms:EncryptionContext:aws:sqs:arn": arn_of(first),
    }
    arn = new_key(kms)
    user = role(stage)
    principal = {"AWS": stage.client("sts", user).get_caller_identity()["Arn"]}
    key_policy(
        kms,
        arn,
        allow("kms:GenerateDataKey", "kms:Decrypt", Principal=principal)
        | {"Condition": {"StringEquals": asked}},
    )
    for url in (first, second):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": arn})
    send(stage, user, first)
    assert bodies(stage, user, first) == ["hello"]
    assert told(lambda: send(stage, user, second)) == "KMS.AccessDeniedException"
    directly = stage.client("kms", user, secure=True)
    context = {"aws:sqs:arn": arn_of(first)}
    refused = refusal(
        lambda: directly.generate_data_key(KeyId=arn, KeySpec="AES_256", EncryptionContext=context)
    )
    assert refused.code == "AccessDeniedException"


def test_a_grant_is_enough_until_it_is_revoked(stage: Stage, sqs: Any, kms: Any) -> None:
    arn = new_key(kms)
    url = new_queue(sqs, arn)
    name = f"grantee{next(NAMES)}"
    user = stage.user(name, SQS)
    assert told(lambda: send(stage, user, url)) == "KMS.AccessDeniedException"
    grant = kms.create_grant(
        KeyId=arn,
        GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:user/{name}",
        Operations=["GenerateDataKey", "Decrypt"],
        Constraints={"EncryptionContextSubset": {"aws:sqs:arn": arn_of(url)}},
    )
    send(stage, user, url)
    assert bodies(stage, user, url) == ["hello"]
    assert told(lambda: send(stage, user, new_queue(sqs, arn))) == "KMS.AccessDeniedException"
    kms.revoke_grant(KeyId=arn, GrantId=grant["GrantId"])
    assert told(lambda: send(stage, user, url)) == "KMS.AccessDeniedException"
    assert told(lambda: got(stage, user, url)) == "KMS.AccessDeniedException"


# --- What may fail, and be undone -----------------------------------------------------------------

Undo = Callable[[], Any]
Fail = Callable[[Any, str], Undo]
"""Makes a key fail; the answer undoes that."""


def disabled(kms: Any, arn: str) -> Undo:
    kms.disable_key(KeyId=arn)
    return lambda: kms.enable_key(KeyId=arn)


def pending_deletion(kms: Any, arn: str) -> Undo:
    kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)

    def undo() -> None:
        kms.cancel_key_deletion(KeyId=arn)
        kms.enable_key(KeyId=arn)

    return undo


def denied_by_the_key_policy(kms: Any, arn: str) -> Undo:
    denying = allow("kms:GenerateDataKey", "kms:Decrypt", Principal="*") | {"Effect": "Deny"}
    key_policy(kms, arn, denying)
    return lambda: key_policy(kms, arn)


FAILURES: list[tuple[Fail, str]] = [
    (disabled, "KMS.DisabledException"),
    (pending_deletion, "KMS.InvalidStateException"),
    (denied_by_the_key_policy, "KMS.AccessDeniedException"),
]


@pytest.mark.parametrize("fifo", ["", ".fifo"], ids=["standard", "fifo"])
@pytest.mark.parametrize(("fail", "code"), FAILURES, ids=[code for _, code in FAILURES])
def test_a_failure_has_its_error_and_is_over_when_undone(
    stage: Stage, sqs: Any, kms: Any, fail: Fail, code: str, fifo: str
) -> None:
    arn = new_key(kms)
    dead = new_queue(sqs, arn, name=f"dead{next(NAMES)}{fifo}", **_fifo(fifo))
    redrive = {"deadLetterTargetArn": arn_of(dead), "maxReceiveCount": 3}
    url = new_queue(
        sqs, arn, f"live{next(NAMES)}{fifo}", RedrivePolicy=json.dumps(redrive), **_fifo(fifo)
    )
    order = {"MessageGroupId": "g"} if fifo else {}
    sqs.send_message(QueueUrl=url, MessageBody="before", **order)
    undo = fail(kms, arn)
    entries = [{"Id": str(n), "MessageBody": str(n), **order} for n in range(3)]
    for _ in range(5):
        assert told(lambda: sqs.send_message(QueueUrl=url, MessageBody="x", **order)) == code
        assert told(lambda: sqs.send_message_batch(QueueUrl=url, Entries=entries)) == code
        assert told(lambda: got(stage, ROOT, url, VisibilityTimeout=600)) == code
    undo()
    sqs.send_message(QueueUrl=url, MessageBody="after", **order)
    messages = {message["Body"]: message["Attributes"] for message in got(stage, ROOT, url)}
    assert messages.keys() == {"before", "after"}
    # A receive that was refused has counted once, however often it was tried.
    assert messages["before"]["ApproximateReceiveCount"] == "2"
    assert bodies(stage, ROOT, dead) == []


def _fifo(suffix: str) -> dict[str, str]:
    return {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if suffix else {}


def test_a_missing_permission_is_over_when_it_is_given(stage: Stage, sqs: Any, kms: Any) -> None:
    arn = new_key(kms)
    url = new_queue(sqs, arn)
    send(stage, ROOT, url)
    name = f"somebody{next(NAMES)}"
    user = stage.user(name, SQS)
    for _ in range(3):
        assert told(lambda: send(stage, user, url)) == "KMS.AccessDeniedException"
        assert told(lambda: got(stage, user, url)) == "KMS.AccessDeniedException"
    given = document(allow("kms:Decrypt", "kms:GenerateDataKey", Resource=arn))
    stage.iam.put_user_policy(UserName=name, PolicyName="keys", PolicyDocument=given)
    send(stage, user, url)
    counts = [message["Attributes"]["ApproximateReceiveCount"] for message in got(stage, user, url)]
    assert sorted(counts) == ["1", "2"]
    stage.iam.delete_user_policy(UserName=name, PolicyName="keys")
    assert told(lambda: send(stage, user, url)) == "KMS.AccessDeniedException"
    assert told(lambda: got(stage, user, url)) == "KMS.AccessDeniedException"


def test_a_key_that_is_not_there_and_one_for_something_else(
    stage: Stage, sqs: Any, kms: Any
) -> None:
    missing = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{uuid.uuid4()}"
    for key in (missing, "alias/nowhere", str(uuid.uuid4())):
        url = new_queue(sqs, key)
        assert told(lambda url=url: send(stage, ROOT, url)) == "KMS.NotFoundException"
    mac = new_key(kms, KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    url = new_queue(sqs, mac)
    assert told(lambda: send(stage, ROOT, url)) == "KMS.InvalidKeyUsageException"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/aws/sqs"})
    send(stage, ROOT, url)
    assert bodies(stage, ROOT, url) == ["hello"]


def test_neither_plain_http_nor_anonymous(stage: Stage) -> None:
    """What is not signed names no region, and is taken for the usual one."""

    def client(url: str, **more: Any) -> Any:
        config = Config(retries={"total_max_attempts": 1}, **more)
        keys = {"aws_access_key_id": ROOT.access_key_id, "aws_secret_access_key": ROOT.secret}
        verify = str(stage.authority.path)
        return boto3.client(
            "sqs", "us-east-1", endpoint_url=url, verify=verify, config=config, **keys
        )

    signed, plain = client(stage.https), client(stage.http)
    nobody = client(stage.https, signature_version=UNSIGNED)
    everybody = document(allow("sqs:*", Principal="*"))
    for number, key in enumerate(("", "alias/aws/sqs")):
        attributes = {"Policy": everybody} | ({"KmsMasterKeyId": key} if key else {})
        made = signed.create_queue(QueueName=f"public{number}", Attributes=attributes)
        queue = {"QueueUrl": made["QueueUrl"]}
        signed.send_message(**queue, MessageBody="hello")
        for other in (plain, nobody):
            calls = (
                partial(other.send_message, **queue, MessageBody="hello"),
                partial(other.receive_message, **queue),
            )
            for call in calls:
                if key:
                    assert told(call) == "InvalidSecurity"
                else:
                    call()
    (message,) = receive(signed, queue["QueueUrl"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    for each in (signed, plain, nobody):
        each.close()


# --- Messages keep their key ----------------------------------------------------------------------


def test_a_message_keeps_its_key_whatever_the_queue_is_set_to(
    stage: Stage, sqs: Any, kms: Any
) -> None:
    arn, url = new_key(kms), new_queue(sqs)
    settings = [
        {},
        {"KmsMasterKeyId": arn},
        {"KmsMasterKeyId": "alias/aws/sqs"},
        {"SqsManagedSseEnabled": "false"},
    ]
    for number, attributes in enumerate(settings):
        if attributes:
            sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        send(stage, ROOT, url, str(number))
    assert bodies(stage, ROOT, url) == ["0", "1", "2", "3"]
    kms.disable_key(KeyId=arn)
    assert told(lambda: got(stage, ROOT, url)) == "KMS.DisabledException"
    kms.enable_key(KeyId=arn)
    assert bodies(stage, ROOT, url) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("fifo", ["", ".fifo"], ids=["standard", "fifo"])
def test_a_dead_letter_keeps_its_key_there_and_back(
    stage: Stage, sqs: Any, kms: Any, fifo: str
) -> None:
    """Its consumer needs the key of the queue that it was sent to, also after a redrive."""
    live_key, dead_key = new_key(kms), new_key(kms)
    dead = new_queue(sqs, dead_key, name=f"kept-dead{fifo}", **_fifo(fifo))
    redrive = {"deadLetterTargetArn": arn_of(dead), "maxReceiveCount": 1}
    live = new_queue(
        sqs, live_key, f"kept-live{fifo}", RedrivePolicy=json.dumps(redrive), **_fifo(fifo)
    )
    order = {"MessageGroupId": "g"} if fifo else {}
    sqs.send_message(QueueUrl=live, MessageBody="hello", **order)
    assert bodies(stage, ROOT, live) == ["hello"]
    assert bodies(stage, ROOT, live) == []
    assert bodies(stage, ROOT, dead) == ["hello"]
    of_dead_queue = role(stage, allow("kms:Decrypt", Resource=dead_key))
    of_live_queue = role(stage, allow("kms:Decrypt", Resource=live_key))
    assert told(lambda: got(stage, of_dead_queue, dead)) == "KMS.AccessDeniedException"
    assert bodies(stage, of_live_queue, dead) == ["hello"]
    elsewhere = new_queue(sqs, dead_key, name=f"kept-elsewhere{fifo}", **_fifo(fifo))
    of_no_key = stage.client("sqs", role(stage, allow("kms:Decrypt")), secure=True)
    for task in ({}, {"DestinationArn": arn_of(elsewhere)}):
        start = partial(of_no_key.start_message_move_task, SourceArn=arn_of(dead), **task)
        assert told(start) == "KMS.AccessDeniedException"
    for task in ({}, {"DestinationArn": arn_of(elsewhere)}):
        sqs.start_message_move_task(SourceArn=arn_of(dead), **task)
        target = elsewhere if task else live
        (message,) = receive(sqs, target, WaitTimeSeconds=10, VisibilityTimeout=0)
        assert message["Body"] == "hello"
        if not task:
            assert bodies(stage, ROOT, live) == []
            assert bodies(stage, of_live_queue, dead) == ["hello"]
    assert told(lambda: got(stage, of_dead_queue, elsewhere)) == "KMS.AccessDeniedException"
    assert bodies(stage, of_live_queue, elsewhere) == ["hello"]
