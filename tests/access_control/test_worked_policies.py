"""The policies that guides to SQS begin with, over HTTP and HTTPS at the same time.

A queue policy that lets one role send, and nothing else in; and one that refuses plain HTTP.
"""

import pytest

from tests.access_control.stage import (
    ACCOUNT,
    ROOT,
    Key,
    Stage,
    Statement,
    allow,
    denied,
    deny,
    not_allowed,
    queue_arn,
    refusal,
)

INSECURE = (400, "InvalidSecurity", "All requests to this queue must use HTTPS and SigV4.")


def only_tls() -> Statement:
    return deny(
        "sqs:*", Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}}, Sid="OnlyTls"
    )


# --- One role may send ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everybody(stage: Stage) -> dict[str, Key]:
    """A gate that may become anybody, the producer that the policy is about, and bystanders."""
    gate = stage.user("gate", allow("sts:AssumeRole"))
    found = {"gate": gate, "bystander": stage.user("bystander")}
    for name in ("producer", "consumer"):
        found[name] = stage.assume(gate, stage.role(name))
    return found


@pytest.fixture(scope="module")
def orders(stage: Stage, everybody: dict[str, Key]) -> str:
    producer = f"arn:aws:iam::{ACCOUNT}:role/producer"
    return stage.queue("orders", allow("sqs:SendMessage", Principal={"AWS": producer}))


@pytest.mark.parametrize("secure", [False, True])
def test_the_role_sends(
    stage: Stage, everybody: dict[str, Key], orders: str, *, secure: bool
) -> None:
    assert stage.sends(everybody["producer"], orders, secure=secure)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("name", ["consumer", "bystander", "gate"])
def test_nobody_else_sends(
    stage: Stage, everybody: dict[str, Key], orders: str, name: str, *, secure: bool
) -> None:
    found = stage.refuses_send(everybody[name], orders, secure=secure)
    who = (
        f"arn:aws:sts::{ACCOUNT}:assumed-role/consumer/run-1"
        if name == "consumer"
        else f"arn:aws:iam::{ACCOUNT}:user/{name}"
    )
    expected = not_allowed(who, "SendMessage", queue_arn("orders"))
    assert found == (403, "AccessDenied", expected)


def test_sending_in_a_batch_is_sending(
    stage: Stage, everybody: dict[str, Key], orders: str
) -> None:
    entries = [{"Id": "1", "MessageBody": "hello"}]
    send = {"QueueUrl": orders, "Entries": entries}
    producer = stage.client("sqs", everybody["producer"])
    assert len(producer.send_message_batch(**send)["Successful"]) == 1
    bystander = stage.client("sqs", everybody["bystander"])
    denied(lambda: bystander.send_message_batch(**send), "sqs:sendmessage on resource")


def test_the_role_may_do_nothing_else(stage: Stage, everybody: dict[str, Key], orders: str) -> None:
    producer = stage.client("sqs", everybody["producer"])
    who = f"arn:aws:sts::{ACCOUNT}:assumed-role/producer/run-1"
    calls = {
        "ReceiveMessage": lambda: producer.receive_message(QueueUrl=orders),
        "PurgeQueue": lambda: producer.purge_queue(QueueUrl=orders),
        "GetQueueAttributes": lambda: producer.get_queue_attributes(QueueUrl=orders),
        "DeleteQueue": lambda: producer.delete_queue(QueueUrl=orders),
        "GetQueueUrl": lambda: producer.get_queue_url(QueueName="orders"),
        "SetQueueAttributes": lambda: producer.set_queue_attributes(
            QueueUrl=orders, Attributes={"DelaySeconds": "1"}
        ),
    }
    for action, call in calls.items():
        denied(call, not_allowed(who, action, queue_arn("orders")))


def test_another_queue_is_none_of_its_business(
    stage: Stage, everybody: dict[str, Key], orders: str
) -> None:
    other = stage.queue("others")
    assert stage.refuses_send(everybody["producer"], other).code == "AccessDenied"


# --- Only over TLS --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sealed(stage: Stage) -> str:
    return stage.queue("sealed", only_tls())


def test_plain_http_is_refused_and_tls_works(stage: Stage, sealed: str) -> None:
    sender = stage.user("sender", allow("sqs:SendMessage"))
    assert stage.refuses_send(sender, sealed) == INSECURE
    assert stage.sends(sender, sealed, secure=True)
    # Root as well; and again, now that decisions are remembered.
    assert stage.refuses_send(ROOT, sealed) == INSECURE
    assert stage.sends(ROOT, sealed, secure=True)
    assert stage.refuses_send(sender, sealed) == INSECURE


