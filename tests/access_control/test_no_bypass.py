"""Every operation of every service, asked for in every way that must get nothing.

No such request is answered with success, none with a fault of the server, none changes anything,
and none learns whether what it names is there.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from botocore.awsrequest import AWSRequest

from stanchion.wire.protocol import PROTOCOLS
from tests.access_control import operations
from tests.access_control.operations import Row, chosen, key_parameters, queue_parameters
from tests.access_control.stage import (
    ACCOUNT,
    OTHER,
    REGION,
    ROOT,
    Key,
    Stage,
    allow,
)
from tests.access_control.wire import SERVICES, Reply, Wire, presigned, request, signed
from tests.wire.oracle import CALLS

PRESENT, ABSENT = "present", "absent0"
WITHOUT_PERMISSION = {"GetCallerIdentity", "GetSessionToken"}
"""These anybody may call whose credentials are good."""


class Things(NamedTuple):
    """What is there under the name `PRESENT`, and what would be under `ABSENT`."""

    access_key_id: str
    """Of user `PRESENT`."""
    key_arn: str
    ciphertext: bytes


@pytest.fixture(scope="module")
def things(stage: Stage) -> Things:
    stage.queue(PRESENT, tags={"team": "blue"})
    user = stage.user(PRESENT)
    stage.role(PRESENT)
    stage.iam.create_group(GroupName=PRESENT)
    stage.iam.create_policy(PolicyName=PRESENT, PolicyDocument=operations.DOCUMENT)
    stage.iam.create_open_id_connect_provider(
        Url=f"https://{PRESENT}.example.com", ThumbprintList=[operations.THUMBPRINT]
    )
    kms = stage.client("kms")
    key = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName=f"alias/{PRESENT}", TargetKeyId=key["KeyId"])
    ciphertext = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"plain")["CiphertextBlob"]
    return Things(user.access_key_id, key["Arn"], ciphertext)


@pytest.fixture(scope="module")
def wire(stage: Stage) -> Iterator[Wire]:
    opened = Wire(stage.http)
    yield opened
    opened.close()


# --- Calls ----------------------------------------------------------------------------------------

ROWS = {"iam": operations.IAM, "sts": operations.STS}
MISSING_KEY = str(uuid.UUID(int=0))


def test_every_service_that_can_be_reached_is_here() -> None:
    assert {protocol.service.name for protocol in PROTOCOLS} == set(SERVICES.values())
    for service, rows in ROWS.items():
        listed = {operation for wire, operation in CALLS if wire == service}
        assert {row.operation for row in rows} == listed


def parameters(stage: Stage, things: Things, way: str, operation: str, name: str) -> dict[str, Any]:
    """Those of a call about what is there, or is not."""
    if SERVICES[way] == "sqs":
        return chosen(way, operation, queue_parameters(stage.http, name))
    if way == "kms":
        arn = things.key_arn
        if name == ABSENT:
            arn = arn.rpartition("/")[0] + "/" + MISSING_KEY
        given = key_parameters(arn, f"alias/{name}", things.ciphertext)
        return chosen(way, operation, given)
    rows: dict[str, Row] = {row.operation: row for row in ROWS[way]}
    access_key_id = things.access_key_id if name == PRESENT else _absent_key_id(things)
    found: dict[str, Any] = operations.named(rows[operation].parameters, name, access_key_id)
    return found


def _absent_key_id(things: Things) -> str:
    return things.access_key_id[:-4] + "AAAA"


def told(reply: Reply, things: Things) -> Reply:
    """A reply, whichever of the two things it was about."""
    text = reply.text.replace(PRESENT, ABSENT)
    text = text.replace(things.access_key_id, _absent_key_id(things))
    return reply._replace(text=text.replace(things.key_arn.rpartition("/")[2], MISSING_KEY))


# --- Intruders ------------------------------------------------------------------------------------

Sign = Callable[[AWSRequest, str], AWSRequest]
"""Puts a signature, or what looks like one, on a request for a service."""


def by(key: Key) -> Sign:
    return lambda written, service: signed(written, key, service)


def of_another_service(written: AWSRequest, service: str) -> AWSRequest:
    return signed(written, ROOT, {"sqs": "sts", "iam": "sqs", "sts": "iam", "kms": "sqs"}[service])


def altered(written: AWSRequest, service: str) -> AWSRequest:
    """A good signature, of another body."""
    found = signed(written, ROOT, service)
    found.data = (
        found.data.rstrip(b"}") + b" }" if found.data.startswith(b"{") else (found.data + b"&x=y")
    )
    return found


def claiming(authorization: str) -> Sign:
    def sign(written: AWSRequest, service: str) -> AWSRequest:
        written.headers["Authorization"] = authorization.replace("SERVICE", service)
        written.headers["X-Amz-Date"] = "20260101T000000Z"
        return written

    return sign


_SCOPE = "20260101/eu-west-1/SERVICE/aws4_request"

STATELESS: dict[str, Sign] = {
    "unsigned": lambda written, service: written,
    "unknown key": by(Key("AKIAUNKNOWNUNKNOWN00", "secret")),
    "wrong secret": by(ROOT._replace(secret="wrong")),
    "account as key": by(Key(ACCOUNT, "test")),
    "emulator's key": by(Key("test", "test")),
    "made-up token": by(ROOT._replace(token="made-up")),
    "another service": of_another_service,
    "altered body": altered,
    "no signature": claiming(f"AWS4-HMAC-SHA256 Credential={ROOT.access_key_id}/{_SCOPE}"),
    "none": claiming(
        f"AWS4-HMAC-NONE Credential={ROOT.access_key_id}/{_SCOPE}, SignedHeaders=host, Signature="
    ),
    "old signature": claiming(
        f"AWS4-HMAC-SHA256 Credential={ROOT.access_key_id}/{_SCOPE}, "
        f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
    ),
    "bearer": claiming(f"Bearer {ROOT.access_key_id}"),
}


@pytest.fixture(scope="module")
def intruders(stage: Stage, things: Things) -> dict[str, Sign]:
    deactivated = stage.user("deactivated", allow("*"))
    stage.iam.update_access_key(
        UserName="deactivated", AccessKeyId=deactivated.access_key_id, Status="Inactive"
    )
    gate = stage.user("gate", allow("*"))
    session = stage.assume(gate, stage.role("admin", allow("*")))
    return {
        **STATELESS,
        "deactivated key": by(deactivated),
        "session without its token": by(session._replace(token=None)),
        "nobody of the account": by(stage.user("nobody")),
        "nobody of another": by(stage.user("nobody", account_id=OTHER)),
    }


STATEFUL = ("deactivated key", "session without its token")
AUTHENTIC = ("nobody of the account", "nobody of another")
KNOWS_KEYS = {"nobody of the account"}
"""KMS tells everybody in an account which keys there are not, as AWS does."""


# --- The matrix -----------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [*STATELESS, *STATEFUL, *AUTHENTIC])
def test_nothing_gets_in_and_nothing_leaks(
    stage: Stage, things: Things, wire: Wire, intruders: dict[str, Sign], who: str
) -> None:
    before = everything(stage, things)
    for way, operation in CALLS:
        if who in AUTHENTIC and operation in WITHOUT_PERMISSION:
            continue
        replies = [
            wire.send(
                intruders[who](
                    request(
                        stage.http, way, operation, parameters(stage, things, way, operation, name)
                    ),
                    SERVICES[way],
                )
            )
            for name in (PRESENT, ABSENT)
        ]
        present, absent = (told(reply, things) for reply in replies)
        assert 400 <= present.status < 500, (way, operation, present)
        assert present.code != "", (way, operation)
        if not (way == "kms" and who in KNOWS_KEYS):
            assert present == absent, (way, operation)
    assert everything(stage, things) == before


def everything(stage: Stage, things: Things) -> str:
    """What an intruder could have changed."""
    url = f"{stage.http}/{ACCOUNT}/{PRESENT}"
    details = stage.iam.get_account_authorization_details()
    attributes = stage.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    kms = stage.client("kms")
    found = (
        [details[name] for name in sorted(details) if name.endswith("List")],
        attributes["Attributes"],
        stage.sqs.list_queue_tags(QueueUrl=url)["Tags"],
        stage.sqs.list_queues()["QueueUrls"],
        stage.iam.list_open_id_connect_providers()["OpenIDConnectProviderList"],
        stage.iam.list_access_keys(UserName=PRESENT)["AccessKeyMetadata"],
        stage.iam.list_account_aliases()["AccountAliases"],
        kms.describe_key(KeyId=things.key_arn)["KeyMetadata"],
        kms.get_key_policy(KeyId=things.key_arn)["Policy"],
        kms.list_grants(KeyId=things.key_arn)["Grants"],
        kms.list_aliases()["Aliases"],
        kms.list_resource_tags(KeyId=things.key_arn)["Tags"],
        len(kms.list_keys()["Keys"]),
    )
    return json.dumps(found, default=str)


# --- What each of them is told --------------------------------------------------------------------

UNSIGNED = {
    "json": (403, "AccessDenied"),
    "query": (403, "AccessDenied"),
    "iam": (403, "MissingAuthenticationToken"),
    "sts": (403, "MissingAuthenticationToken"),
    "kms": (403, "MissingAuthenticationToken"),
}
CREDENTIALS_WRONG = {
    "unknown key": "InvalidClientTokenId",
    "account as key": "InvalidClientTokenId",
    "made-up token": "InvalidClientTokenId",
    "deactivated key": "InvalidClientTokenId",
    "session without its token": "InvalidClientTokenId",
    "wrong secret": "SignatureDoesNotMatch",
    "altered body": "SignatureDoesNotMatch",
    "old signature": "SignatureDoesNotMatch",
    "no signature": "IncompleteSignature",
    "none": "IncompleteSignature",
    "bearer": "IncompleteSignature",
}
IN_KMS = {
    "InvalidClientTokenId": "UnrecognizedClientException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "IncompleteSignature": "IncompleteSignatureException",
}


@pytest.mark.parametrize("who", CREDENTIALS_WRONG)
@pytest.mark.parametrize(
    ("way", "operation"),
    [
        ("json", "SendMessage"),
        ("query", "SendMessage"),
        ("iam", "ListUsers"),
        ("sts", "GetCallerIdentity"),
        ("kms", "ListKeys"),
    ],
)
def test_what_is_wrong_with_credentials_is_said(
    stage: Stage,
    things: Things,
    wire: Wire,
    intruders: dict[str, Sign],
    who: str,
    way: str,
    operation: str,
) -> None:
    given = parameters(stage, things, way, operation, PRESENT)
    reply = wire.send(intruders[who](request(stage.http, way, operation, given), SERVICES[way]))
    code = CREDENTIALS_WRONG[who]
    assert reply.code.rpartition("#")[2] in (code, IN_KMS[code])
    assert reply.status == (400 if code == "IncompleteSignature" or way == "kms" else 403)
    unsigned = wire.send(request(stage.http, way, operation, given))
    assert unsigned.code.rpartition("#")[2].startswith(UNSIGNED[way][1])


# --- Presigned ------------------------------------------------------------------------------------

QUERY_CALLS = [(way, operation) for way, operation in CALLS if way in ("query", "iam", "sts")]


def test_a_presigned_call_ends_with_its_time(stage: Stage, things: Things, wire: Wire) -> None:
    for way, operation in QUERY_CALLS:
        if operation == "AssumeRoleWithWebIdentity":
            continue
        given = parameters(stage, things, way, operation, PRESENT)
        written = request(stage.http, way, operation, given)
        late = presigned(written, ROOT, SERVICES[way], expires_s=60, age_s=61)
        reply = wire.send(late)
        assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch"), operation
        assert "Signature expired" in reply.text
    assert (
        wire.send(
            presigned(request(stage.http, "sts", "GetCallerIdentity", {}), ROOT, "sts", 60, 30)
        ).status
        == 200
    )


def test_a_presigned_call_is_that_call_only(stage: Stage, things: Things, wire: Wire) -> None:
    url = f"{stage.http}/{ACCOUNT}/{PRESENT}"
    given = {"QueueUrl": url, "AttributeNames": ["QueueArn"]}
    good = presigned(request(stage.http, "query", "GetQueueAttributes", given), ROOT, "sqs")
    assert wire.send(good).status == 200
    for change in (
        ("Action=GetQueueAttributes", "Action=PurgeQueue"),
        ("AttributeName.1=QueueArn", "AttributeName.1=Policy"),
        (f"{ACCOUNT}%2F{PRESENT}", f"{ACCOUNT}%2F{ABSENT}"),
        ("Expires=60", "Expires=61"),
        ("SignedHeaders=host", "SignedHeaders="),
    ):
        assert change[0] in good.url
        reply = wire.send(AWSRequest("GET", good.url.replace(*change)))
        assert reply.code in ("SignatureDoesNotMatch", "IncompleteSignature"), change
    for added in ("&Action=PurgeQueue", "&x=y"):
        assert wire.send(AWSRequest("GET", good.url + added)).code == "SignatureDoesNotMatch"
    # What it does not cover is not acted upon.
    body = b"Action=DeleteQueue&Version=2012-11-05&QueueUrl=" + url.encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for method in ("GET", "POST"):
        reply = wire.send(AWSRequest(method, good.url, headers=form, data=body))
        assert reply.code == "SignatureDoesNotMatch"
    # Another action in a header, which it does not cover either.
    on_path = AWSRequest("POST", url, data=b"Action=GetQueueAttributes&Version=2012-11-05")
    for target in ("PurgeQueue", "DeleteQueue", "ListQueues"):
        named = {"X_Amz_Target": f"AmazonSQS.{target}"}
        for presigned_get in (good, presigned(on_path, ROOT, "sqs")):
            reply = wire.send(presigned_get, **named)
            assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch")
    assert wire.send(good).status == 200


def test_the_headers_that_say_what_is_asked_are_covered(
    stage: Stage, things: Things, wire: Wire
) -> None:
    """A target that was not signed for: the same body would be another call."""
    url = f"{stage.http}/{ACCOUNT}/{PRESENT}"
    written = request(stage.http, "json", "GetQueueAttributes", {"QueueUrl": url})
    good = signed(written, ROOT, "sqs")
    for headers in (
        {"X-Amz-Target": "AmazonSQS.PurgeQueue"},
        {"X-Amz-Date": "20260101T000000Z"},
        {"Host": "elsewhere.example.com"},
    ):
        assert wire.send(good, **headers).code == "SignatureDoesNotMatch"
    assert wire.send(good).status == 200


def test_unsigned_web_identities_stand_or_fall_by_their_token(
    stage: Stage, things: Things, wire: Wire
) -> None:
    given = parameters(stage, things, "sts", "AssumeRoleWithWebIdentity", PRESENT)
    reply = wire.send(request(stage.http, "sts", "AssumeRoleWithWebIdentity", given))
    assert (reply.status, reply.code) == (400, "InvalidIdentityToken")


def test_a_region_is_part_of_what_is_signed(stage: Stage, things: Things, wire: Wire) -> None:
    """The same queue name elsewhere is another queue."""
    url = f"{stage.http}/{ACCOUNT}/{PRESENT}"
    given = {"QueueUrl": url}
    for region, status in ((REGION, 200), ("us-east-1", 400)):
        written = request(stage.http, "json", "ListQueueTags", given)
        assert wire.send(signed(written, ROOT, "sqs", region)).status == status