def test_every_action_on_the_queue_needs_tls(stage: Stage, sealed: str) -> None:
    plain = stage.client("sqs")
    for call in (
        lambda: plain.receive_message(QueueUrl=sealed),
        lambda: plain.get_queue_attributes(QueueUrl=sealed),
        lambda: plain.get_queue_url(QueueName="sealed"),
        lambda: plain.list_queue_tags(QueueUrl=sealed),
        lambda: plain.tag_queue(QueueUrl=sealed, Tags={"a": "b"}),
        lambda: plain.set_queue_attributes(QueueUrl=sealed, Attributes={"Policy": ""}),
        lambda: plain.delete_queue(QueueUrl=sealed),
    ):
        assert refusal(call) == INSECURE
    secure = stage.client("sqs", secure=True)
    assert secure.get_queue_url(QueueName="sealed")["QueueUrl"].startswith("https://127.0.0.1:")


def test_whoever_may_not_send_over_tls_either_hears_that(stage: Stage, sealed: str) -> None:
    stranger = stage.user("no-sender")
    found = stage.refuses_send(stranger, sealed, secure=True)
    assert found.code == "AccessDenied"


def test_a_policy_that_only_allows_tls_says_access_denied(stage: Stage) -> None:
    """Only a Deny is a demand for TLS."""
    user = stage.user("allowed-by-tls")
    arn = f"arn:aws:iam::{ACCOUNT}:user/allowed-by-tls"
    condition = {"Bool": {"aws:SecureTransport": "true"}}
    url = stage.queue(
        "by-tls", allow("sqs:SendMessage", Principal={"AWS": arn}, Condition=condition)
    )
    assert stage.refuses_send(user, url).code == "AccessDenied"
    assert stage.sends(user, url, secure=True)


def test_a_deny_for_all_but_one_role_holds_for_administrators(
    stage: Stage, everybody: dict[str, Key]
) -> None:
    producer = f"arn:aws:iam::{ACCOUNT}:role/producer"
    others = deny(
        "sqs:SendMessage",
        Principal="*",
        Condition={"ArnNotEquals": {"aws:PrincipalArn": producer}},
    )
    url = stage.queue("strict", allow("sqs:SendMessage", Principal={"AWS": producer}), others)
    admin = stage.user("admin", allow("*"))
    found = stage.refuses_send(admin, url)
    reason = "with an explicit deny in a resource-based policy"
    who = f"arn:aws:iam::{ACCOUNT}:user/admin"
    assert found.text == not_allowed(who, "SendMessage", queue_arn("strict"), reason)
    assert stage.sends(everybody["producer"], url)


# --- Who is named ---------------------------------------------------------------------------------


def statement_of(stage: Stage, url: str) -> Statement:
    (found,) = stage.policy_of(url)["Statement"]
    result: Statement = found
    return result


@pytest.mark.parametrize("sort", ["user", "role"])
def test_a_namesake_of_one_who_is_gone_is_somebody_else(
    stage: Stage, everybody: dict[str, Key], sort: str
) -> None:
    name = f"passing-{sort}"
    arn = f"arn:aws:iam::{ACCOUNT}:{sort}/{name}"

    def appear() -> Key:
        return (
            stage.user(name)
            if sort == "user"
            else stage.assume(everybody["gate"], stage.role(name))
        )

    first = appear()
    url = stage.queue(f"for-{sort}", allow("sqs:SendMessage", Principal={"AWS": arn}))
    assert stage.sends(first, url)
    assert statement_of(stage, url)["Principal"] == {"AWS": arn}
    entity_id = stage.client("sts", first).get_caller_identity()["UserId"].partition(":")[0]

    if sort == "user":
        stage.iam.delete_access_key(UserName=name, AccessKeyId=first.access_key_id)
        stage.iam.delete_user(UserName=name)
    else:
        stage.iam.delete_role(RoleName=name)
    assert stage.refuses_send(first, url).code == "InvalidClientTokenId"
    assert statement_of(stage, url)["Principal"] == {"AWS": entity_id}

    second = appear()
    assert stage.refuses_send(second, url).code == "AccessDenied"
    assert statement_of(stage, url)["Principal"] == {"AWS": entity_id}
    stage.set_policy(url, allow("sqs:SendMessage", Principal={"AWS": arn}))
    assert stage.sends(second, url)


def test_a_principal_that_nobody_is_makes_no_policy(stage: Stage) -> None:
    statement = allow("sqs:SendMessage", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role/nobody"})
    found = refusal(lambda: stage.queue("for-nobody", statement))
    assert found == (400, "InvalidAttributeValue", "Invalid value for the parameter Policy.")
